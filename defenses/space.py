"""Search ranges, written beside a hyper-parameter's default.

`weight: Annotated[float, Field(gt=0), LogUniform(1, 10)] = 6.0` has type, bound, range and default in one
line. `Field` (pydantic) bounds what a user may set; the range bounds what a search tries.
"""

import math
from dataclasses import dataclass
from typing import Any

from bench.core.errors import UserError


@dataclass(frozen=True)
class Uniform:
    """A number searched uniformly between `low` and `high`; whole numbers for an `int` field.

    Raises:
        UserError: for bounds that are not finite or not in order.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high, -math.inf)


@dataclass(frozen=True)
class LogUniform:
    """A number searched uniformly in its logarithm between `low` and `high`, both above zero.

    Raises:
        UserError: for bounds that are not finite, not above zero or not in order.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high, 0)


@dataclass(frozen=True, init=False)
class Choice:
    """One of the listed values."""

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        if not values:
            raise UserError("a choice needs at least one value")
        object.__setattr__(self, "values", values)


Range = Uniform | LogUniform | Choice


def _check_bounds(low: float, high: float, above: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and above < low < high):
        kind = "numbers above 0" if above == 0 else "numbers"
        raise UserError(f"a search range needs two {kind}, the lower one first; got {low} … {high}")
