"""Split lines at gaps, and outline their bands."""

from collections.abc import Sequence

from bench.charts.chart import Line, Numbers

Point = tuple[float, float]


def pieces(x: Sequence[float | None], y: Numbers, step: bool = False) -> list[list[Point]]:
    """The runs of points between gaps.

    Args:
        x, y: [n], None for a gap.
        step: hold each value until the next x.
    """
    found: list[list[Point]] = [[]]
    for across, up in zip(x, y, strict=True):
        if across is None or up is None:
            found.append([])
            continue
        if step and found[-1]:
            found[-1].append((across, found[-1][-1][1]))
        found[-1].append((across, up))
    return [piece for piece in found if piece]


def corners(line: Line) -> list[tuple[float, float | None]]:
    """The points that a line was drawn for: of steps, where each value ends."""
    return list(zip(line.x[1:], line.y[:-1], strict=True) if line.step else zip(line.x, line.y, strict=True))


def bands(x: Sequence[float | None], low: Numbers, high: Numbers, step: bool = False) -> list[list[Point]]:
    """The outline of each run of points that have both ends: along the upper ends, back along the lower ones.

    Args:
        x, low, high: [n], None for a gap.
        step: as for `pieces`.
    """
    both = [None if None in ends else place for place, *ends in zip(x, low, high, strict=True)]
    lower, upper = pieces(both, low, step), pieces(both, high, step)
    return [above + below[::-1] for above, below in zip(upper, lower, strict=True)]
