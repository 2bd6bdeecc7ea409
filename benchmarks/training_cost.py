"""The cost of a training step of each defense relative to standard training, measured and counted.

python -m benchmarks.training_cost                     # cnn6 on the shape of the digits; a minute
python -m benchmarks.training_cost --full              # also cnn6 and resnet18 on 3x32x32; minutes

Each round runs some steps of the defense between two equal runs of standard training, in one process. The figure is
the median over rounds of the defense's time divided by the mean of the two standard times. Standard training is
first compared with itself: where this ratio differs from 1 by 0.05 or more, the machine is too busy for meaningful
figures, and the table says so. All steps are timed after the warm-up. Work between epochs, such as the pass of PRS
over the training set for its region means, is not included. Counted units ignore batch norm: with it, penalties on
the input gradient need a separate forward pass in eval mode, which adds 1.00 to their ratio (except with
`bn=train`).
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table

from bench.core.randomness import make_generator, seeded
from bench.core.threat import Threat
from bench.data import Split
from bench.models import build
from bench.training.device import training_layout
from bench.training.recipe import make_recipe
from bench.training.step import shuffled_batches, take_step
from bench.training.timing import synchronize
from defenses import DEFENSES, get
from defenses.base import Defense, Training

#: The registered defenses, and further settings to which compute budgets refer.
SETTINGS: dict[str, tuple[str, dict[str, object]]] = {
    **{name: (name, {}) for name in DEFENSES.names() if name != "standard"},
    "at, PGD-7": ("at", {"steps": 7}),
    "at, PGD-20": ("at", {"steps": 20}),
    "jacobian, bn=train": ("jacobian", {"bn": "train"}),
}
EPOCHS = 100


@dataclass(frozen=True)
class Place:
    """A network and the shape of its images."""

    model: str
    shape: tuple[int, int, int]
    batch: int
    classes: int = 10

    def __str__(self) -> str:
        return f"{self.model} on {'x'.join(map(str, self.shape))}, batch {self.batch}"


QUICK = [Place("cnn6", (1, 8, 8), 128)]
FULL = [*QUICK, Place("cnn6", (3, 32, 32), 128), Place("resnet18", (3, 32, 32), 32)]


def main() -> None:
    """Print a table for each network and image shape."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="also cnn6 and resnet18 on 3x32x32")
    parser.add_argument("--only", nargs="*", metavar="ROW", default=list(SETTINGS), help="rows to measure")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="steps per run")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    for place in FULL if options.full else QUICK:
        Console().print(table(place, options.only, options.rounds, options.steps, device))


def table(place: Place, rows: list[str], rounds: int, steps: int, device: torch.device) -> Table:
    """The measured and counted cost of some rows for one network and image shape."""
    standard = turn(get("standard").make({}), place, steps, device)
    again = turn(get("standard").make({}), place, steps, device)
    same, second = compare(standard, again, rounds)
    busy = "" if abs(same - 1) < 0.05 else "; THE MACHINE IS TOO BUSY FOR THESE FIGURES"
    epoch = second / (steps * place.batch) * 50_000
    result = Table(
        title=str(place),
        caption=f"standard over itself: {same:.3f}; an epoch is 50,000 images{busy}",
    )
    for heading in ("defense", "s / epoch", "over standard", "counted", "measured / counted"):
        result.add_column(heading, justify="left" if heading == "defense" else "right", no_wrap=True)
    for row in rows:
        name, values = SETTINGS[row]
        defense = get(name).make(values)
        counted = defense.forward_units() / 3
        ratio, _ = compare(standard, turn(defense, place, steps, device), rounds)
        result.add_row(
            row, f"{ratio * epoch:.1f}", f"{ratio:.2f}", f"{counted:.2f}", f"{ratio / counted:.2f}"
        )
    return result


def compare(standard: Callable[[], float], other: Callable[[], float], rounds: int) -> tuple[float, float]:
    """The median ratio of `other` to standard training before and after it, and the median time of the latter."""
    standard(), other()
    ratios, times = [], []
    for _ in range(rounds):
        before, between, after = standard(), other(), standard()
        ratios.append(2 * between / (before + after))
        times += [before, after]
    return statistics.median(ratios), statistics.median(times)


def turn(
    defense: Defense, place: Place, steps: int, device: torch.device, precision: str = "fp32"
) -> Callable[[], float]:
    """Make a function that trains for some steps past every warm-up, and returns the seconds it took."""
    split, recipe = _split(place, steps, device), make_recipe(f"paper,batch_size={place.batch}")
    classifier = build(place.model, input_shape=place.shape, num_classes=place.classes, seed=0).to(device)
    training = Training(classifier.train(), split, Threat("linf", "8/255"), EPOCHS, 0, place.batch)
    objective = defense.objective(training)
    for epoch in range(1, EPOCHS + 1):
        objective.begin_epoch(epoch)
    optimizer = recipe.make_optimizer(classifier.parameters())

    def measure() -> float:
        synchronize(device)
        started = time.perf_counter()
        with seeded("training cost"), training_layout(precision, classifier):
            for _, images, labels in shuffled_batches(
                split, recipe, make_generator("training cost"), precision
            ):
                take_step(objective, classifier, optimizer, images, labels, recipe.lr, precision)
        synchronize(device)
        return time.perf_counter() - started

    return measure


def _split(place: Place, steps: int, device: torch.device) -> Split:
    generator = make_generator("training cost", "data")
    count = steps * place.batch
    images = torch.randint(256, (count, *place.shape), generator=generator, dtype=torch.uint8)
    return Split(images, torch.arange(count) % place.classes).to(device)


if __name__ == "__main__":
    main()
