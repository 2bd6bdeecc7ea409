"""Alarms read from the gradients and the loss of an attack."""

from dataclasses import replace

import numpy as np

from bench.core.names import ADAPTIVE, AUTOATTACK, CLEAN_ACCURACY, CW, CW100X5, PGD20, PGD100
from bench.core.record import Alarm
from bench.evaluation.alarms.make import exceeds, not_run, over
from bench.evaluation.alarms.network import depends_on_batch, randomized_output
from bench.evaluation.files import ArraysByMetric

ZERO_GRADIENTS = "zero gradients"
LOSS_MOVING = "loss still moving"
WRONG_GRADIENT = "gradient contradicts the output"
#: "zero gradients": share of attacked images whose gradient may be exactly zero.
ZERO_GRADIENT_LIMIT = 0.0
#: "loss still moving": by how much the loss may change, relative to itself, over the last steps of PGD-100 ...
LOSS_CHANGE_LIMIT = 0.05
#: ... and how many these are.
LAST_STEPS = 10
#: "gradient contradicts the output": by how much of the larger one the two slopes of an image may differ ...
SLOPE_LIMIT = 0.25
#: ... the share of images that may differ by more, and of how many images finite differences must tell.
SLOPE_SHARE, LEAST_TOLD = 0.25, 8
#: Attacks whose losses have a gradient where cross-entropy has none: margin, scaled logits, DLR.
OTHER_LOSSES = (CW, CW100X5, ADAPTIVE, AUTOATTACK)


def zero_gradients(measured: ArraysByMetric) -> Alarm:
    """Some attacked image has an input gradient of exactly zero where PGD-20 starts.

    The gradient in float32 decides, since the attack uses it. The share that is zero in float64 as well separates a
    flat network from a saturated loss, whose gradient merely underflows; the message says which it is.
    """
    name = ZERO_GRADIENTS
    if PGD20 not in measured:
        return not_run(name, "PGD-20")
    arrays = measured[PGD20]
    attacked = arrays["step"] != 0
    shares = {
        precision: float(arrays[key][attacked].mean()) if attacked.any() else 0.0
        for precision, key in (("float32", "zero_gradient_float32"), ("float64", "zero_gradient"))
    }
    alarm = over(
        name,
        shares["float32"],
        ZERO_GRADIENT_LIMIT,
        "attacked images whose gradient is exactly zero",
        shares,
    )
    if not alarm.raised:
        return alarm
    unseen = arrays["zero_gradient_float32"] & arrays["right"]
    broken = {
        attack.rpartition("/")[2]: int((unseen & ~measured[attack]["right"]).sum())
        for attack in OTHER_LOSSES
        if attack in measured
    }
    found = (
        ", ".join(f"{attack} broke {count}" for attack, count in broken.items()) or "no other loss was tried"
    )
    return replace(
        alarm,
        message=(
            f"{alarm.message}, {_in_which_precision(**shares)}; of the {int(unseen.sum())} that PGD-20 "
            f"left right, {found}"
        ),
        numbers={**alarm.numbers, **{f"broken_by_{attack}": float(n) for attack, n in broken.items()}},
    )


def _in_which_precision(float32: float, float64: float) -> str:
    if float64 == 0:
        return "in float32 alone (a saturated loss: a scaled loss would have a gradient)"
    if float64 < float32:
        return (
            f"{float64:.2%} in float64 too, the rest in float32 alone "
            "(a saturated loss: a scaled loss would have a gradient)"
        )
    return "in float64 too"


def loss_still_moving(measured: ArraysByMetric) -> Alarm:
    """The loss of the surviving images under PGD-100 changed by more than the limit over the last steps."""
    name = LOSS_MOVING
    if PGD100 not in measured:
        return not_run(name, "PGD-100")
    loss = measured[PGD100]["loss"]
    loss = loss[np.isfinite(loss)]
    if len(loss) <= LAST_STEPS:
        return Alarm(name=name, raised=False, message="no image survived long enough to decide")
    before, after = float(loss[-1 - LAST_STEPS]), float(loss[-1])
    change = abs(after - before) / max(abs(before), 1e-12)
    return over(
        name,
        change,
        LOSS_CHANGE_LIMIT,
        "relative change over the last ten steps",
        {"before": before, "after": after},
    )


def gradient_contradicts_output(measured: ArraysByMetric) -> Alarm:
    """The gradient promises another slope than finite differences of the output show, for over a quarter of images.

    Part of the backward pass is missing, or is not that of the forward pass. Images whose finite differences
    disagree among themselves, as those of a rounded or random output do, are left out.
    """
    errors = measured.get(CLEAN_ACCURACY, {}).get("gradient_error")
    if errors is None:
        return not_run(WRONG_GRADIENT, "clean accuracy")
    for other in (randomized_output(measured), depends_on_batch(measured)):
        if other.raised:
            return Alarm(name=WRONG_GRADIENT, raised=None, message=f"cannot be told: {other.name}")
    told = errors[~np.isnan(errors)]
    if len(told) < LEAST_TOLD:
        message = f"cannot be told: finite differences agree for {len(told)} of {len(errors)} images"
        return Alarm(name=WRONG_GRADIENT, raised=None, message=message)
    share, middle = float((told > SLOPE_LIMIT).mean()), float(np.median(told))
    return Alarm(
        name=WRONG_GRADIENT,
        raised=exceeds(share, SLOPE_SHARE),
        message=(
            f"for {share:.0%} of {len(told)} images the slope by the gradient is off by over {SLOPE_LIMIT:.0%} of "
            f"that by finite differences (median {middle:.1e})"
        ),
        numbers={"share": share, "median": middle, "told": float(len(told))},
    )
