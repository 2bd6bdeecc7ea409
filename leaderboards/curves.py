"""The curves of an entry page: training histories and the curves of the battery."""

from collections.abc import Iterator

from bench.core.record import Curve
from leaderboards.charts import Chart, Interval, Series, is_number, line_chart
from leaderboards.entry import Entry

LEFT_OUT = ("epoch", "seconds", "learning_rate")


def history_charts(entry: Entry) -> list[Chart]:
    """Accuracies, losses and whatever else training wrote down, against the epoch; one line a seed."""
    names = sorted({name for result in entry.results for row in result.record.history for name in row})
    names = [name for name in names if name not in LEFT_OUT]
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
    """Every curve of the records, the security curve first; one line a seed."""
    names = {name for result in entry.results for name in result.record.curves}
    charts = []
    for name in sorted(names, key=lambda name: (name != "security", name)):
        curves = {r.record.seed: r.record.curves[name] for r in entry.results if name in r.record.curves}
        shown = next(iter(curves.values()))
        security = name == "security"
        series = [_curve(curve, f"seed {seed}", 100 if security else 1) for seed, curve in curves.items()]
        if any(is_number(y) for one in series for _, y in one.points):
            charts.append(
                line_chart(
                    "Security curve" if security else _words(name).capitalize(),
                    f"{shown.y_label} against {shown.x_label}; bars are 95 % intervals.",
                    series,
                    shown.x_label,
                    "Robust accuracy, %" if security else shown.y_label,
                    mark=(float(entry.results[0].eps), "this board's ε") if security else None,
                )
            )
    return charts


def _history(entry: Entry, name: str, scale: float) -> Iterator[Series]:
    for result in entry.results:
        rows = [(row.get("epoch", at + 1), row.get(name)) for at, row in enumerate(result.record.history)]
        points = [
            (float(epoch), scale * float(value) if is_number(value) else None)  # type: ignore[arg-type]
            for epoch, value in rows
            if is_number(epoch)
        ]
        if any(value is not None for _, value in points):
            yield Series(_words(name), points, detail=f"seed {result.record.seed}")


def _curve(curve: Curve, name: str, scale: float) -> Series:
    points = sorted(curve.points, key=lambda point: point.x)
    intervals: list[Interval | None] = [
        None if p.low is None or p.high is None else (scale * p.low, scale * p.high) for p in points
    ]
    return Series(name, [(p.x, scale * p.value) for p in points], intervals)


def _words(name: str) -> str:
    return name.replace("_", " ")
