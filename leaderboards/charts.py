"""The charts of boards and entries: trade-offs, training histories and the battery's curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from scipy.stats import linregress

from bench.charts import Axis, Chart, Line, Panel, Points, Rule
from bench.charts.numbers import number
from bench.core.names import CLEAN_ACCURACY, PRS_RATIO, TIME_PER_EPOCH, short_hash, slug
from bench.core.record import Curve
from leaderboards.board import Board
from leaderboards.entry import Entry
from leaderboards.text import is_percent

TRADE_OFFS = (
    (CLEAN_ACCURACY, "Robust against clean accuracy", "Clean accuracy, %"),
    (TIME_PER_EPOCH, "Robust accuracy against training time", "Seconds per epoch"),
    (PRS_RATIO, "Robust accuracy against the PRS ratio", "PRS ratio"),
)
LEFT_OUT = ("epoch", "learning_rate")
#: Lines of more points have no markers.
_MARKED = 30
#: Longer labels are cut.
LONGEST_LABEL = 200
#: Larger numbers are not drawn.
_LARGEST = 1e15


@dataclass(frozen=True)
class _Interval:
    """A value in the unit of its axis, with its interval."""

    value: float
    low: float | None = None
    high: float | None = None


def trade_off_charts(board: Board) -> list[Chart]:
    """Worst-case accuracy against what it costs and against the PRS ratio, where two entries or more have both."""
    charts = []
    for metric, title, x_label in TRADE_OFFS:
        points = _points(board, metric)
        x, y = ([value for mark in points for value in getattr(mark, letter)] for letter in "xy")
        if len(x) < 2:
            continue
        caption = "One point for each entry; bars are 95 % intervals"
        caption += ", for times the quartiles over epochs." if metric == TIME_PER_EPOCH else "."
        lines = []
        front = pareto_front(x, y) if metric == CLEAN_ACCURACY else []
        if len(front) > 1:
            lines.append(Line(name="Pareto front", x=[x[at] for at in front], y=[y[at] for at in front]))
            caption += (
                " The Pareto front joins the entries that no other entry matches or beats on both axes."
            )
        fit = least_squares(x, y) if metric == PRS_RATIO else None
        if fit is not None:
            slope, intercept = fit
            ends = [min(x), max(x)]
            fitted = [slope * end + intercept for end in ends]
            lines.append(Line(name="Least-squares line", x=ends, y=fitted))
            caption += f" Least-squares line over {len(x)} points: slope {number(slope)}."
        y_label = "Worst-case accuracy, %"
        charts.append(_chart("trade-off", metric, title, caption, x_label, y_label, [*points, *lines]))
    return charts


def history_charts(entry: Entry) -> list[Chart]:
    """Accuracies, losses and every other quantity of the training history by epoch; one line for each seed."""
    names = sorted({name for result in entry.results for row in result.record.history for name in row})
    names = [name for name in names if name not in LEFT_OUT and not name.endswith("seconds")]
    accuracies = [name for name in names if "accuracy" in name]
    losses = [name for name in names if "loss" in name and name not in accuracies]
    others = [name for name in names if name not in accuracies + losses]
    plans = [("Accuracy", "Accuracy, %", accuracies), ("Loss", "Loss", losses)]
    plans += [(_words(name).capitalize(), _words(name), [name]) for name in others]
    charts = []
    for title, y_label, chosen in plans:
        scale = 100 if title == "Accuracy" else 1
        lines = [line for name in chosen for line in _history(entry, name, scale)]
        if lines:
            charts.append(_chart("history", title, f"{title} by epoch", "", "Epoch", y_label, lines))
    return charts


def battery_charts(entry: Entry) -> list[Chart]:
    """Every metric's curve, the security curve first; one line for each seed.

    Curves of a metric's parts, METRIC/PART, are left to the metric's own figures.
    """
    names = {name for result in entry.results for name in result.record.curves if "/" not in name}
    charts = []
    for name in sorted(names, key=lambda name: (name != "security", name)):
        curves = {r.record.seed: r.record.curves[name] for r in entry.results if name in r.record.curves}
        shown = next(iter(curves.values()))
        security = name == "security"
        lines = [_curve(curve, f"seed {seed}", 100 if security else 1) for seed, curve in curves.items()]
        if not any(line.x for line in lines):
            continue
        marks: list[Line | Rule] = [*lines]
        if security:
            marks.append(Rule(name="this board's ε", x=float(entry.results[0].eps)))
        charts.append(
            _chart(
                "curve",
                name,
                "Security curve" if security else _words(name).capitalize(),
                "The bands are 95 % intervals." if any(line.low for line in lines) else "",
                shown.x_label,
                f"{shown.y_label[:1].upper()}{shown.y_label[1:]}, %" if security else shown.y_label,
                marks,
            )
        )
    return charts


def pareto_front(x: Sequence[float], y: Sequence[float]) -> list[int]:
    """Indices of the points that no other point beats on one axis without losing on the other, by increasing x."""
    front: list[int] = []
    for at in sorted(range(len(x)), key=lambda at: (-x[at], -y[at], at)):
        if not front or y[at] > y[front[-1]]:
            front.append(at)
    return front[::-1]


def least_squares(x: Sequence[float], y: Sequence[float]) -> tuple[float, float] | None:
    """Slope and intercept of the regression of y on x; None for fewer than three points or a single x."""
    # The variance is zero where squared distances are too small for a float.
    if len(x) < 3 or min(x) == max(x) or np.var(x) == 0:
        return None
    fit = linregress(x, y)
    return float(fit.slope), float(fit.intercept)


def _points(board: Board, metric: str) -> list[Points]:
    """The entries that have both scores, a mark for each network."""
    networks: dict[str, list[tuple[Entry, _Interval, _Interval]]] = {}
    for entry in board.entries:
        x, y = entry.scores.get(metric), entry.worst_case
        if x is None or y is None or not _is_drawable(x.mean) or not _is_drawable(y.mean):
            continue
        scale = 100 if is_percent(metric, x.unit) else 1
        places = _scaled(x.mean, x.low, x.high, scale), _scaled(y.mean, y.low, y.high, 100)
        networks.setdefault(entry.model, []).append((entry, *places))
    return [
        Points(
            name=network,
            labels=[entry.defense.name for entry, _, _ in found],
            x=[x.value for _, x, _ in found],
            x_low=[x.low for _, x, _ in found],
            x_high=[x.high for _, x, _ in found],
            y=[y.value for _, _, y in found],
            low=[y.low for _, _, y in found],
            high=[y.high for _, _, y in found],
        )
        for network, found in sorted(networks.items())
    ]


def _history(entry: Entry, name: str, scale: float) -> list[Line]:
    lines = []
    for result in entry.results:
        rows = [(row.get("epoch", at + 1), row.get(name)) for at, row in enumerate(result.record.history)]
        # An epoch without a value is one where it was not measured, so the line goes on.
        points = [(float(x), scale * float(y)) for x, y in rows if _is_drawable(x) and _is_drawable(y)]
        if points:
            lines.append(_line(_words(name), points, detail=f"seed {result.record.seed}"))
    return lines


def _curve(curve: Curve, name: str, scale: float) -> Line:
    points = sorted(curve.points, key=lambda point: point.x)
    drawn = [
        (point.x, _scaled(point.value, point.low, point.high, scale))
        for point in points
        if _is_drawable(point.x) and _is_drawable(point.value)
    ]
    low, high = [place.low for _, place in drawn], [place.high for _, place in drawn]
    ends = {"low": low, "high": high} if any(end is not None for end in low) else {}
    return _line(name, [(x, place.value) for x, place in drawn], **ends)


def _line(name: str, points: Sequence[tuple[float, float]], **fields: Any) -> Line:
    x, y = ([point[at] for point in points] for at in (0, 1))
    return Line(name=name, x=x, y=y, markers=len(points) <= _MARKED, **fields)


def _chart(
    kind: str,
    name: str,
    title: str,
    caption: str,
    x_label: str,
    y_label: str,
    marks: Sequence[Points | Line | Rule],
) -> Chart:
    x_label, y_label = x_label[:LONGEST_LABEL], y_label[:LONGEST_LABEL]
    panel = Panel(x=Axis(label=x_label), y=Axis(label=y_label), marks=[*marks])
    file_name = f"{kind}-{slug(name)}-{short_hash(name)}"
    return Chart(name=file_name, title=title[:LONGEST_LABEL], caption=caption, panels=[panel])


def _scaled(value: float, low: float | None, high: float | None, scale: float) -> _Interval:
    if _is_drawable(low) and _is_drawable(high):
        return _Interval(scale * value, scale * low, scale * high)
    return _Interval(scale * value)


def _is_drawable(value: Any) -> TypeGuard[float]:
    """Whether a value from a record is a number that fits on an axis."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _words(name: str) -> str:
    return name.replace("_", " ")[:LONGEST_LABEL]
