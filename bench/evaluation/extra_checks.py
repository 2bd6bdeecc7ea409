"""The extra checks after a raised alarm, and the verdict on them.

What they break within the threat lowers the worst case; the battery's other scores do not change. Only the images
that survived every attack of the battery are attacked again.
"""

from collections.abc import Mapping, Sequence

from bench.attacks import ATTACKS
from bench.core.classifier import AnyClassifier
from bench.core.names import SUSPICIOUS, WORST_CASE
from bench.core.progress import readable
from bench.core.record import Alarm, Record, Score
from bench.core.standing import NO_SIGNAL, VERDICT, needs_answer
from bench.evaluation.alarms.attacks import BLACK_BOX, FAR_ABOVE, MORE_STEPS_HELP, ONE_STEP
from bench.evaluation.alarms.curve import CURVE, UNBOUNDED_LIMIT
from bench.evaluation.alarms.gradients import LOSS_MOVING, WRONG_GRADIENT, ZERO_GRADIENTS
from bench.evaluation.alarms.make import exceeds
from bench.evaluation.alarms.network import BATCH_DEPENDENCE, RANDOMIZED_OUTPUT, TIED
from bench.evaluation.black_box_checks import Decision, MoreSquare, Noise
from bench.evaluation.check import MOST_IMAGES, Check, surviving_images
from bench.evaluation.estimate import time_passes
from bench.evaluation.stronger_attacks import (
    MORE_RESTARTS,
    MORE_STEPS,
    UNBOUNDED,
    WORST,
    LargerBall,
    MeanAttack,
    StandInAttack,
    StrongerAttack,
    Transfer,
    WorstCaseAfterChecks,
)
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation

#: Alarms that say that gradients or logits mislead: attacks with other gradients, or none, may break what survived.
MASKED = frozenset((ZERO_GRADIENTS, WRONG_GRADIENT, TIED, ONE_STEP, BLACK_BOX, CURVE))
#: Alarms that say that attacks had not converged, or not with their loss: losses in float64 may.
UNSETTLED = frozenset((MORE_STEPS_HELP, FAR_ABOVE, LOSS_MOVING))

#: The alarm that the verdict is.
ALARM = VERDICT
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
    raised = {alarm.name for alarm in alarms if alarm.raised} - {NO_SIGNAL}
    if not raised:
        return ()
    random, alone = RANDOMIZED_OUTPUT in raised, BATCH_DEPENDENCE in raised
    how = {"random": random, "alone": alone}
    masked, unsettled = raised & MASKED, raised & UNSETTLED
    checks: list[Metric] = [Transfer(standard, images, **how)] if standard is not None else []
    if random:
        checks.append(MeanAttack(images, alone=alone))
    if random or masked:
        checks.append(StandInAttack(False, images, **how))
    if not random:
        if masked or unsettled:
            checks.append(StandInAttack(True, images, alone=alone))
        checks += [
            StrongerAttack(MORE_STEPS, images, alone=alone),
            StrongerAttack(MORE_RESTARTS, images, alone=alone),
        ]
        if ZERO_GRADIENTS in raised:
            checks.append(StrongerAttack(ATTACKS["adaptive"], images, alone=alone))
        checks.append(Noise(images, alone=alone))
        if masked:
            checks += [Decision(images, alone=alone), MoreSquare(images, alone=alone)]
    larger = [LargerBall(name, images, **how) for name in ("eps_x4", "unbounded")]
    return (*checks, *larger, WorstCaseAfterChecks(images))


def cost_of(checks: Sequence[Metric], evaluation: Evaluation) -> tuple[int, int]:
    """Forward and backward passes of the checks, in images, if they break no image of those that survived so far.

    Args:
        checks: of `extra_checks`.
        evaluation: after the battery.
    """
    most = max((check.images for check in checks if isinstance(check, Check)), default=0)
    survivors = int(surviving_images(evaluation, most).sum())
    costs = [check.cost() for check in checks if isinstance(check, Check)]
    return survivors * sum(cost[0] for cost in costs), survivors * sum(cost[1] for cost in costs)


def announce(checks: Sequence[Metric], evaluation: Evaluation) -> str:
    """The names of the checks and their cost, as a sentence; arguments as for `cost_of`."""
    forwards, backwards = cost_of(checks, evaluation)
    passes, kept = evaluation.passes, (evaluation.forwards, evaluation.backwards)
    alone = any(isinstance(check, Check) and check.alone for check in checks)
    forward, backward, _ = time_passes(evaluation.classifier, evaluation.images[: 1 if alone else 100])
    passes.forwards, passes.backwards = kept  # those that were timed are no cost of the checks
    names = ", ".join(check.name.removeprefix(SUSPICIOUS) for check in checks if isinstance(check, Check))
    return (
        f"extra checks ({names}): at most {forwards:,} forward and {backwards:,} backward passes, "
        f"about {readable(forwards * forward + backwards * backward)}"
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
        # Earlier versions attacked every image that survived the battery, and did not store which.
        name.removeprefix(SUSPICIOUS): int(
            (arrays.get("tried", measured[WORST]["before"]) & ~arrays["right"]).sum()
        )
        for name, arrays in measured.items()
        if name.startswith(SUSPICIOUS) and "within_threat" in arrays
    }
    found = ", ".join(f"{name} broke {count}" for name, count in broken.items())
    left_out = "" if "transfer" in broken else "; transfer was left out: give a network with --transfer-from"
    conclusion = (
        f"the worst case is {after:.1%} instead of {before:.1%}"
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


def called_for(alarms: Sequence[Alarm], scores: Mapping[str, Score], escalate: bool | None) -> bool:
    """Whether extra checks are to run.

    Args:
        alarms: of the battery.
        scores: those that are there.
        escalate: None runs them where a worst case is claimed; True without one too; False never.
    """
    claims = WORST_CASE in scores if escalate is None else escalate
    return claims and WORST not in scores and needs_answer(alarms, scores)


def unanswered(record: Record, escalate: bool | None) -> bool:
    """Whether a record has a raised alarm without the extra checks that are called for."""
    return called_for(record.alarms, record.metrics, escalate)
