"""Training steps beside the loops that a researcher would write, in CPU seconds.

python -m benchmarks.training_peers                    # cnn6 on 3x32x32; minutes
python -m benchmarks.training_peers --models cnn6 resnet18

Each row is one way to take the same steps: the usual PyTorch loop in float32, that loop tuned (bfloat16
autocast and channels innermost), and ours in both precisions; `auto` marks the one that `--precision auto`
chooses. All start from the same weights and see the same batch. First the losses of a step are compared: in
float32 ours must be that of the usual loop, in bfloat16 within 2 %. For adversarial training the peer is the
loop of the studies of robust overfitting, whose PGD draws other random starts, so its loss may differ by 2 %
too.

Every round takes one step each way. A ratio is the median over rounds of the usual loop's seconds divided by
the row's, so that other work on the machine changes both. The usual loop is also compared with itself: where
that ratio differs from 1 by 0.1 or more, the machine is too busy for meaningful figures, and the table says so.
Validation and what surrounds a step are left out.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from bench.core.classifier import Classifier
from bench.core.threat import Threat
from bench.data import Split
from bench.models import build
from bench.training.device import channels_innermost, lay_out
from bench.training.precision import GAIN
from bench.training.recipe import make_recipe
from bench.training.step import take_step
from defenses import get
from defenses.base import Training

SHAPE, CLASSES = (3, 32, 32), 10
THREAT = Threat("linf", "8/255")
#: Of PGD in adversarial training.
STEPS = 10
#: By how much a first loss may differ from the usual loop's, where the arithmetic is the same and where it is not.
EXACT, ROUNDED = 1e-4, 0.02

Step = Callable[[Tensor, Tensor], float]


def main() -> None:
    """Print a table for each network and kind of training."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="*", metavar="NAME", default=["cnn6"])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for model in options.models:
        for adversarial in (False, True):
            Console().print(table(model, adversarial, options.batch, options.rounds))


def table(model: str, adversarial: bool, batch: int, rounds: int) -> Table:
    """Seconds and ratios of one network and kind of training."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (batch, *SHAPE), generator=generator, dtype=torch.uint8)
    split = Split(images, torch.randint(CLASSES, (batch,), generator=generator))

    ways = {
        "usual loop, fp32": usual_loop(model, adversarial, tuned=False),
        "usual loop, bf16, channels innermost": usual_loop(model, adversarial, tuned=True),
        "ours, fp32": our_loop(model, adversarial, split, batch, "fp32"),
        "ours, bf16": our_loop(model, adversarial, split, batch, "bf16"),
        "usual loop, fp32, again": usual_loop(model, adversarial, tuned=False),
    }
    images, labels = split.batch(slice(None))
    losses = {name: step(images, labels) for name, step in ways.items()}
    differences = compare_losses(losses, exact=not adversarial)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, step in ways.items():
            started = time.process_time()
            step(images, labels)
            seconds[name].append(time.process_time() - started)
    return drawn(model, adversarial, batch, seconds, differences)


def compare_losses(losses: dict[str, float], *, exact: bool) -> dict[str, float]:
    """The relative difference of each first loss from the usual loop's; refused where it is too large."""
    usual = losses["usual loop, fp32"]
    found = {name: abs(loss - usual) / usual for name, loss in losses.items()}
    for name, difference in found.items():
        most = EXACT if exact and "fp32" in name else ROUNDED
        if not difference <= most:
            raise SystemExit(
                f"{name}: the first loss differs by {difference:.2g}, at most {most} was expected"
            )
    return found


def drawn(
    model: str, adversarial: bool, batch: int, seconds: dict[str, list[float]], differences: dict[str, float]
) -> Table:
    """The table; `auto` stands for the faster of our two."""
    usual = seconds["usual loop, fp32"]

    def ratio(name: str) -> float:
        return statistics.median(peer / own for peer, own in zip(usual, seconds[name], strict=True))

    same = ratio("usual loop, fp32, again")
    busy = "" if abs(same - 1) < 0.1 else "; THE MACHINE IS TOO BUSY FOR THESE FIGURES"
    kind = f"PGD-{STEPS} adversarial training" if adversarial else "standard training"
    result = Table(
        title=f"{kind}, {model} on {'x'.join(map(str, SHAPE))}, batch {batch}",
        caption=f"the usual loop over itself: {same:.2f}{busy}",
    )
    for heading in ("way", "CPU s / step", "times as fast as the usual loop", "first loss differs by"):
        result.add_column(heading, justify="left" if heading == "way" else "right")
    chosen = "ours, bf16" if ratio("ours, bf16") >= GAIN * ratio("ours, fp32") else "ours, fp32"
    for name in list(seconds)[:-1]:
        result.add_row(
            f"{name} (auto)" if name == chosen else name,
            f"{statistics.median(seconds[name]):.3f}",
            f"{ratio(name):.2f}",
            f"{differences[name]:.1e}",
        )
    return result


def network(model: str) -> Classifier:
    """A network with the same initial weights in every way."""
    return build(model, input_shape=SHAPE, num_classes=CLASSES, seed=0).train()


def usual_loop(model: str, adversarial: bool, *, tuned: bool) -> Step:
    """A step of the loop that a researcher would write."""
    classifier = network(model)
    if tuned:
        lay_out(classifier, torch.channels_last)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3)
    eps = float(THREAT.exact)

    def perturbation(images: Tensor, labels: Tensor) -> Tensor:
        delta = torch.empty_like(images).uniform_(-eps, eps)
        delta = (images + delta).clamp(0, 1) - images
        for _ in range(STEPS):
            delta.requires_grad_()
            with torch.autocast("cpu", torch.bfloat16, enabled=tuned):
                loss = F.cross_entropy(classifier(images + delta), labels)
            (gradient,) = torch.autograd.grad(loss, delta)
            delta = (delta.detach() + eps / 4 * gradient.sign()).clamp(-eps, eps)
            delta = (images + delta).clamp(0, 1) - images
        return delta

    def step(images: Tensor, labels: Tensor) -> float:
        if tuned:
            images = images.contiguous(memory_format=torch.channels_last)
        if adversarial:
            images = images + perturbation(images, labels)
        with torch.autocast("cpu", torch.bfloat16, enabled=tuned):
            loss = F.cross_entropy(classifier(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def our_loop(model: str, adversarial: bool, split: Split, batch: int, precision: str) -> Step:
    """A step as `bench run` takes it."""
    classifier = network(model)
    innermost = channels_innermost(torch.device("cpu"), precision)
    if innermost:
        lay_out(classifier, torch.channels_last)
    recipe = make_recipe(f"paper,batch_size={batch}")
    defense = get("at").make({"steps": STEPS}) if adversarial else get("standard").make({})
    objective = defense.objective(Training(classifier, split, THREAT, 1, 0, batch))
    objective.begin_epoch(1)
    optimizer = recipe.make_optimizer(classifier.parameters())

    def step(images: Tensor, labels: Tensor) -> float:
        if innermost:
            images = images.contiguous(memory_format=torch.channels_last)
        return float(take_step(objective, classifier, optimizer, images, labels, recipe.lr, precision))

    return step


if __name__ == "__main__":
    main()
