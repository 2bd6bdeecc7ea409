import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch import nn

from bench.core.classifier import WrappedClassifier
from bench.core.errors import UserError
from metrics.evaluation import NotMeasurable
from metrics.regions.region_distance import BROKEN, SURVIVED, WRONG, RegionDistance
from tests.metrics.toys import empty, evaluate, split
from tests.records import make_record


def on_grid(point):
    """What a pixel of 1/2 + point becomes once 1/2 is taken off again."""
    return round((point + 0.5) * 255) / 255 - 0.5


#: Logits are (0, z_0). Class 1: three in (+, +) and one in (+, −); class 0: two in (−, +).
TRAIN = split([[0.4, 0.1], [0.3, 0.2], [0.2, 0.3], [0.1, -0.2], [-0.4, 0.2], [-0.2, 0.2]], [1, 1, 1, 1, 0, 0])
TEST = split([[0.3, 0.2], [0.05, 0.2], [-0.3, 0.2], [-0.05, 0.2], [0.2, 0.2]], [1, 1, 0, 0, 0])


def arrays(broken, survived, logit=None):
    distance = np.array([*broken, *survived], dtype=float)
    outcome = np.array([BROKEN] * len(broken) + [SURVIVED] * len(survived))
    return {
        "distance": distance,
        "outcome": outcome,
        "label": np.zeros(len(distance), int),
        "target_logit": -distance if logit is None else np.asarray(logit, float),
        "major_size": np.array([5, 5]),
        "fell_back": np.array([False, False]),
    }


def test_distances_and_outcomes_of_a_linear_network_by_hand():
    measured = RegionDistance(min_count=0, split="test").measure(evaluate(TRAIN, TEST))
    assert measured["outcome"].tolist() == [SURVIVED, BROKEN, SURVIVED, BROKEN, WRONG]
    of_one = np.mean([[on_grid(a), on_grid(b)] for a, b in [(0.4, 0.1), (0.3, 0.2), (0.2, 0.3)]], axis=0)
    of_zero = np.mean([[on_grid(a), on_grid(b)] for a, b in [(-0.4, 0.2), (-0.2, 0.2)]], axis=0)
    points = [(0.3, 0.2), (0.05, 0.2), (-0.3, 0.2), (-0.05, 0.2), (0.2, 0.2)]
    expected = [
        np.linalg.norm(np.array([on_grid(a), on_grid(b)]) - (of_one if label else of_zero))
        for (a, b), label in zip(points, [1, 1, 0, 0, 0], strict=True)
    ]
    assert measured["distance"] == pytest.approx(expected, abs=1e-6)
    assert measured["major_size"].tolist() == [2, 3]
    result = RegionDistance(min_count=0).reduce(measured)
    assert result["region_distance"].value == 1
    assert result["region_distance"].n == 4
    assert result["region_distance/broken"].value == pytest.approx(
        np.mean([expected[1], expected[3]]), abs=1e-6
    )


def test_a_small_major_region_gives_way_to_the_whole_class_and_says_so():
    measured = RegionDistance(min_count=3, split="test").measure(evaluate(TRAIN, TEST))
    assert measured["fell_back"].tolist() == [True, False]
    reason = RegionDistance().reduce(measured)["region_distance"].reason
    assert "1 classes with a small major region" in reason


def test_images_of_a_class_without_training_images_have_no_distance_and_do_not_count():
    only_ones = split([[0.4, 0.1], [0.3, 0.2]], [1, 1])
    measured = RegionDistance(min_count=0, split="test").measure(evaluate(only_ones, TEST))
    assert np.isnan(measured["distance"]).tolist() == [False, False, True, True, True]
    result = RegionDistance().reduce(measured)
    assert result["region_distance"].n == 2
    assert RegionDistance().charts(measured, make_record())


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=20), st.lists(st.integers(0, 9), min_size=2, max_size=20)
)
def test_the_probability_is_the_area_under_the_roc_curve_and_lies_in_its_interval(broken, survived):
    score = RegionDistance().reduce(arrays(broken, survived))["region_distance"]
    truth = [1] * len(broken) + [0] * len(survived)
    assert score.value == pytest.approx(roc_auc_score(truth, [*broken, *survived]))
    assert score.low - 1e-9 <= score.value <= score.high + 1e-9


@pytest.mark.parametrize(("broken", "survived"), [([], [1.0, 2.0]), ([1.0, 2.0], []), ([], [])])
def test_without_both_outcomes_there_is_a_reason_instead(broken, survived):
    result = RegionDistance().reduce(arrays(broken, survived))
    assert result["region_distance"].value is None
    assert f"{len(broken)} broken and {len(survived)} surviving" in result["region_distance"].reason
    for outcome, group in (("broken", broken), ("survived", survived)):
        assert (result[f"region_distance/{outcome}"].value is None) == (not group)


def test_correlation_is_spearmans_and_lies_in_its_interval():
    generator = np.random.default_rng(0)
    distance = generator.random(30)
    logit = -distance + 0.3 * generator.random(30)
    score = RegionDistance().reduce(arrays(distance[:10], distance[10:], logit))[
        "region_distance/logit_correlation"
    ]
    assert score.value == pytest.approx(spearmanr(distance, logit).statistic)
    assert -1 <= score.low < score.value < score.high <= 1
    assert score.n == 30
    perfect = RegionDistance().reduce(arrays([1, 2, 3], [4, 5]))["region_distance/logit_correlation"]
    assert perfect.value == pytest.approx(-1)
    assert (perfect.low, perfect.high) == (None, None)
    assert "no interval" in perfect.reason


def test_an_unknown_split_is_refused():
    with pytest.raises(UserError, match="unknown split 'val'"):
        RegionDistance(split="val")


def test_equal_distances_have_no_correlation_but_a_reason():
    score = RegionDistance().reduce(arrays([1, 1, 1], [1, 1]))["region_distance/logit_correlation"]
    assert score.value is None
    assert "differ" in score.reason


@pytest.mark.parametrize(
    ("logit", "missing"), [([3, 3, 3, 3, 3], "distance or logit"), ([1, 2, 3, 4, 5], "distance")]
)
def test_what_does_not_differ_is_named(logit, missing):
    score = RegionDistance().reduce(arrays([1, 1, 1], [1, 1], logit))["region_distance/logit_correlation"]
    assert score.reason == f"the 5 correctly classified images do not differ in {missing}"
    few = RegionDistance().reduce(arrays([1], [1]))["region_distance/logit_correlation"]
    assert few.reason == "needs 4 correctly classified images, there are 2"


def test_the_figure_says_which_classes_are_measured_to_the_mean_of_the_whole_class():
    made = arrays([1, 2, 4], [3]) | {"label": np.array([0, 0, 1, 1])}
    record = make_record(dataset={"classes": ["cat", "dog"]})
    titles = {
        (False, False): "Distance to the mean of the major region",
        (True, False): "Distance to the mean of the major region or of the class",
        (True, True): "Distance to the mean of the class",
    }
    for fell_back, title in titles.items():
        (chart,) = RegionDistance().charts(made | {"fell_back": np.array(fell_back)}, record)
        assert chart.title == title
        assert ("mean of the whole class" in chart.caption) == any(fell_back)
    (chart,) = RegionDistance().charts(made | {"fell_back": np.array([True, False])}, record)
    assert "1 of 2 classes have a major region of fewer than 50 images" in chart.caption
    assert chart.caption.endswith("take the mean of the whole class: cat.")
    assert "n (succeeded/failed): cat 2/0, dog 1/1." in chart.caption
    broken, survived, dots = chart.panels[2].marks
    assert (broken.values, survived.values) == ([1.5, 4], [None, 3])
    low, high = stats.t.interval(0.95, 1, loc=1.5, scale=stats.sem([1, 2]))
    assert (broken.low, broken.high) == ([max(0, low), None], [pytest.approx(high), None])
    assert survived.low == survived.high == [None, None]
    assert dots.x == [0]


def test_a_constant_network_gives_defined_scores():
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    metric = RegionDistance()
    measured = metric.measure(evaluate(TRAIN, TEST, WrappedClassifier(network, (1, 1, 2), 2).eval()))
    assert not measured["distance"].any()
    assert all(score.value is not None or score.reason for score in metric.reduce(measured).values())


def test_passes_are_counted():
    evaluation = evaluate(TRAIN, TEST)
    RegionDistance(attack="fgsm").measure(evaluation)
    # Two passes over the training set, one look at the test images, and the attack.
    assert evaluation.forwards >= 2 * len(TRAIN) + 2 * len(TEST)
    assert evaluation.backwards > 0


def test_the_chart_has_histogram_points_and_classes():
    measured = RegionDistance(min_count=0, split="test").measure(evaluate(TRAIN, TEST))
    (chart,) = RegionDistance().charts(measured, make_record(dataset={"classes": ["cat", "dog"]}))
    kinds = [panel.marks[0].kind for panel in chart.panels]
    assert kinds == ["histogram", "points", "bars"]
    assert sum(len(mark.x) for mark in chart.panels[1].marks) == 4
    assert chart.panels[2].marks[0].values == pytest.approx(measured["distance"][[3, 1]])
    assert RegionDistance().charts(arrays([], []), make_record()) == []


def test_without_features_or_images_there_is_no_distance():
    softmax = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.Softmax(dim=1))
    with pytest.raises(NotMeasurable, match="feature layer"):
        RegionDistance().measure(evaluate(TRAIN, TEST, WrappedClassifier(softmax, (1, 1, 2), 2)))
    with pytest.raises(NotMeasurable, match="empty"):
        RegionDistance().measure(evaluate(empty(2), TEST))


@pytest.mark.parametrize("wrong", [{"attack": "pgd"}, {"images": 0}, {"min_count": -1}])
def test_mistakes_are_told(wrong):
    with pytest.raises(UserError):
        RegionDistance(**wrong)


def test_training_images_are_drawn_by_chance_and_all_taken_where_there_are_few():
    evaluation = evaluate(TRAIN, TEST)
    everyone = RegionDistance(min_count=0).measure(evaluation)
    assert sorted(everyone["label"].tolist()) == sorted(evaluation.dataset.train.labels.tolist())
    some = RegionDistance(min_count=0, images=2).measure(evaluation)
    assert len(some["distance"]) == 2
    assert set(np.round(some["distance"], 6)) <= set(np.round(everyone["distance"], 6))
