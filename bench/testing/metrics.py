"""What every metric keeps to."""

from collections.abc import Callable

import numpy as np
import torch

from bench.core.classifier import Classifier
from bench.core.randomness import seeded
from bench.testing.state import untouched
from bench.testing.toys import THREAT, tiny_classifier, tiny_dataset
from metrics.base import Metric
from metrics.evaluation import Evaluation, NotMeasurable

MetricFactory = Callable[[], Metric]


def scores_are_well_formed(make: MetricFactory) -> None:
    """The main score carries the metric's name and lies in its bounds, or the metric says that it has none."""
    metric, evaluation = make(), toy_evaluation(make())
    try:
        arrays = metric.measure(evaluation)
    except NotMeasurable:
        return
    assert all(isinstance(array, np.ndarray) for array in arrays.values()), "measure must return numpy arrays"
    scores = metric.reduce(arrays)
    assert metric.name in scores, f"no score is called {metric.name!r}; there are {sorted(scores)}"
    for name, score in scores.items():
        assert score.value is not None or score.reason, f"{name} has neither a value nor a reason"
    value, (low, high) = scores[metric.name].value, metric.bounds
    assert value is None or low <= value <= high, f"{metric.name} = {value} lies outside {low} … {high}"


def measuring_twice_gives_the_same(make: MetricFactory) -> None:
    """Randomness comes from the evaluation's generators, never from the global state."""
    results = []
    for seed in (1, 2):
        with seeded(seed, "elsewhere"):
            try:
                results.append(make().measure(toy_evaluation(make())))
            except NotMeasurable:
                return
    first, second = results
    assert first.keys() == second.keys(), f"the arrays are {sorted(first)}, then {sorted(second)}"
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def measuring_leaves_the_network_alone(make: MetricFactory) -> None:
    """Modes, `requires_grad`, gradients, weights, buffers and the global random state."""
    evaluation = toy_evaluation(make())
    assert isinstance(evaluation.classifier, Classifier)
    with untouched(evaluation.classifier, buffers=True):
        try:
            make().measure(evaluation)
        except NotMeasurable:
            return


def toy_evaluation(metric: Metric) -> Evaluation:
    """A toy with three classes, and the metrics that `metric` needs already measured."""
    from metrics import get as get_metric

    dataset = tiny_dataset()
    images, labels = dataset.test.batch(slice(None))
    evaluation = Evaluation(
        tiny_classifier().eval(), dataset, THREAT, images, labels, torch.arange(len(labels))
    )
    for name in metric.needs:
        evaluation.measured[name] = get_metric(name).measure(evaluation)
    return evaluation


#: Checks of a metric's class, or of a function that makes one: `check(MyMetric)`.
METRIC_CHECKS: tuple[Callable[[MetricFactory], None], ...] = (
    scores_are_well_formed,
    measuring_twice_gives_the_same,
    measuring_leaves_the_network_alone,
)
