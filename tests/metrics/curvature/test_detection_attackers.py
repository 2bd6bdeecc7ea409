import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from bench.core.classifier import WrappedClassifier
from bench.core.errors import UserError
from bench.core.threat import Threat
from bench.data import Dataset, Split
from bench.geometry.detection import auc, roc
from metrics.curvature.detection import Detection
from metrics.curvature.detection_attackers import AWARE, DetectionAttackers
from metrics.evaluation import Evaluation, NotMeasurable

ATTACKERS = ("alpha2", "alpha5", "attacker_aware")
KINDS = ("detection_auc", "detection_auc_calibrated", "detection/tpr_at_5fpr", "detection/recovery")
NAMES = {f"{kind}/{attacker}" for kind in KINDS for attacker in ATTACKERS}
SMALL = {"directions": 8, "steps": 6, "surrogate_directions": 4}


class Pocket(nn.Module):
    """Class 0 is a ball around the centre of the pixel box, class 1 what surrounds it, class 2 far away."""

    def forward(self, images):
        centred = images.flatten(1) - 0.5
        surrounding = centred.square().sum(dim=1) - 0.25**2
        return torch.stack([torch.zeros_like(surrounding), surrounding, centred[:, 0] - 9], dim=1)


class Flat(nn.Module):
    def forward(self, images):
        return torch.tensor([0.0, 1.0, 0.0]).expand(len(images), 3)


class Wavy(nn.Module):
    """Two classes whose boundary has curvature of either sign, depending on the place."""

    def forward(self, images):
        flat = images.flatten(1) - 0.5
        boundary = flat[:, 0] + 0.05 * torch.sin(12 * flat[:, 1:]).sum(dim=1)
        return torch.stack([boundary, -boundary], dim=1)


def evaluate(module=None, count=24, labels=1, distance=0.45, classes=3):
    draws = torch.randn(count, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    images = (0.5 + distance * draws / draws.flatten(1).norm(dim=1).view(-1, 1, 1, 1)).clamp(0, 1)
    none = Split(torch.zeros(0, 1, 3, 4, dtype=torch.uint8), torch.zeros(0, dtype=torch.long))
    classifier = WrappedClassifier(module or Pocket(), (1, 3, 4), classes).eval()
    labels = classifier(images).argmax(dim=1) if labels is None else torch.full((count,), labels)
    return Evaluation(
        classifier=classifier,
        dataset=Dataset("toy", ("a", "b", "c")[:classes], none, none, none),
        threat=Threat.parse("0.1"),
        images=images,
        labels=labels,
        test_index=torch.arange(count) * 3 + 100,
        batch_size=30,
    )


def test_every_attacker_has_its_own_names_and_none_is_that_of_the_oblivious_detector():
    detection = DetectionAttackers(**SMALL)
    scores = detection.reduce(detection.measure(evaluate()))
    assert scores.keys() == NAMES
    assert detection.name in scores
    assert (
        not scores.keys() & Detection(directions=4).reduce(Detection(directions=4).measure(evaluate())).keys()
    )


def test_larger_perturbations_lie_deeper_in_the_pocket_until_they_leave_it_again():
    measured = DetectionAttackers(**SMALL).measure(evaluate())
    # The level set of a point nearer to the centre is a smaller sphere.
    assert (measured["alpha2/score"] > measured["alpha1/score"]).all()
    # Five times the way to the pocket ends beyond it, on the other side.
    assert not measured["alpha5/fooled"].any()
    scores = DetectionAttackers(**SMALL).reduce(measured)
    assert scores["detection_auc/alpha2"].value == 1
    assert scores["detection_auc/alpha5"].value is None
    assert "24 not fooled" in scores["detection_auc/alpha5"].reason


def test_alpha_one_is_what_the_oblivious_detector_sees():
    evaluation = evaluate()
    measured = DetectionAttackers(**SMALL).measure(evaluation)
    oblivious = Detection(directions=SMALL["directions"]).measure(evaluation)
    assert np.allclose(measured["clean_score"], oblivious["clean_score"])
    assert np.allclose(measured["alpha1/score"], oblivious["perturbed_score"])


def test_no_image_of_a_pocket_can_evade_because_every_point_of_it_is_curved_the_same_way():
    scores = DetectionAttackers(**SMALL).reduce(DetectionAttackers(**SMALL).measure(evaluate()))
    score = scores["detection_auc/attacker_aware"]
    assert score.value == 1
    assert "who knows the detector" in score.reason


def test_an_aware_attacker_fools_the_network_inside_its_ball_with_scores_no_higher_than_deepfools():
    evaluation = evaluate(Wavy(), count=30, labels=None, distance=0.4, classes=2)
    measured = DetectionAttackers(**SMALL | {"steps": 15}).measure(evaluation)
    fooled = measured["aware/fooled"]
    assert fooled.sum() >= 20
    reach = 5 * measured["alpha1/distance"][fooled]
    assert (measured["aware/distance"][fooled] <= reach + 1e-5).all()
    aware, oblivious = measured["aware/score"][fooled], measured["alpha1/score"][fooled]
    assert np.median(aware) < np.median(oblivious), "the surrogate leads somewhere"
    clean = measured["clean_score"][fooled]
    assert auc(clean, aware) < auc(clean, oblivious)


def test_the_calibrated_detector_meets_an_attacker_who_knows_its_side():
    detection = DetectionAttackers(**SMALL, orientation="section2")
    measured = detection.measure(evaluate())
    # In this orientation a pocket's curvature is smaller: the calibrated side is the opposite one.
    assert f"{AWARE[-1]}/score" in measured
    scores = detection.reduce(measured)
    assert scores["detection_auc/alpha2"].value == 0
    assert scores["detection_auc_calibrated/alpha2"].value == 1
    assert scores["detection_auc_calibrated/attacker_aware"].value == 1
    assert "smaller curvature" in scores["detection_auc_calibrated/attacker_aware"].reason


@pytest.mark.parametrize(("module", "labels"), [(Flat(), 1), (Pocket(), 2)])
def test_without_adversarial_images_there_is_nothing_to_detect(module, labels):
    with pytest.raises(NotMeasurable):
        DetectionAttackers(**SMALL).measure(evaluate(module, labels=labels))


def test_too_few_pairs_give_no_value_but_a_reason():
    scores = DetectionAttackers(**SMALL).reduce(DetectionAttackers(**SMALL).measure(evaluate(count=9)))
    assert scores.keys() == NAMES
    assert all(score.value is None and "at least 10 pairs" in score.reason for score in scores.values())


def test_the_chart_draws_a_curve_for_every_attacker_with_pairs(make_record):
    measured = DetectionAttackers(**SMALL).measure(evaluate())
    (chart,) = DetectionAttackers(**SMALL).charts(measured, make_record())
    names = [mark.name for mark in chart.panels[0].marks]
    assert [name.split(":")[0] for name in names] == [*("α = 1", "α = 2", "knows the detector", "chance")]


class Plane(nn.Module):
    """Two classes on the sides of a plane with a little bend, so that any factor of the way across stays beyond."""

    def forward(self, images):
        flat = images.flatten(1)
        side = flat[:, 0] - 0.2 - 0.01 * flat[:, 1:].square().sum(dim=1)
        return torch.stack([side, -side], dim=1)


@pytest.mark.parametrize("clip", [True, False])
def test_alpha_is_what_it_says_without_the_box_and_the_legend_says_what_the_box_leaves(clip, make_record):
    metric = DetectionAttackers(**SMALL, clip=clip)
    measured = metric.measure(evaluate(Plane(), labels=None, distance=0.3, classes=2))
    fooled = measured["alpha5/fooled"]
    longer = measured["alpha5/distance"][fooled] / measured["alpha1/distance"][fooled]
    (chart,) = metric.charts(measured, make_record())
    (name,) = [mark.name for mark in chart.panels[0].marks if mark.name.startswith("α = 5")]
    if clip:
        assert np.median(longer) < 4.5
        assert name.startswith(f"α = 5 ({np.median(longer):.1f} in the box): ")
    else:
        assert longer == pytest.approx(np.full(len(longer), 5), rel=1e-4)
        assert name.startswith("α = 5: ")
        assert (measured["aware/distance"] <= 5 * measured["alpha1/distance"] * (1 + 1e-4)).all()


@pytest.mark.parametrize("kind", [Detection, DetectionAttackers])
def test_only_a_detector_without_the_box_names_it_among_its_settings(kind):
    assert kind().settings() == kind(clip=True).settings()
    assert "clip" not in kind().settings()
    assert kind(clip=False).settings()["clip"] is False
    assert "not clipped" in kind(clip=False).settings()["attack"]


def test_the_area_under_the_drawn_curve_is_the_auc():
    draw = np.random.default_rng(0)
    clean, perturbed = draw.integers(0, 9, 40), draw.integers(2, 11, 40)
    false, true = roc(clean, perturbed)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    expected = roc_auc_score([0] * 40 + [1] * 40, [*clean, *perturbed])
    assert np.trapezoid(true, false) == pytest.approx(expected)
    assert auc(clean, perturbed) == pytest.approx(expected)


def test_mistakes_are_told():
    for wrong in ("images", "steps", "surrogate_directions"):
        with pytest.raises(UserError, match=f"{wrong}=0"):
            DetectionAttackers(**{wrong: 0})
