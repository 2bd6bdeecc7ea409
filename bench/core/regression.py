"""Ordinary least squares, with errors for independent points and for points of a few trainings."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

#: Smallest number of points, and of runs: two always lie on a line.
MINIMUM = 3


@dataclass(frozen=True)
class Fit:
    """A regression line y = intercept + slope·x.

    Attributes:
        n: number of candidates.
        runs: number of trainings that they come from.
        slope, intercept, error, p_value: of ordinary least squares, which takes candidates for independent. The
            p-value is two-sided, for a slope of zero.
        run_error, run_p_value: standard error and p-value of the slope when candidates of one training are
            dependent.
        reason: why there is no line, or no test over runs.
    """

    n: int
    runs: int
    slope: float | None = None
    intercept: float | None = None
    error: float | None = None
    p_value: float | None = None
    run_error: float | None = None
    run_p_value: float | None = None
    reason: str = ""

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the slope: over runs where there are enough, otherwise over points."""
        error, freedom = (
            (self.error, self.n - 2) if self.run_error is None else (self.run_error, self.runs - 1)
        )
        if self.slope is None or error is None or freedom < 1:
            return None
        reach = float(stats.t.ppf(0.975, freedom)) * error
        return self.slope - reach, self.slope + reach


def regress(
    x: Sequence[float], y: Sequence[float], run: Sequence[object], *, name: str = "x", each: str = "candidate"
) -> Fit:
    """Fit a line to points, with and without the assumption that points of one run are independent.

    `scipy.stats.linregress` gives slope, standard error and p-value. Over runs, the standard error is the
    cluster-robust one, from (XᵀX)⁻¹ (Σ_g X_gᵀ u_g u_gᵀ X_g) (XᵀX)⁻¹ · G/(G − 1) · (n − 1)/(n − 2) with
    residuals u and G runs, and a t-test on G − 1 degrees of freedom (Cameron and Miller 2015, "A practitioner's
    guide to cluster-robust inference", section II.B), as statsmodels has them, which takes seconds to import. With
    few runs the error is still too small.

    Args:
        x, y: [n], finite.
        run: [n], equal for points of one training.
        name: what x is, for the reason of a missing line.
        each: what a point is, for the same.
    """
    at, of = np.asarray(x, float), np.asarray(y, float)
    groups = np.unique([str(each) for each in run], return_inverse=True)[1]
    n, runs = len(at), len(np.unique(groups))
    if n < MINIMUM:
        return Fit(n, runs, reason=f"{n} of the {MINIMUM} {each}s that a line needs")
    if np.ptp(at) <= 1e-12 * max(1.0, float(np.abs(at).max())):
        return Fit(n, runs, reason=f"{name} is {at[0]:.4g} for every {each}")
    if np.ptp(of) == 0:
        return Fit(n, runs, 0.0, float(of[0]), reason=f"the quantity is {of[0]:.4g} for every {each}")
    with warnings.catch_warnings():
        # A perfect fit divides by a residual of zero, which gives the right p-value, zero.
        warnings.simplefilter("ignore", RuntimeWarning)
        line = stats.linregress(at, of)
    error, p_value, reason = _over_runs(at, of - line.intercept - line.slope * at, groups, float(line.slope))
    return Fit(
        n,
        runs,
        float(line.slope),
        float(line.intercept),
        float(line.stderr),
        float(line.pvalue),
        error,
        p_value,
        reason,
    )


def _over_runs(
    x: np.ndarray, residual: np.ndarray, groups: np.ndarray, slope: float
) -> tuple[float | None, float | None, str]:
    """Cluster-robust standard error and p-value of a slope; None with the reason where runs are too few."""
    n, runs = len(x), int(groups.max()) + 1
    if runs < MINIMUM:
        return None, None, f"{runs} of the {MINIMUM} trainings that a test over runs needs"
    # With x centered, XᵀX is diagonal, so that the slope's entry needs no inverse.
    centered = x - x.mean()
    spread = np.sqrt((np.bincount(groups, centered * residual) ** 2).sum())
    error = float(spread / (centered @ centered) * np.sqrt(runs / (runs - 1) * (n - 1) / (n - 2)))
    # A perfect fit has no error, and leaves no doubt.
    return error, float(2 * stats.t.sf(abs(slope) / error, runs - 1)) if error > 0 else 0.0, ""
