"""The line, its p-values, and what they say about a sign."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.linear_model import OLS

from bench.core.regression import regress
from bench.study.regression import judge_sign

GENERATOR = np.random.default_rng(0)


def noisy(n: int = 40, slope: float = -0.5) -> tuple[np.ndarray, np.ndarray]:
    x = GENERATOR.random(n)
    return x, 0.3 + slope * x + 0.1 * GENERATOR.normal(size=n)


def test_slope_error_and_p_value_are_those_of_the_normal_equations() -> None:
    x, y = noisy()
    design = np.column_stack([np.ones_like(x), x])
    inverse = np.linalg.inv(design.T @ design)
    coefficients = inverse @ design.T @ y
    residual = y - design @ coefficients
    error = math.sqrt(residual @ residual / (len(x) - 2) * inverse[1, 1])
    fit = regress(x.tolist(), y.tolist(), range(len(x)))
    assert fit.intercept == pytest.approx(coefficients[0])
    assert fit.slope == pytest.approx(coefficients[1])
    assert fit.error == pytest.approx(error)
    assert fit.p_value == pytest.approx(2 * stats.t.sf(abs(coefficients[1]) / error, len(x) - 2))


def test_the_error_over_runs_is_the_cluster_robust_sandwich() -> None:
    x, y = noisy(30)
    runs = np.arange(30) // 5
    design = np.column_stack([np.ones_like(x), x])
    inverse = np.linalg.inv(design.T @ design)
    residual = y - design @ (inverse @ design.T @ y)
    meat = sum(
        np.outer(score, score)
        for group in range(6)
        for score in [design[runs == group].T @ residual[runs == group]]
    )
    sandwich = inverse @ meat @ inverse * 6 / 5 * 29 / 28
    fit = regress(x.tolist(), y.tolist(), runs.tolist())
    assert fit.runs == 6
    assert fit.run_error == pytest.approx(math.sqrt(sandwich[1, 1]))
    assert fit.slope is not None
    assert fit.run_p_value == pytest.approx(2 * stats.t.sf(abs(fit.slope) / fit.run_error, 5))


@given(st.integers(0, 2**32 - 1), st.integers(5, 40), st.sampled_from([1e-3, 1.0, 1e3]))
def test_the_error_over_runs_is_that_of_statsmodels(seed: int, n: int, scale: float) -> None:
    random = np.random.default_rng(seed)
    x, y = scale * random.normal(size=n) + random.normal(), random.normal(size=n)
    runs = np.unique(random.integers(0, n, size=n), return_inverse=True)[1]
    assume(runs.max() >= 2)
    fit = regress(x.tolist(), y.tolist(), runs.tolist())
    design = np.column_stack([np.ones(n), x - x.mean()])
    theirs = OLS(y, design).fit(cov_type="cluster", cov_kwds={"groups": runs}, use_t=True)
    assert fit.run_error == pytest.approx(theirs.bse[1], rel=1e-6)
    assert fit.run_p_value == pytest.approx(theirs.pvalues[1], rel=1e-6)


def test_the_interval_of_a_slope_holds_the_slopes_that_its_test_does_not_reject() -> None:
    x, y = noisy(30)
    fit = regress(x.tolist(), y.tolist(), (np.arange(30) // 5).tolist())
    assert fit.interval is not None
    for end in fit.interval:
        moved = regress(x.tolist(), (y - end * x).tolist(), (np.arange(30) // 5).tolist())
        assert moved.run_p_value == pytest.approx(0.05)
    assert regress([0.1, 0.2], [1, 2], [0, 1]).interval is None


POINTS = st.lists(
    st.tuples(st.floats(-10, 10), st.floats(-10, 10), st.integers(0, 6)), min_size=8, max_size=40
)


@settings(max_examples=60, deadline=None)
@given(POINTS)
def test_the_error_over_runs_is_the_sum_of_scores_by_run(points: list[tuple[float, float, int]]) -> None:
    x, y = (np.array([point[at] for point in points]) for at in (0, 1))
    runs = np.unique([point[2] for point in points], return_inverse=True)[1]
    groups = int(runs.max()) + 1
    centered = x - x.mean()
    assume(groups >= 3 and np.ptp(x) > 0.1 and np.ptp(y) > 0.1)
    residual = y - y.mean() - (centered @ y) / (centered @ centered) * centered
    scores = np.bincount(runs, centered * residual)
    assume(np.abs(scores).max() > 1e-3)
    correction = groups / (groups - 1) * (len(x) - 1) / (len(x) - 2)
    error = math.sqrt(correction * np.square(scores).sum()) / (centered @ centered)
    fit = regress(x.tolist(), y.tolist(), runs.tolist())
    assert fit.slope is not None
    assert fit.run_error == pytest.approx(error, rel=1e-6)
    p_value = 2 * stats.t.sf(abs(fit.slope) / error, groups - 1)
    assert fit.run_p_value == pytest.approx(p_value, rel=1e-6, abs=1e-12)


def test_copies_of_a_candidate_impress_the_plain_p_value_alone() -> None:
    x, y = noisy(12, slope=-0.05)
    once = regress(x.tolist(), y.tolist(), range(12))
    many = regress(np.repeat(x, 20).tolist(), np.repeat(y, 20).tolist(), np.repeat(range(12), 20).tolist())
    assert many.slope == pytest.approx(once.slope)
    assert many.error is not None
    assert once.error is not None
    assert many.error < once.error / 4
    # But for the factor (n − 1)/(n − 2), the error over runs does not see the copies.
    assert many.run_error == pytest.approx(once.run_error * math.sqrt(239 / 238 * 10 / 11))


def test_the_p_value_over_runs_keeps_its_level_where_the_plain_one_does_not() -> None:
    # No relation at all, but every run has a level of its own in x and in y.
    plain = clustered = 0
    generator = np.random.default_rng(1)
    for _ in range(300):
        runs = np.repeat(np.arange(20), 10)
        x = generator.normal(size=20)[runs] + 0.1 * generator.normal(size=200)
        y = generator.normal(size=20)[runs] + 0.1 * generator.normal(size=200)
        fit = regress(x.tolist(), y.tolist(), runs.tolist())
        assert fit.p_value is not None
        assert fit.run_p_value is not None
        plain += fit.p_value < 0.05
        clustered += fit.run_p_value < 0.05
    assert plain > 100
    assert clustered < 45


@pytest.mark.parametrize(
    ("x", "y", "runs", "reason"),
    [
        ([], [], [], "0 of the 3"),
        ([0.1, 0.2], [1, 2], [0, 1], "2 of the 3"),
        ([0.5, 0.5, 0.5], [1, 2, 3], [0, 1, 2], "x is 0.5 for every"),
        ([0.1, 0.2, 0.3], [0, 0, 0], [0, 1, 2], "quantity is 0 for every"),
        ([0.1, 0.2, 0.4], [1, 2, 9], [0, 0, 1], "2 of the 3 trainings"),
    ],
)
def test_what_has_no_line_or_no_test_says_why(
    x: list[float], y: list[float], runs: list[int], reason: str
) -> None:
    fit = regress(x, y, runs)
    assert reason in fit.reason
    assert judge_sign("negative", fit.slope, fit.run_p_value) == "undecided"


def test_a_perfect_line_is_decided_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = regress([0.0, 0.25, 0.5, 1.0], [1.0, 0.75, 0.5, 0.0], [0, 1, 2, 3])
    assert fit.slope == -1.0
    assert judge_sign("negative", fit.slope, fit.p_value) == "confirmed"
    assert judge_sign("negative", fit.slope, fit.run_p_value) == "confirmed"


FINITE = st.floats(-1e3, 1e3, allow_nan=False).map(lambda value: round(value, 3))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(FINITE, FINITE, st.integers(0, 4)), max_size=20))
def test_no_number_is_ever_nan(points: list[tuple[float, float, int]]) -> None:
    fit = regress(*(([point[at] for point in points]) for at in range(3)))  # type: ignore[arg-type]
    for value in (fit.slope, fit.intercept, fit.error, fit.p_value, fit.run_error, fit.run_p_value):
        assert value is None or math.isfinite(value)
    assert fit.p_value is not None or fit.reason


@pytest.mark.parametrize(
    ("value", "p", "verdict"),
    [
        (-1.0, 0.01, "confirmed"),
        (1.0, 0.01, "not confirmed"),
        (-1.0, 0.05, "undecided"),
        (1.0, 0.5, "undecided"),
        (0.0, 0.0, "undecided"),
        (None, None, "undecided"),
    ],
)
def test_verdicts_on_a_negative_sign(value: float | None, p: float | None, verdict: str) -> None:
    assert judge_sign("negative", value, p) == verdict
    mirrored = None if value is None else -value
    assert judge_sign("positive", mirrored, p) == verdict
