import numpy as np
import pytest
import torch

from bench.core.errors import UserError
from metrics.curvature.convexity import Convexity
from metrics.curvature.curvature_profile import CurvatureProfile
from metrics.curvature.paths import SCENARIOS, Connectivity
from metrics.curvature.shared_directions import NOISE, PROJECTED, SharedDirections
from metrics.evaluation import NotMeasurable
from tests.metrics.curvature.networks import Ball, Constant, evaluate


@pytest.mark.parametrize("metric", [CurvatureProfile(images=5), SharedDirections()])
def test_a_constant_network_has_no_boundary(metric):
    with pytest.raises(NotMeasurable):
        metric.measure(evaluate(Constant()))


@pytest.mark.parametrize(
    "metric",
    [
        Connectivity(pairs=4),
        Convexity(trials=10),
        CurvatureProfile(images=4),
        SharedDirections(train_images=4, test_images=10, curved_images=3, directions=5),
    ],
    ids=lambda metric: metric.name,
)
def test_passes_are_counted_and_measuring_twice_gives_the_same(metric):
    evaluation, again = evaluate(Ball()), evaluate(Ball())
    evaluation.classifier.module.seen = 0
    state = torch.get_rng_state()
    first, second = metric.measure(evaluation), metric.measure(again)
    assert evaluation.forwards == evaluation.classifier.module.seen
    assert all(np.array_equal(first[key], second[key], equal_nan=True) for key in first)
    assert torch.equal(torch.get_rng_state(), state)
    assert metric.name in metric.reduce(first)
    assert metric.settings()


@pytest.mark.parametrize(
    ("make", "wrong", "message"),
    [
        (Connectivity, {"pairs": 0}, "pairs=0"),
        (Connectivity, {"max_depth": 0}, "max_depth=0"),
        (Convexity, {"largest": 1}, "largest from 2"),
        (CurvatureProfile, {"directions": 1}, "directions from 2"),
        (SharedDirections, {"count": 0}, "count=0"),
        (SharedDirections, {"train_images": 0}, "train_images=0"),
    ],
)
def test_mistakes_are_told(make, wrong, message):
    with pytest.raises(UserError, match=message):
        make(**wrong)


def test_one_value_has_no_interval():
    path = {"found": [True], "straight": [True], "length": [1.5], "failed": [0]}
    paths = {f"{kind}/{name}": np.array(value) for kind in SCENARIOS for name, value in path.items()}
    profile = {"mean": [2.0], "perturbed_mean": [-1.0], "attacked": [1], "h": [0.1]}
    directions = {
        "basis": np.eye(1, 4),
        "used": np.array([1]),
        "relative_curvature": np.array([[3.0]]),
        "changed_inside": np.zeros((len(NOISE), 1), bool),
        "changed_outside": np.zeros((len(NOISE), 1), bool),
        **{f"projection/{kind}": np.array([0.5]) for kind in PROJECTED},
    }
    scores = {
        **Connectivity().reduce(paths),
        **CurvatureProfile().reduce({name: np.array(value) for name, value in profile.items()}),
        **SharedDirections().reduce(directions),
    }
    expected = {"paths/length": 1.5, "curvature_profile": 2.0, "shared_directions": 0.5}
    for name, value in {**expected, "shared_directions/curvature": 3.0}.items():
        assert (scores[name].value, scores[name].n) == (value, 1)
        assert scores[name].low is scores[name].high is None
