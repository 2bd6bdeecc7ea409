"""The plane that charts are drawn on: ticks, scales and marks, as SVG path data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from leaderboards.text import number

WIDTH, HEIGHT = 420, 280
LEFT, RIGHT, TOP, BOTTOM = 46, 406, 30, 234
STYLES = 8
MARKERS = (
    "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",
    "m-3.2 -3.2h6.4v6.4h-6.4z",
    "m0 -4.6l4.6 4.6l-4.6 4.6l-4.6 -4.6z",
    "m0 -4.4l4.3 7.5h-8.6z",
)
SMALLEST_SPAN = 1e-100  # below it floats run out of digits


@dataclass(frozen=True)
class Path:
    """A stroke or a marker: its SVG path, its style class, what kind it is and what it stands for."""

    d: str
    style: str
    kind: str
    title: str = ""


@dataclass(frozen=True)
class Label:
    """A piece of text at a position."""

    x: str
    y: str
    text: str
    anchor: str = "middle"


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value from a record can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def tick_values(low: float, high: float, most: int = 6, least: float = 0.0) -> list[float]:
    """Round numbers, evenly spaced by 1, 2, 2.5 or 5 times a power of ten, that enclose both ends.

    Args:
        low, high: the ends, low < high.
        most: about how many steps to take at most.
        least: the smallest step, 1 for an axis of whole numbers.
    """
    rough = max((high - low) / most, least)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{at * step:.12g}") for at in range(first, last + 1)]


class Axis:
    """A scale from values to positions, its ends at round numbers.

    Args:
        values: what must lie on it.
        start, end: positions of its low and its high end.
        least: the smallest step between ticks.
    """

    def __init__(self, values: Sequence[float], start: float, end: float, least: float = 0.0) -> None:
        low, high = min(values), max(values)
        if high - low <= max(1e-9 * max(abs(low), abs(high)), SMALLEST_SPAN):
            margin = abs(low) / 10 if abs(low) > SMALLEST_SPAN else 1.0
            low, high = low - margin, high + margin
        self.ticks = tick_values(low, high, least=least)
        self.low, self.high = self.ticks[0], self.ticks[-1]
        self._start, self._scale = start, (end - start) / (self.high - self.low)

    def at(self, value: float) -> float:
        """The position of a value."""
        return self._start + (value - self.low) * self._scale


class Frame:
    """Two axes and what can be drawn between them."""

    def __init__(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        counted = all(float(x).is_integer() for x in xs) and max(xs) > 1  # epochs, not fractions
        self.x, self.y = Axis(xs, LEFT, RIGHT, least=1.0 if counted else 0.0), Axis(ys, BOTTOM, TOP)
        ends = (self.x.low, self.x.high)
        self.grid = tuple(Path(self.line([(x, tick) for x in ends]), "", "grid") for tick in self.y.ticks)
        self.ticks = tuple(
            [Label(position(self.x.at(tick)), position(BOTTOM + 18), number(tick)) for tick in self.x.ticks]
            + [
                Label(position(LEFT - 7), position(self.y.at(tick) + 4), number(tick), "end")
                for tick in self.y.ticks
            ]
        )

    def line(self, points: Sequence[tuple[float, float]]) -> str:
        """The path through points."""
        return "M" + "L".join(f"{position(self.x.at(x))} {position(self.y.at(y))}" for x, y in points)

    def marker(self, x: float, y: float, style: int, name: str = "") -> Path:
        """A point, with its numbers as its title."""
        title = (f"{name}: " if name else "") + f"{number(x)}, {number(y)}"
        return Path(marker_shape(self.x.at(x), self.y.at(y), style), style_class(style), "dot", title)


def style_class(index: int) -> str:
    """The class of the n-th style; they repeat."""
    return f"s{index % STYLES}"


def marker_shape(x: float, y: float, style: int) -> str:
    """The outline of the n-th style's marker."""
    return f"M{position(x)} {position(y)}{MARKERS[style % len(MARKERS)]}"


def position(value: float) -> str:
    """A position with one decimal, so that drawings do not depend on the last bit."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
