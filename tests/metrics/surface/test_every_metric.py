import math

import numpy as np
import pytest
import torch

from bench.core.errors import UserError
from metrics.evaluation import NotMeasurable
from metrics.regions.region_plane import RegionPlane
from metrics.surface.decision_function import DecisionFunction
from metrics.surface.decision_surface import DecisionSurface
from metrics.surface.input_hessian import InputHessian
from metrics.surface.input_jacobian import InputJacobian
from tests.metrics.surface.networks import SMALL, TEST, Constant, assert_whole, data, network, run, wrapped
from tests.metrics.toys import Counting, empty, evaluate


@pytest.mark.parametrize("metric", SMALL.values(), ids=SMALL)
@pytest.mark.parametrize(
    ("shape", "classes", "eps"),
    [((1, 4, 5), 2, "linf:0.1"), ((3, 8, 6), 12, "l2:0.5")],
)
def test_any_wrapped_network_gives_scores_and_charts_and_is_left_as_it_was(metric, shape, classes, eps):
    evaluation = wrapped(network(shape, classes), data(shape, classes), classes, eps=eps)
    before = {name: value.clone() for name, value in evaluation.classifier.state_dict().items()}
    state = torch.random.get_rng_state()
    _, scores, charts = run(metric, evaluation)
    assert_whole(scores, metric.name)
    assert charts
    assert len({chart.name for chart in charts}) == len(charts)
    for name, value in evaluation.classifier.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.requires_grad for parameter in evaluation.classifier.parameters())
    assert all(parameter.grad is None for parameter in evaluation.classifier.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("metric", SMALL.values(), ids=SMALL)
def test_the_batch_size_changes_nothing_but_rounding(metric):
    small, large = (
        metric.measure(wrapped(network((1, 4, 5), 3), data(), 3, batch_size=size, right=True))
        for size in (2, 500)
    )
    assert small.keys() == large.keys()
    for name, values in small.items():
        np.testing.assert_allclose(values, large[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("metric", SMALL.values(), ids=SMALL)
def test_a_constant_network_gives_defined_results(metric):
    evaluation = wrapped(Constant(3), data(), 3)
    arrays, scores, charts = run(metric, evaluation)
    assert_whole(scores, metric.name)
    assert charts
    expected = {"input_jacobian": 0, "input_hessian": 0, "decision_surface": None, "region_plane": 1}
    if metric.name in expected:
        assert scores[metric.name].value == expected[metric.name]
    assert all(np.isfinite(value).all() for name, value in arrays.items() if name == "line")


@pytest.mark.parametrize("metric", SMALL.values(), ids=SMALL)
def test_no_image_is_not_measurable(metric):
    with pytest.raises(NotMeasurable):
        metric.measure(evaluate(TEST, empty(2)))


@pytest.mark.parametrize("metric", SMALL.values(), ids=SMALL)
def test_passes_are_counted_in_images(metric):
    counting = Counting(network((1, 4, 5), 3))
    evaluation = wrapped(counting, data(), 3)
    counting.seen = 0
    metric.measure(evaluation)
    assert evaluation.forwards == counting.seen
    assert (evaluation.backwards > 0) == (metric.name != "region_plane")


@pytest.mark.parametrize("metric", SMALL.values(), ids=SMALL)
def test_fewer_images_than_asked_for_are_all_used(metric):
    evaluation = wrapped(network((1, 4, 5), 3), data(count=3), 3, right=True)
    _, scores, _ = run(metric, evaluation)
    score = scores[metric.name]
    assert score.n == (2 if metric.name == "region_plane" else 3)


@pytest.mark.parametrize("metric", SMALL.values(), ids=SMALL)
def test_when_all_is_misclassified_the_results_are_defined(metric):
    evaluation = wrapped(network((1, 4, 5), 2), data(classes=2), 2, right=True)
    evaluation.labels = 1 - evaluation.labels
    _, scores, charts = run(metric, evaluation)
    assert_whole(scores, metric.name)
    assert charts
    if metric.name == "decision_surface":
        assert scores[metric.name].value is None
        assert "correctly" in scores[metric.name].reason
    if metric.name == "decision_function":
        assert scores[metric.name].value < 0
        assert scores[f"{metric.name}/positive"].value == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: DecisionFunction(attack="pgd"),
        lambda: DecisionFunction(images=0),
        lambda: InputJacobian(images=0),
        lambda: InputJacobian(threshold=0),
        lambda: InputHessian(hessian="exact"),
        lambda: InputHessian(images=0),
        lambda: InputHessian(step=-1),
        lambda: InputHessian(beta=math.nan),
        lambda: DecisionSurface(half=0),
        lambda: DecisionSurface(parameter_images=-1),
        lambda: RegionPlane(planes=0),
        lambda: RegionPlane(resolution=1),
    ],
)
def test_mistakes_are_told(make):
    with pytest.raises(UserError):
        make()
