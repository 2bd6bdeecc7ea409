"""Search ranges, written beside a hyper-parameter's default.

`weight: Annotated[float, Field(gt=0), LogUniform(1, 10)] = 6.0` has type, bound, range and default in one
line. `Field` (pydantic) bounds what a user may set; the range bounds what a search tries.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Uniform:
    """A number searched uniformly between `low` and `high`; whole numbers for an `int` field."""

    low: float
    high: float


@dataclass(frozen=True)
class LogUniform:
    """A number searched uniformly in its logarithm between `low` and `high`, both above zero."""

    low: float
    high: float


@dataclass(frozen=True, init=False)
class Choice:
    """One of the listed values."""

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        object.__setattr__(self, "values", values)


Range = Uniform | LogUniform | Choice
