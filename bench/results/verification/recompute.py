"""Compute the scores and curves of a record again from the arrays that are stored with it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import cast

from bench.attacks import ATTACKS
from bench.core.errors import UserError
from bench.core.names import ROBUST_ACCURACY, SUSPICIOUS, is_accuracy
from bench.core.record import Curve, Point, Record, Score
from bench.evaluation.battery import BATTERIES, BATTERY_VERSION, make_battery
from bench.evaluation.extra_checks import check_called
from bench.models.loaders import names_code
from bench.results.verification.check import Check, Findings, Unproven, first_few
from metrics import METRICS
from metrics import get as get_metric
from metrics.accuracy.robust_accuracy import RobustAccuracy
from metrics.arguments import rebuild
from metrics.base import Metric
from metrics.evaluation import Arrays

#: Part of the names of scores whose value has been defined otherwise since some battery version.
REDEFINED = "tpr_at_5fpr"
ENDS = ("low", "high")
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

    Ends of intervals, and values of `REDEFINED` scores, follow from the rules of the battery's version. In a record
    of another version they are no mismatch where they differ, but not checked.

    Args:
        record: states them.
        arrays: by metric; empty where none are stored.
        trust: allow importing the metrics that the record names as `module:Class`.
    """
    found = _compute(record, arrays, trust)
    differing: list[str] = []
    by_other_rules: list[str] = []
    for name, score in found.scores.items():
        for key, text in _differences(record, name, score):
            if _has_other_rules(record, name, key):
                by_other_rules.append(f"{name} ({'interval' if key in ENDS else key})")
            else:
                differing.append(text)
    yield from _summary("scores", [*found.problems, *differing], len(found.scores))
    missing = [
        name for name, score in record.metrics.items() if name not in found.scores and score.value is not None
    ]
    if left_out := sorted({*missing, *found.skipped}):
        yield Check("scores not computed again", "not checked", ", ".join(left_out))
    both = sorted(set(found.curves) & set(record.curves))
    differing = []
    for name in both:
        keys = {*_differing_keys(record.curves[name], found.curves[name])}
        if keys and all(_has_other_rules(record, name, key) for key in keys):
            by_other_rules.append(f"curve {name} (interval)")
        elif keys:
            differing.append(f"{name} differs")
    yield from _summary("curves", differing, len(both))
    if by_other_rules:
        named = first_few([*dict.fromkeys(by_other_rules)])
        what = f"battery version {record.battery.version} does not compute these as this one does: {named}"
        yield Check("scores by other rules", "not checked", what)
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


def _has_other_rules(record: Record, name: str, key: str) -> bool:
    """Whether a part of a score or curve may be computed otherwise in the battery's version."""
    return record.battery.version != BATTERY_VERSION and (key in ENDS or REDEFINED in name)


def _differences(record: Record, name: str, computed: Score) -> Iterator[tuple[str, str]]:
    """The keys in which a recorded score differs, each with a description."""
    recorded = record.metrics.get(name)
    if recorded is None and computed.value is None:
        return
    if recorded is None:
        yield "value", f"{name} is {_written(computed.value)} by its arrays, the record has none"
        return
    for key in ("value", "low", "high", "n"):
        ours, theirs = getattr(computed, key), getattr(recorded, key)
        if not close(ours, theirs):
            label = name if key == "value" else f"{name} ({key})"
            yield key, f"{label} is {_written(theirs)} in the record, {_written(ours)} by its arrays"
    for key in ("unit", "higher_is_better"):
        ours, theirs = getattr(computed, key), getattr(recorded, key)
        if ours != theirs:
            yield key, f"{name} ({key}) is {theirs!r} in the record, {ours!r} by its metric"


def _differing_keys(recorded: Curve, computed: Curve) -> Iterator[str]:
    if (recorded.n, len(recorded.points)) != (computed.n, len(computed.points)):
        yield "n"
        return
    for one, other in zip(recorded.points, computed.points, strict=True):
        yield from (
            key.name for key in fields(Point) if not close(getattr(one, key.name), getattr(other, key.name))
        )


def _wording(record: Record, found: _Computed) -> Findings:
    """Reasons and labels that this version words otherwise: no mismatch, since other versions wrote them."""
    reasons = {name: score.reason for name, score in record.metrics.items()}
    unmeasured = [f"metrics.{name}.reason" for name in reasons if reasons[name] and name not in found.scores]
    if unmeasured:
        yield Unproven(tuple(unmeasured), "why nothing was measured, as reported by whoever measured")
    other = [
        f"metrics.{name}.reason"
        for name, score in found.scores.items()
        if name in reasons and reasons[name] != score.reason
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
