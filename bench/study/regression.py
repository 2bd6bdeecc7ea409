"""The verdict of a regression on a claimed sign."""

from typing import Literal

Sign = Literal["positive", "negative"]
Verdict = Literal["confirmed", "not confirmed", "undecided"]

#: Significance level of a difference or a slope.
SIGNIFICANCE = 0.05


def judge_sign(sign: Sign, value: float | None, p_value: float | None) -> Verdict:
    """Judge a claimed sign by a measured value.

    "confirmed": the value has the claimed sign, with p < 0.05. "not confirmed": it has the opposite sign, with
    p < 0.05. "undecided": anything else, including a missing value.
    """
    if value is None or p_value is None or value == 0 or not p_value < SIGNIFICANCE:
        return "undecided"
    return "confirmed" if (value > 0) == (sign == "positive") else "not confirmed"


def sign_of(value: float) -> Sign:
    """The sign of a published number."""
    return "positive" if value > 0 else "negative"
