"""Compute the scores and curves of a record again from the arrays that are stored with it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

from bench.attacks import ATTACKS
from bench.core.errors import UserError
from bench.core.names import ROBUST_ACCURACY, SUSPICIOUS, is_accuracy
from bench.core.record import Curve, Point, Record, Score
from bench.evaluation.battery import BATTERIES, make_battery
from bench.evaluation.extra_checks import check_called
from bench.models.loaders import names_code
from bench.results.verification.check import Check, Findings, Unproven, first_few
from metrics import METRICS
from metrics import get as get_metric
from metrics.accuracy.robust_accuracy import RobustAccuracy
from metrics.arguments import rebuild
from metrics.base import Metric
from metrics.evaluation import Arrays

#: Two computations of one number may differ by this much through rounding, relative to the larger or to 1.
ROUNDING = 1e-6


@dataclass
class _Computed:
    """What the stored arrays give: scores and curves by name, what is wrong with the arrays, metrics left out."""

    scores: dict[str, Score] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def check_scores_and_curves(record: Record, arrays: Mapping[str, Arrays], *, trust: bool = False) -> Findings:
    """Compare scores (with intervals, sizes and units) and curves with those that the stored arrays give.

    Args:
        record: states them.
        arrays: by metric; empty where none are stored.
        trust: allow importing the metrics that the record names as `module:Class`.
    """
    found = _compute(record, arrays, trust)
    differing = [text for name, score in found.scores.items() for text in _differences(record, name, score)]
    yield from _summary("scores", [*found.problems, *differing], len(found.scores))
    missing = [
        name for name, score in record.metrics.items() if name not in found.scores and score.value is not None
    ]
    if left_out := sorted({*missing, *found.skipped}):
        yield Check("scores not computed again", "not checked", ", ".join(left_out))
    both = sorted(set(found.curves) & set(record.curves))
    differing = [
        f"{name} differs" for name in both if not _same_curve(record.curves[name], found.curves[name])
    ]
    yield from _summary("curves", differing, len(both))
    if left_out := sorted(set(record.curves) - set(found.curves)):
        yield Check("curves not computed again", "not checked", ", ".join(left_out))
    yield from _wording(record, found)


def _compute(record: Record, arrays: Mapping[str, Arrays], trust: bool) -> _Computed:
    found = _Computed()
    for name, parts in arrays.items():
        metric = metric_as_measured(name, record, trust=trust)
        if metric is None:
            found.skipped.append(name)
            continue
        try:
            scores, curves = metric.reduce(parts), metric.curves(parts)
        except Exception as error:
            # Older versions stored fewer arrays of some metrics, but always the same ones of an accuracy.
            if is_accuracy(name) or not isinstance(error, KeyError):
                found.problems.append(f"{name}: its arrays are unusable ({type(error).__name__}: {error})")
            else:
                found.skipped.append(name)
            continue
        found.scores |= scores
        found.curves |= curves
    return found


def metric_as_measured(name: str, record: Record, *, trust: bool = False) -> Metric | None:
    """The metric whose arrays a record stores under a name, with the record's settings; None when unknown.

    Args:
        trust: allow importing the metrics that the record names as `module:Class`.
    """
    if name.startswith(SUSPICIOUS):
        return check_called(name)
    settings = record.battery.settings.get(name) or {}
    for metric in _candidates(name, record, trust):
        if metric.name == name and (found := rebuild(metric, settings)) is not None:
            return found
    return None


def _candidates(name: str, record: Record, trust: bool) -> Iterator[Metric]:
    """Metrics that may have this name, the likeliest first; a plug-in that does not load has measured nothing."""
    if record.battery.name in BATTERIES:
        yield from make_battery(record.battery.name).metrics
    if name.removeprefix(ROBUST_ACCURACY) in ATTACKS:
        yield RobustAccuracy(name.removeprefix(ROBUST_ACCURACY))
    asked = [str(each) for each in record.provenance.config.get("metrics") or ()]
    own = [each for each in asked if trust and names_code(each.partition("(")[0])]
    for registered in [*METRICS.names(), *own]:
        with suppress(UserError):
            yield get_metric(registered)


def _summary(name: str, problems: Sequence[str], checked: int) -> Iterator[Check]:
    """One check for all scores or all curves."""
    if problems:
        yield Check(name, "mismatch", first_few(problems, "; "))
    elif checked:
        yield Check(name, "match", f"{checked} computed again from the stored arrays")
    else:
        yield Check(name, "match", "none could be computed again")


def _differences(record: Record, name: str, computed: Score) -> Iterator[str]:
    recorded = record.metrics.get(name)
    if recorded is None and computed.value is None:
        return
    if recorded is None:
        yield f"{name} is {_written(computed.value)} by its arrays, the record has none"
        return
    for key in ("value", "low", "high", "n"):
        ours, theirs = getattr(computed, key), getattr(recorded, key)
        if not close(ours, theirs):
            label = name if key == "value" else f"{name} ({key})"
            yield f"{label} is {_written(theirs)} in the record, {_written(ours)} by its arrays"
    for key in ("unit", "higher_is_better"):
        ours, theirs = getattr(computed, key), getattr(recorded, key)
        if ours != theirs:
            yield f"{name} ({key}) is {theirs!r} in the record, {ours!r} by its metric"


def _same_curve(recorded: Curve, computed: Curve) -> bool:
    return (recorded.n, len(recorded.points)) == (computed.n, len(computed.points)) and all(
        close(getattr(one, key), getattr(other, key))
        for one, other in zip(recorded.points, computed.points, strict=True)
        for key in Point.model_fields
    )


def _wording(record: Record, found: _Computed) -> Findings:
    """Reasons and labels that this version words otherwise: no mismatch, since other versions wrote them."""
    other = [
        f"metrics.{name}.reason"
        for name, score in record.metrics.items()
        if (score.reason if name not in found.scores else score.reason != found.scores[name].reason)
    ]
    other += [
        f"curves.{name}.{key}"
        for name, curve in record.curves.items()
        for key in ("x_label", "y_label")
        if name in found.curves and getattr(curve, key) != getattr(found.curves[name], key)
    ]
    if other:
        yield Unproven(tuple(other), "text that is not what this version writes from the arrays")


def close(one: object, other: object) -> bool:
    """Whether two numbers differ by rounding alone; None equals None."""
    if one is None or other is None:
        return one is other
    first, second = float(cast(float, one)), float(cast(float, other))
    return abs(first - second) <= ROUNDING * max(1.0, abs(first), abs(second))


def _written(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.6g}"
