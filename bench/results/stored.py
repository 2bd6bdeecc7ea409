"""Whether a record's scores, alarms and curves follow from the arrays that lie beside it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from bench.attacks import ATTACKS
from bench.core.errors import UserError
from bench.core.names import CLEAN_ACCURACY, ROBUST_ACCURACY, SUSPICIOUS
from bench.core.record import Alarm, Curve, Point, Record, Score
from bench.evaluation.alarms import read_alarms
from bench.evaluation.battery import BATTERIES, make_battery
from bench.evaluation.extra_checks import ALARM, WORST, check_called, verdict
from bench.evaluation.files import unflatten
from metrics import METRICS
from metrics import get as get_metric
from metrics.accuracy.robust_accuracy import RobustAccuracy
from metrics.base import Arrays, Metric

#: By how much, relative to the larger or to 1, two computations of one number may differ for rounding.
ROUNDING = 1e-6
#: At most so many differences are named.
NAMED = 5

Outcome = Literal["match", "mismatch", "not checked"]


@dataclass(frozen=True)
class Check:
    """One thing that was checked, its outcome, and what was found."""

    name: str
    outcome: Outcome
    message: str


def check_stored(record: Record, flat: Mapping[str, np.ndarray]) -> Iterator[Check]:
    """Scores with their intervals and sizes, alarms and curves, each computed again from the stored arrays.

    Args:
        record: what it says.
        flat: the arrays as they lie beside it; empty where there are none.
    """
    if not flat:
        for name in ("scores", "alarms", "curves"):
            yield Check(name, "not checked", "no arrays are stored that they could follow from")
        return
    arrays = unflatten(flat)
    yield from _scores_and_curves(record, arrays)
    yield _alarms(record, arrays)


def metric_as_measured(name: str, record: Record) -> Metric | None:
    """The metric that gave a record's arrays of this name, with the record's settings; None where there is none."""
    if name.startswith(SUSPICIOUS):
        return check_called(name)
    settings = record.battery.settings.get(name) or {}
    own = make_battery(record.battery.name).metrics if record.battery.name in BATTERIES else ()
    candidates = [metric for metric in own if metric.name == name]
    if name.removeprefix(ROBUST_ACCURACY) in ATTACKS:
        candidates.append(RobustAccuracy(name.removeprefix(ROBUST_ACCURACY)))
    for registered in METRICS.names():
        # A plug-in that does not load is not what measured this.
        with suppress(UserError):
            metric = get_metric(registered)
            if metric.name == name:
                candidates.append(metric)
    for candidate in candidates:
        if candidate.settings() == settings:
            return candidate
    for candidate in candidates:
        # Most settings bear the names of the arguments; those that do not leave another metric behind.
        with suppress(UserError, TypeError, ValueError):
            metric = type(candidate)(**settings)
            if metric.settings() == settings:
                return metric
    return None


def _scores_and_curves(record: Record, arrays: Mapping[str, Arrays]) -> Iterator[Check]:
    scores: dict[str, Score] = {}
    curves: dict[str, Curve] = {}
    problems, skipped = [], []
    for name, parts in arrays.items():
        metric = metric_as_measured(name, record)
        if metric is None:
            skipped.append(name)
            continue
        try:
            found, drawn = metric.reduce(parts), metric.curves(parts)
        except Exception as error:
            # Arrays of an older version may lack some; those of an accuracy have always been these.
            if name == CLEAN_ACCURACY or name.startswith(ROBUST_ACCURACY) or not isinstance(error, KeyError):
                problems.append(f"{name}: its arrays are unusable ({type(error).__name__}: {error})")
            else:
                skipped.append(name)
            continue
        scores |= found
        curves |= drawn
    differing = [text for name, score in scores.items() for text in _differences(record, name, score)]
    other = [name for name, score in record.metrics.items() if name not in scores and score.value is not None]
    yield _check("scores", [*problems, *differing], len(scores), [*skipped, *other])
    both = sorted(set(curves) & set(record.curves))
    differing = [f"{name} differs" for name in both if not _same_curve(record.curves[name], curves[name])]
    yield _check("curves", differing, len(both), sorted(set(curves) ^ set(record.curves)))


def _check(name: str, problems: Sequence[str], number: int, skipped: Sequence[str]) -> Check:
    left = sorted(set(skipped))
    tail = f"; not checked: {_few(left)}" if left else ""
    if problems:
        return Check(name, "mismatch", f"{_few(problems, '; ')}{tail}")
    if number:
        return Check(name, "match", f"{number} computed again from the stored arrays{tail}")
    return Check(name, "not checked" if left else "match", tail.removeprefix("; ") or "there are none")


def _differences(record: Record, name: str, score: Score) -> Iterator[str]:
    said = record.metrics.get(name)
    if said is None and score.value is None:
        return
    if said is None:
        yield f"{name} is {_written(score.value)} by its arrays, the record has none"
        return
    for key in ("value", "low", "high", "n"):
        ours, theirs = getattr(score, key), getattr(said, key)
        if not _close(ours, theirs):
            what = name if key == "value" else f"{name} ({key})"
            yield f"{what} is {_written(theirs)} in the record, {_written(ours)} by its arrays"


def _same_curve(said: Curve, curve: Curve) -> bool:
    return (said.n, len(said.points)) == (curve.n, len(curve.points)) and all(
        _close(getattr(one, key), getattr(other, key))
        for one, other in zip(said.points, curve.points, strict=True)
        for key in Point.model_fields
    )


def _alarms(record: Record, arrays: Mapping[str, Arrays]) -> Check:
    """A raised alarm that the record hides, or other numbers behind one, is a mismatch.

    One that the record alone raises is none: rules have become milder, and it speaks against nobody else.
    """
    try:
        found = read_alarms(arrays, len(record.dataset.classes))
        if WORST in arrays:
            found.append(verdict(arrays, found))
    except Exception as error:
        return Check("alarms", "mismatch", f"the arrays are unusable ({type(error).__name__}: {error})")
    said = {alarm.name: alarm for alarm in record.alarms}
    problems, milder, unknown = [], [], []
    for alarm in found:
        theirs = said.get(alarm.name)
        if alarm.raised and not (theirs and theirs.raised):
            problems.append(f"{alarm.name} is raised by the arrays, not in the record")
        elif theirs and theirs.raised and alarm.raised is False:
            milder.append(alarm.name)
        elif theirs and theirs.raised is not None and alarm.raised is None:
            unknown.append(alarm.name)
        elif theirs and not _same_numbers(alarm, theirs):
            problems.append(f"{alarm.name} has other numbers in the record")
    unknown += [name for name in said if name == ALARM and WORST not in arrays]
    told = sum(alarm.raised is not None for alarm in found)
    check = _check("alarms", problems, told, unknown)
    tail = f"; raised in the record alone: {', '.join(milder)}" if milder else ""
    return Check("alarms", check.outcome, check.message + tail)


def _same_numbers(ours: Alarm, theirs: Alarm) -> bool:
    shared = ours.numbers.keys() & theirs.numbers.keys()
    return all(_close(ours.numbers[key], theirs.numbers[key]) for key in shared)


def _close(one: object, other: object) -> bool:
    if one is None or other is None:
        return one is other
    first, second = float(cast(float, one)), float(cast(float, other))
    return abs(first - second) <= ROUNDING * max(1.0, abs(first), abs(second))


def _written(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.6g}"


def _few(names: Sequence[str], between: str = ", ") -> str:
    more = f"{between}and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return between.join(names[:NAMED]) + more
