import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve
from torch import nn

from bench.core.classifier import WrappedClassifier
from bench.core.errors import UserError
from bench.core.intervals import proportion_interval
from bench.core.threat import Threat
from bench.data import Dataset, Split
from bench.geometry.curvature import mean_curvature
from metrics.curvature.detection import Detection
from metrics.evaluation import Evaluation, NotMeasurable

NAMES = {"detection_auc", "detection_auc_calibrated", "detection/tpr_at_5fpr", "detection/recovery"}


class Pocket(nn.Module):
    """Class 0 is a ball around the centre of the pixel box, class 1 what surrounds it, class 2 far away."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, images):
        self.seen += len(images)
        centred = images.flatten(1) - 0.5
        surrounding = centred.square().sum(dim=1) - 0.25**2
        return torch.stack([torch.zeros_like(surrounding), surrounding, centred[:, 0] - 9], dim=1)


class Flat(nn.Module):
    def forward(self, images):
        return torch.tensor([0.0, 1.0, 0.0]).expand(len(images), 3)


def evaluate(module=None, count=24, labels=1):
    """`count` images at distance 0.45 from the centre, all in class 1 of the pocket network."""
    directions = torch.randn(count, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    images = 0.5 + 0.45 * directions / directions.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    none = Split(torch.zeros(0, 1, 3, 4, dtype=torch.uint8), torch.zeros(0, dtype=torch.long))
    classifier = WrappedClassifier(module or Pocket(), (1, 3, 4), 3).eval()
    return Evaluation(
        classifier=classifier,
        dataset=Dataset("toy", ("a", "b", "c"), none, none, none),
        threat=Threat.parse("0.1"),
        images=images,
        labels=torch.full((count,), labels),
        test_index=torch.arange(count) * 3 + 100,
        batch_size=30,
    )


def arrays(clean, perturbed, recovered=None):
    """What `measure` would give for these scores; every image is of class 0."""
    clean, perturbed = np.asarray(clean, float), np.asarray(perturbed, float)
    return {
        "fooled": np.ones(len(clean), bool),
        "label": np.zeros(len(clean), int),
        "clean_score": clean,
        "perturbed_score": perturbed,
        "recovered": np.zeros(len(clean), int) if recovered is None else np.asarray(recovered),
        "h": np.ones(1),
    }


def test_images_pushed_into_a_pocket_are_detected_and_their_labels_recovered():
    result = Detection(directions=10).reduce(Detection(directions=10).measure(evaluate()))
    assert result.keys() == NAMES
    for score in result.values():
        assert score.value == 1
        assert score.high == pytest.approx(1)
    assert result["detection_auc"].n == 24
    assert result["detection_auc_calibrated"].n == 12


def test_the_opposite_orientation_turns_the_literal_score_and_not_the_calibrated_one():
    detection = Detection(directions=10, orientation="section2")
    result = detection.reduce(detection.measure(evaluate()))
    assert result["detection_auc"].value == 0
    assert result["detection_auc_calibrated"].value == 1
    assert result["detection/tpr_at_5fpr"].value == 0
    assert "smaller curvature" in result["detection_auc_calibrated"].reason
    assert result["detection/recovery"].value == 1, "recovery is algorithm 2's in either orientation"


def test_scores_are_the_curvatures_of_the_clean_and_the_perturbed_images():
    evaluation = evaluate()
    detection = Detection(directions=10)
    measured = detection.measure(evaluation)
    expected = mean_curvature(
        evaluation.classifier, evaluation.images, evaluation.generator(detection.name), directions=10
    )
    assert np.allclose(measured["clean_score"], expected.score)
    # H is −2I for both classes; ∇F is −2x for the pocket and e − 2x for the class far away.
    slopes = -2 * (evaluation.images.flatten(1) - 0.5)
    lengths = slopes.norm(dim=1), (slopes + torch.eye(12)[0]).norm(dim=1)
    assert np.allclose(measured["clean_score"], -(1 / lengths[0] + 1 / lengths[1]), rtol=1e-3)
    assert measured["test_index"].tolist() == evaluation.test_index.tolist()
    assert measured["label"].tolist() == [1] * 24


def test_only_correctly_classified_images_are_perturbed_and_no_more_than_asked():
    evaluation = evaluate()
    evaluation.labels[:5] = 0
    measured = Detection(directions=4, images=11).measure(evaluation)
    assert measured["test_index"].tolist() == evaluation.test_index[5:16].tolist()


def test_every_pass_through_the_network_is_counted():
    evaluation = evaluate()
    evaluation.classifier.module.seen = 0
    Detection(directions=4).measure(evaluation)
    assert evaluation.forwards == evaluation.classifier.module.seen
    assert evaluation.backwards > 0


def test_measuring_twice_gives_the_same_arrays():
    first, second = (Detection(directions=4).measure(evaluate()) for _ in range(2))
    assert all(np.array_equal(first[key], second[key], equal_nan=True) for key in first)


@pytest.mark.parametrize(("module", "labels"), [(Flat(), 1), (Pocket(), 2)])
def test_without_adversarial_images_there_is_nothing_to_detect(module, labels):
    with pytest.raises(NotMeasurable):
        Detection(directions=4).measure(evaluate(module, labels=labels))


def test_too_few_pairs_give_no_value_but_a_reason():
    detection = Detection(directions=4, images=9)
    result = detection.reduce(detection.measure(evaluate()))
    assert result.keys() == NAMES
    for score in result.values():
        assert score.value is None
        assert "9 pairs" in score.reason


def test_auc_of_overlapping_scores_lies_in_its_interval():
    generator = np.random.default_rng(0)
    clean, perturbed = generator.normal(0, 1, 60), generator.normal(1, 1, 60)
    score = Detection().reduce(arrays(clean, perturbed))["detection_auc"]
    assert score.value == pytest.approx(roc_auc_score([0] * 60 + [1] * 60, [*clean, *perturbed]))
    assert 0 < score.low < score.value < score.high < 1
    assert "does not know the detector" in score.reason


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=10, max_size=50))
def test_auc_and_true_positive_rate_are_those_of_the_roc_curve(pairs):
    clean, perturbed = np.array(pairs, float).T
    truth, values = np.repeat([0, 1], len(pairs)), np.concatenate([clean, perturbed])
    false_positives, true_positives, _ = roc_curve(truth, values, drop_intermediate=False)
    result = Detection().reduce(arrays(clean, perturbed))
    assert result["detection_auc"].value == pytest.approx(roc_auc_score(truth, values))
    found = result["detection/tpr_at_5fpr"]
    if len(pairs) < 19:
        assert found.value is None
        assert f"needs 19 pairs, got {len(pairs)}" in found.reason
        return
    # Of n + 1 clean images, the 5 % with the largest scores are flagged, one of them being a further one.
    flagged = np.floor(0.05 * (len(pairs) + 1) + 1e-9) - 1
    reached = true_positives[false_positives * len(pairs) <= flagged + 1e-9].max()
    assert found.value == pytest.approx(reached)
    assert found.low <= found.value <= found.high
    assert ("do not bound the threshold from above" in found.reason) == (len(pairs) < 72)


def test_scores_that_tell_all_apart_or_none_have_intervals_of_some_width():
    clean, n = np.arange(20.0), 20
    for perturbed, value in ((clean + 100, 1), (clean - 100, 0)):
        result = Detection().reduce(arrays(clean, perturbed))
        score, found = result["detection_auc"], result["detection/tpr_at_5fpr"]
        assert score.value == found.value == value
        assert (score.low, score.high) == pytest.approx(proportion_interval(value * n, n))
        assert found.low == 0  # so few clean scores do not bound the threshold from above
        assert found.high > proportion_interval(value * n, n)[1] - 1e-9
        assert result["detection_auc_calibrated"].low == pytest.approx(proportion_interval(10, 10)[0])
    equal = Detection().reduce(arrays(np.zeros(n), np.zeros(n)))["detection_auc"]
    assert (equal.value, equal.low, equal.high) == pytest.approx((0.5, *proportion_interval(10, 20)))


def test_the_sign_is_chosen_on_other_images_than_it_is_scored_on():
    clean = np.zeros(20)
    perturbed = np.where(np.arange(20) % 2 == 0, 1.0, -1.0)
    result = Detection().reduce(arrays(clean, perturbed))
    assert result["detection_auc"].value == 0.5
    assert result["detection_auc_calibrated"].value == 0


def test_true_positives_are_read_where_at_most_five_per_cent_of_clean_images_are_flagged():
    clean = np.arange(100)
    perturbed = np.repeat([94.5, 95.5, 200.0], [30, 50, 20])
    # Above 95 a further clean score is with a probability of 5/101, above 94 it would be 6/101.
    assert Detection().reduce(arrays(clean, perturbed))["detection/tpr_at_5fpr"].value == 0.7


def test_recovery_needs_the_flag_and_the_label():
    perturbed = np.repeat([1.0, -1.0], 10)
    recovered = np.tile([0, 0, 1, 0, 2], 4)
    score = Detection().reduce(arrays(np.zeros(20), perturbed, recovered))["detection/recovery"]
    assert score.value == 6 / 20
    assert (score.low, score.high) == proportion_interval(6, 20)
    assert "60.0%" in score.reason


def test_skipped_images_are_left_out_and_counted():
    clean, perturbed = np.zeros(15), np.ones(15)
    clean[0], perturbed[1] = np.nan, np.nan
    score = Detection().reduce(arrays(clean, perturbed))["detection_auc"]
    assert (score.value, score.n) == (1, 13)
    assert "2 skipped" in score.reason


def test_mistakes_are_told():
    with pytest.raises(UserError, match="images=0"):
        Detection(images=0)
    with pytest.raises(UserError, match="unknown curvature estimator"):
        Detection(estimator="second")
    with pytest.raises(UserError, match="at least 2 directions"):
        Detection(directions=1)


def test_settings_name_every_choice():
    assert set(Detection().settings()) >= {
        "alpha",
        "directions",
        "estimator",
        "images",
        "orientation",
        "h_scale",
    }
