"""Inclusion and exclusion, major and extra regions, training and test images."""

import numpy as np
import pyautoattack.autoattack as package
import pytest
import torch
from torch import nn

from bench.core.classifier import WrappedClassifier
from bench.core.errors import UserError
from bench.core.intervals import proportion_interval
from bench.core.statistics import unpaired_difference
from metrics import get
from metrics.evaluation import NotMeasurable
from metrics.regions.attack_curves import AttackCurves
from metrics.regions.inclusion_groups import InclusionGroups
from metrics.regions.major_groups import MajorGroups
from tests.metrics.toys import empty, evaluate, identity, split
from tests.records import make_record

#: Logits are (0, z_0): an image withstands ε exactly where |z_0| is larger. z_1 tells regions apart.
FAR, NEAR = 0.4, 0.05
KINDS = [InclusionGroups, MajorGroups, AttackCurves]


def points(*groups):
    """Images of (z_0, z_1, label, count)."""
    rows = [([z_0, z_1], label) for z_0, z_1, label, count in groups for _ in range(count)]
    return split([row for row, _ in rows], [label for _, label in rows])


#: Training: class 1 shares (+, +), class 0 shares (−, +); one image of each lies elsewhere, near the boundary.
TRAIN = points((FAR, 0.3, 1, 3), (NEAR, -0.3, 1, 1), (-FAR, 0.3, 0, 3))
#: Test: included and far; excluded (−, −) and near; one misclassified.
TEST = points((FAR, 0.3, 1, 4), (-NEAR, -0.3, 0, 2), (FAR, 0.3, 0, 1))


def charts(metric, arrays):
    return metric.charts(arrays, make_record())


def test_included_images_far_from_the_boundary_are_the_robust_ones():
    metric = InclusionGroups(factors=("1/4", "5"))
    arrays = metric.measure(evaluate(TRAIN, TEST))
    assert arrays["included_index"].tolist() == [0, 1, 2, 3]
    assert arrays["excluded_index"].tolist() == [4, 5]
    assert arrays["eps"] == pytest.approx([0, 0.025, 0.1, 0.5])
    for attack in range(4):
        assert arrays["included_right"][attack].mean(axis=1).tolist() == [1, 1, 1, 0]
        assert arrays["excluded_right"][attack].mean(axis=1).tolist() == [1, 1, 0, 0]
    result = metric.reduce(arrays)
    found = unpaired_difference((4, 4), (0, 2))
    main = result["inclusion_groups"]
    assert (main.value, main.low, main.high, main.n) == (1, found.low, found.high, 6)
    assert main.unit == "difference"
    share = result["inclusion_groups/included/pgd20"]
    assert (share.value, share.n, share.low) == (1, 4, proportion_interval(4, 4)[0])
    assert share.unit == "fraction"


def test_confidence_is_the_logit_and_the_softmax_of_the_label():
    result = InclusionGroups(attacks=("fgsm",)).reduce(
        InclusionGroups(attacks=("fgsm",)).measure(evaluate(TRAIN, TEST))
    )
    logit = round((FAR + 0.5) * 255) / 255 - 0.5
    score = result["inclusion_groups/included/target_logit"]
    assert score.value == pytest.approx(logit, abs=1e-6)
    assert (score.low, score.high) == (None, None)
    assert "values are equal: no interval" in score.reason
    confidence = result["inclusion_groups/included/confidence"].value
    assert confidence == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)
    assert result["inclusion_groups/excluded/target_logit"].value == 0  # class 0 always has logit 0


def test_training_images_in_major_regions_are_compared_with_the_others():
    metric = MajorGroups()
    arrays = metric.measure(evaluate(TRAIN, TEST))
    assert arrays["major_index"].tolist() == [0, 1, 2, 4, 5, 6]
    assert arrays["extra_index"].tolist() == [3]
    result = metric.reduce(arrays)
    assert result["major_groups"].value == 1
    assert result["major_groups/extra/target_logit"].low is None  # one image has no interval


def test_an_image_in_the_major_region_of_another_class_alone_is_extra_and_may_be_misclassified():
    train = points((FAR, 0.3, 1, 3), (-FAR, -0.3, 0, 2), (FAR, 0.3, 0, 1))
    arrays = MajorGroups().measure(evaluate(train, TEST))
    assert arrays["extra_index"].tolist() == [5]
    assert not arrays["extra_right"].any()


def test_curves_of_training_and_test_images_and_the_gap_between_them():
    metric = AttackCurves(factors=("1/4", "5"))
    result_arrays = metric.measure(
        evaluate(points((FAR, 0.3, 1, 5)), points((NEAR, 0.3, 1, 3), (FAR, 0.3, 0, 1)))
    )
    assert result_arrays["train_right"][0].mean(axis=1).tolist() == [1, 1, 1, 0]
    # A quarter of the test images is misclassified, so broken at every ε.
    assert result_arrays["test_right"][0].mean(axis=1).tolist() == [0.75, 0.75, 0, 0]
    assert metric.reduce(result_arrays)["attack_curves"].value == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_that_is_too_small_is_taken_whole_and_a_large_one_drawn(kind):
    small, large = (kind(images=images, attacks=("fgsm",)) for images in (2, 50))
    first, second = kind.groups
    arrays = small.measure(evaluate(TRAIN, TEST))
    assert len(arrays[f"{first}_index"]) == 2
    whole = large.measure(evaluate(TRAIN, TEST))
    assert set(arrays[f"{first}_index"]) <= set(whole[f"{first}_index"])
    score = large.reduce(whole)[f"{kind.name}/{second}/fgsm"]
    assert score.n == len(whole[f"{second}_index"]) < 50


def test_without_excluded_images_the_difference_has_no_value_but_a_reason():
    evaluation = evaluate(TRAIN, points((FAR, 0.3, 1, 4)))
    result = InclusionGroups().reduce(InclusionGroups().measure(evaluation))
    assert result["inclusion_groups"].value is None
    assert "4 included and 0 excluded" in result["inclusion_groups"].reason
    assert result["inclusion_groups/included/cw"].value == 1
    assert result["inclusion_groups/excluded/cw"].value is None
    assert result["inclusion_groups/excluded/confidence"].reason


def test_when_all_is_misclassified_both_groups_are_empty_and_nothing_is_drawn():
    wrong = points((FAR, 0.3, 0, 3), (-FAR, -0.3, 1, 3))
    arrays = InclusionGroups().measure(evaluate(TRAIN, wrong))
    result = InclusionGroups().reduce(arrays)
    assert all(score.value is None and score.reason for score in result.values())
    assert charts(InclusionGroups(), arrays) == []


def test_dead_units_put_every_image_into_one_major_region():
    dead = points((-FAR, -0.3, 0, 2), (-NEAR, -0.2, 0, 2))
    result = MajorGroups().reduce(MajorGroups().measure(evaluate(dead, dead)))
    assert result["major_groups/major/fgsm"].value == 0.5
    assert "0 extra" in result["major_groups"].reason


@pytest.mark.parametrize("kind", KINDS)
def test_the_record_gets_a_curve_over_every_eps_for_each_group_and_attack(kind):
    metric = kind(attacks=("fgsm", "cw"), factors=("1/4", "5"))
    arrays = metric.measure(evaluate(TRAIN, TEST))
    curves, result = metric.curves(arrays), metric.reduce(arrays)
    assert list(curves) == [
        f"{kind.name}/{group}/{attack}" for group in kind.groups for attack in ("fgsm", "cw")
    ]
    at = int(arrays["at_threat"].item())
    for name, curve in curves.items():
        n = len(arrays[f"{name.split('/')[1]}_index"])
        assert curve.n == n
        assert [point.x for point in curve.points] == pytest.approx([0, 0.025, 0.1, 0.5])
        for point in curve.points:
            assert (point.low, point.high) == proportion_interval(round(point.value * n), n)
        score, point = result[name], curve.points[at]
        assert (score.value, score.low, score.high, score.n) == (point.value, point.low, point.high, n)


def test_a_group_without_images_has_no_curve():
    arrays = InclusionGroups(attacks=("fgsm",)).measure(evaluate(TRAIN, points((FAR, 0.3, 1, 4))))
    assert list(InclusionGroups().curves(arrays)) == ["inclusion_groups/included/fgsm"]


@pytest.fixture
def short_autoattack(monkeypatch):
    whole = package.AutoAttack._set_version

    def shorten(suite, version="standard"):
        whole(suite, version)
        suite.square.n_queries, suite.apgd.eot_iter = 20, 1
        for attack in (suite.apgd, suite.apgd_targeted, suite.fab):
            attack.n_iter = 4

    monkeypatch.setattr(package.AutoAttack, "_set_version", shorten)


@pytest.mark.parametrize("kind", KINDS)
def test_autoattack_is_one_of_the_attacks_at_every_eps(kind, short_autoattack):
    metric = get(f'{kind.name}(attacks=("fgsm", "autoattack"), factors=("1/4", "5"))')
    arrays = metric.measure(evaluate(TRAIN, TEST))
    for group in kind.groups:
        fgsm, autoattack = arrays[f"{group}_right"]
        assert np.array_equal(fgsm, autoattack)  # a linear network falls to either at the same ε
    result = metric.reduce(arrays)
    name = f"{kind.name}/{kind.groups[0]}/autoattack"
    score, curve = result[name], metric.curves(arrays)[name]
    assert (score.value, score.n) == (curve.points[2].value, curve.n)
    assert "the targeted DLR loss needs 4 classes, there are 2" in score.reason
    assert result[f"{kind.name}/{kind.groups[0]}/fgsm"].reason == ""
    assert [panel.title for panel in charts(metric, arrays)[0].panels] == ["FGSM", "AutoAttack"]


@pytest.mark.parametrize("kind", KINDS)
def test_charts_show_each_attack_with_a_line_for_each_group(kind):
    metric = kind(attacks=("fgsm", "cw"))
    arrays = metric.measure(evaluate(TRAIN, TEST))
    curves = charts(metric, arrays)[0]
    assert [panel.title for panel in curves.panels] == ["FGSM", "C&W"]
    at = int(arrays["at_threat"].item())
    result = metric.reduce(arrays)
    for attack, panel in zip(metric.attacks, curves.panels, strict=True):
        *lines, rule = panel.marks
        assert rule.x == pytest.approx(0.1)
        for group, line in zip(kind.groups, lines, strict=True):
            score = result[f"{kind.name}/{group}/{attack}"]
            assert (line.y[at], line.low[at], line.high[at]) == (score.value, score.low, score.high)


def test_the_same_evaluation_draws_and_attacks_the_same():
    first, second = (InclusionGroups(images=2).measure(evaluate(TRAIN, TEST)) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_regions_are_read_in_one_pass_for_all_metrics():
    evaluation = evaluate(TRAIN, TEST)
    evaluation.regions("train")
    evaluation.regions("test")
    before = evaluation.forwards
    assert before == len(TRAIN) + len(TEST)
    InclusionGroups(attacks=("fgsm",), factors=()).choose(evaluation)
    MajorGroups().choose(evaluation)
    assert evaluation.forwards == before


def test_without_a_feature_layer_there_are_no_regions_but_still_curves():
    class Scaled(nn.Module):
        def forward(self, images):
            return 2 * identity(2)(images)

    evaluation = evaluate(TRAIN, TEST, WrappedClassifier(Scaled(), (1, 1, 2), 2).eval())
    for metric in (InclusionGroups(), MajorGroups()):
        with pytest.raises(NotMeasurable, match="feature layer"):
            metric.measure(evaluation)
    curves = AttackCurves(attacks=("fgsm",)).measure(evaluation)
    assert curves["train_right"].shape == (1, 6, 7)


def test_an_empty_training_set_is_told():
    for metric in (InclusionGroups(), MajorGroups()):
        with pytest.raises(NotMeasurable, match="training set is empty"):
            metric.measure(evaluate(empty(2), TEST))
    arrays = AttackCurves(attacks=("fgsm",)).measure(evaluate(empty(2), TEST))
    result = AttackCurves(attacks=("fgsm",)).reduce(arrays)
    assert result["attack_curves"].value is None
    assert result["attack_curves/test/fgsm"].n == len(TEST)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"attacks": ("pgd2",)}, "did you mean"),
        ({"factors": ("x",)}, "multiples"),
        ({"images": 0}, "images=0"),
    ],
)
def test_mistakes_are_told(kind, wrong, message):
    with pytest.raises(UserError, match=message):
        kind(**wrong)


def test_gradients_and_modes_stay_as_they_are():
    classifier = identity(2)
    flags = [parameter.requires_grad for parameter in classifier.parameters()]
    state = torch.get_rng_state()
    AttackCurves().measure(evaluate(TRAIN, TEST, classifier))
    assert [parameter.requires_grad for parameter in classifier.parameters()] == flags
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert torch.equal(torch.get_rng_state(), state)
