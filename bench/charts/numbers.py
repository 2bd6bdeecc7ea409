"""Format numbers for reading."""

import math
import re
from functools import lru_cache

#: Numbers that need more are written with powers of ten.
_MOST_DECIMALS = 5
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@lru_cache(1 << 14)
def number(value: float, decimals: int | None = None) -> str:
    """Format a number for reading: `decimals` digits after the point, or three or more significant ones."""
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        return minus(mantissa) + "×" + power_of_ten(int(exponent))
    if decimals is not None and size < 1000:
        return minus(f"{value:.{decimals}f}")
    if float(value).is_integer() or size >= 1000:
        return minus(f"{value:,.0f}")
    return minus(f"{value:.3g}")


@lru_cache(1 << 14)
def within(value: float, low: float | None, high: float | None) -> str:
    """Format a number with the digits that its interval warrants: two of half its width."""
    half = 0.0 if low is None or high is None else (high - low) / 2
    decimals = 1 - math.floor(math.log10(half)) if 0 < half < math.inf else None
    if decimals is None or decimals > _MOST_DECIMALS:
        return number(value)
    return minus(f"{value:,.{max(decimals, 0)}f}")


def minus(text: str) -> str:
    """The number in `text` with a typographic minus sign, and without one before zero."""
    if text.startswith("-"):
        return text[1:] if not re.search(r"[1-9]", text) else "−" + text[1:]
    return text


@lru_cache(4096)
def typeset(text: str) -> str:
    """A text with the numbers that a program wrote with an exponent, such as 7.6e-06, as they are read."""
    return re.sub(
        r"(?<![\w.-])-?\d+(?:\.\d+)?e[+-]?\d{1,3}(?!\w)", lambda found: number(float(found[0])), text
    )


def power_of_ten(exponent: int) -> str:
    """A power of ten, such as 10⁻³."""
    return f"10{str(exponent).translate(_SUPERSCRIPT)}"
