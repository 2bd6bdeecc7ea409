"""What a battery will take, said before it starts."""

import time

import torch

from bench.battery import Battery
from bench.core.attacks.autoattack import estimate as autoattack_cost
from bench.core.attacks.network import input_gradient
from bench.core.attacks.state import evaluating, random_state_kept
from bench.core.classifier import AnyClassifier
from bench.core.data import Dataset
from bench.display import readable
from metrics.autoattack import AutoAttack
from metrics.robust_accuracy import RobustAccuracy
from metrics.security_curve import SecurityCurve


def estimate(evaluation_images: int, classifier: AnyClassifier, dataset: Dataset, battery: Battery) -> str:
    """What the battery will take, from a timed forward and backward, for 10 % and for 50 % robust accuracy."""
    images, _ = dataset.test.batch(slice(0, min(250, evaluation_images)))
    forward, backward = _time_passes(classifier, images)
    words = []
    for robust in (0.1, 0.5):
        forwards, backwards = _counted(battery, evaluation_images, robust)
        words.append(f"{readable(forwards * forward + backwards * backward)} at {robust:.0%} robust accuracy")
    return f"battery {battery.name} on {evaluation_images} test images: about {' or '.join(words)}"


def _counted(battery: Battery, images: int, robust: float, clean: float = 0.95) -> tuple[float, float]:
    """Forwards and backwards of a battery, in images; broken images cost little, survivors every step."""
    forwards = backwards = 0.0
    for metric in battery.metrics:
        if isinstance(metric, AutoAttack):
            cost = autoattack_cost(images, clean, robust)
            forwards, backwards = forwards + cost[0], backwards + cost[1]
        elif isinstance(metric, RobustAccuracy | SecurityCurve):
            steps = metric.attack.steps * metric.attack.restarts if isinstance(metric, RobustAccuracy) else 80
            forwards += images * (robust * steps + 3)
            backwards += images * (robust * steps + 3)
    return forwards, backwards


def _time_passes(classifier: AnyClassifier, images: torch.Tensor) -> tuple[float, float]:
    """Seconds an image of one forward pass, and of the backward pass to the input."""
    times = []
    with evaluating(classifier), random_state_kept():
        for _ in range(2):
            traced = images.detach().requires_grad_()
            started = time.perf_counter()
            logits = classifier(traced)
            total = float(logits.detach().sum())
            middle = time.perf_counter()
            total += float(input_gradient(logits.sum(dim=1), traced).sum())
            times.append((middle - started, time.perf_counter() - middle))
    return times[-1][0] / len(images), times[-1][1] / len(images)
