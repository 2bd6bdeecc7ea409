"""Numbers and headings as a study's page shows them."""

from bench.charts.numbers import number
from bench.study.columns import Column
from bench.study.ranks import Estimate
from bench.study.table import Cell
from leaderboards import text
from metrics import titles


def title_of(column: Column) -> str:
    """The heading of a column, with its unit."""
    title = column.title or titles().get(column.name, column.name)
    return f"{title} %" if column.percent and "%" not in title else title


def our_value(cell: Cell, column: Column) -> str:
    """Our value in the unit of the column."""
    assert cell.value is not None, "the page shows the reason instead of a missing value"
    return (
        number(100 * cell.value, 1) if column.percent else text.quantity(cell.value, column.name, cell.unit)
    )


def paper_value(cell: Cell, column: Column) -> str:
    """The paper's value in the unit of the column, as the study file states it; empty without one."""
    return "" if cell.paper is None else number(cell.paper, 1 if column.percent else None)


def in_unit(value: float, column: Column) -> str:
    """An end of an interval, or a standard deviation, in the unit of the column."""
    return number(100 * value, 1) if column.percent else number(value, 3)


def difference(value: float | None, percent: bool) -> str:
    """A difference with its sign, in points for shares of images."""
    if value is None:
        return "—"
    shown = number(100 * value, 1) + " points" if percent else number(value)
    return f"+{shown}" if value > 0 else shown


def tau(found: Estimate) -> str:
    """A correlation, rounded."""
    return "—" if found.value is None else number(found.value, 2)


def between(found: Estimate, scale: float = 1.0, decimals: int = 2) -> str:
    """A 95 % interval, rounded; empty without one."""
    if found.low is None or found.high is None:
        return ""
    return f"{number(scale * found.low, decimals)} to {number(scale * found.high, decimals)}"


def p_value(value: float | None) -> str:
    """A p-value, rounded."""
    if value is None:
        return "—"
    return "< 10⁻³⁰⁰" if value < 1e-300 else number(value, 3) if value >= 1e-3 else number(value)
