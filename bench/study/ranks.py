"""Kendall's τ of a quantity and robustness over networks, within strata, with a bootstrap over networks."""

from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

from bench.core.randomness import derive_seed

#: Networks that a correlation needs: with fewer, hardly any order is unlikely.
FEWEST = 5
RESAMPLES = 2000
Floats = np.ndarray


@dataclass(frozen=True)
class Estimate:
    """A number over networks, with its 95 % interval and a test that it is zero.

    Attributes:
        value: None with a `reason`.
        low, high: percentiles of the bootstrap.
        p_value: two-sided, of value over bootstrap standard error; `corrected` is Holm's, over the same question
            for all quantities.
        n: networks.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    corrected: float | None = None
    n: int = 0
    reason: str = ""

    @property
    def significant(self) -> bool:
        """Whether it differs from zero at the 5 % level after correction."""
        return self.corrected is not None and self.corrected < 0.05


def resample(strata: Floats, count: int = RESAMPLES, seed: int = 0) -> Floats:
    """How often each network is drawn, with replacement in its stratum [count + 1, n]; the first row is ones."""
    generator = np.random.default_rng(derive_seed(seed, "networks"))
    weights = np.ones((count + 1, len(strata)))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        weights[1:, members] = generator.multinomial(
            len(members), np.full(len(members), 1 / len(members)), count
        )
    return weights


def kendall(x: Floats, y: Floats, strata: Floats, weights: Floats) -> Floats:
    """τ_b of x and y over the pairs of networks in one stratum, for each row of weights [B, n]; NaN without a pair.

    Pairs that are equal in x or in y count as in `scipy.stats.kendalltau`, which this is for one stratum and
    weights of one. A network with weight w is w networks, whose pairs with each other are ties.

    Args:
        x, y: [n]; networks with NaN in either are left out.
        strata: [n], equal for networks that are compared.
    """
    usable = np.isfinite(x) & np.isfinite(y)
    comparable = (strata[:, None] == strata[None]) & usable[:, None] & usable[None]
    with np.errstate(invalid="ignore"):
        sx, sy = (np.where(comparable, np.sign(each[:, None] - each[None]), 0.0) for each in (x, y))
    agree, of_x, of_y = (_quadratic(weights, pairs) for pairs in (sx * sy, np.abs(sx), np.abs(sy)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(of_x * of_y > 0, agree / np.sqrt(of_x * of_y), np.nan)


def partial(x: Floats, y: Floats, given: Floats, strata: Floats, weights: Floats) -> Floats:
    """Kendall's partial τ of x and y given a third quantity, for each row of weights.

    (τ_xy − τ_xz τ_yz) / √((1 − τ_xz²)(1 − τ_yz²)), Kendall 1942, Partial rank correlation.
    """
    usable = np.isfinite(x) & np.isfinite(y) & np.isfinite(given)
    x, y, given = (np.where(usable, each, np.nan) for each in (x, y, given))
    xy, xz, yz = (kendall(*pair, strata, weights) for pair in ((x, y), (x, given), (y, given)))
    spread = (1 - xz**2) * (1 - yz**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 1e-12, (xy - xz * yz) / np.sqrt(spread), np.nan)


def estimate(values: Floats, n: int, reason: str = "") -> Estimate:
    """An estimate from a number and its bootstrap: the first of the values, and the others."""
    value, drawn = float(values[0]), values[1:][np.isfinite(values[1:])]
    if n < FEWEST:
        return Estimate(n=n, reason=f"{n} of the {FEWEST} networks that it needs")
    if not np.isfinite(value) or len(drawn) < len(values) / 2:
        return Estimate(n=n, reason=reason or "the quantity is the same for all networks")
    low, high = np.percentile(drawn, [2.5, 97.5])
    error = float(drawn.std(ddof=1))
    # Without spread, as for a perfect order, the quotient is infinite and the p-value 0; of zero it is 1.
    p_value = 2 * float(stats.norm.sf(abs(value) / error)) if error else float(value == 0)
    return Estimate(value, float(low), float(high), p_value, n=n)


def holm(p_values: list[float | None]) -> list[float | None]:
    """Holm's corrected p-values, of those that are there."""
    known = [each for each in p_values if each is not None]
    corrected = iter(multipletests(known, method="holm")[1] if known else [])
    return [None if each is None else float(next(corrected)) for each in p_values]


def _quadratic(weights: Floats, pairs: Floats) -> Floats:
    """Σ_ij w_i w_j pairs_ij for each row of weights."""
    return np.einsum("bi,bi->b", weights @ pairs, weights)
