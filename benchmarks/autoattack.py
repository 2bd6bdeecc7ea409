"""Ways to run AutoAttack, and what stands in for it, beside each other: verdicts that differ, and CPU seconds.

python -m benchmarks.autoattack --data-dir data     # hours of one quiet core
python -m benchmarks.autoattack --networks prs-digits at-digits --kinds screening --images 100

Networks of several defenses and architectures are trained for a few epochs and kept in a folder. Each is attacked
in the ball in which PGD-20 leaves about half of 200 images, so that there are many images of either verdict, and
many near the boundary. The images are the first of the test, validation and training split, in this order. Times
are CPU seconds of the process on one thread. "missed" are images that exact AutoAttack alone breaks, "beyond" those
that the other way alone breaks; "validation" is PGD-20 and C&W, by which searches choose, and "reseeded" AutoAttack
with another seed and fast passes.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from bench.attacks import ATTACKS, Attack
from bench.attacks.autoattack import autoattack
from bench.attacks.screening import screen
from bench.core.classifier import Classifier
from bench.core.randomness import make_generator
from bench.core.threat import Norm, Threat
from bench.data import Dataset, as_floats, load
from bench.models import build
from bench.models.weights import load_weights, save_weights
from bench.training.loop import train
from bench.training.recipe import make_recipe
from bench.training.validation import VALIDATION_ATTACKS
from defenses import get


@dataclass(frozen=True)
class Setting:
    """How a network comes about.

    Attributes:
        threat: the ball to train in.
        training_images: None for all.
        images: the largest number to attack.
        ball: to attack them in; None for that in which PGD-20 leaves half of them.
    """

    defense: str
    dataset: str
    model: str
    epochs: int
    threat: str
    training_images: int | None = None
    images: int = 500
    ball: str | None = None


#: Name → how it comes about.
NETWORKS = {
    "standard-mnist": Setting("standard", "mnist", "cnn6(width=0.125)", 3, "linf:0.1", 10_000),
    "prs-digits": Setting("prs", "digits", "lenet(width=0.5)", 20, "linf:0.1"),
    "at-digits": Setting("at", "digits", "cnn6(width=0.5)", 20, "linf:0.2"),
    "trades-digits": Setting("trades", "digits", "resnet18(width=0.125)", 10, "linf:0.2"),
    # The settings of screening were chosen on these, and on prs-digits and at-digits.
    "standard-lenet": Setting("standard", "mnist", "lenet(width=0.5)", 3, "linf:0.1", 8_000, 400),
    "trades-lenet": Setting("trades", "mnist", "lenet(width=0.25)", 6, "linf:0.2", 5_000, 250),
    "trades-cnn6": Setting("trades", "digits", "cnn6(width=0.125)", 20, "linf:0.2"),
    # They were confirmed on these.
    "trades-resnet18": Setting("trades", "digits", "resnet18(width=0.0625)", 8, "linf:0.2", images=400),
    "prs-cnn6": Setting("prs", "digits", "cnn6(width=0.125)", 20, "linf:0.1"),
    "at-lenet": Setting("at", "mnist", "lenet(width=0.25)", 6, "linf:0.1", 5_000, 250),
    "prs-mnist": Setting("prs", "mnist", "lenet(width=0.25)", 4, "linf:0.1", 5_000, 250),
    "fast-cnn6": Setting("fast", "digits", "cnn6(width=0.25)", 15, "linf:0.2"),
    "at-l2": Setting("at", "digits", "cnn6(width=0.125)", 15, "l2:0.5"),
    "jacobian-lenet": Setting("jacobian", "digits", "lenet(width=1.0)", 20, "linf:0.1"),
    "quantized": Setting(
        "standard",
        "digits",
        "bench.models.broken:broken(by=quantized,network=lenet,width=0.5)",
        20,
        "linf:0.1",
        images=200,
        ball="linf:0.1",
    ),
}
#: What is compared with AutoAttack's exact passes.
KINDS = ("fast", "screening", "validation", "reseeded")
#: Images on which the ball is chosen.
CHOOSING = 200
PGD = Attack("pgd20", steps=20)


@dataclass
class Outcome:
    """What one way to attack gave.

    Attributes:
        broken: bool [n].
        passes: forward and backward, in images.
        seconds: of CPU.
    """

    broken: Tensor
    passes: int
    seconds: float


def main() -> None:
    """Print the rows of each network as it is done, and the sums."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, help="folder of MNIST's files")
    parser.add_argument("--folder", type=Path, default=Path(".peers"), help="for the trained networks")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS)
    parser.add_argument("--images", type=int, default=500, help="of each network, at most")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / ".gitignore").write_text("*\n")
    found: dict[str, dict[str, Outcome]] = {}
    for name in options.networks:
        setting = NETWORKS[name]
        data = load(setting.dataset, data_dir=options.data_dir, train_size=setting.training_images)
        classifier = trained(name, data, options.folder)
        images, labels = first_images(data, max(CHOOSING, min(options.images, setting.images)))
        some, norm = slice(CHOOSING), Threat.parse(setting.threat).norm
        threat = (
            Threat.parse(setting.ball)
            if setting.ball
            else half_robust(classifier, images[some], labels[some], norm)
        )
        images, labels = images[: options.images], labels[: options.images]
        found[f"{name}, {setting.model}, {threat}"] = {
            kind: attack(classifier, images, labels, threat, kind) for kind in ("exact", *options.kinds)
        }
        show(found, options.kinds)


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
    defense, threat = get(setting.defense).make({}), Threat.parse(setting.threat)
    train(defense, network, data, make_recipe("paper"), threat, epochs=setting.epochs, seed=0)
    save_weights(path, network)
    return network.eval()


def first_images(data: Dataset, count: int) -> tuple[Tensor, Tensor]:
    """The first images of a data set, float32 [n, C, H, W], and their labels [n]."""
    splits = (data.test, data.validation, data.train)
    images = torch.cat([split.images[:count] for split in splits])[:count]
    return as_floats(images), torch.cat([split.labels[:count] for split in splits])[:count]


def half_robust(classifier: Classifier, images: Tensor, labels: Tensor, norm: Norm) -> Threat:
    """The smallest ball, in hundredths (ℓ2: twentieths), in which PGD-20 breaks half of the images."""
    low, high, parts = (0, 50, 100) if norm == "linf" else (0, 40, 20)
    while high - low > 1:
        middle = (low + high) // 2
        result = PGD(
            classifier, images, labels, Threat(norm, f"{middle}/{parts}"), make_generator("half robust")
        )
        low, high = (low, middle) if result.broken.float().mean() >= 0.5 else (middle, high)
    return Threat(norm, f"{high}/{parts}")


def attack(classifier: Classifier, images: Tensor, labels: Tensor, threat: Threat, kind: str) -> Outcome:
    """One way to attack: AutoAttack's "exact", or one of `KINDS`."""
    started = time.process_time()
    if kind == "screening":
        result = screen(classifier, images, labels, threat, seed=0)
        broken, passes = result.broken, result.forwards + result.backwards
    elif kind == "validation":
        broken, passes = torch.zeros_like(labels, dtype=torch.bool), 0
        for name in VALIDATION_ATTACKS:
            left = (~broken).nonzero().squeeze(1)
            found = ATTACKS[name](classifier, images[left], labels[left], threat, make_generator(0, name))
            broken[left] = found.broken
            passes += found.forwards + found.backwards
    else:
        seed = int(kind == "reseeded")
        exact = autoattack(
            classifier, images, labels, threat, seed=seed, passes="exact" if kind == "exact" else "fast"
        )
        broken, passes = exact.broken, exact.forwards + exact.backwards
    return Outcome(broken, passes, time.process_time() - started)


def show(found: dict[str, dict[str, Outcome]], kinds: list[str]) -> None:
    """Print the table so far: how many images each kind breaks that AutoAttack does not, and the other way."""
    table = Table(title=f"AutoAttack, one thread, torch {torch.__version__}")
    for heading in ("network", "images", "survive", "exact, s"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for kind in kinds:
        for heading in ("missed", "beyond", "times as fast", "times fewer passes"):
            table.add_column(f"{kind}: {heading}", justify="right")
    every = {kind: [outcomes[kind] for outcomes in found.values()] for kind in ("exact", *kinds)}
    for name, rows in [
        *((name, {kind: [one] for kind, one in of.items()}) for name, of in found.items()),
        ("together", every),
    ]:
        exact = torch.cat([one.broken for one in rows["exact"]])
        seconds, passes = (sum(getattr(one, what) for one in rows["exact"]) for what in ("seconds", "passes"))
        cells = [name, str(len(exact)), str(int((~exact).sum())), f"{seconds:.1f}"]
        for kind in kinds:
            broken = torch.cat([one.broken for one in rows[kind]])
            cells += [
                str(int((exact & ~broken).sum())),
                str(int((broken & ~exact).sum())),
                f"{seconds / sum(one.seconds for one in rows[kind]):.2f}",
                f"{passes / sum(one.passes for one in rows[kind]):.2f}",
            ]
        table.add_row(*cells)
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
