"""Estimate the time of a battery before it starts."""

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

#: Forward passes of one run of each of AutoAttack's attacks: APGD makes one at its start and one in each of 100
#: steps, FAB makes two in each of 100 steps, Square makes about 5,000 queries. "rand" averages 20 passes.
APGD, FAB, SQUARE, MEAN_OF = 101, 100, 5002, 20
#: Runs of untargeted APGD and FAB in "plus".
RESTARTS = 5
#: Each stage classifies its images before it starts, and the adversarial images once it is done.
AROUND = 2


def estimate(evaluation_images: int, classifier: AnyClassifier, dataset: Dataset, battery: Battery) -> str:
    """Estimate the time of a battery's attacks, for robust accuracies of 10 % and of 50 %, as a sentence.

    Args:
        evaluation_images: how many test images are attacked.
        classifier: a forward and a backward pass of which are timed.
        dataset: whose test images are used for that.
        battery: of which AutoAttack, the other attacks and the security curve are counted.
    """
    images, _ = dataset.test.batch(slice(0, min(250, evaluation_images)))
    forward, backward, stochastic = time_passes(classifier, images)
    passes = {
        robust: _counted(battery, evaluation_images, robust, classifier.num_classes, stochastic)
        for robust in (0.1, 0.5)
    }
    said = f"battery {battery.name} on {evaluation_images} test images"
    if not any(forwards for forwards, _ in passes.values()):
        return said
    times = {robust: readable(f * forward + b * backward) for robust, (f, b) in passes.items()}
    if len(set(times.values())) == 1:
        words = times[0.1]
    else:
        words = " or ".join(f"{time} at {robust:.0%} robust accuracy" for robust, time in times.items())
    return f"{said}; its attacks take about {words}"


def autoattack_cost(version: str, images: int, clean: float, robust: float, classes: int) -> tuple[int, int]:
    """Estimate the forward and backward passes of AutoAttack, in images; fast passes are fewer, up to a half.

    Every image is classified once. The correctly classified ones go through the first run of APGD, and the robust
    ones through every stage that applies to this number of classes. The standard version with ten classes takes
    n·(1 + 103c + 7753r) forward and n·(101c + 1809r) backward passes.

    Args:
        version: "standard", "plus" or "rand".
        images: n, the number of images.
        clean, robust: clean and robust accuracy c and r, as fractions.
        classes: K. Untargeted FAB, a stage of "plus", computes the gradient of every logit at every step.
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
    battery: Battery, images: int, robust: float, classes: int, stochastic: bool, clean: float = 0.95
) -> tuple[float, float]:
    """Forward and backward passes of a battery, in images; only robust images are taken to cost every step."""
    forwards = backwards = 0.0
    for metric in battery.metrics:
        if isinstance(metric, AutoAttack):
            cost = autoattack_cost("rand" if stochastic else metric.version, images, clean, robust, classes)
            forwards, backwards = forwards + cost[0], backwards + cost[1]
        elif isinstance(metric, RobustAccuracy | SecurityCurve):
            steps = metric.attack.steps * metric.attack.restarts if isinstance(metric, RobustAccuracy) else 80
            forwards += images * (robust * steps + 3)
            backwards += images * (robust * steps + 3)
    return forwards, backwards


def time_passes(classifier: AnyClassifier, images: torch.Tensor) -> tuple[float, float, bool]:
    """Seconds of a forward and of a backward pass for each image, and whether the network is stochastic."""
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
    stochastic = moved_between(*outputs) > SAME_LOGITS
    return times[-1][0] / len(images), times[-1][1] / len(images), stochastic
