"""What a predictors study found, in plain words."""

from collections.abc import Iterator, Sequence

from bench.charts.numbers import number
from bench.study.indicators import BASELINE, PAPERS
from bench.study.prediction import Fooled
from bench.study.predictors import ATTACKED, Findings, Predictors
from bench.study.ranks import Estimate
from leaderboards import text

#: Names in a sentence, at most.
MOST_NAMES = 6
#: How a sentence gives a verdict.
VERDICTS = {
    "confirmed": "confirmed for",
    "not confirmed": "the opposite for",
    "undecided": "undecided for",
}


def summary(result: Predictors) -> list[str]:
    """The answers over all indicators, one sentence each."""
    known = [each for each in result.findings if each.across.value is not None]
    if not known:
        return ["There are too few networks for any answer yet."]
    return [*_correlations(known), *_predictions(result), *_fooled(result)]


def _correlations(known: Sequence[Findings]) -> Iterator[str]:
    best = max(known, key=lambda each: abs(each.across.value or 0.0))
    significant = [each for each in known if each.across.significant]
    yield (
        f"Of {text.count(len(known), 'quantity')}, {len(significant)} order the networks "
        f"as robustness does, or the other way around (p < 0.05 after correction). The strongest is "
        f"{best.indicator.title}: τ = {_tau(best.across)}."
    )
    for each in known:
        if each.indicator.score == "clean_accuracy":
            yield f"Clean accuracy alone has τ = {_tau(each.across)}."
    left = [each for each in known if each.given_clean.significant and each.indicator.paper != BASELINE]
    yield f"Given clean accuracy, {_named(left)} still {_verb(left, 'tells', 'tell')} robustness."
    inside = [each for each in known if each.given_family.significant]
    yield f"Among networks of one defense family, {_named(inside)} {_verb(inside, 'does', 'do')}."
    standard = [each for each in known if each.within_standard.significant]
    yield f"Among networks trained without a defense, {_named(standard)} {_verb(standard, 'does', 'do')}."


def _predictions(result: Predictors) -> Iterator[str]:
    with_error = [each for each in result.findings if each.error.value is not None]
    attack, mean = result.attack.error, result.baselines[0].error
    if not with_error or attack.value is None:
        yield "There are too few families for a prediction of one from the others."
        return
    best = min(with_error, key=lambda each: each.error.value or 0.0)
    yield (
        f"Predicting a family of defenses from the others, the best is {best.indicator.title}, off by "
        f"{_points(best.error)} on average; the mean of the other families is off by {_points(mean)}, and "
        f"attacking {ATTACKED} images with PGD-20 by {_points(attack)}."
    )
    better = [
        each
        for each in with_error
        if each.against_attack.significant and (each.against_attack.value or 0) < 0
    ]
    verb = _verb(better, "predicts", "predict")
    yield f"{_named(better, capital=True)} {verb} better than those {ATTACKED} images."


def _fooled(result: Predictors) -> Iterator[str]:
    if not result.broken:
        return
    tried = [each for each in result.findings if each.fooled.measured]
    over = sorted((each for each in tried if each.fooled.names), key=lambda each: -len(each.fooled.names))
    yield (
        f"Broken networks fool {len(over)} of {len(tried)} quantities, most of all {_named(over)}; they fool "
        f"PGD-20 on {ATTACKED} images in {_times(result.attack.fooled)}."
        if over
        else f"Broken networks fool none of {len(tried)} quantities."
    )


def _times(fooled: Fooled) -> str:
    return f"{len(fooled.names)} of {fooled.measured} cases"


def by_paper(result: Predictors) -> dict[str, str]:
    """What it means for each paper."""
    found = {}
    for paper in PAPERS:
        own = [each for each in result.findings if each.indicator.paper == paper and paper != BASELINE]
        if own and any(each.across.value is not None for each in own):
            found[paper] = " ".join(_paper(own))
    return found


def _paper(own: Sequence[Findings]) -> Iterator[str]:
    parts = [
        f"{said} {_named(some)}"
        for word, said in VERDICTS.items()
        if (some := [each for each in own if each.verdict == word])
    ]
    if parts:
        yield f"The claimed sign of the correlation with robustness is {'; '.join(parts)}."
        within = [each for each in own if each.verdict_within == "confirmed"]
        yield f"Within standard training alone it is confirmed for {_named(within)}."
    silent = [each for each in own if each.indicator.sign is None and each.across.significant]
    if silent:
        verb = _verb(silent, "correlates", "correlate")
        yield f"Without a claimed sign, {_named(silent)} {verb} with robustness."
    useful = [each for each in own if each.given_clean.significant]
    yield f"Given clean accuracy, {_named(useful)} still {_verb(useful, 'does', 'do')}."
    better = [
        each for each in own if each.against_attack.significant and (each.against_attack.value or 0) < 0
    ]
    if any(each.against_attack.value is not None for each in own):
        verb = _verb(better, "predicts", "predict")
        yield f"{_named(better, capital=True)} {verb} better than {ATTACKED} attacked images."


def _named(some: Sequence[Findings], *, capital: bool = False) -> str:
    if not some:
        return "None" if capital else "none"
    titles = [each.indicator.title for each in some]
    if len(titles) > MOST_NAMES:
        return f"{', '.join(titles[:MOST_NAMES])} and {len(titles) - MOST_NAMES} more"
    return " and ".join(filter(None, (", ".join(titles[:-1]), titles[-1])))


def _verb(some: Sequence[Findings], one: str, several: str) -> str:
    return several if len(some) > 1 else one


def _tau(found: Estimate) -> str:
    if found.value is None or found.low is None or found.high is None:
        return "—"
    return f"{number(found.value, 2)} ({number(found.low, 2)} to {number(found.high, 2)})"


def _points(found: Estimate) -> str:
    return "—" if found.value is None else f"{number(100 * found.value, 1)} points"
