"""The Pareto front of entries, between the fronts of their intervals' ends."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from bench.charts import Line, Points


def pareto_front(x: Sequence[float], y: Sequence[float]) -> list[int]:
    """Indices of the points that no other point beats on one axis without losing on the other, by increasing x."""
    front: list[int] = []
    for at in sorted(range(len(x)), key=lambda at: (-x[at], -y[at], at)):
        if not front or y[at] > y[front[-1]]:
            front.append(at)
    return front[::-1]


def front(points: Sequence[Points]) -> tuple[list[Line], str]:
    """The highest y that some point reaches with at least x, as steps, and what to say of them.

    The band around them are the steps of the intervals' lower and upper ends. There are none where one point has
    the highest x and the highest y.
    """
    own = [place for mark in points for place in zip(mark.x, mark.y, strict=True)]
    if len(pareto_front([x for x, _ in own], [y for _, y in own])) < 2:
        return [], ""
    lower, upper = _ends(points, "x_low", "low"), _ends(points, "x_high", "high")
    grid = sorted({min(x for x, _ in lower), *(x for each in (lower, own, upper) for x, _ in each)})
    line = Line(
        name="Pareto front",
        x=grid,
        y=_steps(own, grid),
        low=[0.0 if low is None else low for low in _steps(lower, grid)],
        high=_steps(upper, grid),
        step=True,
    )
    return [line], (
        " The steps are the Pareto front: no entry reaches beyond them. Their band has the fronts of the intervals’"
        " lower and upper ends."
    )


def _ends(points: Sequence[Points], across: str, up: str) -> list[tuple[float, float]]:
    """One end of both intervals of each point; the point's own value where it has no interval."""
    found = []
    for mark in points:
        xs, ys = getattr(mark, across) or mark.x, getattr(mark, up) or mark.y
        for x, y, own_x, own_y in zip(xs, ys, mark.x, mark.y, strict=True):
            found.append((own_x if x is None else x, own_y if y is None else y))
    return found


def _steps(points: Sequence[tuple[float, float]], grid: Sequence[float]) -> list[float | None]:
    """The highest y up to the next x of the grid; None beyond all points."""
    points = sorted(points)
    xs = [x for x, _ in points]
    highest = list(accumulate((y for _, y in reversed(points)), max))[::-1]
    found = []
    for left, right in zip(grid, [*grid[1:], grid[-1]], strict=True):
        at = bisect_left(xs, right if right <= xs[-1] else left)
        found.append(highest[at] if at < len(xs) else None)
    return found
