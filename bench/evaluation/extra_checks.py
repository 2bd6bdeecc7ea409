"""The extra checks after a raised alarm, and the verdict on them.

The battery's own scores do not change; `suspicious/worst_case` is what the worst case would be. Only the images
that survived every attack of the battery are attacked again.
"""

from collections.abc import Mapping, Sequence

from bench.attacks import ATTACKS
from bench.core.classifier import AnyClassifier
from bench.core.names import SUSPICIOUS
from bench.core.record import Alarm, Record
from bench.evaluation.alarms.curve import UNBOUNDED_LIMIT
from bench.evaluation.alarms.gradients import ZERO_GRADIENTS
from bench.evaluation.alarms.make import exceeds
from bench.evaluation.alarms.network import RANDOMIZED_OUTPUT
from bench.evaluation.stronger_attacks import (
    MORE_RESTARTS,
    MORE_STEPS,
    MOST_IMAGES,
    UNBOUNDED,
    WORST,
    LargerBall,
    MeanAttack,
    Noise,
    StrongerAttack,
    Transfer,
    WorstCaseAfterChecks,
)
from metrics.base import Metric
from metrics.evaluation import Arrays

#: The alarm that the verdict is.
ALARM = "extra checks"
#: By how much the checks after a raised alarm may lower the worst case.
EXTRA_CHECKS_LIMIT = 0.01


def extra_checks(
    alarms: Sequence[Alarm], standard: AnyClassifier | None, images: int = MOST_IMAGES
) -> tuple[Metric, ...]:
    """The checks that raised alarms call for, as metrics to run after a battery; none without a raised alarm.

    Args:
        alarms: of the battery.
        standard: a standardly trained network on the same data, for adversarial images to transfer; None leaves
            that check out.
        images: surviving images to attack, at most.
    """
    raised = {alarm.name for alarm in alarms if alarm.raised}
    if not raised:
        return ()
    return (
        StrongerAttack(MORE_STEPS, images),
        StrongerAttack(MORE_RESTARTS, images),
        *([StrongerAttack(ATTACKS["adaptive"], images)] if ZERO_GRADIENTS in raised else []),
        Noise(images),
        *([Transfer(standard, images)] if standard is not None else []),
        *([MeanAttack(images)] if RANDOMIZED_OUTPUT in raised else []),
        LargerBall("eps_x4", images),
        LargerBall("unbounded", images),
        WorstCaseAfterChecks(images),
    )


def check_called(name: str) -> Metric:
    """A check that can `reduce` the arrays of this name; all checks but the worst case do so alike."""
    return WorstCaseAfterChecks() if name == WORST else LargerBall(name.removeprefix(SUSPICIOUS))


def verdict(measured: Mapping[str, Arrays], alarms: Sequence[Alarm]) -> Alarm:
    """What the extra checks found, as an alarm.

    It is raised when they lower the worst case by more than the limit, or when an image survives an attack that is
    bounded by the pixel box alone.

    Args:
        measured: arrays by metric, with those of the extra checks.
        alarms: the battery's, which led to the checks.
    """
    names = [alarm.name for alarm in alarms if alarm.raised]
    before, after = (float(measured[WORST][key].mean()) for key in ("before", "right"))
    n, surviving = len(measured[WORST]["before"]), int(measured[WORST]["before"].sum())
    unbounded = float(measured[UNBOUNDED]["right"].mean())
    broken = {
        name.removeprefix(SUSPICIOUS): int((measured[WORST]["before"] & ~arrays["right"]).sum())
        for name, arrays in measured.items()
        if name.startswith(SUSPICIOUS) and "within_threat" in arrays
    }
    found = ", ".join(f"{name} broke {count}" for name, count in broken.items())
    left_out = "" if "transfer" in broken else "; transfer was left out, since no standard network was found"
    conclusion = (
        f"the worst case would be {after:.1%} instead of {before:.1%}"
        if after < before
        else f"the worst case stays {before:.1%}"
    )
    return Alarm(
        name=ALARM,
        raised=exceeds(before - after, EXTRA_CHECKS_LIMIT) or unbounded > UNBOUNDED_LIMIT,
        message=(
            f"after {', '.join(names)}: of {surviving} surviving images among {n}, {found}{left_out}; "
            f"{conclusion}; without a bound, {unbounded:.1%} stay right"
        ),
        numbers={
            "worst_case": before,
            "with_extra_checks": after,
            "unbounded": unbounded,
            **{f"broken_by_{name}": float(count) for name, count in broken.items()},
        },
    )


def unanswered(record: Record) -> bool:
    """Whether a record has a raised alarm but no extra checks."""
    return any(alarm.raised for alarm in record.alarms) and WORST not in record.metrics
