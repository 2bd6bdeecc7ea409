"""Alarms: signs that a robust accuracy is not to be believed, read off what the battery already ran.

Each threshold is the protocol's. A raised alarm never removes a row, and no alarm does not mean trustworthy.
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

Measured = Mapping[str, Mapping[str, np.ndarray]]

#: Attacks whose losses have a gradient where cross-entropy has none left: the margin, scaled logits, DLR.
OTHER_LOSSES = (CW, CW100X5, ADAPTIVE, AUTOATTACK)


def read_alarms(measured: Measured, num_classes: int) -> list[Alarm]:
    """Every alarm of the protocol, from the arrays of the metrics by name."""
    return [
        one_step_beats_iterative(measured),
        more_steps_help(measured),
        pgd_far_above_strongest(measured),
        black_box_beats_white_box(measured),
        zero_gradients(measured),
        curve_not_falling(measured, num_classes),
        loss_still_moving(measured),
        randomised_output(measured),
        low_precision(measured),
    ]


def one_step_beats_iterative(measured: Measured) -> Alarm:
    """FGSM leaves fewer images right than PGD-20, by more than sampling error (paired test at 95 %)."""
    name = "one step beats iterative"
    if not {FGSM, PGD20} <= measured.keys():
        return _not_run(name, "FGSM and PGD-20")
    fgsm, pgd = measured[FGSM]["right"], measured[PGD20]["right"]
    p_value = mcnemar(fgsm, pgd)
    raised = bool(fgsm.mean() < pgd.mean() and p_value < 0.05)
    message = (
        "FGSM breaks more images than PGD-20, so the gradients mislead"
        if raised
        else "PGD-20 is at least as strong as FGSM"
    )
    return Alarm(
        name=name,
        raised=raised,
        message=message,
        numbers={"fgsm": fgsm.mean(), "pgd20": pgd.mean(), "p_value": p_value},
    )


def more_steps_help(measured: Measured) -> Alarm:
    """PGD-100 breaks more than one point beyond PGD-20, and a paired test separates them at 95 %.

    Without the test, two images of a hundred would raise it; where it is raised, the attack has not converged.
    """
    name = "more steps still help"
    if not {PGD20, PGD100} <= measured.keys():
        return _not_run(name, "PGD-20 and PGD-100")
    few, many = measured[PGD20]["right"], measured[PGD100]["right"]
    p_value, images = mcnemar(few, many), int(few.sum()) - int(many.sum())
    alarm = _over(
        name,
        few.mean() - many.mean(),
        0.01,
        "PGD-20 minus PGD-100",
        {"pgd20": few.mean(), "pgd100": many.mean(), "p_value": p_value},
    )
    words = f"{alarm.message}; {images} of {len(few)} images, paired test p = {p_value:.2g}"
    within = bool(alarm.raised and p_value >= 0.05)
    return alarm.model_copy(
        update={
            "raised": alarm.raised and not within,
            "message": f"{words}: within sampling error" if within else words,
        }
    )


def pgd_far_above_strongest(measured: Measured) -> Alarm:
    """PGD-20 lies more than eight points above the worst case: a PGD number alone would overstate robustness."""
    name = "PGD far above the strongest attack"
    if not {PGD20, WORST_CASE} <= measured.keys():
        return _not_run(name, "PGD-20 and a second attack")
    pgd, worst = measured[PGD20]["right"].mean(), measured[WORST_CASE]["right"].mean()
    return _over(name, pgd - worst, 0.08, "PGD-20 minus worst case", {"pgd20": pgd, "worst_case": worst})


def black_box_beats_white_box(measured: Measured) -> Alarm:
    """More than 0.2 points of the images fall to Square alone, which sees no gradient.

    AutoAttack's version "plus" cannot tell: there Square comes before stages that do see one.
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
                'images; its version "standard" tells'
            ),
        )
    square = measured[AUTOATTACK]["stage"] == "square"
    for attack, arrays in measured.items():
        if attack.startswith(ROBUST_ACCURACY) and attack not in (AUTOATTACK, WORST_CASE):
            square = square & arrays["right"]
    return _over(name, square.mean(), 0.002, "images only Square breaks", {"only_square": square.mean()})


def zero_gradients(measured: Measured) -> Alarm:
    """Some attacked image has an input gradient of exactly zero where PGD-20 starts.

    Float32 decides, since that is what the attack sees; the share that is zero in float64 as well tells a flat
    network from a saturated loss, whose gradient merely underflows, and the message says which it is.
    """
    name = "zero gradients"
    if PGD20 not in measured:
        return _not_run(name, "PGD-20")
    arrays = measured[PGD20]
    attacked = arrays["step"] != 0
    shares = {
        precision: float(arrays[key][attacked].mean()) if attacked.any() else 0.0
        for precision, key in (("float32", "zero_gradient_float32"), ("float64", "zero_gradient"))
    }
    alarm = _over(name, shares["float32"], 0.0, "attacked images whose gradient is exactly zero", shares)
    if not alarm.raised:
        return alarm
    where = "in float64 too"
    if shares["float64"] == 0:
        where = "in float32 alone (a saturated loss: a scaled loss would see a gradient)"
    elif shares["float64"] < shares["float32"]:
        where = (
            f"{shares['float64']:.2%} in float64 too, the rest in float32 alone "
            "(a saturated loss: a scaled loss would see a gradient)"
        )
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
            "message": f"{alarm.message}, {where}; of the {int(unseen.sum())} that PGD-20 left right, {found}",
            "numbers": {**alarm.numbers, **{f"broken_by_{attack}": float(n) for attack, n in broken.items()}},
        }
    )


def curve_not_falling(measured: Measured, num_classes: int) -> Alarm:
    """Accuracy rises with ε, stays above chance at ε = 1/2 (ℓ∞ alone), or above zero with no bound.

    Half of the pixels' range in ℓ∞ turns every image into gray; in ℓ2 it is a small step.
    """
    name = "curve not falling"
    if "security_curve" not in measured:
        return _not_run(name, "the security curve")
    eps, right = measured["security_curve"]["eps"], measured["security_curve"]["right"]
    values, n = right.mean(axis=1), right.shape[1]
    # Each point against the lowest before it: a slow rise over many points is one too.
    lowest = [int(values[: i + 1].argmin()) for i in range(len(values) - 1)]
    rises = [
        float(values[i] - values[low])
        for i, low in enumerate(lowest, start=1)
        if values[i] > values[low] and mcnemar(right[i], right[low]) < 0.05
    ]
    linf = _is_linf(measured["security_curve"])
    half = [float(v) for e, v in zip(eps, values, strict=True) if linf and e == 0.5]
    unbounded = float(values[-1])
    chance = 1 / num_classes
    above_chance = bool(half and half[0] > chance + 2 * np.sqrt(chance * (1 - chance) / n))
    reasons = [
        *([f"accuracy rises by {max(rises):.1%} with ε"] if rises else []),
        *([f"{half[0]:.1%} at ε = 1/2 is above chance"] if above_chance else []),
        *([f"{unbounded:.1%} without a bound is above zero"] if unbounded > 0 else []),
    ]
    numbers = {
        "largest_rise": max(rises, default=0.0),
        "at_half": half[0] if half else None,
        "unbounded": unbounded,
    }
    return Alarm(
        name=name,
        raised=bool(reasons),
        message="; ".join(reasons) or "accuracy falls to zero as ε grows",
        numbers=numbers,
    )


def loss_still_moving(measured: Measured) -> Alarm:
    """The loss of the surviving images under PGD-100 moved by more than 5 % over the last ten steps."""
    name = "loss still moving"
    if PGD100 not in measured:
        return _not_run(name, "PGD-100")
    loss = measured[PGD100]["loss"]
    loss = loss[np.isfinite(loss)]
    if len(loss) < 11:
        return Alarm(name=name, raised=False, message="no image survived long enough to tell")
    before, after = float(loss[-11]), float(loss[-1])
    change = abs(after - before) / max(abs(before), 1e-12)
    return _over(
        name, change, 0.05, "relative change over the last ten steps", {"before": before, "after": after}
    )


def randomised_output(measured: Measured) -> Alarm:
    """Two passes over the same images give different logits."""
    name = "randomised output"
    # AutoAttack looks as well, where clean accuracy did not and the version "rand" was not asked for.
    looked = [
        arrays
        for key in (CLEAN_ACCURACY, AUTOATTACK)
        if "between_passes" in (arrays := measured.get(key, {}))
    ]
    if not looked:
        return _not_run(name, "clean accuracy")
    moved = float(looked[0]["between_passes"][0])
    if not np.isfinite(moved):
        raise NotFinite("expected finite logits, the network gave NaN or infinity; did its training diverge?")
    message = (
        f"logits differ by {moved:.1e} between two passes, relative to the largest; rounding ends at 1e-5"
    )
    return Alarm(name=name, raised=moved > SAME_LOGITS, message=message, numbers={"difference": moved})


def low_precision(measured: Measured) -> Alarm:
    """An attack in low precision claimed images that are right in float32, and nothing else broke them."""
    name = "precision"
    claims = {attack: arrays["unconfirmed"] for attack, arrays in measured.items() if "unconfirmed" in arrays}
    shares = {attack.rpartition("/")[2]: float(images.mean()) for attack, images in claims.items()}
    if not any(shares.values()):
        return Alarm(name=name, raised=False, message="every success was one in float32", numbers=shares)
    return _over(name, max(shares.values()), 0.0, "images broken in low precision alone", shares)


def _is_linf(curve: Mapping[str, np.ndarray]) -> bool:
    """Whether a security curve is one of the ℓ∞ norm; an older one tells it by its last ε.

    That is 1 there, the width of the pixel box, and the length of the box's diagonal in ℓ2.
    """
    return str(curve["norm"]) == "linf" if "norm" in curve else float(curve["eps"][-1]) == 1


def _ran_square(arrays: Mapping[str, np.ndarray]) -> bool:
    left_out = any(str(stage).startswith("square") for stage in arrays.get("skipped", ()))
    return not left_out and str(arrays.get("version", "standard")) != "rand"


def _over(name: str, value: float, limit: float, what: str, numbers: Mapping[str, float]) -> Alarm:
    # A difference of two shares such as 0.22 − 0.21 comes out a hair above 0.01.
    raised = bool(value > limit + 1e-9)
    message = f"{what}: {value:.2%}, {'above' if raised else 'not above'} {limit:.1%}"
    return Alarm(
        name=name,
        raised=raised,
        message=message,
        numbers={key: float(number) for key, number in numbers.items()},
    )


def _not_run(name: str, what: str) -> Alarm:
    return Alarm(name=name, raised=None, message=f"needs {what}, which did not run")
