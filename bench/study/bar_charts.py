"""Bar charts of a table study: one chart per score, one bar per row."""

from collections.abc import Sequence

from bench.charts import Axis, Bars, Chart, Panel
from bench.core.names import short_hash, slug
from bench.core.progress import Progress
from bench.study.columns import Column
from bench.study.table import Cell, RowResult, make_cell
from metrics import titles


def bar_charts(
    bars: Sequence[Column], rows: Sequence[RowResult], source: str = "", progress: Progress | None = None
) -> list[Chart]:
    """One chart per score, with one bar per row; a row without the score leaves a gap.

    Args:
        bars: the scores, as columns.
        rows: in the order of their bars.
        source: the papers' tables and figures that the study reproduces.
        progress: reports a score that no row has.
    """
    progress = progress or Progress()
    charts = []
    for bar in bars:
        cells = {row.name: make_cell(row, bar, None) for row in rows}
        if any(cell.value is not None for cell in cells.values()):
            charts.append(_chart(bar, rows, cells, source))
        else:
            reasons = dict.fromkeys(cell.reason for cell in cells.values())
            progress.say(f"bars of {bar.name} not drawn: {'; '.join(reasons)}")
    return charts


def _chart(bar: Column, rows: Sequence[RowResult], cells: dict[str, Cell], source: str) -> Chart:
    scale = 100 if bar.percent else 1
    ends = {row.name: _interval(row, bar, cells[row.name]) for row in rows}
    mark = Bars(
        categories=list(cells),
        values=[_scaled(cell.value, scale) for cell in cells.values()],
        low=[_scaled(low, scale) for low, _ in ends.values()],
        high=[_scaled(high, scale) for _, high in ends.values()],
    )
    title = bar.title or titles().get(bar.name, bar.name)
    unit = "%" if bar.percent else next((cell.unit for cell in cells.values() if cell.unit), "")
    caption = ["One bar per row: the mean over its seeds."]
    if any(low is not None for low, _ in ends.values()):
        caption.append(
            "Intervals are the score's 95 % intervals where it has them, else the range over several seeds."
        )
    caption += [f"{name}: {cell.reason}." for name, cell in cells.items() if cell.value is None]
    return Chart(
        name=f"methods-{slug(bar.name)}-{short_hash(bar.name)}"[:80].strip("-"),
        title=f"{title} by row",
        source=source,
        caption=" ".join(caption),
        panels=[Panel(y=Axis(label=f"{title} ({unit})" if unit else title), marks=[mark])],
    )


def _interval(row: RowResult, bar: Column, cell: Cell) -> tuple[float | None, float | None]:
    """The score's own 95 % interval, else the range over several seeds."""
    if cell.low is not None and cell.high is not None:
        return cell.low, cell.high
    scores = [record.metrics.get(bar.name) for record in row.records]
    values = [score.value for score in scores if score is not None and score.value is not None]
    return (min(values), max(values)) if len(values) > 1 else (None, None)


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else scale * value
