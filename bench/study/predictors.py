"""A predictors study: which quantities of a network tell how robust it is; docs/predictors.md is its plan."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bench.core.names import CLEAN_ACCURACY, PGD20
from bench.study.indicators import Indicator, indicators
from bench.study.measured import Network
from bench.study.prediction import (
    Fooled,
    difference_of_errors,
    fooled,
    held_out,
    mean_error,
    mean_of_others,
    monotone,
)
from bench.study.ranks import RESAMPLES, Estimate, Floats, estimate, holm, kendall, partial, resample
from bench.study.regression import Verdict, judge_sign

#: Images of the attack that every indicator has to beat.
ATTACKED = 20
#: Numbers of images that the error of PGD-20 is drawn for.
CURVE = (1, 2, 5, 10, 20, 50, 100)
#: The questions of the plan whose p-values are corrected, each over all indicators.
QUESTIONS = ("across", "given_clean", "given_family", "within_standard")


@dataclass(frozen=True)
class Findings:
    """What was found of one indicator.

    Attributes:
        across: Kendall's τ with robustness, over the networks of each stratum.
        given_clean: the partial τ given clean accuracy.
        given_family: τ over pairs of networks of one defense family.
        within_standard: τ over networks trained without a defense.
        verdict, verdict_within: of the sign that the paper claims, across and within standard training; None where
            it claims none.
        error: mean error of predictions for a family that was held out.
        against_attack: that error less the error of PGD-20 on 20 images.
        equal_images: median number of images that PGD-20 attacks at the cost of the indicator; None where no cost
            is known.
        equal_error: mean error of PGD-20 on as many images.
        cost: median forward passes.
        fooled: broken networks that it overrates.
    """

    indicator: Indicator
    across: Estimate
    given_clean: Estimate
    given_family: Estimate
    within_standard: Estimate
    error: Estimate
    against_attack: Estimate
    equal_images: float | None
    equal_error: Estimate
    cost: float | None
    fooled: Fooled
    verdict: Verdict | None = None
    verdict_within: Verdict | None = None


@dataclass(frozen=True)
class Baseline:
    """A prediction without an indicator: its error, its cost, and the broken networks that it overrates."""

    title: str
    error: Estimate
    cost: float | None
    fooled: Fooled


@dataclass
class Predictors:
    """The results of a predictors study.

    Attributes:
        networks: in the numbers.
        broken: held out.
        curve: median forward passes of PGD-20 on so many images, and its mean error.
    """

    networks: list[Network] = field(default_factory=list)
    broken: list[Network] = field(default_factory=list)
    findings: list[Findings] = field(default_factory=list)
    baselines: list[Baseline] = field(default_factory=list)
    curve: list[tuple[float, Estimate]] = field(default_factory=list)

    @property
    def attack(self) -> Baseline:
        """PGD-20 on 20 images."""
        return self.baselines[-1]


class _Table:
    """Columns over networks."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks = networks
        self.strata = np.array([each.stratum for each in networks], dtype=object)
        self.families = np.array([each.family for each in networks], dtype=object)
        self.robustness = np.array([each.robustness for each in networks], dtype=float)
        #: Robustness on the second half of the images, which no prediction by PGD-20 has seen.
        self.later = np.array([each.survived[len(each.survived) // 2 :].mean() for each in networks])

    def score(self, name: str) -> Floats:
        """A score of each network [n]; NaN where it has none."""
        return np.array([each.scores.get(name, np.nan) for each in self.networks], dtype=float)

    def cost(self, name: str) -> Floats:
        """Forward passes of each network [n]; NaN where unknown."""
        return np.array([each.cost.get(name, np.nan) for each in self.networks], dtype=float)

    def attacked(self, images: Floats) -> Floats:
        """Accuracy under PGD-20 on the first so many images of each network, at most the first half; NaN stays."""
        found = np.full(len(self.networks), np.nan)
        for row, (each, count) in enumerate(zip(self.networks, images, strict=True)):
            if np.isfinite(count):
                found[row] = each.pgd20[: _within_half(each, count)].mean()
        return found


def _within_half(network: Network, count: float) -> int:
    return int(np.clip(round(count), 1, max(1, len(network.pgd20) // 2)))


def analyze(networks: Sequence[Network], resamples: int = RESAMPLES) -> Predictors:
    """Answer the plan's questions; networks with a reason to be left out are in no number.

    Args:
        networks: of a study.
        resamples: of the bootstrap.
    """
    counted = [each for each in networks if not each.left_out]
    honest, broken = ([each for each in counted if each.broken is kind] for kind in (False, True))
    if not honest:
        return Predictors(broken=broken)
    table, tricks = _Table(honest), _Table(broken)
    weights = resample(table.strata, resamples)
    attack = table.attacked(np.full(len(honest), ATTACKED))
    found = [_findings(each, table, tricks, attack, weights) for each in indicators()]
    baselines = _baselines(table, tricks, attack, weights)
    return Predictors(honest, broken, _corrected(found), baselines, list(_curve(table, weights)))


def _findings(
    indicator: Indicator, table: _Table, tricks: _Table, attack: Floats, weights: Floats
) -> Findings:
    x, y = table.score(indicator.score), table.robustness
    standard = np.array([each.standard for each in table.networks])
    both = np.array([f"{s}, {f}" for s, f in zip(table.strata, table.families, strict=True)], dtype=object)
    n = int(np.isfinite(x).sum())
    only_standard = np.where(standard, x, np.nan)
    given_clean = partial(x, y, table.score(CLEAN_ACCURACY), table.strata, weights)
    predicted = held_out(x, table.later, table.strata, table.families)
    images = table.cost(indicator.score) / table.cost(PGD20) * [len(each.pgd20) for each in table.networks]
    # On the same networks as the indicator.
    equal = np.where(np.isfinite(predicted), table.attacked(images), np.nan)
    known = np.isfinite(images)
    return Findings(
        indicator,
        across=estimate(kendall(x, y, table.strata, weights), n),
        given_clean=estimate(given_clean, n, "it orders the networks as clean accuracy does"),
        given_family=estimate(kendall(x, y, both, weights), n),
        within_standard=estimate(
            kendall(only_standard, y, table.strata, weights), int(np.isfinite(only_standard).sum())
        ),
        error=mean_error(predicted, table.later, weights),
        against_attack=difference_of_errors(predicted, attack, table.later, weights),
        equal_images=_median(np.where(known, _capped(table, images), np.nan)),
        equal_error=mean_error(equal, table.later, weights),
        cost=_median(table.cost(indicator.score)),
        fooled=_fooled(indicator.score, table, tricks, predicted),
    )


def _capped(table: _Table, images: Floats) -> Floats:
    counts = [
        _within_half(*pair) if np.isfinite(pair[1]) else 0
        for pair in zip(table.networks, images, strict=True)
    ]
    return np.array(counts, dtype=float)


def _fooled(score: str, table: _Table, tricks: _Table, predicted: Floats) -> Fooled:
    x, guesses = tricks.score(score), np.full(len(tricks.networks), np.nan)
    for stratum in np.unique(tricks.strata):
        own, others = tricks.strata == stratum, table.strata == stratum
        guesses[own] = monotone(table.score(score)[others], table.later[others], x[own])
    names = [each.title for each in tricks.networks]
    return fooled(guesses, tricks.later, names, predicted, table.later)


def _baselines(table: _Table, tricks: _Table, attack: Floats, weights: Floats) -> list[Baseline]:
    names = [each.title for each in tricks.networks]
    mean = mean_of_others(table.later, table.strata, table.families)
    guesses = np.array([_mean_of(table, stratum) for stratum in tricks.strata], dtype=float)
    seen = tricks.attacked(np.full(len(tricks.networks), ATTACKED))
    cost = table.cost(PGD20) * [min(1.0, ATTACKED / len(each.pgd20)) for each in table.networks]
    return [
        Baseline(
            "mean of the other families",
            mean_error(mean, table.later, weights),
            0.0,
            fooled(guesses, tricks.later, names, mean, table.later),
        ),
        Baseline(
            f"PGD-20 on {ATTACKED} images",
            mean_error(attack, table.later, weights),
            _median(cost),
            fooled(seen, tricks.later, names, attack, table.later),
        ),
    ]


def _curve(table: _Table, weights: Floats) -> Iterator[tuple[float, Estimate]]:
    sizes = np.array([len(each.pgd20) for each in table.networks])
    for count in CURVE:
        cost = _median(table.cost(PGD20) * count / sizes)
        if cost is not None and count <= sizes.min() // 2:
            guesses = table.attacked(np.full(len(sizes), count))
            yield cost, mean_error(guesses, table.later, weights)


def _mean_of(table: _Table, stratum: str) -> float:
    own = table.later[table.strata == stratum]
    return float(own.mean()) if len(own) else np.nan


def _corrected(found: list[Findings]) -> list[Findings]:
    """The findings with Holm's correction of each question over all indicators, and their verdicts."""
    for question in (*QUESTIONS, "against_attack"):
        estimates = [getattr(each, question) for each in found]
        corrected = holm([each.p_value for each in estimates])
        pairs = zip(found, estimates, corrected, strict=True)
        found = [replace(each, **{question: replace(one, corrected=p)}) for each, one, p in pairs]
    return [
        replace(
            each,
            verdict=_judged(each, each.across),
            verdict_within=_judged(each, each.within_standard),
        )
        for each in found
    ]


def _judged(found: Findings, tau: Estimate) -> Verdict | None:
    sign = found.indicator.sign
    return judge_sign(sign, tau.value, tau.corrected) if sign else None


def _median(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None
