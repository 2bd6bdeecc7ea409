"""Compare two results: the difference of every accuracy, with its interval and a verdict in words."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.core.errors import UserError
from bench.core.limits import exact_number
from bench.core.names import CLEAN_ACCURACY, WORST_CASE
from bench.core.record import threat_title
from bench.core.statistics import (
    Difference,
    mean_difference,
    paired_difference,
    paired_p_value,
    unpaired_difference,
)
from bench.results.accuracy import Accuracy, accuracy_of, accuracy_of_score
from bench.results.candidates import Candidate, alarm_notes, read_candidates
from bench.results.worst_case import (
    label,
    labels,
    over_common_attacks,
    same_settings,
)
from leaderboards.columns import COLUMNS
from leaderboards.rank import LEVEL


@dataclass(frozen=True)
class ComparedAccuracy:
    """One accuracy of two candidates.

    Attributes:
        difference: A minus B, with its 95 % interval.
        method: "paired" on the same images, or "unpaired".
        p_value: of the paired test; None for unpaired intervals.
        better: "A", "B", or None where the test images do not separate them.
        over: the common attacks of a worst case that was computed again over these.
        doubt: the sides whose robust accuracies are in doubt, as a raised alarm has no answer.
        masked: the sides whose single attacks are no evidence, as they raise alarms.
    """

    metric: str
    a: Accuracy
    b: Accuracy
    difference: Difference
    method: str
    p_value: float | None
    better: str | None
    over: tuple[str, ...] = ()
    doubt: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The comparison in words."""
        where = f"the worst case of {labels(self.over)}" if self.over else label(self.metric)
        word, preposition = ("accurate", "on") if self.metric == CLEAN_ACCURACY else ("robust", "under")
        ahead = "A" if self.difference.value > 0 else "B"
        if self.better and self.metric not in (WORST_CASE, CLEAN_ACCURACY) and self.better in self.masked:
            finding = f"{self.better} is more often right under {where}, no evidence as it raises alarms"
        elif self.better:
            finding = f"{self.better} is more {word} {preposition} {where}"
        elif ahead in self.doubt:
            finding = f"not decided {preposition} {where}, as {ahead} is in doubt"
        else:
            finding = f"not separable {preposition} {where}"
        if self.p_value is None:
            tail = ", unpaired intervals"
        else:
            tail = ", p < 1e-16" if self.p_value < 1e-16 else f", p = {self.p_value:.2g}"
        difference = self.difference
        return (
            f"{finding}: A {self._number('A')} against B {self._number('B')}, difference "
            f"{100 * difference.value:.1f} points ({100 * difference.low:.1f} to {100 * difference.high:.1f}){tail}"
        )

    def _number(self, side: str) -> str:
        """The accuracy of a side, in parentheses where it is in doubt."""
        text = _percent(self.a if side == "A" else self.b)
        return f"({text})" if side in self.doubt else text


@dataclass(frozen=True)
class Comparison:
    """Two candidates, accuracy by accuracy; the worst case first.

    Attributes:
        notes: cautions on how to read the rows.
    """

    a: Candidate
    b: Candidate
    rows: tuple[ComparedAccuracy, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The comparison as plain JSON."""
        return {
            "a": self.a.name,
            "b": self.b.name,
            "alarms": {"a": self.a.alarms, "b": self.b.alarms},
            "in_doubt": {"a": self.a.in_doubt, "b": self.b.in_doubt},
            "rows": [{**asdict(row), "verdict": row.verdict} for row in self.rows],
            "notes": list(self.notes),
        }


def compare_paths(a: Path, b: Path, *, unpaired: bool = False) -> tuple[list[Comparison], list[str]]:
    """Compare two results, or two boards entry by entry.

    Args:
        a, b: a record, a folder of records, or a board's JSON export. Where both hold several entries, entries of
            the same defense, network and setting are compared. A single entry is compared with every entry of the
            other side.
        unpaired: compare unpaired intervals where the images, the battery's version or missing per-image outcomes
            do not allow a paired test.

    Returns:
        The comparisons, and notes on entries without a partner.

    Raises:
        UserError: when a path holds no results, or no pair can be compared; the message says why.
    """
    first, second = read_candidates(a), read_candidates(b)
    if len(first) == 1 or len(second) == 1:
        pairs, notes = [(one, other) for one in first for other in second], []
    else:
        pairs = [(one, other) for one in first for other in second if one.key == other.key]
        in_both = {one.key for one, _ in pairs}
        notes = [
            f"only in {side}: {one.name}"
            for side, candidates in (("A", first), ("B", second))
            for one in candidates
            if one.key not in in_both
        ]
        if not pairs:
            raise UserError(f"{a} and {b} have no entry of the same defense, network and setting")
    if len(pairs) == 1:
        return [compare(*pairs[0], unpaired=unpaired)], notes
    comparisons: list[Comparison] = []
    refused: dict[str, list[str]] = {}
    for one, other in pairs:
        try:
            comparisons.append(compare(one, other, unpaired=unpaired))
        except UserError as error:
            refused.setdefault(str(error), []).append(f"{one.name} and {other.name}")
    why = [
        f"not compared: {found[0]}{f' and {len(found) - 1} other pairs' if found[1:] else ''}: {error}"
        for error, found in refused.items()
    ]
    if not comparisons:
        # The fewer differences, the nearer to what was meant.
        raise UserError(". ".join(sorted(why, key=lambda line: (line.count(" for A and "), len(line)))[:3]))
    return comparisons, notes + why


def compare(a: Candidate, b: Candidate, *, unpaired: bool = False) -> Comparison:
    """Compare two candidates on every accuracy that both have.

    With ε = 0 all accuracies are the same, so only clean accuracy is compared. Two worst cases are comparable only
    over the same attacks with the same settings. Otherwise both are computed again over the attacks that agree, or
    left out, and a note says so.

    Args:
        unpaired: as for `compare_paths`.

    Raises:
        UserError: for different data sets or threats. Without `unpaired`, also for different test images or battery
            versions, or missing per-image outcomes.
    """
    _refuse_other_task(a, b)
    obstacles = _obstacles_to_pairing(a, b)
    if obstacles and not unpaired:
        raise UserError(f"no paired test: {'; '.join(obstacles)}; --unpaired compares intervals instead")
    notes = [f"unpaired intervals throughout: {'; '.join(obstacles)}"] if obstacles else []
    unattacked = _unattacked(a)
    over: tuple[str, ...] = ()
    if not unattacked:
        a, b, over, note = over_common_attacks(a, b)
        notes += [note] if note else []
    common, rows, without_outcomes = _common_accuracies(a, b), [], []
    if unattacked:
        notes.append("ε = 0, so there is no attack: only clean accuracy is compared")
        common = sorted(common, key=lambda metric: metric != CLEAN_ACCURACY)[:1]
    for metric in common:
        if not unattacked and not same_settings(a, b, metric):
            notes.append(f"{metric} was measured with other settings and is left out")
            continue
        outcomes = None if obstacles else _paired_outcomes(a, b, metric)
        if outcomes is None and not unpaired:
            without_outcomes.append(metric)
            continue
        row = _compared_accuracy(a, b, metric, outcomes)
        if metric != CLEAN_ACCURACY and not unattacked:
            row = _with_alarms(row, a, b)
        if metric == WORST_CASE:
            row = replace(row, over=over)
        rows.append(replace(row, metric=CLEAN_ACCURACY) if unattacked else row)
    missing = ", ".join(without_outcomes)
    if not rows:
        why = f"no per-image outcomes for {missing}" if missing else "no accuracy in common"
        hint = "; --unpaired compares intervals instead" if missing else ""
        raise UserError(f"{a.name} and {b.name}: {why}{hint}")
    if missing:
        notes.append(f"left out, because per-image outcomes are missing (see --unpaired): {missing}")
    return Comparison(a, b, tuple(rows), (*alarm_notes(a, b), *notes, *_cautions(rows)))


def _with_alarms(row: ComparedAccuracy, a: Candidate, b: Candidate) -> ComparedAccuracy:
    """The row with what alarms say of it: a side in doubt is not the better one, as its number may yet fall."""
    sides = {"A": a, "B": b}
    doubt = tuple(name for name, side in sides.items() if side.in_doubt)
    masked = tuple(name for name, side in sides.items() if side.raises)
    return replace(row, doubt=doubt, masked=masked, better=None if row.better in doubt else row.better)


def _refuse_other_task(a: Candidate, b: Candidate) -> None:
    different = []
    if a.board["dataset"] != b.board["dataset"]:
        different.append(f"the data set is {a.board['dataset']} for A and {b.board['dataset']} for B")
    threats = [(side.board["norm"], exact_number(side.board["eps"])) for side in (a, b)]
    # With ε = 0 the norm makes no difference.
    if threats[0] != threats[1] and not (_unattacked(a) and _unattacked(b)):
        written = [threat_title(norm, eps) for norm, eps in threats]
        different.append(f"the threat is {written[0]} for A and {written[1]} for B")
    if different:
        raise UserError(f"A and B are not comparable: {'; '.join(different)}")


def _unattacked(candidate: Candidate) -> bool:
    return exact_number(candidate.board["eps"]) == 0


def _obstacles_to_pairing(a: Candidate, b: Candidate) -> list[str]:
    found = []
    if a.board["version"] != b.board["version"]:
        found.append(f"battery version {a.board['version']} for A and {b.board['version']} for B")
    if a.board["evaluated"] != b.board["evaluated"]:
        found.append("they were attacked on different test images")
    return found


def _common_accuracies(a: Candidate, b: Candidate) -> list[str]:
    """The accuracies that both have: the worst case, clean images, then the attacks in the board's order."""
    both = {
        name
        for name in a.scores.keys() & b.scores.keys()
        if a.scores[name].mean is not None and b.scores[name].mean is not None
    }
    order = [WORST_CASE, CLEAN_ACCURACY, *(column.metric for column in COLUMNS)]
    return sorted(both, key=lambda name: (order.index(name) if name in order else len(order), name))


def _paired_outcomes(a: Candidate, b: Candidate, metric: str) -> tuple[np.ndarray, np.ndarray] | None:
    first, second = a.outcomes.get(metric), b.outcomes.get(metric)
    if first is None or second is None or first.shape[1] != second.shape[1]:
        return None
    return first, second


def _compared_accuracy(
    a: Candidate, b: Candidate, metric: str, outcomes: tuple[np.ndarray, np.ndarray] | None
) -> ComparedAccuracy:
    """A paired comparison of outcomes bool [seeds, n], or an unpaired one of scores without these."""
    if outcomes is None:
        first, second = accuracy_of_score(a.scores[metric]), accuracy_of_score(b.scores[metric])
        counts = [(round(each.value * each.n), each.n) for each in (first, second)]
        difference = unpaired_difference(counts[0], counts[1])
        p_value, separable = None, difference.low > 0 or difference.high < 0
    else:
        first, second = accuracy_of(outcomes[0]), accuracy_of(outcomes[1])
        single_seeds = len(outcomes[0]) == len(outcomes[1]) == 1
        difference = (
            paired_difference(outcomes[0][0], outcomes[1][0]) if single_seeds else mean_difference(*outcomes)
        )
        p_value = paired_p_value(*outcomes)
        separable = p_value < LEVEL
    better = ("A" if difference.value > 0 else "B") if separable else None
    method = "unpaired" if outcomes is None else "paired"
    return ComparedAccuracy(metric, first, second, difference, method, p_value, better)


def _cautions(rows: Sequence[ComparedAccuracy]) -> Iterable[str]:
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
        yield f"p-values are not corrected for the number of attacks{quote}"


def _percent(accuracy: Accuracy) -> str:
    spread = f" ± {100 * accuracy.std:.1f} over {accuracy.seeds} seeds" if accuracy.std is not None else ""
    return f"{accuracy.value:.1%}{spread} ({100 * accuracy.low:.1f} to {100 * accuracy.high:.1f})"
