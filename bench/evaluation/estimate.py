"""What a battery will take, said before it starts."""

import time

import torch

from bench.core.checks import SAME_LOGITS, moved_between
from bench.core.classifier import AnyClassifier
from bench.core.gradients import input_gradient
from bench.core.guards import evaluating, random_state_kept
from bench.core.progress import readable
from bench.data import Dataset
from bench.evaluation.battery import Battery
from metrics.accuracy.autoattack import AutoAttack
from metrics.accuracy.robust_accuracy import RobustAccuracy
from metrics.accuracy.security_curve import SecurityCurve

#: Passes of one run of each of AutoAttack's attacks: APGD looks at its start and takes 100 steps, FAB takes 100
#: steps of two looks, Square asks 5,000 times. "rand" goes by the mean of 20 passes.
APGD, FAB, SQUARE, MEAN_OF = 101, 100, 5002, 20
#: Runs of untargeted APGD and FAB in "plus".
RESTARTS = 5
#: Each stage classifies what it is given, and what it found is classified again.
AROUND = 2


def estimate(evaluation_images: int, classifier: AnyClassifier, dataset: Dataset, battery: Battery) -> str:
    """What the battery will take, from a timed forward and backward, for 10 % and for 50 % robust accuracy."""
    images, _ = dataset.test.batch(slice(0, min(250, evaluation_images)))
    forward, backward, random = _time_passes(classifier, images)
    words = []
    for robust in (0.1, 0.5):
        forwards, backwards = _counted(battery, evaluation_images, robust, classifier.num_classes, random)
        words.append(f"{readable(forwards * forward + backwards * backward)} at {robust:.0%} robust accuracy")
    return f"battery {battery.name} on {evaluation_images} test images: about {' or '.join(words)}"


def autoattack_cost(version: str, images: int, clean: float, robust: float, classes: int) -> tuple[int, int]:
    """About how many forwards and backwards a run of AutoAttack takes, in images.

    Every image is looked at once, those classified correctly go through the first run of APGD, and those that
    survive it all through every stage that can run with so many classes. The standard version with ten classes
    takes n·(1 + 103c + 7753r) forwards and n·(101c + 1809r) backwards.

    Args:
        version: "standard", "plus" or "rand".
        images: n, how many there are.
        clean, robust: clean and robust accuracy c and r, as fractions.
        classes: K. Untargeted FAB, which "plus" runs, takes a gradient of every logit at every step.
    """
    run = APGD * (MEAN_OF if version == "rand" else 1)
    runs = RESTARTS if version == "plus" else 1
    forwards, backwards = (runs - 1) * run, (runs - 1) * run
    if version != "standard" and classes >= 3:  # APGD on the DLR loss
        forwards, backwards = forwards + runs * run + AROUND, backwards + runs * run
    if version == "plus":  # untargeted FAB
        forwards, backwards = forwards + runs * (2 * FAB + 2) + AROUND, backwards + runs * FAB * classes
    if version != "rand":  # targeted FAB, and Square
        targets = min(9, classes - 1)
        forwards += targets * (2 * FAB + 3) + AROUND + SQUARE + AROUND
        backwards += targets * FAB
        if classes >= 4:  # targeted APGD
            forwards, backwards = forwards + targets * (run + 1) + AROUND, backwards + targets * run
    return (
        round(images * (1 + clean * (run + AROUND) + robust * forwards)),
        round(images * (clean * run + robust * backwards)),
    )


def _counted(
    battery: Battery, images: int, robust: float, classes: int, random: bool, clean: float = 0.95
) -> tuple[float, float]:
    """Forwards and backwards of a battery, in images; broken images cost little, survivors every step."""
    forwards = backwards = 0.0
    for metric in battery.metrics:
        if isinstance(metric, AutoAttack):
            cost = autoattack_cost("rand" if random else metric.version, images, clean, robust, classes)
            forwards, backwards = forwards + cost[0], backwards + cost[1]
        elif isinstance(metric, RobustAccuracy | SecurityCurve):
            steps = metric.attack.steps * metric.attack.restarts if isinstance(metric, RobustAccuracy) else 80
            forwards += images * (robust * steps + 3)
            backwards += images * (robust * steps + 3)
    return forwards, backwards


def _time_passes(classifier: AnyClassifier, images: torch.Tensor) -> tuple[float, float, bool]:
    """Seconds an image of one forward pass and of the backward one to the input, and whether outputs are random."""
    times, outputs = [], []
    with evaluating(classifier), random_state_kept():
        for _ in range(2):
            traced = images.detach().requires_grad_()
            started = time.perf_counter()
            logits = classifier(traced)
            outputs.append(logits.detach())
            total = float(outputs[-1].sum())
            middle = time.perf_counter()
            total += float(input_gradient(logits.sum(dim=1), traced).sum())
            times.append((middle - started, time.perf_counter() - middle))
    random = moved_between(*outputs) > SAME_LOGITS
    return times[-1][0] / len(images), times[-1][1] / len(images), random
