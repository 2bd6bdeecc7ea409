"""Draw the figures of a result into a folder: those of its record, of its probes and of its metrics."""

from collections.abc import Iterable
from pathlib import Path

from bench.charts import Chart
from bench.core.progress import Progress
from bench.core.record import Record
from bench.evaluation.files import ArraysByMetric
from bench.evaluation.probe_charts import probe_charts
from bench.evaluation.record_charts import record_charts
from metrics.base import Metric


def draw_all(
    record: Record,
    arrays: ArraysByMetric,
    metrics: Iterable[Metric],
    folder: Path,
    progress: Progress | None = None,
    vector: bool = False,
) -> list[Chart]:
    """Draw every figure that the result has data for: NAME.png and NAME.json below `folder`.

    A figure that cannot be drawn is left out and reported in one line, so that a failing plot never costs the
    results of a long evaluation.

    Args:
        record: of the result.
        arrays: what the metrics measured, as `bench.evaluation.files.unflatten` gives it.
        metrics: whose charts to draw, where `arrays` has their arrays.
        folder: made where it does not exist.
        progress: where those lines go.
        vector: also write NAME.svg and NAME.pdf.

    Returns:
        The charts that were drawn.
    """
    progress = progress or Progress()
    return draw_charts(make_charts(record, arrays, metrics, progress), folder, progress, vector)


def make_charts(
    record: Record, arrays: ArraysByMetric, metrics: Iterable[Metric], progress: Progress
) -> list[Chart]:
    """Make the charts of a record and of every metric that has arrays.

    A metric's own chart replaces the record's of the same name.
    """
    charts = {chart.name: chart for chart in [*record_charts(record, arrays), *probe_charts(record)]}
    for metric in metrics:
        if metric.name in arrays:
            try:
                charts |= {chart.name: chart for chart in metric.charts(arrays[metric.name], record)}
            except Exception as error:
                progress.say(f"figures of {metric.name} not drawn: {_line(error)}")
    return list(charts.values())


def draw_charts(
    charts: Iterable[Chart], folder: Path, progress: Progress, vector: bool = False
) -> list[Chart]:
    """Write NAME.png and NAME.json of each chart below `folder`, and return the charts that could be drawn.

    With `vector`, NAME.svg and NAME.pdf too.
    """
    from bench.charts.png.figure import draw

    drawn = []
    for chart in charts:
        try:
            suffixes = ("png", "svg", "pdf") if vector else ("png",)
            draw(chart, *(folder / f"{chart.name}.{suffix}" for suffix in suffixes))
            chart.save(folder / f"{chart.name}.json")
        except Exception as error:
            progress.say(f"figure {chart.name} not drawn: {_line(error)}")
        else:
            drawn.append(chart)
    return drawn


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
