"""The alarm read from the security curve."""

from collections.abc import Mapping

import numpy as np

from bench.core.record import Alarm
from bench.core.statistics import mcnemar
from bench.evaluation.alarms.attacks import SIGNIFICANT
from bench.evaluation.alarms.make import not_run
from bench.evaluation.files import ArraysByMetric

CURVE = "curve not falling"
#: "curve not falling": the ε at which an ℓ∞ ball makes every image gray, so that accuracy must be at chance ...
HALF = 0.5
#: ... within so many standard errors.
ABOVE_CHANCE_ERRORS = 2
#: "curve not falling": the accuracy that may be left without a bound.
UNBOUNDED_LIMIT = 0.0


def curve_not_falling(measured: ArraysByMetric, num_classes: int) -> Alarm:
    """Accuracy rises with ε, is above chance at ε = 1/2 in ℓ∞, or is above zero without a bound.

    In ℓ∞, ε = 1/2 can make every image gray; in ℓ2 it is a small step.
    """
    name = CURVE
    if "security_curve" not in measured:
        return not_run(name, "the security curve")
    eps, right = measured["security_curve"]["eps"], measured["security_curve"]["right"]
    values, n = right.mean(axis=1), right.shape[1]
    # Each point is compared with the lowest before it, so that a slow rise over many points is found as well.
    lowest = [int(values[: i + 1].argmin()) for i in range(len(values) - 1)]
    rises = [
        float(values[i] - values[low])
        for i, low in enumerate(lowest, start=1)
        if values[i] > values[low] and mcnemar(right[i], right[low]) < SIGNIFICANT
    ]
    linf = _is_linf(measured["security_curve"])
    half = [float(v) for e, v in zip(eps, values, strict=True) if linf and e == HALF]
    unbounded = float(values[-1])
    chance = 1 / num_classes
    above_chance = bool(half and half[0] > chance + ABOVE_CHANCE_ERRORS * np.sqrt(chance * (1 - chance) / n))
    reasons = [
        *([f"accuracy rises by {max(rises):.1%} with ε"] if rises else []),
        *([f"{half[0]:.1%} at ε = 1/2 is above chance"] if above_chance else []),
        *([f"{unbounded:.1%} without a bound is above zero"] if unbounded > UNBOUNDED_LIMIT else []),
    ]
    return Alarm(
        name=name,
        raised=bool(reasons),
        message="; ".join(reasons) or "accuracy falls to zero as ε increases",
        numbers={
            "largest_rise": max(rises, default=0.0),
            "at_half": half[0] if half else None,
            "unbounded": unbounded,
        },
    )


def _is_linf(curve: Mapping[str, np.ndarray]) -> bool:
    """Whether a security curve is in the ℓ∞ norm.

    Older curves do not store their norm. Their last ε is 1 in ℓ∞, the width of the pixel box, and in ℓ2 the
    length of the box's diagonal.
    """
    return str(curve["norm"]) == "linf" if "norm" in curve else float(curve["eps"][-1]) == 1
