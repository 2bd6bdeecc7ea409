"""How a record's worst case stands: the alarms it raises, what answered them, and the lowest number known.

This module needs no torch, so that boards, comparisons and tracking judge alike.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.core.intervals import proportion_interval
from bench.core.names import SUSPICIOUS, WORST_CASE
from bench.core.record import Alarm, Record, Score

#: The alarm that the verdict of the extra checks is, and the score of what survives them.
VERDICT = "extra checks"
CHECKED = SUSPICIOUS + "worst_case"
#: The alarm that says that there is nothing to measure; it overstates no robustness, so nothing has to answer it.
NO_SIGNAL = "no signal"
#: Extra checks answer nothing if they break at most this share of the images and leave more right without a bound.
UNBOUNDED_LIMIT = 0.01
#: Nor do they if they leave more than this share right without a bound, whatever they broke.
LEFT_LIMIT = 0.05


@dataclass(frozen=True)
class Standing:
    """How a worst case stands.

    Attributes:
        raised: names of the raised alarms, without the verdict of the extra checks.
        answer: what the extra checks found, in words; "" where none ran or none was needed.
        in_doubt: whether a raised alarm has no answer: no extra checks ran, or their attacks fail.
    """

    raised: tuple[str, ...] = ()
    answer: str = ""
    in_doubt: bool = False

    def __str__(self) -> str:
        if not self.raised:
            return "no alarm raised"
        found = f"in doubt: {self.finding}" if self.in_doubt else self.answer and f"answered by {self.answer}"
        return f"alarms: {', '.join(self.raised)}{f' ({found})' if found else ''}"

    @property
    def finding(self) -> str:
        """The answer, or that an alarm has none; "" where none is needed."""
        return self.answer or ("no extra checks ran" if self.in_doubt else "")


def standing(record: Record) -> Standing:
    """How the worst case of a record stands."""
    raised = tuple(alarm.name for alarm in record.alarms if alarm.raised and alarm.name != VERDICT)
    verdict = verdict_of(record)
    if verdict is None:
        return Standing(raised, "", needs_answer(record.alarms, record.metrics))
    before, after = (verdict.numbers.get(key) or 0.0 for key in ("worst_case", "with_extra_checks"))
    unbounded = verdict.numbers.get("unbounded") or 0.0
    # Attacks that break little here, and not all without a bound either, are no answer.
    failed = unbounded > LEFT_LIMIT or (unbounded > UNBOUNDED_LIMIT and before - after <= UNBOUNDED_LIMIT)
    return Standing(raised, _answer(verdict, unbounded), bool(raised) and failed)


def findings(seeds: Sequence[int], standings: Sequence[Standing]) -> tuple[str, ...]:
    """What answered the raised alarms of several networks, or that nothing did, each finding with its seeds."""
    found: dict[str, list[str]] = {}
    for seed, each in zip(seeds, standings, strict=True):
        if each.raised and each.finding:
            found.setdefault(each.finding, []).append(str(seed))
    return tuple(f"seed {', '.join(of)}: {text}" if len(seeds) > 1 else text for text, of in found.items())


def verdict_of(record: Record) -> Alarm | None:
    """The verdict of the extra checks; None where none ran."""
    verdict = next((alarm for alarm in record.alarms if alarm.name == VERDICT), None)
    return verdict if CHECKED in record.metrics else None


def needs_answer(alarms: Iterable[Alarm], scores: Mapping[str, Score]) -> bool:
    """Whether alarms of a battery call for extra checks; a worst case of zero cannot be too high."""
    worst = scores.get(WORST_CASE)
    raised = any(alarm.raised and alarm.name not in (NO_SIGNAL, VERDICT) for alarm in alarms)
    return raised and not (worst is not None and worst.value == 0)


def _answer(verdict: Alarm, unbounded: float) -> str:
    before, after = verdict.numbers.get("worst_case"), verdict.numbers.get("with_extra_checks")
    counts = {
        name.removeprefix("broken_by_"): round(count)
        for name, count in verdict.numbers.items()
        if name.startswith("broken_by_") and count
    }
    if before is None or after is None:
        answer = VERDICT
    elif after < before:
        answer = f"{VERDICT}: worst case {after:.1%} instead of {before:.1%}"
    else:
        answer = f"{VERDICT}: worst case stays {before:.1%}"
    if counts:
        answer += f"; {', '.join(f'{name} broke {count}' for name, count in counts.items())}"
    return answer + (f"; {unbounded:.1%} survive without a bound" if unbounded > UNBOUNDED_LIMIT else "")


def count_checks(
    record: Record, worst: np.ndarray | None, checked: np.ndarray | None
) -> tuple[Record, np.ndarray | None]:
    """A record whose worst case is the lowest number known: with the extra checks, which older records left out.

    Args:
        record: as it was written.
        worst: bool [n], which images survive the battery; None where not stored.
        checked: bool [m ≤ n], which of the first images survive the extra checks too; None where not stored.

    Returns:
        The record, unchanged where the checks are counted already, and bool [n], which images nothing broke.
    """
    score, after = record.metrics.get(WORST_CASE), record.metrics.get(CHECKED)
    if score is None or score.value is None or after is None or after.value is None:
        return record, worst
    if worst is not None and checked is not None and checked.dtype == bool and len(checked) <= len(worst):
        together = worst.copy()
        together[: len(checked)] &= checked
        if int(together.sum()) == int(worst.sum()):
            return record, worst
        return with_worst_case(record, lowered(score, int(together.sum()), VERDICT)), together
    verdict = verdict_of(record)
    before = verdict.numbers.get("worst_case") if verdict else None
    if before is None or not score.n or not after.n or "extra checks" in score.reason:
        return record, worst
    left = round(score.value * score.n) - round((before - after.value) * after.n)
    return with_worst_case(record, lowered(score, max(left, 0), VERDICT)), None


def lowered(score: Score, left: int, by: str) -> Score:
    """A worst case of `left` surviving images, and what it was before."""
    if score.value is None or not score.n or left >= round(score.value * score.n):
        return score
    low, high = proportion_interval(left, score.n)
    reason = f"{score.value:.1%} before {by}{f'; {score.reason}' if score.reason else ''}"
    return replace(score, value=left / score.n, low=low, high=high, reason=reason)


def with_worst_case(record: Record, score: Score) -> Record:
    """The record with another worst case."""
    return record.model_copy(update={"metrics": {**record.metrics, WORST_CASE: score}})
