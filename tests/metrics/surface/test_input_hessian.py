import numpy as np
import pytest
from torch import nn

from metrics.evaluation import NotMeasurable
from metrics.surface.input_hessian import InputHessian
from tests.metrics.surface.networks import HESSIANS, MARGINS, TEST, Constant, data, network, run, wrapped
from tests.metrics.toys import evaluate


def test_the_hessian_of_a_linear_network_by_hand():
    _, scores, _ = run(InputHessian(), evaluate(TEST, TEST))
    p = 1 / (1 + np.exp(-MARGINS))
    curvature = p * (1 - p)
    assert scores["input_hessian"].value == pytest.approx(curvature.mean(), rel=1e-5)
    assert scores["input_hessian/largest_eigenvalue"].value == pytest.approx(curvature.mean(), rel=1e-5)
    zeros = scores["input_hessian/near_zero_eigenvalues"]
    assert (zeros.value, zeros.low, zeros.high) == (0.5, None, None)
    assert "at least (d − K + 1)/d are zero" in zeros.reason
    assert "all 4 values are equal: no interval" in zeros.reason
    bound = 0.1 * (1 - p) + 0.01 * curvature / 2
    assert scores["input_hessian/bound"].value == pytest.approx(bound.mean(), rel=1e-5)
    change = np.log1p(np.exp(0.1 - MARGINS)) - np.log1p(np.exp(-MARGINS))
    assert scores["input_hessian/change"].value == pytest.approx(change.mean(), rel=1e-4)
    held = np.count_nonzero(change <= bound + 1e-5)
    assert scores["input_hessian/bound_holds"].value == held / 4


@pytest.mark.parametrize("hessian", HESSIANS)
def test_every_score_says_which_hessian_was_used(hessian):
    evaluation = wrapped(network((1, 4, 5), 3), data(), 3)
    metric = InputHessian(images=2, hessian=hessian)
    _, scores, charts = run(metric, evaluation)
    assert all(hessian in score.reason for score in scores.values())
    assert all(hessian in chart.caption for chart in charts)
    assert metric.settings()["hessian"] == hessian
    assert ("step" in metric.settings()) == (hessian == "finite_difference")
    assert ("beta" in metric.settings()) == (hessian == "softplus")


@pytest.mark.parametrize("hessian", ["finite_difference", "softplus"])
def test_on_a_linear_network_the_bound_of_the_decision_function_is_met(hessian):
    arrays, scores, _ = run(InputHessian(hessian=hessian), evaluate(TEST, TEST))
    assert arrays["second_order"] == pytest.approx(0, abs=1e-6)
    assert arrays["change"] == pytest.approx([0.1] * 4, rel=1e-4)
    assert scores["input_hessian/bound"].value == pytest.approx(0.1, rel=1e-5)
    assert scores["input_hessian/bound_holds"].value == 1
    assert scores["input_hessian/near_zero_eigenvalues"].value == 1


@pytest.mark.parametrize("hessian", ["finite_difference", "softplus"])
def test_a_hessian_that_would_not_fit_is_not_measurable(hessian):
    evaluation = wrapped(Constant(2), data((3, 64, 64), 2, 1), 2)
    with pytest.raises(NotMeasurable, match="use ce_exact"):
        InputHessian(hessian=hessian).measure(evaluation)
    assert run(InputHessian(), evaluation)[1]["input_hessian"].value == 0


def test_a_network_that_cannot_be_smoothed_is_not_measurable():
    module = nn.Sequential(nn.Flatten(), nn.Linear(20, 4), nn.LeakyReLU(), nn.Linear(4, 3))
    evaluation = wrapped(module, data(), 3)
    with pytest.raises(NotMeasurable, match="softplus"):
        InputHessian(hessian="softplus").measure(evaluation)
