import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra.numpy import arrays
from sklearn.metrics.pairwise import paired_cosine_distances
from torch import nn

from bench.core.classifier import WrappedClassifier
from bench.core.errors import UserError
from bench.core.intervals import proportion_interval
from metrics.evaluation import NotMeasurable
from metrics.regions.logit_motion import LogitMotion, cosines
from tests.metrics.toys import empty, evaluate, identity, split
from tests.records import make_record

#: Logits are (0, z_0): at ε = 0.1 the first two survive, the third breaks, the last is wrong already.
TEST = split([[0.4, 0], [-0.3, 0], [0.05, 0], [0.2, 0]], [1, 0, 1, 0])


class Saturated(nn.Module):
    """Logits (500, x_0): cross-entropy underflows in float32."""

    def forward(self, images):
        first = images.flatten(1)[:, 0]
        return torch.stack([torch.full_like(first, 500.0), first], dim=1)


class Constant(nn.Module):
    def forward(self, images):
        return torch.zeros(len(images), 2, dtype=images.dtype)


def scores(evaluation, **settings):
    metric = LogitMotion(**settings)
    return metric.reduce(metric.measure(evaluation))


def shares(result):
    outcomes = ("succeeded", "failed_gradient", "failed_zero_gradient", "failed_zero_gradient_float64")
    return [result[f"logit_motion/{outcome}"].value for outcome in outcomes]


def wrapped(module):
    return WrappedClassifier(module, (1, 1, 2), 2).eval()


def test_outcomes_of_a_linear_network_by_hand():
    result = scores(evaluate(TEST, TEST))
    assert shares(result) == [0.5, 0.5, 0, 0]
    score = result["logit_motion/succeeded"]
    assert (score.n, score.low, score.high) == (4, *proportion_interval(2, 4))
    # (0, z) keeps its direction where the attack fails, and turns round where it succeeds.
    assert result["logit_motion/cosine_failed"].value == pytest.approx(1)
    assert result["logit_motion/cosine_succeeded"].value == pytest.approx(-1)
    assert (result["logit_motion"].n, result["logit_motion"].value) == (3, pytest.approx(1 / 3))
    assert result["logit_motion/change_failed"].value == pytest.approx(0.1, abs=1e-5)


def test_a_saturated_network_has_no_gradient_in_float32_and_one_in_float64():
    zeros = split([[-0.5, 0]] * 3, [0, 0, 0])
    result = scores(evaluate(zeros, zeros, wrapped(Saturated())))
    assert shares(result) == [0, 0, 1, 0]


def test_the_margin_attack_has_a_gradient_on_the_saturated_network():
    zeros = split([[-0.5, 0]] * 3, [0, 0, 0])
    assert shares(scores(evaluate(zeros, zeros, wrapped(Saturated())), attack="cw")) == [0, 1, 0, 0]


def test_a_constant_network_has_no_gradient_and_no_direction():
    images = split([[0.1, 0.2]] * 3, [0, 0, 1])
    result = scores(evaluate(images, images, wrapped(Constant())))
    assert shares(result) == pytest.approx([1 / 3, 0, 2 / 3, 2 / 3])
    assert result["logit_motion"].value is None
    for name in ("logit_motion", "logit_motion/cosine_failed"):
        assert "logits of 2 images are zero" in result[name].reason
    assert result["logit_motion/change_failed"].value == 0


def test_when_all_is_misclassified_everything_succeeded_and_nothing_moved():
    wrong = split([[0.4, 0], [-0.4, 0]], [0, 1])
    metric = LogitMotion()
    arrays = metric.measure(evaluate(wrong, wrong))
    result = metric.reduce(arrays)
    assert shares(result) == [1, 0, 0, 0]
    for name in ("logit_motion", "logit_motion/cosine_failed", "logit_motion/change_succeeded"):
        assert "without attack" in result[name].reason
    assert [chart.name for chart in metric.charts(arrays, make_record())] == [
        "regions-zero-gradient",
        "regions-logits-before-after",
    ]


def test_fewer_images_are_the_first_ones():
    arrays = LogitMotion(images=2).measure(evaluate(TEST, TEST))
    assert arrays["label"].tolist() == [1, 0]


def test_bars_share_out_all_images_and_examples_show_both_outcomes():
    metric = LogitMotion()
    arrays = metric.measure(evaluate(TEST, TEST))
    bars, examples, cosine = metric.charts(arrays, make_record(dataset={"classes": ["cat", "dog"]}))
    assert sum(bars.panels[0].marks[0].values) == 1
    bars_of = [panel for panel in examples.panels if "attack" in panel.title]
    assert ["succeeded" in panel.title for panel in bars_of] == [True, False, False]
    before, after = bars_of[0].marks
    assert before.categories == ["cat", "dog"]
    assert before.values == pytest.approx(arrays["before"][2])
    assert after.values == pytest.approx(arrays["after"][2])
    assert all(sum(mark.values) == pytest.approx(1) for mark in cosine.panels[0].marks)


def test_the_attacked_images_stand_beside_their_logits():
    metric = LogitMotion()
    arrays = metric.measure(evaluate(TEST, TEST))
    assert arrays["shown_index"].tolist() == [2, 0, 1]
    moved = np.abs(arrays["shown_attacked"] - arrays["shown_clean"])
    assert moved.max() == pytest.approx(0.1, abs=1e-5)
    assert arrays["shown_clean"][0, 0, 0] == pytest.approx([0.55, 0.5], abs=0.003)
    _, examples, _ = metric.charts(arrays, make_record(dataset={"classes": ["cat", "dog"]}))
    assert examples.rows == [2, 2, 2]
    (tiles,) = examples.panels[0].marks
    assert tiles.captions == ["before: dog", "after: cat"]
    assert tiles.values[1] == pytest.approx(arrays["shown_attacked"][0, 0])
    assert (tiles.low, tiles.high) == (0, 1)


def test_arrays_from_before_there_were_pictures_draw_the_bars_alone():
    metric = LogitMotion()
    arrays = metric.measure(evaluate(TEST, TEST))
    old = {name: array for name, array in arrays.items() if not name.startswith("shown_")}
    examples = metric.charts(old, make_record())[1]
    assert len(examples.panels) == 3
    assert examples.rows == []
    assert metric.reduce(old) == metric.reduce(arrays)


def test_examples_of_many_classes_show_the_ten_largest_logits():
    weight = np.random.default_rng(0).normal(size=(200, 2))
    images = split([[0.3, 0.3]], [int(np.argmax(weight.sum(axis=1)))])
    metric = LogitMotion(attack="fgsm")
    arrays = metric.measure(evaluate(images, images, identity(2, weight)))
    charts = {chart.name: chart for chart in metric.charts(arrays, make_record())}
    before, _ = charts["regions-logits-before-after"].panels[-1].marks
    assert len(before.categories) == 10
    assert max(before.values) == pytest.approx(arrays["before"].max())


@given(arrays(np.float64, (2, 4, 3), elements={"min_value": -9, "max_value": 9, "allow_subnormal": False}))
def test_cosines_are_those_of_scikit_learn_where_both_vectors_have_a_direction(pair):
    before, after = pair.round(2)
    found = cosines(before, after)
    known = before.any(axis=1) & after.any(axis=1)
    assert np.isnan(found[~known]).all()
    if known.any():
        assert np.allclose(found[known], 1 - paired_cosine_distances(before[known], after[known]))


def test_a_single_image_and_no_image():
    one = split([[0.4, 0]], [1])
    assert scores(evaluate(one, one))["logit_motion"].low is None
    with pytest.raises(NotMeasurable):
        LogitMotion().measure(evaluate(one, empty(2)))


@pytest.mark.parametrize("wrong", [{"attack": "pgd"}, {"images": 0}])
def test_mistakes_are_told(wrong):
    with pytest.raises(UserError):
        LogitMotion(**wrong)
