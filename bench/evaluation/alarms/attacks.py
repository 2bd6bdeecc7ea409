"""Alarms read from the outcomes of several attacks on the same images."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bench.core.names import (
    AUTOATTACK,
    FGSM,
    PGD20,
    PGD100,
    ROBUST_ACCURACY,
    WORST_CASE,
)
from bench.core.record import Alarm
from bench.core.statistics import mcnemar
from bench.evaluation.alarms.gradients import zero_gradients
from bench.evaluation.alarms.make import exceeds, not_run, over
from bench.evaluation.files import ArraysByMetric

ONE_STEP = "one step beats iterative"
MORE_STEPS_HELP = "more steps still help"
FAR_ABOVE = "PGD far above the strongest attack"
BLACK_BOX = "black box beats white box"
#: Every paired test: the p-value below which two attacks differ by more than sampling error.
SIGNIFICANT = 0.05
#: "more steps still help": by how much PGD-100 may lower the accuracy under PGD-20.
MORE_STEPS_LIMIT = 0.01
#: "PGD far above the strongest attack": by how much the accuracy under PGD-20 may exceed the worst case ...
FAR_ABOVE_LIMIT = 0.08
#: ... if all the battery's descents along the gradient together do so by more than this.
UNEXPLAINED_LIMIT = 0.05
#: "black box beats white box": share of images that Square alone may break.
ONLY_SQUARE_LIMIT = 0.002


def one_step_beats_iterative(measured: ArraysByMetric) -> Alarm:
    """FGSM breaks more images than PGD-20, by more than sampling error (paired test)."""
    name = ONE_STEP
    if not {FGSM, PGD20} <= measured.keys():
        return not_run(name, "FGSM and PGD-20")
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
    name = MORE_STEPS_HELP
    if not {PGD20, PGD100} <= measured.keys():
        return not_run(name, "PGD-20 and PGD-100")
    few, many = measured[PGD20]["right"], measured[PGD100]["right"]
    p_value, images = mcnemar(few, many), int(few.sum()) - int(many.sum())
    alarm = over(
        name,
        few.mean() - many.mean(),
        MORE_STEPS_LIMIT,
        "PGD-20 minus PGD-100",
        {"pgd20": few.mean(), "pgd100": many.mean(), "p_value": p_value},
    )
    message = f"{alarm.message}; {images} of {len(few)} images, paired test p = {p_value:.2g}"
    if not alarm.raised or p_value < SIGNIFICANT:
        return replace(alarm, message=message)
    return replace(alarm, raised=False, message=f"{message}: within sampling error")


def pgd_far_above_strongest(measured: ArraysByMetric) -> Alarm:
    """The accuracy under PGD-20 exceeds the worst case by more than the limit: PGD alone overstates robustness.

    PGD-20 is a weak attack, and on an honestly robust network other losses and more steps along the same gradient
    are expected to find some points more. So a gap that they close, up to sampling error (paired test), raises no
    alarm, unless PGD-20 had no gradient for some image. A gap that only other attacks close says that the gradient
    misleads.
    """
    name = FAR_ABOVE
    if not {PGD20, WORST_CASE} <= measured.keys():
        return not_run(name, "PGD-20 and a second attack")
    # Without what extra checks broke, as they run after the alarms were read.
    battery = measured[WORST_CASE].get("battery", measured[WORST_CASE]["right"])
    descents = np.logical_and.reduce(
        [
            arrays["right"]
            for attack, arrays in measured.items()
            if attack.startswith(ROBUST_ACCURACY) and attack not in (AUTOATTACK, WORST_CASE)
        ]
    )
    pgd, left, worst = measured[PGD20]["right"].mean(), descents.mean(), battery.mean()
    p_value = mcnemar(descents, battery)
    numbers = {"pgd20": pgd, "worst_case": worst, "descents": left, "p_value": p_value}
    alarm = over(name, pgd - worst, FAR_ABOVE_LIMIT, "PGD-20 minus worst case", numbers)
    if not alarm.raised:
        return alarm
    found = f"other losses and more steps along the gradient leave {left - worst:.2%}, p = {p_value:.2g}"
    blind = bool(zero_gradients(measured).raised)
    explained = not blind and (p_value >= SIGNIFICANT or not exceeds(left - worst, UNEXPLAINED_LIMIT))
    end = ": a weak attack, no misleading gradient" if explained else ""
    return replace(alarm, raised=not explained, message=f"{alarm.message}; {found}{end}")


def black_box_beats_white_box(measured: ArraysByMetric) -> Alarm:
    """Square, which uses no gradient, is the only attack to break more than the limit of the images, and more than
    sampling error explains (paired test).

    Without the test, one image of a hundred would raise the alarm, and an honest network can have a few for which
    every loss ends in a local maximum. AutoAttack's version "plus" cannot show this: it runs Square before two
    stages that use gradients.
    """
    name = BLACK_BOX
    if AUTOATTACK not in measured or not _ran_square(measured[AUTOATTACK]):
        return not_run(name, "AutoAttack's Square")
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
    alarm = over(
        name,
        square.mean(),
        ONLY_SQUARE_LIMIT,
        "images that only Square breaks",
        {"only_square": square.mean()},
    )
    p_value = mcnemar(square, np.zeros_like(square))
    if not alarm.raised or p_value < SIGNIFICANT:
        return alarm
    images = f"{int(square.sum())} of {len(square)} images, paired test p = {p_value:.2g}"
    return replace(alarm, raised=False, message=f"{alarm.message}; {images}: within sampling error")


def _ran_square(arrays: Mapping[str, np.ndarray]) -> bool:
    left_out = any(str(stage).startswith("square") for stage in arrays.get("skipped", ()))
    return not left_out and str(arrays.get("version", "standard")) != "rand"
