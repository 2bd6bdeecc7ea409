"""Alarms: signs that a robust accuracy cannot be trusted, read from what the battery has already measured.

The limits belong to the battery's protocol and are no settings. A raised alarm never removes a row, and a result
without alarms may still be wrong.
"""

from collections.abc import Mapping

import numpy as np

from bench.core.checks import SAME_LOGITS
from bench.core.errors import NotFinite
from bench.core.names import (
    ADAPTIVE,
    AUTOATTACK,
    CLEAN_ACCURACY,
    CW,
    CW100X5,
    FGSM,
    PGD20,
    PGD100,
    ROBUST_ACCURACY,
    WORST_CASE,
)
from bench.core.record import Alarm
from bench.core.statistics import mcnemar
from bench.evaluation.files import ArraysByMetric

#: Every paired test: the p-value below which two attacks differ by more than sampling error.
SIGNIFICANT = 0.05
#: "more steps still help": by how much PGD-100 may lower the accuracy under PGD-20.
MORE_STEPS_LIMIT = 0.01
#: "PGD far above the strongest attack": by how much the accuracy under PGD-20 may exceed the worst case.
FAR_ABOVE_LIMIT = 0.08
#: "black box beats white box": share of images that Square alone may break.
ONLY_SQUARE_LIMIT = 0.002
#: "zero gradients": share of attacked images whose gradient may be exactly zero.
ZERO_GRADIENT_LIMIT = 0.0
#: "curve not falling": the ε at which an ℓ∞ ball makes every image gray, so that accuracy must be at chance ...
HALF = 0.5
#: ... within so many standard errors.
ABOVE_CHANCE_ERRORS = 2
#: "curve not falling": the accuracy that may be left without a bound.
UNBOUNDED_LIMIT = 0.0
#: "loss still moving": by how much the loss may change, relative to itself, over the last steps of PGD-100 ...
LOSS_CHANGE_LIMIT = 0.05
#: ... and how many these are.
LAST_STEPS = 10
#: "randomised output": by how much logits may differ between two passes, relative to the largest.
OUTPUT_LIMIT = SAME_LOGITS
#: "predictions depend on the batch": by how much logits may move with what an image is batched with, relative to
#: the largest; networks that compute in 16 bits round by nearly as much ...
BATCH_LIMIT = 5e-3
#: ... and the share of images that may move further: a network with thresholds inside can jump by rounding.
BATCH_SHARE = 0.25
#: "precision": share of images that an attack may break in low precision alone.
LOW_PRECISION_LIMIT = 0.0
#: "extra checks": by how much the checks after a raised alarm may lower the worst case.
EXTRA_CHECKS_LIMIT = 0.01
#: A difference of two shares such as 0.22 − 0.21 is computed as slightly above 0.01; this much is no excess.
ROUNDING = 1e-9

#: Names of alarms that call for a check of their own.
ZERO_GRADIENTS, RANDOMIZED_OUTPUT = "zero gradients", "randomised output"
BATCH_DEPENDENCE = "predictions depend on the batch"
#: Attacks whose losses have a gradient where cross-entropy has none: margin, scaled logits, DLR.
OTHER_LOSSES = (CW, CW100X5, ADAPTIVE, AUTOATTACK)


def read_alarms(measured: ArraysByMetric, num_classes: int) -> list[Alarm]:
    """Every alarm of the protocol, from the arrays of the metrics by name."""
    return [
        one_step_beats_iterative(measured),
        more_steps_help(measured),
        pgd_far_above_strongest(measured),
        black_box_beats_white_box(measured),
        zero_gradients(measured),
        curve_not_falling(measured, num_classes),
        loss_still_moving(measured),
        randomized_output(measured),
        depends_on_batch(measured),
        low_precision(measured),
    ]


def one_step_beats_iterative(measured: ArraysByMetric) -> Alarm:
    """FGSM breaks more images than PGD-20, by more than sampling error (paired test)."""
    name = "one step beats iterative"
    if not {FGSM, PGD20} <= measured.keys():
        return _not_run(name, "FGSM and PGD-20")
    fgsm, pgd = measured[FGSM]["right"], measured[PGD20]["right"]
    p_value = mcnemar(fgsm, pgd)
    raised = bool(fgsm.mean() < pgd.mean() and p_value < SIGNIFICANT)
    message = (
        "FGSM breaks more images than PGD-20, so the gradients mislead the attacks"
        if raised
        else "PGD-20 is at least as strong as FGSM"
    )
    return Alarm(
        name=name,
        raised=raised,
        message=message,
        numbers={"fgsm": fgsm.mean(), "pgd20": pgd.mean(), "p_value": p_value},
    )


def more_steps_help(measured: ArraysByMetric) -> Alarm:
    """PGD-100 lowers the accuracy under PGD-20 by more than the limit, and by more than sampling error (paired
    test).

    The attack has not converged then. Without the test, two images of a hundred would raise the alarm.
    """
    name = "more steps still help"
    if not {PGD20, PGD100} <= measured.keys():
        return _not_run(name, "PGD-20 and PGD-100")
    few, many = measured[PGD20]["right"], measured[PGD100]["right"]
    p_value, images = mcnemar(few, many), int(few.sum()) - int(many.sum())
    alarm = _over(
        name,
        few.mean() - many.mean(),
        MORE_STEPS_LIMIT,
        "PGD-20 minus PGD-100",
        {"pgd20": few.mean(), "pgd100": many.mean(), "p_value": p_value},
    )
    message = f"{alarm.message}; {images} of {len(few)} images, paired test p = {p_value:.2g}"
    if not alarm.raised or p_value < SIGNIFICANT:
        return alarm.model_copy(update={"message": message})
    return alarm.model_copy(update={"raised": False, "message": f"{message}: within sampling error"})


def pgd_far_above_strongest(measured: ArraysByMetric) -> Alarm:
    """The accuracy under PGD-20 exceeds the worst case by more than the limit: PGD alone overstates robustness."""
    name = "PGD far above the strongest attack"
    if not {PGD20, WORST_CASE} <= measured.keys():
        return _not_run(name, "PGD-20 and a second attack")
    pgd, worst = measured[PGD20]["right"].mean(), measured[WORST_CASE]["right"].mean()
    return _over(
        name, pgd - worst, FAR_ABOVE_LIMIT, "PGD-20 minus worst case", {"pgd20": pgd, "worst_case": worst}
    )


def black_box_beats_white_box(measured: ArraysByMetric) -> Alarm:
    """Square, which uses no gradient, is the only attack to break more than the limit of the images.

    AutoAttack's version "plus" cannot show this, since it runs Square before two stages that use gradients.
    """
    name = "black box beats white box"
    if AUTOATTACK not in measured or not _ran_square(measured[AUTOATTACK]):
        return _not_run(name, "AutoAttack's Square")
    if str(measured[AUTOATTACK].get("version")) == "plus":
        return Alarm(
            name=name,
            raised=None,
            message=(
                'AutoAttack "plus" runs Square before apgd-t and fab-t, which might have broken the same '
                'images; use its version "standard" to find out'
            ),
        )
    square = measured[AUTOATTACK]["stage"] == "square"
    for attack, arrays in measured.items():
        if attack.startswith(ROBUST_ACCURACY) and attack not in (AUTOATTACK, WORST_CASE):
            square = square & arrays["right"]
    return _over(
        name,
        square.mean(),
        ONLY_SQUARE_LIMIT,
        "images that only Square breaks",
        {"only_square": square.mean()},
    )


def zero_gradients(measured: ArraysByMetric) -> Alarm:
    """Some attacked image has an input gradient of exactly zero where PGD-20 starts.

    The gradient in float32 decides, since the attack uses it. The share that is zero in float64 as well separates a
    flat network from a saturated loss, whose gradient merely underflows; the message says which it is.
    """
    name = ZERO_GRADIENTS
    if PGD20 not in measured:
        return _not_run(name, "PGD-20")
    arrays = measured[PGD20]
    attacked = arrays["step"] != 0
    shares = {
        precision: float(arrays[key][attacked].mean()) if attacked.any() else 0.0
        for precision, key in (("float32", "zero_gradient_float32"), ("float64", "zero_gradient"))
    }
    alarm = _over(
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
    return alarm.model_copy(
        update={
            "message": (
                f"{alarm.message}, {_in_which_precision(**shares)}; of the {int(unseen.sum())} that PGD-20 "
                f"left right, {found}"
            ),
            "numbers": {**alarm.numbers, **{f"broken_by_{attack}": float(n) for attack, n in broken.items()}},
        }
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


def curve_not_falling(measured: ArraysByMetric, num_classes: int) -> Alarm:
    """Accuracy rises with ε, is above chance at ε = 1/2 in ℓ∞, or is above zero without a bound.

    In ℓ∞, ε = 1/2 can make every image gray; in ℓ2 it is a small step.
    """
    name = "curve not falling"
    if "security_curve" not in measured:
        return _not_run(name, "the security curve")
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


def loss_still_moving(measured: ArraysByMetric) -> Alarm:
    """The loss of the surviving images under PGD-100 changed by more than the limit over the last steps."""
    name = "loss still moving"
    if PGD100 not in measured:
        return _not_run(name, "PGD-100")
    loss = measured[PGD100]["loss"]
    loss = loss[np.isfinite(loss)]
    if len(loss) <= LAST_STEPS:
        return Alarm(name=name, raised=False, message="no image survived long enough to decide")
    before, after = float(loss[-1 - LAST_STEPS]), float(loss[-1])
    change = abs(after - before) / max(abs(before), 1e-12)
    return _over(
        name,
        change,
        LOSS_CHANGE_LIMIT,
        "relative change over the last ten steps",
        {"before": before, "after": after},
    )


def randomized_output(measured: ArraysByMetric) -> Alarm:
    """Two passes over the same images give different logits: the network is stochastic."""
    name = RANDOMIZED_OUTPUT
    # AutoAttack compares two passes as well, where clean accuracy did not and its version is not "rand".
    compared = [
        arrays
        for key in (CLEAN_ACCURACY, AUTOATTACK)
        if "between_passes" in (arrays := measured.get(key, {}))
    ]
    if not compared:
        return _not_run(name, "clean accuracy")
    moved = float(compared[0]["between_passes"][0])
    if not np.isfinite(moved):
        raise NotFinite("expected finite logits, the network gave NaN or infinity; did its training diverge?")
    message = (
        f"logits differ by {moved:.1e} between two passes, relative to the largest; up to {OUTPUT_LIMIT:.0e} "
        "is rounding"
    )
    return Alarm(name=name, raised=moved > OUTPUT_LIMIT, message=message, numbers={"difference": moved})


def depends_on_batch(measured: ArraysByMetric) -> Alarm:
    """Logits move by more than rounding when an image is alone, or in a batch of another order.

    Such a network, for example one with batch statistics in eval mode, has no accuracy of its own: every score
    holds for the batches it was measured in.
    """
    name = BATCH_DEPENDENCE
    arrays = measured.get(CLEAN_ACCURACY, {})
    if len(arrays.get("between_batches", ())) < 2:
        return _not_run(name, "clean accuracy with several images, and each of them alone")
    if float(arrays["between_passes"][0]) > OUTPUT_LIMIT:
        return Alarm(name=name, raised=None, message="cannot be told, since the output is random")
    moved = arrays["between_batches"]
    share, middle = float((moved > BATCH_LIMIT).mean()), float(np.median(moved))
    raised = exceeds(share, BATCH_SHARE)
    message = (
        f"alone or in another order, {share:.0%} of {len(moved)} images have logits that differ by over "
        f"{BATCH_LIMIT:.1%} of the largest (median {middle:.1e})"
    )
    if raised:
        message += "; scores hold for the batches they were measured in"
    return Alarm(name=name, raised=raised, message=message, numbers={"share": share, "median": middle})


def low_precision(measured: ArraysByMetric) -> Alarm:
    """An attack in low precision broke images that are right in float32 and that no other attack broke."""
    name = "precision"
    claims = {attack: arrays["unconfirmed"] for attack, arrays in measured.items() if "unconfirmed" in arrays}
    shares = {attack.rpartition("/")[2]: float(images.mean()) for attack, images in claims.items()}
    if not any(shares.values()):
        message = "every broken image is misclassified in float32"
        return Alarm(name=name, raised=False, message=message, numbers=shares)
    return _over(
        name, max(shares.values()), LOW_PRECISION_LIMIT, "images broken in low precision alone", shares
    )


def exceeds(value: float, limit: float) -> bool:
    """Whether a share is above a limit by more than rounding."""
    return bool(value > limit + ROUNDING)


def _is_linf(curve: Mapping[str, np.ndarray]) -> bool:
    """Whether a security curve is in the ℓ∞ norm.

    Older curves do not store their norm. Their last ε is 1 in ℓ∞, the width of the pixel box, and in ℓ2 the
    length of the box's diagonal.
    """
    return str(curve["norm"]) == "linf" if "norm" in curve else float(curve["eps"][-1]) == 1


def _ran_square(arrays: Mapping[str, np.ndarray]) -> bool:
    left_out = any(str(stage).startswith("square") for stage in arrays.get("skipped", ()))
    return not left_out and str(arrays.get("version", "standard")) != "rand"


def _over(name: str, value: float, limit: float, what: str, numbers: Mapping[str, float]) -> Alarm:
    """An alarm that is raised where a share exceeds its limit."""
    raised = exceeds(value, limit)
    message = f"{what}: {value:.2%}, {'above' if raised else 'not above'} {limit:.1%}"
    return Alarm(
        name=name,
        raised=raised,
        message=message,
        numbers={key: float(number) for key, number in numbers.items()},
    )


def _not_run(name: str, what: str) -> Alarm:
    return Alarm(name=name, raised=None, message=f"needs {what}, which did not run")
