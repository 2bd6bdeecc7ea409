"""What is drawn: trade-offs of a board, training histories and the battery's curves of an entry."""

from collections.abc import Iterator

from bench.core.names import CLEAN_ACCURACY, PRS_RATIO, TIME_PER_EPOCH
from bench.core.record import Curve
from leaderboards.axes import is_number
from leaderboards.board import Board
from leaderboards.charts import Chart, Dot, Interval, Series, line_chart, scatter_chart
from leaderboards.entry import Entry
from leaderboards.text import is_percent

TRADE_OFFS = (
    (CLEAN_ACCURACY, "Robust against clean accuracy", "Clean accuracy, %"),
    (TIME_PER_EPOCH, "Robust accuracy against training time", "Seconds per epoch"),
    (PRS_RATIO, "Robust accuracy against the PRS ratio", "PRS ratio"),
)
LEFT_OUT = ("epoch", "learning_rate")


def trade_off_charts(board: Board) -> list[Chart]:
    """Worst-case accuracy against what it costs and against the PRS ratio, where two entries or more have both."""
    charts = []
    for metric, title, x_label in TRADE_OFFS:
        dots = [dot for entry in board.entries for dot in _dots(entry, metric)]
        if len(dots) > 1:
            description = f"{title}: a point for each of {len(dots)} entries, with its intervals."
            front, trend = metric == CLEAN_ACCURACY, metric == PRS_RATIO
            y_label = "Worst-case accuracy, %"
            charts.append(scatter_chart(title, description, dots, x_label, y_label, front=front, trend=trend))
    return charts


def history_charts(entry: Entry) -> list[Chart]:
    """Accuracies, losses and whatever else training wrote down, against the epoch; one line a seed."""
    names = sorted({name for result in entry.results for row in result.record.history for name in row})
    names = [name for name in names if name not in LEFT_OUT and not name.endswith("seconds")]
    accuracies = [name for name in names if "accuracy" in name]
    losses = [name for name in names if "loss" in name and name not in accuracies]
    others = [name for name in names if name not in accuracies + losses]
    plans = [("Accuracy", "Accuracy, %", accuracies), ("Loss", "Loss", losses)]
    plans += [(_words(name).capitalize(), _words(name), [name]) for name in others]
    charts = []
    for title, y_label, chosen in plans:
        series = [one for name in chosen for one in _history(entry, name, 100 if title == "Accuracy" else 1)]
        if series:
            description = f"{title} by epoch: {', '.join(_words(name) for name in chosen)}."
            charts.append(line_chart(f"{title} by epoch", description, series, "Epoch", y_label))
    return charts


def battery_charts(entry: Entry) -> list[Chart]:
    """Every metric's curve, the security curve first; one line a seed.

    Curves of a metric's parts, METRIC/PART, stand together among the figures.
    """
    names = {name for result in entry.results for name in result.record.curves if "/" not in name}
    charts = []
    for name in sorted(names, key=lambda name: (name != "security", name)):
        curves = {r.record.seed: r.record.curves[name] for r in entry.results if name in r.record.curves}
        shown = next(iter(curves.values()))
        security = name == "security"
        series = [_curve(curve, f"seed {seed}", 100 if security else 1) for seed, curve in curves.items()]
        if any(
            is_number(point.x) and is_number(point.value)
            for curve in curves.values()
            for point in curve.points
        ):
            charts.append(
                line_chart(
                    "Security curve" if security else _words(name).capitalize(),
                    f"{shown.y_label} against {shown.x_label}; bars are 95 % intervals.",
                    series,
                    shown.x_label,
                    f"{shown.y_label[:1].upper()}{shown.y_label[1:]}, %" if security else shown.y_label,
                    mark=(float(entry.results[0].eps), "this board's ε") if security else None,
                )
            )
    return charts


def _dots(entry: Entry, metric: str) -> Iterator[Dot]:
    x, y = entry.scores.get(metric), entry.worst_case
    if x is not None and x.mean is not None and y is not None and y.mean is not None:
        scale = 100 if is_percent(metric, x.unit) else 1
        intervals = _scaled(x.low, x.high, scale), _scaled(y.low, y.high, 100)
        yield Dot(entry.defense.name, entry.model, scale * x.mean, 100 * y.mean, *intervals)


def _history(entry: Entry, name: str, scale: float) -> Iterator[Series]:
    for result in entry.results:
        rows = [(row.get("epoch", at + 1), row.get(name)) for at, row in enumerate(result.record.history)]
        # An epoch without a value is one where it was not measured, so the line goes on.
        points = [(float(x), scale * float(y)) for x, y in rows if is_number(x) and is_number(y)]
        if points:
            yield Series(_words(name), points, detail=f"seed {result.record.seed}")


def _curve(curve: Curve, name: str, scale: float) -> Series:
    points = sorted(curve.points, key=lambda point: point.x)
    intervals = [_scaled(point.low, point.high, scale) for point in points]
    return Series(name, [(p.x, scale * p.value) for p in points], intervals)


def _scaled(low: float | None, high: float | None, scale: float) -> Interval | None:
    return None if low is None or high is None else (scale * low, scale * high)


def _words(name: str) -> str:
    return name.replace("_", " ")
