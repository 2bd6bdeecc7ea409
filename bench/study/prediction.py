"""How well a quantity predicts the robustness of networks of a defense family that it has not seen."""

from dataclasses import dataclass

import numpy as np
from sklearn.isotonic import IsotonicRegression

from bench.study.ranks import FEWEST, Estimate, Floats, estimate, kendall

#: A network is overrated where a prediction exceeds its robustness by more than that of this share of honest ones.
OVERRATED = 0.95


@dataclass(frozen=True)
class Fooled:
    """Broken networks that a prediction overrates.

    Attributes:
        names: of the overrated ones.
        measured: broken networks that have the quantity.
    """

    names: tuple[str, ...]
    measured: int


def held_out(x: Floats, y: Floats, strata: Floats, families: Floats) -> Floats:
    """Predictions of y [n] from x, each by the networks of the same stratum and all other families.

    The prediction is a monotone function of x, rising or falling as Kendall's τ has it (isotonic regression,
    constant beyond the ends). NaN where x is missing, or where fewer than `FEWEST` other networks have it.
    """
    predicted = np.full(len(y), np.nan)
    for stratum in np.unique(strata):
        for family in np.unique(families[strata == stratum]):
            out = (strata == stratum) & (families == family)
            train = (strata == stratum) & ~out
            predicted[out] = monotone(x[train], y[train], x[out])
    return predicted


def monotone(x: Floats, y: Floats, at: Floats) -> Floats:
    """The isotonic regression of y on x, at other values; NaN where these are, or with too few points."""
    found = np.full(len(at), np.nan)
    usable, asked = np.isfinite(x), np.isfinite(at)
    if usable.sum() < FEWEST or not asked.any():
        return found
    x, y = x[usable], y[usable]
    (tau,) = kendall(x, y, np.zeros(len(x)), np.ones((1, len(x))))
    fit = IsotonicRegression(increasing=not tau < 0, out_of_bounds="clip").fit(x, y)
    found[asked] = fit.predict(at[asked])
    return found


def mean_of_others(y: Floats, strata: Floats, families: Floats) -> Floats:
    """The mean of y over the networks of the same stratum and all other families [n]: a prediction without x."""
    found = np.full(len(y), np.nan)
    for row in range(len(y)):
        others = (strata == strata[row]) & (families != families[row])
        if others.sum() >= FEWEST:
            found[row] = y[others].mean()
    return found


def mean_error(predicted: Floats, y: Floats, weights: Floats) -> Estimate:
    """Mean |prediction − y| over the networks that have a prediction; without a test, for it is not zero."""
    found = estimate(_mean_errors(predicted, y, weights), int(np.isfinite(predicted).sum()), "no prediction")
    return Estimate(found.value, found.low, found.high, n=found.n, reason=found.reason)


def difference_of_errors(first: Floats, second: Floats, y: Floats, weights: Floats) -> Estimate:
    """Mean error of the first prediction less that of the second, over the networks that have both."""
    both = np.isfinite(first) & np.isfinite(second)
    first, second = (np.where(both, each, np.nan) for each in (first, second))
    found = _mean_errors(first, y, weights) - _mean_errors(second, y, weights)
    return estimate(found, int(both.sum()), "no prediction")


def fooled(
    predicted: Floats, y: Floats, names: list[str], honest_predicted: Floats, honest_y: Floats
) -> Fooled:
    """The broken networks whose prediction lies above their robustness by more than 95 % of the honest ones' do.

    Args:
        predicted, y, names: of the broken networks [m].
        honest_predicted, honest_y: held-out predictions of the honest ones [n].
    """
    excess = (honest_predicted - honest_y)[np.isfinite(honest_predicted)]
    there = np.isfinite(predicted)
    if not len(excess):
        return Fooled((), 0)
    limit = np.quantile(excess, OVERRATED)
    over = there & (np.where(there, predicted, 0.0) - y > limit)
    return Fooled(tuple(name for name, each in zip(names, over, strict=True) if each), int(there.sum()))


def _mean_errors(predicted: Floats, y: Floats, weights: Floats) -> Floats:
    there = np.isfinite(predicted)
    with np.errstate(invalid="ignore", divide="ignore"):
        return weights[:, there] @ np.abs(predicted - y)[there] / weights[:, there].sum(axis=1)
