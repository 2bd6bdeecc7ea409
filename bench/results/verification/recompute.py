"""Compute the scores, alarms and curves of a record again from the arrays that are stored with it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import cast

import numpy as np

from bench.attacks import ATTACKS
from bench.core.errors import UserError
from bench.core.names import ROBUST_ACCURACY, SUSPICIOUS, is_accuracy
from bench.core.record import Alarm, Curve, Point, Record, Score
from bench.evaluation.alarms import read_alarms
from bench.evaluation.battery import BATTERIES, make_battery
from bench.evaluation.extra_checks import ALARM, check_called, verdict
from bench.evaluation.files import unflatten
from bench.evaluation.stronger_attacks import WORST
from bench.results.verification.check import Check, first_few
from metrics import METRICS
from metrics import get as get_metric
from metrics.accuracy.robust_accuracy import RobustAccuracy
from metrics.base import Metric
from metrics.evaluation import Arrays

#: Two computations of one number may differ by this much through rounding, relative to the larger or to 1.
ROUNDING = 1e-6


def check_stored_arrays(record: Record, flat: Mapping[str, np.ndarray]) -> Iterator[Check]:
    """Compare scores (with intervals and sizes), curves and alarms with those that the stored arrays give.

    Args:
        record: states them.
        flat: the stored arrays, as in the record's archive; empty where there are none.
    """
    if not flat:
        for name in ("scores", "alarms", "curves"):
            yield Check(name, "not checked", "no arrays are stored from which they could be computed")
        return
    arrays = unflatten(flat)
    yield from _check_scores_and_curves(record, arrays)
    yield _check_alarms(record, arrays)


def metric_as_measured(name: str, record: Record) -> Metric | None:
    """The metric whose arrays a record stores under a name, with the record's settings; None when unknown."""
    if name.startswith(SUSPICIOUS):
        return check_called(name)
    settings = record.battery.settings.get(name) or {}
    battery = make_battery(record.battery.name).metrics if record.battery.name in BATTERIES else ()
    metrics = [metric for metric in battery if metric.name == name]
    if name.removeprefix(ROBUST_ACCURACY) in ATTACKS:
        metrics.append(RobustAccuracy(name.removeprefix(ROBUST_ACCURACY)))
    for registered in METRICS.names():
        # A plug-in that does not load cannot have measured these arrays.
        with suppress(UserError):
            metric = get_metric(registered)
            if metric.name == name:
                metrics.append(metric)
    for metric in metrics:
        if metric.settings() == settings:
            return metric
    for metric in metrics:
        # Most settings are named like the constructor's arguments. Where they are not, the settings differ.
        with suppress(UserError, TypeError, ValueError):
            rebuilt = type(metric)(**settings)
            if rebuilt.settings() == settings:
                return rebuilt
    return None


def _check_scores_and_curves(record: Record, arrays: Mapping[str, Arrays]) -> Iterator[Check]:
    scores: dict[str, Score] = {}
    curves: dict[str, Curve] = {}
    problems, skipped = [], []
    for name, parts in arrays.items():
        metric = metric_as_measured(name, record)
        if metric is None:
            skipped.append(name)
            continue
        try:
            own_scores, own_curves = metric.reduce(parts), metric.curves(parts)
        except Exception as error:
            # Older versions stored fewer arrays of some metrics, but always the same ones of an accuracy.
            if is_accuracy(name) or not isinstance(error, KeyError):
                problems.append(f"{name}: its arrays are unusable ({type(error).__name__}: {error})")
            else:
                skipped.append(name)
            continue
        scores |= own_scores
        curves |= own_curves
    differing = [text for name, score in scores.items() for text in _differences(record, name, score)]
    other = [name for name, score in record.metrics.items() if name not in scores and score.value is not None]
    yield _summary("scores", [*problems, *differing], len(scores), [*skipped, *other])
    both = sorted(set(curves) & set(record.curves))
    differing = [f"{name} differs" for name in both if not _same_curve(record.curves[name], curves[name])]
    yield _summary("curves", differing, len(both), sorted(set(curves) ^ set(record.curves)))


def _summary(name: str, problems: Sequence[str], checked: int, skipped: Sequence[str]) -> Check:
    """One check for all scores, curves or alarms."""
    unchecked = sorted(set(skipped))
    tail = f"; not checked: {first_few(unchecked)}" if unchecked else ""
    if problems:
        return Check(name, "mismatch", f"{first_few(problems, '; ')}{tail}")
    if checked:
        return Check(name, "match", f"{checked} computed again from the stored arrays{tail}")
    return Check(name, "not checked" if unchecked else "match", tail.removeprefix("; ") or "there are none")


def _differences(record: Record, name: str, computed: Score) -> Iterator[str]:
    recorded = record.metrics.get(name)
    if recorded is None and computed.value is None:
        return
    if recorded is None:
        yield f"{name} is {_written(computed.value)} by its arrays, the record has none"
        return
    for key in ("value", "low", "high", "n"):
        ours, theirs = getattr(computed, key), getattr(recorded, key)
        if not _close(ours, theirs):
            label = name if key == "value" else f"{name} ({key})"
            yield f"{label} is {_written(theirs)} in the record, {_written(ours)} by its arrays"


def _same_curve(recorded: Curve, computed: Curve) -> bool:
    return (recorded.n, len(recorded.points)) == (computed.n, len(computed.points)) and all(
        _close(getattr(one, key), getattr(other, key))
        for one, other in zip(recorded.points, computed.points, strict=True)
        for key in Point.model_fields
    )


def _check_alarms(record: Record, arrays: Mapping[str, Arrays]) -> Check:
    """Compare alarms: one that the record does not raise, or with other numbers, is a mismatch.

    An alarm that only the record raises is not a mismatch: rules have become milder since some records were
    written, and such an alarm is to the disadvantage of the record alone.
    """
    try:
        computed = read_alarms(arrays, len(record.dataset.classes))
        if WORST in arrays:
            computed.append(verdict(arrays, computed))
    except Exception as error:
        return Check("alarms", "mismatch", f"the arrays are unusable ({type(error).__name__}: {error})")
    recorded = {alarm.name: alarm for alarm in record.alarms}
    problems, only_recorded, unknown = [], [], []
    for alarm in computed:
        theirs = recorded.get(alarm.name)
        if alarm.raised and not (theirs and theirs.raised):
            problems.append(f"{alarm.name} is raised by the arrays, not in the record")
        elif theirs and theirs.raised and alarm.raised is False:
            only_recorded.append(alarm.name)
        elif theirs and theirs.raised is not None and alarm.raised is None:
            unknown.append(alarm.name)
        elif theirs and not _same_numbers(alarm, theirs):
            problems.append(f"{alarm.name} has other numbers in the record")
    unknown += [name for name in recorded if name == ALARM and WORST not in arrays]
    checked = sum(alarm.raised is not None for alarm in computed)
    check = _summary("alarms", problems, checked, unknown)
    tail = f"; raised in the record alone: {', '.join(only_recorded)}" if only_recorded else ""
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
