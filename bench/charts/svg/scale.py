"""Convert values of an axis to positions in the drawing."""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from matplotlib.ticker import Locator

from bench.charts.chart import Panel
from bench.charts.extent import reached_values
from bench.charts.numbers import number, power_of_ten
from bench.charts.ticks import tick_locator
from bench.charts.tiling import is_log

#: Steps between ticks, about the most that fit on a phone.
_STEPS = 6
#: Below this span, floats have too few digits to tell ticks apart.
_SMALLEST_SPAN = 1e-100


class Scale:
    """One axis of a panel, its ends at round numbers unless the chart sets them farther out.

    Attributes:
        ticks: place and text of each.

    Args:
        start, end: places of its low and its high end.
    """

    def __init__(self, panel: Panel, letter: Literal["x", "y"], start: float, end: float) -> None:
        axis = panel.x if letter == "x" else panel.y
        self.log = is_log(panel, letter)
        reached = reached_values(panel, letter, self.log)
        reached += [value for value in (axis.low, axis.high, *axis.ticks) if value is not None]
        low, high = _apart(min(reached, default=0.1), max(reached, default=1.0), self.log)
        values = axis.ticks or _tick_values(tick_locator(panel, letter, low, high, most=_STEPS), low, high)
        if not axis.ticks and not self.log:
            low = low if axis.low == low else min(low, *values)
            high = high if axis.high == high else max(high, *values)
        self._low, span = self._measure(low), self._measure(high) - self._measure(low)
        self._start, self._factor = start, (end - start) / span
        labels = axis.tick_labels or _told(values)
        self.ticks = [
            (self.at(value), label)
            for value, label in zip(values, labels, strict=True)
            if low <= value <= high
        ]

    def at(self, value: float) -> float:
        """The place of a value; what a logarithmic axis cannot show is on its low end."""
        if self.log and value <= 0:
            return self._start
        return self._start + (self._measure(value) - self._low) * self._factor

    def _measure(self, value: float) -> float:
        return math.log(value) if self.log else float(value)


# Axes of epochs and of per cents are the same in thousands of charts.
@lru_cache(1024)
def _tick_values(locator: Locator, low: float, high: float) -> list[float]:
    # Without the last bits, which put a tick at 1 above an axis that ends there.
    return [float(f"{value:.12g}") for value in locator.tick_values(low, high)]


def _told(values: Sequence[float]) -> list[str]:
    """Ticks as powers of ten, as short texts, or with the decimals that tell them without rounding."""
    exponents = [round(math.log10(value)) if value > 0 else 0 for value in values]
    if min(exponents, default=0) < -3 and all(
        math.isclose(value, 10.0**exponent) for value, exponent in zip(values, exponents, strict=True)
    ):
        return [power_of_ten(exponent) for exponent in exponents]
    close = 1e-3 * min((b - a for a, b in pairwise(sorted(values))), default=0)
    if all(abs(value) >= 1000 or abs(float(f"{value:.3g}") - value) <= close for value in values):
        return [number(value) for value in values]
    decimals = next((d for d in range(9) if all(abs(round(v, d) - v) <= close for v in values)), None)
    return [number(value, decimals) for value in values]


def _apart(low: float, high: float, log: bool) -> tuple[float, float]:
    """The ends of the data, or an interval around the only value."""
    if log:
        return (low / 2, high * 2) if low == high else (low, high)
    if high - low > max(1e-9 * max(abs(low), abs(high)), _SMALLEST_SPAN):
        return low, high
    margin = abs(low) / 10 if abs(low) > _SMALLEST_SPAN else 1.0
    return low - margin, high + margin
