import numpy as np
import pytest
import torch
from torch import nn

from bench.core.classifier import WrappedClassifier
from metrics.evaluation import NotMeasurable
from tests.metrics.regions.quadrants import EMPTY, METRICS, QUADRANTS, evaluate, scores, split


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
