"""Bars and histograms as SVG paths."""

from collections.abc import Iterator

from bench.charts.chart import Bars, Histogram
from bench.charts.numbers import number
from bench.charts.svg.drawing import Path, place
from bench.charts.svg.frame import Frame


def bars(
    frame: Frame,
    mark: Bars,
    color: str,
    categories: list[str],
    beside: tuple[int, int],
    below: dict[str, float],
) -> Iterator[Path]:
    """Bars with their intervals.

    Args:
        beside: which of how many bars of a category these are.
        below: category → where its bar begins; stacked bars raise it.
    """
    at, abreast = beside
    room = 0.8 / abreast
    ends = zip(mark.low or [None] * len(mark.values), mark.high or [None] * len(mark.values), strict=True)
    for name, value, (low, high) in zip(mark.categories, mark.values, ends, strict=True):
        if value is None:
            continue
        left = categories.index(name) - 0.4 + room * (at + 0.03)
        start, end = below.get(name, 0.0), below.get(name, 0.0) + value
        if mark.stacked:
            below[name] = end
        sides = place(frame.x.at(left)), place(frame.x.at(left + 0.94 * room))
        foot, head = place(frame.y.at(start)), place(frame.y.at(end))
        told = ", ".join(filter(None, (mark.name, name))) + f": {number(value)}"
        yield Path("block", f"M{sides[0]} {foot}V{head}H{sides[1]}V{foot}z", color, tooltip=told)
        if low is not None and high is not None:
            middle = place(frame.x.at(left + 0.47 * room))
            yield Path("whisker", f"M{middle} {place(frame.y.at(low))}V{place(frame.y.at(high))}")


def histogram(frame: Frame, mark: Histogram, color: str, dashes: str) -> Iterator[Path]:
    """Stairs over the bins, and the area below them."""
    if not mark.values:
        return
    foot = place(frame.y.at(0))
    d = f"M{place(frame.x.at(mark.edges[0]))} {foot}"
    for value, edge in zip(mark.values, mark.edges[1:], strict=True):
        d += f"V{place(frame.y.at(value))}H{place(frame.x.at(edge))}"
    yield Path("area", f"{d}V{foot}z", color)
    yield Path("line", f"{d}V{foot}", color, dashes)
