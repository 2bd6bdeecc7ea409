"""What noticing cycles saves in long attacks: PGD beside itself with every step taken, on a robust network.

Steps are of ε/4, as is usual for attacks of many steps. The same images must be broken in the same step.
"""

from collections.abc import Iterator
from functools import partial
from unittest.mock import patch

import torch

from bench.attacks import Attack, cycles
from bench.attacks.pgd import AttackResult
from bench.core.classifier import Classifier
from bench.core.randomness import make_generator
from bench.core.threat import Threat
from bench.data import as_floats, load
from bench.models import build
from bench.training.loop import train
from bench.training.recipe import make_recipe
from benchmarks.speed.rows import Row, in_turn
from defenses import get

THREAT = Threat("linf", "0.2")
STEPS = (20, 100, 1000)
IMAGES, EPOCHS = 100, 20


def rows(rounds: int) -> Iterator[Row]:
    """A row for each number of steps, on the digits."""
    data = load("digits", test_size=IMAGES)
    classifier = robust_network()
    images, labels = as_floats(data.test.images), data.test.labels

    def ours(steps: int) -> AttackResult:
        attack = Attack(f"pgd{steps}", steps, step_size=THREAT.radius / 4)
        return attack(classifier, images, labels, THREAT, make_generator("long PGD"))

    def every_step(steps: int) -> AttackResult:
        with patch.object(cycles, "_random_states", lambda: [object()]):
            return ours(steps)

    for steps in STEPS:
        found, expected = ours(steps), every_step(steps)
        if not torch.equal(found.step, expected.step):
            raise SystemExit(f"PGD-{steps} broke other images, or in other steps")
        robust = f"{float((~found.broken).float().mean()):.0%}"
        yield in_turn(
            f"PGD-{steps}, robust cnn6, {IMAGES} digits, {THREAT}",
            "ours with every step taken",
            f"the same outcomes, {robust} robust",
            partial(ours, steps),
            partial(every_step, steps),
            rounds,
            warm=True,
        )


def robust_network() -> Classifier:
    """A cnn6 after adversarial training on the digits."""
    data = load("digits")
    classifier = build(
        "cnn6", input_shape=data.shape, num_classes=data.num_classes, mean=data.mean, std=data.std, seed=0
    )
    train(get("at").make({}), classifier, data, make_recipe("paper"), THREAT, epochs=EPOCHS, seed=0)
    return classifier
