"""Charts of a table study: robust accuracy against ε, courses by epoch, and the figures of its metrics."""

from collections.abc import Sequence
from typing import Any

from bench.charts import Axis, Chart, Line, Panel, Points
from bench.charts.words import attack_title, norm_sign
from bench.core.record import Record
from bench.study.columns import Column
from bench.study.epoch_charts import Course, epoch_chart
from bench.study.quantities import PROBED
from bench.study.spec import TableStudy
from bench.study.table import RowResult, TableResult


def table_charts(study: TableStudy, result: TableResult) -> list[Chart]:
    """Robust accuracy against ε, the courses of probed rows, and the figures of the metrics that a study names."""
    found = [_security_curves(study, result), _course_chart(result)]
    return [*(chart for chart in found if chart is not None), *result.charts]


def _security_curves(study: TableStudy, result: TableResult) -> Chart | None:
    """One panel per attack with several ε: our curves with intervals, and the paper's points."""
    panels = []
    attacks = dict.fromkeys(column.attack.name for column in study.columns if column.attack is not None)
    for attack in attacks:
        columns = sorted(
            (each for each in study.columns if each.attack and each.attack.name == attack and each.threat),
            key=_radius,
        )
        norms = {column.threat.norm for column in columns if column.threat}
        if len(columns) < 2 or len(norms) > 1:
            continue
        marks = [mark for row in result.rows for mark in _row_marks(row, columns)]
        if marks:
            label = f"ε ({norm_sign(norms.pop())}, pixels in [0, 1])"
            panels.append(
                Panel(
                    title=attack_title(attack),
                    x=Axis(label=label),
                    y=Axis(label="accuracy (%)", low=0, high=100),
                    marks=marks,
                )
            )
    if not panels:
        return None
    return Chart(
        name="study-robust-accuracy",
        title="Accuracy under attack against ε",
        source=study.source,
        caption="Lines: ours, with 95 % intervals over test images; points: the paper's numbers, in the color of "
        "their row.",
        panels=panels,
    )


def _row_marks(row: RowResult, columns: Sequence[Column]) -> list[Line | Points]:
    """Our curve of a row and the paper's points, as far as there are values."""
    marks: list[Line | Points] = []
    radii = [_radius(column) for column in columns]
    cells = [row.cells[column.name] for column in columns]
    if any(cell.value is not None for cell in cells):
        marks.append(
            Line(
                name=row.name,
                x=radii,
                y=_percent([cell.value for cell in cells]),
                low=_percent([cell.low for cell in cells]),
                high=_percent([cell.high for cell in cells]),
            )
        )
    papers = [(radius, cell.paper) for radius, cell in zip(radii, cells, strict=True)]
    published = [(radius, value) for radius, value in papers if value is not None]
    if published:
        x, y = zip(*published, strict=True)
        marks.append(Points(name=row.name, x=list(x), y=list(y)))
    return marks


def _radius(column: Column) -> float:
    assert column.threat is not None, "only columns with a threat are drawn"
    return column.threat.radius


def _course_chart(result: TableResult) -> Chart | None:
    courses: dict[str, dict[str, list[Course]]] = {quantity: {} for quantity in PROBED}
    for row in result.rows:
        for record in row.records:
            for name, quantity in PROBED.items():
                courses[name].setdefault(row.name, []).append(_course(record, quantity.history_key))
    return epoch_chart(
        "study-courses",
        "By epoch",
        courses,
        "Every probed epoch; bands, where a row has several seeds: ± one standard deviation over them.",
    )


def _course(record: Record, key: str) -> Course:
    history: list[dict[str, Any]] = record.history
    return {
        int(row["epoch"] or 0): float(row[key] or 0.0)
        for row in history
        if "probe_accuracy" in row and row.get(key) is not None
    }


def _percent(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else 100 * value for value in values]
