import math

import numpy as np
import pytest
import torch
from torch import nn

from bench.core.classifier import Classifier, WrappedClassifier
from bench.core.statistics import wilson
from bench.core.threat import Threat
from bench.data import Dataset, Split
from metrics.evaluation import Evaluation, NotMeasurable
from metrics.regions.inclusion_ratio import InclusionRatio
from metrics.regions.prs_ratio import PRSRatio
from metrics.regions.region_health import RegionHealth

METRICS = (PRSRatio(), InclusionRatio(), RegionHealth())


def split(points, labels):
    """Images 1x1xD whose pixels are 0 or 1: the signs of the features once 1/2 is taken off."""
    bright = torch.as_tensor(points) > 0
    return Split((bright * 255).to(torch.uint8)[:, None, None, :], torch.as_tensor(labels))


def evaluate(train, test, classifier=None, batch_size=2):
    """Metrics of the identity network with logits (0, z_0)."""
    width = train.images.shape[-1]
    if classifier is None:
        head = nn.Linear(width, 2)
        with torch.no_grad():
            head.weight.zero_()[1, 0] = 1
            head.bias.zero_()
        classifier = Classifier(
            nn.Flatten(),
            head,
            activation=nn.Identity(),
            site="pre-activation",
            input_shape=(1, 1, width),
            mean=[0.5],
        ).eval()
    images, labels = test.batch(slice(0, 1))
    return Evaluation(
        classifier=classifier,
        dataset=Dataset("toy", ("a", "b"), train, train, test),
        threat=Threat.parse("0.1"),
        images=images,
        labels=labels,
        test_index=torch.zeros(1, dtype=torch.long),
        batch_size=batch_size,
    )


def scores(metric, evaluation):
    return metric.reduce(metric.measure(evaluation))


QUADRANTS = split([[1, 1], [1, 1], [-1, 1], [-1, -1]], [1, 1, 0, 0])
EMPTY = Split(QUADRANTS.images[:0], QUADRANTS.labels[:0])


def test_four_points_in_three_quadrants_have_prs_ratio_three_quarters():
    score = scores(PRSRatio(), evaluate(QUADRANTS, QUADRANTS))["prs_ratio"]
    assert (score.value, score.n) == (0.75, 4)
    assert score.low is score.high is None


def test_dead_units_have_prs_ratio_one_over_n_no_live_unit_and_no_entropy():
    dead = split([[-1, -1, -1]] * 5, [0, 1, 1, 1, 0])
    evaluation = evaluate(dead, dead)
    assert scores(PRSRatio(), evaluation)["prs_ratio"].value == 1 / 5
    health = scores(RegionHealth(), evaluation)
    assert health["region_health/live_units"].value == 0
    assert health["region_health/entropy"].value == 0
    assert health["region_health/purity"].value == 3 / 5


def test_region_health_of_four_points_in_three_quadrants():
    health = scores(RegionHealth(), evaluate(QUADRANTS, QUADRANTS))
    assert health["region_health/live_units"].value == 1
    assert health["region_health/entropy"].value == pytest.approx(0.5 * math.log(2) + 2 * 0.25 * math.log(4))
    assert health["region_health/entropy"].unit == "nats"
    assert health["region_health/purity"].value == 1


def test_entropy_is_the_log_of_the_size_where_every_image_is_alone():
    alone = split([[1, 1], [-1, 1], [1, -1], [-1, -1]], [0, 0, 1, 1])
    assert scores(RegionHealth(), evaluate(alone, alone))["region_health/entropy"].value == pytest.approx(
        math.log(4)
    )


def test_a_pattern_seen_only_in_another_class_counts_as_included_but_not_in_its_own():
    # z_0 > 0, so the test image is predicted as class 1, where its pattern does occur.
    train, test = split([[1, 1], [-1, -1]], [1, 0]), split([[1, 1]], [0])
    result = scores(InclusionRatio(), evaluate(train, test))
    assert result["inclusion_ratio"].value == 1
    assert result["inclusion_ratio/true_label"].value == 0
    assert result["inclusion_ratio/pred_label"].value == 1


def test_inclusion_ratio_is_over_the_whole_test_set_with_its_wilson_interval():
    test = split([[1, 1], [1, -1], [-1, -1], [1, -1], [-1, 1]], [0, 0, 1, 1, 1])
    evaluation = evaluate(QUADRANTS, test)
    arrays = InclusionRatio().measure(evaluation)
    assert arrays["included"].tolist() == [True, False, True, False, True]
    score = InclusionRatio().reduce(arrays)["inclusion_ratio"]
    assert (score.value, score.n) == (3 / 5, 5)
    assert (score.low, score.high) == wilson(3, 5)
    assert evaluation.forwards == len(QUADRANTS) + len(test)


def test_every_training_image_is_included_in_its_own_regions():
    arrays = InclusionRatio().measure(evaluate(QUADRANTS, QUADRANTS))
    assert arrays["included"].all()
    assert arrays["included_true_label"].all()


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_scores_do_not_depend_on_batches_or_on_the_order_of_the_training_set(metric):
    generator = torch.Generator().manual_seed(0)
    points = torch.randint(2, (60, 5), generator=generator) - 0.5
    labels = torch.randint(2, (60,), generator=generator)
    test = split(
        torch.randint(2, (20, 5), generator=generator) - 0.5, torch.randint(2, (20,), generator=generator)
    )
    expected = scores(metric, evaluate(split(points, labels), test, batch_size=60))
    order = torch.randperm(60, generator=generator)
    shuffled = scores(metric, evaluate(split(points[order], labels[order]), test, batch_size=7))
    for name, score in expected.items():
        assert shuffled[name].value == pytest.approx(score.value)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_prs_metrics_keep_one_value_an_example_and_reduce_gives_the_main_score(metric):
    arrays = metric.measure(evaluate(QUADRANTS, QUADRANTS))
    assert any(len(array) == 4 for array in arrays.values())
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
    main = metric.reduce(arrays)[metric.name]
    assert metric.bounds[0] <= main.value <= metric.bounds[1]
    assert (main.unit, main.higher_is_better) == (metric.unit, metric.higher_is_better)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_network_without_a_feature_layer_is_not_measurable(metric):
    softmax = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.Softmax(dim=1))
    classifier = WrappedClassifier(softmax, (1, 1, 2), 2)
    with pytest.raises(NotMeasurable, match="feature layer"):
        metric.measure(evaluate(QUADRANTS, QUADRANTS, classifier))


def test_one_pass_over_each_split_serves_every_region_metric():
    evaluation = evaluate(QUADRANTS, QUADRANTS)
    for metric in METRICS:
        metric.measure(evaluation)
    assert evaluation.forwards == 2 * len(QUADRANTS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_an_empty_training_set_is_told(metric):
    with pytest.raises(NotMeasurable, match="training set is empty"):
        metric.measure(evaluate(EMPTY, QUADRANTS))
