"""AutoAttack's kinds of passes beside each other: the images whose verdict differs, and CPU seconds.

python -m benchmarks.autoattack --data-dir data     # four networks, 500 images each; half an hour of one quiet core
python -m benchmarks.autoattack --data-dir data --networks prs-digits --images 100

Four networks, of four defenses and three architectures, are trained for a few epochs and kept in a folder. Each is
attacked in the ℓ∞ ball in which PGD-20 leaves about half of 200 images, so that there are many images of either
verdict, and many near the boundary. The images are the first of the test, validation and training split, in this
order. Times are CPU seconds of the process on one thread.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from bench.attacks import Attack
from bench.attacks.autoattack import Passes, autoattack
from bench.core.classifier import Classifier
from bench.core.randomness import make_generator
from bench.core.threat import Threat
from bench.data import Dataset, as_floats, load
from bench.models import build
from bench.models.weights import load_weights, save_weights
from bench.training.loop import train
from bench.training.recipe import make_recipe
from defenses import get


@dataclass(frozen=True)
class Setting:
    """How a network comes about.

    Attributes:
        eps: of the ℓ∞ ball to train in.
        training_images: None for all.
    """

    dataset: str
    model: str
    epochs: int
    eps: str
    training_images: int | None = None


#: Defense and data set → the rest.
NETWORKS = {
    "standard-mnist": Setting("mnist", "cnn6(width=0.125)", 3, "0.1", 10_000),
    "prs-digits": Setting("digits", "lenet(width=0.5)", 20, "0.1"),
    "at-digits": Setting("digits", "cnn6(width=0.5)", 20, "0.2"),
    "trades-digits": Setting("digits", "resnet18(width=0.125)", 10, "0.2"),
}
#: Images on which the ball is chosen.
CHOOSING = 200
PGD = Attack("pgd20", steps=20)


@dataclass
class Outcome:
    """What one kind of passes gave.

    Attributes:
        broken: bool [n].
        forwards, backwards: passes, in images.
        seconds: of CPU.
    """

    broken: Tensor
    forwards: int
    backwards: int
    seconds: float


def main() -> None:
    """Print a row for each network as it is done, and the sums."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, help="folder of MNIST's files")
    parser.add_argument("--folder", type=Path, default=Path(".peers"), help="for the trained networks")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--images", type=int, default=500, help="of each network")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / ".gitignore").write_text("*\n")
    found = []
    for name in options.networks:
        setting = NETWORKS[name]
        data = load(setting.dataset, data_dir=options.data_dir, train_size=setting.training_images)
        classifier = trained(name, data, options.folder)
        images, labels = first_images(data, options.images)
        threat = half_robust(classifier, images[:CHOOSING], labels[:CHOOSING])
        exact, fast = (attack(classifier, images, labels, threat, passes) for passes in ("exact", "fast"))
        found.append(Row(name, setting.model, threat, exact, fast))
        show(found)


@dataclass
class Row:
    """A network and what both kinds of passes gave."""

    name: str
    model: str
    threat: Threat
    exact: Outcome
    fast: Outcome


def trained(name: str, data: Dataset, folder: Path) -> Classifier:
    """A network of `NETWORKS`, trained or read from the folder."""
    setting = NETWORKS[name]
    network = build(
        setting.model,
        input_shape=data.shape,
        num_classes=data.num_classes,
        mean=data.mean,
        std=data.std,
        seed=0,
    )
    path = folder / f"{name}.safetensors"
    if path.exists():
        network.load_state_dict(load_weights(path))
        return network.eval()
    defense, threat = get(name.partition("-")[0]).make({}), Threat("linf", setting.eps)
    train(defense, network, data, make_recipe("paper"), threat, epochs=setting.epochs, seed=0)
    save_weights(path, network)
    return network.eval()


def first_images(data: Dataset, count: int) -> tuple[Tensor, Tensor]:
    """The first images of a data set, float32 [n, C, H, W], and their labels [n]."""
    splits = (data.test, data.validation, data.train)
    images = torch.cat([split.images[:count] for split in splits])[:count]
    return as_floats(images), torch.cat([split.labels[:count] for split in splits])[:count]


def half_robust(classifier: Classifier, images: Tensor, labels: Tensor) -> Threat:
    """The smallest ℓ∞ ball, in hundredths, in which PGD-20 breaks half of the images."""
    low, high = 0, 50
    while high - low > 1:
        middle = (low + high) // 2
        threat = Threat("linf", f"{middle}/100")
        result = PGD(classifier, images, labels, threat, make_generator("half robust"))
        low, high = (low, middle) if result.broken.float().mean() >= 0.5 else (middle, high)
    return Threat("linf", f"{high}/100")


def attack(classifier: Classifier, images: Tensor, labels: Tensor, threat: Threat, passes: Passes) -> Outcome:
    """AutoAttack with one kind of passes."""
    started = time.process_time()
    result = autoattack(classifier, images, labels, threat, seed=0, passes=passes)
    return Outcome(result.broken, result.forwards, result.backwards, time.process_time() - started)


def show(rows: list[Row]) -> None:
    """Print the table so far, and the sums of all networks in its caption."""
    exact, fast = (sum(getattr(row, kind).seconds for row in rows) for kind in ("exact", "fast"))
    images = sum(len(row.exact.broken) for row in rows)
    differ = sum(int((row.exact.broken != row.fast.broken).sum()) for row in rows)
    table = Table(
        title=f"AutoAttack, one thread, torch {torch.__version__}",
        caption=f"{images} images, {differ} verdicts differ, exact {exact:.0f} s, fast {fast:.0f} s, "
        f"{exact / fast:.2f} times as fast",
    )
    for heading in ("network", "threat", "images", "survive", "differ", "exact, s", "fast, s", "ratio"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    table.add_column("forward + backward passes, exact", justify="right")
    table.add_column("fast", justify="right")
    for row in rows:
        table.add_row(
            f"{row.name}, {row.model}", str(row.threat), str(len(row.exact.broken)),
            str(int((~row.exact.broken).sum())), str(int((row.exact.broken != row.fast.broken).sum())),
            f"{row.exact.seconds:.1f}", f"{row.fast.seconds:.1f}",
            f"{row.exact.seconds / row.fast.seconds:.2f}",
            *(f"{one.forwards:,} + {one.backwards:,}" for one in (row.exact, row.fast)),
        )  # fmt: skip
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
