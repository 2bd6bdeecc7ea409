"""What noticing cycles saves in long attacks: PGD-100 and PGD-1000 on a robust network, beside every step taken.

python -m benchmarks.long_pgd                 # cnn6 on the embedded digits, adversarially trained first; minutes
python -m benchmarks.long_pgd --images 50 --epochs 10

Both take steps of ε/4, as is usual for attacks of many steps, in one process on one thread. Times are CPU seconds.
The outcomes of all images are compared first: with cycles noticed, the same images must be broken.
"""

import argparse
import time
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from bench.attacks import Attack, cycles
from bench.attacks.pgd import AttackResult
from bench.core.classifier import Classifier
from bench.core.randomness import make_generator
from bench.core.threat import Threat
from bench.data import as_floats, load
from bench.models import build
from bench.training.loop import train
from bench.training.recipe import make_recipe
from defenses import get

THREAT = Threat("linf", "0.2")
STEPS = (20, 100, 1000)


def main() -> None:
    """Print a row for each number of steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load("digits", test_size=options.images)
    classifier = robust_network(options.epochs)
    images, labels = as_floats(data.test.images), data.test.labels
    table = Table(title="PGD with steps of ε/4 on a robust cnn6, digits, ℓ∞ 0.2")
    for heading in (
        "steps",
        "robust",
        "same outcomes",
        "every step, s",
        "cycles noticed, s",
        "ratio",
        "over PGD-100",
    ):
        table.add_column(heading, justify="right")
    times: dict[int, float] = {}
    for steps in STEPS:
        with patch.object(cycles, "_random_states", lambda: [object()]):
            whole, slow = timed(classifier, images, labels, steps)
        result, times[steps] = timed(classifier, images, labels, steps)
        same = int((result.step == whole.step).sum())
        over = f"{times[steps] / times[100]:.2f}" if 100 in times else "-"
        robust = f"{float((~result.broken).float().mean()):.1%}"
        table.add_row(
            str(steps),
            robust,
            f"{same} of {len(images)}",
            f"{slow:.2f}",
            f"{times[steps]:.2f}",
            f"{slow / times[steps]:.2f}",
            over,
        )
    Console().print(table)


def robust_network(epochs: int) -> Classifier:
    """A cnn6 after adversarial training on the digits."""
    data = load("digits")
    classifier = build(
        "cnn6", input_shape=data.shape, num_classes=data.num_classes, mean=data.mean, std=data.std, seed=0
    )
    train(get("at").make({}), classifier, data, make_recipe("paper"), THREAT, epochs=epochs, seed=0)
    return classifier


def timed(classifier: Classifier, images: Tensor, labels: Tensor, steps: int) -> tuple[AttackResult, float]:
    """The outcome of an attack, and its CPU seconds."""
    attack = Attack(f"pgd{steps}", steps, step_size=THREAT.radius / 4)
    started = time.process_time()
    result = attack(classifier, images, labels, THREAT, make_generator("long PGD"))
    return result, time.process_time() - started


if __name__ == "__main__":
    main()
