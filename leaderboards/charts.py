"""The charts of entries: training histories and the battery's curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from bench.charts import Axis, Chart, Line, Panel, Points, Rule
from bench.core.intervals import proportion_interval
from bench.core.names import WORST_CASE, short_hash, slug
from bench.core.record import Curve, Front, FrontPoint
from leaderboards.entry import Entry
from leaderboards.text import capital, plain

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


def entry_charts(entry: Entry) -> list[Chart]:
    """The charts of an entry's page: its curves, its search, its training."""
    return battery_charts(entry) + front_charts(entry) + history_charts(entry)


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
            charts.append(make_chart("history", title, f"{title} by epoch", "", "Epoch", y_label, lines))
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
            make_chart(
                "curve",
                name,
                "Security curve" if security else _words(name).capitalize(),
                "The bands are 95 % intervals." if any(line.low for line in lines) else "",
                shown.x_label,
                f"{capital(shown.y_label)}, %" if security else shown.y_label,
                marks,
            )
        )
    return charts


def front_charts(entry: Entry) -> list[Chart]:
    """The front of each search for clean and robust accuracy together, with the setting that was trained."""
    charts = []
    for search, seeds in entry.searches:
        if search.front is None:
            continue
        points = search.front.points
        chosen = [point for point in points if point.trial == search.best_trial]
        of = f" (seeds {', '.join(map(str, seeds))})" if len(entry.searches) > 1 else ""
        marks = [
            _settings(name, drawn, search.front)
            for name, drawn in (
                ("the others of the front", [point for point in points if point not in chosen]),
                ("trained for the seeds", chosen),
            )
            if drawn
        ]
        outline = sorted({(100 * point.clean_accuracy, 100 * point.robust_accuracy) for point in points})
        line = _line("front", outline).model_copy(update={"markers": False})
        charts.append(
            make_chart(
                "front",
                f"search{of}",
                f"Front of the search{of}",
                "Settings that no other one matches in every objective and beats in one, on validation images, "
                f"with 95 % intervals for their choice. Trained for the seeds: {search.front.rule}.",
                "Clean validation accuracy, %",
                "Robust validation accuracy, %",
                [line, *marks],
            )
        )
    return charts


def _settings(name: str, points: Sequence[FrontPoint], front: Front) -> Points:
    ends = [
        [proportion_interval(right, images) for right in counts] if images else []
        for images, counts in (
            (front.clean_images, [point.clean_right for point in points]),
            (front.robust_images, [point.robust_right for point in points]),
        )
    ]
    (x_low, x_high), (low, high) = ([[100 * pair[at] for pair in each] for at in (0, 1)] for each in ends)
    return Points(
        name=name,
        x=[100 * point.clean_accuracy for point in points],
        y=[100 * point.robust_accuracy for point in points],
        labels=[_told(point)[:LONGEST_LABEL] for point in points],
        x_low=x_low,
        x_high=x_high,
        low=low,
        high=high,
    )


def _told(point: FrontPoint) -> str:
    cost = [] if point.cost is None else [f"{point.cost:.3g}× the passes"]
    return ", ".join(
        [f"trial {point.trial}", *(f"{k} = {plain(v)}" for k, v in point.hyperparameters.items()), *cost]
    )


def past_chart(entry: Entry) -> Chart | None:
    """The worst case of every result of an entry in the order of making; None where none was superseded."""
    if not entry.superseded:
        return None
    marks: list[Points | Line | Rule] = []
    days: dict[str, float] = {}
    results = sorted(entry.results + entry.superseded, key=lambda result: (result.created, result.digest))
    for at, result in enumerate(results):
        days.setdefault(f"{result.created:%Y-%m-%d %H:%M}", float(at))
    for seed in sorted({result.record.seed for result in results}):
        found = [
            (days[f"{result.created:%Y-%m-%d %H:%M}"], _scaled(score.value, score.low, score.high, 100))
            for result in results
            if result.record.seed == seed
            and (score := result.record.metrics.get(WORST_CASE)) is not None
            and is_drawable(score.value)
        ]
        ends = {"low": [place.low for _, place in found], "high": [place.high for _, place in found]}
        marks.append(_line(f"seed {seed}", [(x, place.value) for x, place in found], **ends))
    if not any(mark.x for mark in marks if isinstance(mark, Line)):
        return None
    caption = "Each result in the order of making; the bands are 95 % intervals."
    chart = make_chart(
        "history", "past", "Worst case over time", caption, "Made", "Worst-case accuracy, %", marks
    )
    shown = list(days.items())[:: max(1, len(days) // 3)]
    axis = Axis(label="Made", ticks=[at for _, at in shown], tick_labels=[day[:10] for day, _ in shown])
    return chart.model_copy(update={"panels": [chart.panels[0].model_copy(update={"x": axis})]})


def _history(entry: Entry, name: str, scale: float) -> list[Line]:
    lines = []
    for result in entry.results:
        rows = [(row.get("epoch", at + 1), row.get(name)) for at, row in enumerate(result.record.history)]
        # An epoch without a value is one where it was not measured, so the line goes on.
        points = [(float(x), scale * float(y)) for x, y in rows if is_drawable(x) and is_drawable(y)]
        if points:
            lines.append(_line(_words(name), points, detail=f"seed {result.record.seed}"))
    return lines


def _curve(curve: Curve, name: str, scale: float) -> Line:
    points = sorted(curve.points, key=lambda point: point.x)
    drawn = [
        (point.x, _scaled(point.value, point.low, point.high, scale))
        for point in points
        if is_drawable(point.x) and is_drawable(point.value)
    ]
    low, high = [place.low for _, place in drawn], [place.high for _, place in drawn]
    ends = {"low": low, "high": high} if any(end is not None for end in low) else {}
    return _line(name, [(x, place.value) for x, place in drawn], **ends)


def _line(name: str, points: Sequence[tuple[float, float]], **fields: Any) -> Line:
    x, y = ([point[at] for point in points] for at in (0, 1))
    return Line(name=name, x=x, y=y, markers=len(points) <= _MARKED, **fields)


def make_chart(
    kind: str,
    name: str,
    title: str,
    caption: str,
    x_label: str,
    y_label: str,
    marks: Sequence[Points | Line | Rule],
    *,
    log_x: bool = False,
) -> Chart:
    """A chart of one panel; texts are cut to a length that browsers lay out."""
    x_label, y_label = x_label[:LONGEST_LABEL], y_label[:LONGEST_LABEL]
    panel = Panel(x=Axis(label=x_label, log=log_x), y=Axis(label=y_label), marks=[*marks])
    file_name = f"{kind}-{slug(name)}-{short_hash(name)}"
    return Chart(name=file_name, title=title[:LONGEST_LABEL], caption=caption, panels=[panel])


def _scaled(value: float, low: float | None, high: float | None, scale: float) -> _Interval:
    if is_drawable(low) and is_drawable(high):
        return _Interval(scale * value, scale * low, scale * high)
    return _Interval(scale * value)


def is_drawable(value: Any) -> TypeGuard[float]:
    """Whether a value from a record is a number that fits on an axis."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _words(name: str) -> str:
    return name.replace("_", " ")[:LONGEST_LABEL]
