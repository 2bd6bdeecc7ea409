"""Place names beside points where there is room."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from bench.charts.svg.drawing import Text
from bench.charts.words import shortened

#: Width of an average letter of a wide typeface, and height of a line, at the 14 pixels of page and file.
_LETTER, _LINE = 8.2, 15.0
#: Half the side of a point.
_POINT = 5.0
_LONGEST = 24
#: Side of a cell in which boxes are looked for.
_CELL = 24.0

Box = tuple[float, float, float, float]


def place_names(
    wanted: Sequence[tuple[float, float, str, str]],
    points: Iterable[tuple[float, float]],
    others: Sequence[Text],
    inside: Box,
) -> list[Text]:
    """Names right or left of their points, above or below, where they touch no point and no other text.

    Args:
        wanted: place, name and classes that a key picks it by, the most important first; what finds no free place
            is left out.
        points: the places of all points.
        others: texts that are there already.
        inside: left, top, right and bottom that names stay within.
    """
    taken = _Boxes()
    for x, y in points:
        taken.add((x - _POINT, y - _POINT, x + _POINT, y + _POINT))
    for each in others:
        taken.add(_box(each))
    placed = []
    # What is left of several names, once they are cut, names none of them.
    beginnings = Counter(shortened(name, _LONGEST) for name in {name for _, _, name, _ in wanted})
    for x, y, name, of in wanted:
        text = shortened(name, _LONGEST)
        for candidate in _around(x, y, text) if beginnings[text] == 1 else ():
            box = _box(candidate)
            if _within(box, inside) and not taken.touch(box):
                taken.add(box)
                placed.append(replace(candidate, of=of))
                break
    return placed


def place_beside(
    candidates: Sequence[Text], points: Iterable[tuple[float, float]], others: Iterable[Box] = ()
) -> Text:
    """The first of several places of a text that touches the fewest points and other things."""
    boxes = [(x - _POINT, y - _POINT, x + _POINT, y + _POINT) for x, y in points] + list(others)
    return min(candidates, key=lambda each: sum(_overlap(_box(each), box) for box in boxes))


def _around(x: float, y: float, text: str) -> Iterator[Text]:
    """The places of a name beside a point, the best first."""
    yield Text(x + 8, y + 4, text, "start")
    yield Text(x - 8, y + 4, text, "end")
    yield Text(x, y - 10, text)
    yield Text(x, y + 18, text)
    for up in (-9, 17):
        yield Text(x + 6, y + up, text, "start")
        yield Text(x - 6, y + up, text, "end")


class _Boxes:
    """Boxes by the cells of a grid, so that in a chart of thousands of points few of them are looked at."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], list[Box]] = {}

    def add(self, box: Box) -> None:
        for cell in _cells(box):
            self._cells.setdefault(cell, []).append(box)

    def touch(self, box: Box) -> bool:
        return any(_overlap(box, other) for cell in _cells(box) for other in self._cells.get(cell, ()))


def _cells(box: Box) -> Iterator[tuple[int, int]]:
    left, top, right, bottom = (math.floor(end / _CELL) for end in box)
    for column in range(left, right + 1):
        for row in range(top, bottom + 1):
            yield column, row


def width_of(text: str) -> float:
    """About how wide a text is."""
    return len(text) * _LETTER


def _box(text: Text) -> Box:
    width = width_of(text.text)
    left = text.x - {"start": 0.0, "middle": width / 2, "end": width}[text.anchor]
    return left, text.y - 11, left + width, text.y - 11 + _LINE


def _within(box: Box, other: Box) -> bool:
    return box[0] >= other[0] and box[1] >= other[1] and box[2] <= other[2] and box[3] <= other[3]


def _overlap(box: Box, other: Box) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
