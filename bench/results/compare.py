"""Two results side by side: what separates them, in numbers and in words."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from bench.core.errors import UserError
from bench.core.names import CLEAN_ACCURACY, ROBUST_ACCURACY, WORST_CASE
from bench.core.record import NORM_SIGNS
from bench.core.statistics import (
    Difference,
    mean_difference,
    paired_difference,
    paired_p_value,
    unpaired_difference,
    wilson,
)
from bench.results.contenders import Contender, read_contenders
from leaderboards.columns import COLUMNS
from leaderboards.entry import Summary
from leaderboards.rank import LEVEL

LABELS = {column.metric: column.title.removesuffix(" %") for column in COLUMNS} | {
    CLEAN_ACCURACY: "clean images",
    WORST_CASE: "the worst case of all attacks",
}


@dataclass(frozen=True)
class Share:
    """An accuracy: mean over seeds, Wilson interval for the choice of images, spread over training seeds."""

    value: float
    low: float
    high: float
    n: int
    seeds: int
    std: float | None


@dataclass(frozen=True)
class Row:
    """One metric of two contenders.

    Attributes:
        difference: A minus B, with its 95 % interval.
        method: "paired" on the same images, or "unpaired".
        p_value: of the paired test; None for unpaired intervals.
        better: "A", "B", or None where the test images do not separate them.
        over: of a worst case that was taken anew, the attacks that both sides share.
    """

    metric: str
    a: Share
    b: Share
    difference: Difference
    method: str
    p_value: float | None
    better: str | None
    over: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The row in words."""
        where = f"the worst case of {_names(self.over)}" if self.over else _label(self.metric)
        word, place = ("accurate", "on") if self.metric == CLEAN_ACCURACY else ("robust", "under")
        ahead = (
            f"{self.better} is more {word} {place} {where}"
            if self.better
            else f"not separable {place} {where}"
        )
        tail = f", p = {self.p_value:.2g}" if self.p_value is not None else ", unpaired intervals"
        difference = self.difference
        return (
            f"{ahead}: A {_percent(self.a)} against B {_percent(self.b)}, difference "
            f"{100 * difference.value:.1f} points ({100 * difference.low:.1f} to {100 * difference.high:.1f}){tail}"
        )


@dataclass(frozen=True)
class Comparison:
    """Two contenders, metric by metric; the worst case first.

    Attributes:
        notes: what to know before believing a row.
    """

    a: Contender
    b: Contender
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain JSON."""
        return {
            "a": self.a.name,
            "b": self.b.name,
            "rows": [{**asdict(row), "verdict": row.verdict} for row in self.rows],
            "notes": list(self.notes),
        }


def compare_paths(a: Path, b: Path, *, unpaired: bool = False) -> tuple[list[Comparison], list[str]]:
    """Compare two results, or two boards entry by entry.

    Args:
        a, b: a record, a folder of records, or a board's JSON export. Where both hold several entries, those
            of one defense, network and setting meet; a single entry meets every one of the other side.
        unpaired: compare by unpaired intervals where the images, the battery's version or the per-image outcomes
            do not allow a paired test.

    Returns:
        The comparisons, and notes on what found no partner.

    Raises:
        UserError: when a path holds nothing, or nothing of it can be compared; the message says why.
    """
    first, second = read_contenders(a), read_contenders(b)
    if len(first) == 1 or len(second) == 1:
        pairs, notes = [(one, other) for one in first for other in second], []
    else:
        pairs = [(one, other) for one in first for other in second if one.key == other.key]
        in_both = {one.key for one, _ in pairs}
        notes = [
            f"only in {side}: {one.name}"
            for side, contenders in (("A", first), ("B", second))
            for one in contenders
            if one.key not in in_both
        ]
        if not pairs:
            raise UserError(f"{a} and {b} have no entry of the same defense, network and setting")
    if len(pairs) == 1:
        return [compare(*pairs[0], unpaired=unpaired)], notes
    found = []
    for one, other in pairs:
        try:
            found.append(compare(one, other, unpaired=unpaired))
        except UserError as error:
            notes.append(f"not compared: {one.name} and {other.name}: {error}")
    if not found:
        raise UserError(notes[-1])
    return found, notes


def compare(a: Contender, b: Contender, *, unpaired: bool = False) -> Comparison:
    """Compare two contenders on every accuracy that both have; with ε = 0, where all are the same, on clean images.

    Two worst cases compare only when the attacks behind them and their settings agree. Where they do not, both are
    taken anew over the attacks that agree, or left out; a note says so.

    Args:
        unpaired: as for `compare_paths`.

    Raises:
        UserError: for another data set or threat; for another subset or battery version, or missing per-image
            outcomes, unless `unpaired` is set.
    """
    _refuse_other_task(a, b)
    apart = _differences(a, b)
    if apart and not unpaired:
        raise UserError(f"no paired test: {'; '.join(apart)}; --unpaired compares intervals instead")
    notes = [f"unpaired intervals throughout: {'; '.join(apart)}"] if apart else []
    unattacked = _unattacked(a)
    over: tuple[str, ...] = ()
    if not unattacked:
        a, b, over, note = _same_worst_case(a, b)
        notes += [note] if note else []
    common, rows, without = _common(a, b), [], []
    if unattacked:
        notes.append("ε = 0, so that nothing is attacked: clean accuracy alone is compared")
        common = sorted(common, key=lambda metric: metric != CLEAN_ACCURACY)[:1]
    for metric in common:
        if not unattacked and not _same_settings(a, b, metric):
            notes.append(f"{metric} was measured with other settings and is left out")
            continue
        arrays = None if apart else _paired(a, b, metric)
        if arrays is None and not unpaired:
            without.append(metric)
            continue
        row = _row(a, b, metric, arrays)
        if metric == WORST_CASE:
            row = replace(row, over=over)
        rows.append(replace(row, metric=CLEAN_ACCURACY) if unattacked else row)
    if not rows:
        what = f"no per-image outcomes for {', '.join(without)}" if without else "no accuracy in common"
        hint = "; --unpaired compares intervals instead" if without else ""
        raise UserError(f"{a.name} and {b.name}: {what}{hint}")
    if without:
        notes.append(f"left out for want of per-image outcomes (see --unpaired): {', '.join(without)}")
    return Comparison(a, b, tuple(rows), (*notes, *_cautions(rows)))


def _refuse_other_task(a: Contender, b: Contender) -> None:
    apart = []
    if a.board["dataset"] != b.board["dataset"]:
        apart.append(f"the data set is {a.board['dataset']} for A and {b.board['dataset']} for B")
    threats = [(side.board["norm"], Fraction(str(side.board["eps"]))) for side in (a, b)]
    # With ε = 0 the norm makes no difference.
    if threats[0] != threats[1] and not (_unattacked(a) and _unattacked(b)):
        written = [f"{NORM_SIGNS[norm]}, ε = {eps}" for norm, eps in threats]
        apart.append(f"the threat is {written[0]} for A and {written[1]} for B")
    if apart:
        raise UserError(f"A and B do not compare: {'; '.join(apart)}")


def _unattacked(contender: Contender) -> bool:
    return Fraction(str(contender.board["eps"])) == 0


def _differences(a: Contender, b: Contender) -> list[str]:
    """Why two contenders allow no paired test."""
    found = []
    if a.board["version"] != b.board["version"]:
        found.append(f"battery version {a.board['version']} for A and {b.board['version']} for B")
    if a.board["evaluated"] != b.board["evaluated"]:
        found.append("they were attacked on different test images")
    return found


def _same_settings(a: Contender, b: Contender, metric: str) -> bool:
    return metric not in a.settings or metric not in b.settings or a.settings[metric] == b.settings[metric]


def _same_worst_case(a: Contender, b: Contender) -> tuple[Contender, Contender, tuple[str, ...], str]:
    """Both with worst cases over the same attacks, or without any.

    Returns:
        The two; the attacks, where the worst cases were taken anew; and a note, empty where nothing was changed.
    """
    if not all(side.scores.get(WORST_CASE) for side in (a, b)):
        return a, b, (), ""
    first, second = _attacks(a), _attacks(b)
    shared = tuple(sorted(name for name in first & second if _same_settings(a, b, name)))
    if set(shared) == first | second:
        return a, b, (), ""
    apart = f"the worst cases are of different attacks (A: {_names(first)}; B: {_names(second)})"
    other = sorted(first & second - set(shared))
    apart += f", {_names(other)} with other settings" if other else ""
    if not shared:
        return _without_worst_case(a), _without_worst_case(b), (), f"{apart} and are left out"
    if not all(name in side.outcomes for side in (a, b) for name in shared):
        why = f"for want of per-image outcomes of {_names(shared)} they are left out"
        return _without_worst_case(a), _without_worst_case(b), (), f"{apart}; {why}"
    anew = f"{apart}; taken anew over what both share: {_names(shared)}"
    return _worst_case_over(a, shared), _worst_case_over(b, shared), shared, anew


def _attacks(contender: Contender) -> set[str]:
    return {
        name
        for name, score in contender.scores.items()
        if name.startswith(ROBUST_ACCURACY) and name != WORST_CASE and score.mean is not None
    }


def _without_worst_case(contender: Contender) -> Contender:
    kept = {name: score for name, score in contender.scores.items() if name != WORST_CASE}
    return replace(contender, scores=kept)


def _worst_case_over(contender: Contender, attacks: Sequence[str]) -> Contender:
    outcomes = np.logical_and.reduce([contender.outcomes[name] for name in attacks])
    share, score = _share(outcomes), contender.scores[WORST_CASE]
    anew = replace(score, mean=share.value, std=share.std, low=share.low, high=share.high, n=share.n)
    return replace(
        contender,
        scores={**contender.scores, WORST_CASE: replace(anew, seeds=share.seeds)},
        outcomes={**contender.outcomes, WORST_CASE: outcomes},
    )


def _label(metric: str) -> str:
    return LABELS.get(metric, metric.removeprefix(ROBUST_ACCURACY))


def _names(attacks: Iterable[str]) -> str:
    return ", ".join(map(_label, sorted(attacks))) or "none"


def _common(a: Contender, b: Contender) -> list[str]:
    """The accuracies that both have: the worst case, clean images, then the attacks as the board shows them."""
    both = {
        name
        for name in a.scores.keys() & b.scores.keys()
        if a.scores[name].mean is not None and b.scores[name].mean is not None
    }
    order = [WORST_CASE, CLEAN_ACCURACY, *(column.metric for column in COLUMNS)]
    return sorted(both, key=lambda name: (order.index(name) if name in order else len(order), name))


def _paired(a: Contender, b: Contender, metric: str) -> tuple[np.ndarray, np.ndarray] | None:
    first, second = a.outcomes.get(metric), b.outcomes.get(metric)
    if first is None or second is None or first.shape[1] != second.shape[1]:
        return None
    return first, second


def _row(a: Contender, b: Contender, metric: str, arrays: tuple[np.ndarray, np.ndarray] | None) -> Row:
    if arrays is None:
        shares = _exported_share(a.scores[metric]), _exported_share(b.scores[metric])
        counts = [(round(share.value * share.n), share.n) for share in shares]
        difference = unpaired_difference(counts[0], counts[1])
        p_value, separable = None, difference.low > 0 or difference.high < 0
    else:
        shares = _share(arrays[0]), _share(arrays[1])
        alone = len(arrays[0]) == len(arrays[1]) == 1
        difference = paired_difference(arrays[0][0], arrays[1][0]) if alone else mean_difference(*arrays)
        p_value = paired_p_value(*arrays)
        separable = p_value < LEVEL
    better = ("A" if difference.value > 0 else "B") if separable else None
    return Row(metric, *shares, difference, "unpaired" if arrays is None else "paired", p_value, better)


def _share(outcomes: np.ndarray) -> Share:
    """Of bool [seeds, n]: the interval's ends are the means of the seeds' own Wilson intervals."""
    seeds, n = outcomes.shape
    intervals = np.array([wilson(int(row.sum()), n) for row in outcomes])
    std = float(outcomes.mean(axis=1).std(ddof=1)) if seeds > 1 else None
    low, high = intervals.mean(axis=0)
    return Share(float(outcomes.mean()), float(low), float(high), n, seeds, std)


def _exported_share(score: Summary) -> Share:
    assert score.mean is not None
    if not score.n:
        raise UserError("an accuracy without its number of images has no interval")
    low, high = wilson(round(score.mean * score.n), score.n)
    return Share(
        score.mean,
        low if score.low is None else score.low,
        high if score.high is None else score.high,
        score.n,
        score.seeds,
        score.std,
    )


def _cautions(rows: Sequence[Row]) -> Iterable[str]:
    seeds = {(row.a.seeds, row.b.seeds) for row in rows}
    if (1, 1) in seeds:
        yield (
            "one training seed each: this separates these two networks, not yet their defenses; "
            "train several seeds for that"
        )
    else:
        yield "± is the standard deviation over training seeds; intervals are for the choice of test images"
    if len(rows) > 2:
        worst = any(row.metric == WORST_CASE for row in rows)
        quote = "; the worst case is the one to quote" if worst else ""
        yield f"p-values are not corrected for looking at several attacks{quote}"


def _percent(share: Share) -> str:
    spread = f" ± {100 * share.std:.1f} over {share.seeds} seeds" if share.std is not None else ""
    return f"{share.value:.1%}{spread} ({100 * share.low:.1f} to {100 * share.high:.1f})"
