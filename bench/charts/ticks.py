"""The ticks of axes, shared by all renderers."""

from functools import cache
from typing import Literal

from matplotlib.ticker import AutoLocator, Locator, LogLocator, MaxNLocator, MultipleLocator

from bench.charts.chart import Line, Panel, Points, Rule
from bench.charts.extent import of_shares
from bench.charts.tiling import is_log


def tick_locator(
    panel: Panel, letter: Literal["x", "y"], low: float, high: float, *, most: int | None = None
) -> Locator:
    """Matplotlib's locator for an axis: powers of ten, fifths of a share, whole numbers, or round numbers.

    Args:
        low, high: ends of the axis.
        most: how many steps an axis of whole or round numbers has at most; by default matplotlib decides.
    """
    end = (panel.x if letter == "x" else panel.y).high
    if is_log(panel, letter):
        return LogLocator(subs=(1, 2, 5) if high / low < 200 else (1,))
    if end is not None and of_shares(panel.x if letter == "x" else panel.y):
        return MultipleLocator(end / 5)
    whole = _whole(panel, letter)
    if most is None:
        return MaxNLocator(integer=True) if whole else AutoLocator()
    return _round_numbers(most, whole)


@cache
def _round_numbers(most: int, whole: bool) -> Locator:
    return MaxNLocator(most, steps=(1, 2, 2.5, 5, 10), integer=whole)


def _whole(panel: Panel, letter: str) -> bool:
    """Whether everything along an axis is a whole number, as epochs and classes are."""
    lines = [mark for mark in panel.marks if isinstance(mark, Line | Points)]
    if not lines or len(lines) != len([mark for mark in panel.marks if not isinstance(mark, Rule)]):
        return False
    values = {value for mark in lines for value in getattr(mark, letter) if value is not None}
    return bool(values) and all(float(value).is_integer() for value in values)
