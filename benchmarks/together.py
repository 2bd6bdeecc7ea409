"""Training steps of several networks stacked into one, beside the same steps one network after the other.

python -m benchmarks.together                          # cnn6 on the shape of the digits; minutes
python -m benchmarks.together --device cuda            # on a device both ways are captured in CUDA graphs

The networks differ in their initial weights and in their images. Stacked, the weights of all lie in one tensor for
each layer, `torch.vmap` turns their convolutions into one with groups, and one optimizer updates them. This is the
most that training seeds together could save: random starts, whose draws would have to be those of each seed, and
validation are left out. First the gradients of all weights are compared, which may differ by rounding.

Every round takes one step each way, and a ratio is the median over rounds. The steps of single networks are also
compared with the same steps taken once more ("same"): where that ratio differs from 1 by 0.1 or more, the machine
is too busy for meaningful figures, and the table says so. Times are CPU time of one thread, on a device wall-clock.
"""

import argparse
import statistics
import time
from typing import Any, cast

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.func import functional_call

from bench.core.classifier import Classifier
from bench.core.randomness import make_generator
from bench.core.threat import Threat
from bench.data import Split
from bench.models import build
from bench.training.graph import WARM_UP, Stepper
from bench.training.recipe import make_recipe
from bench.training.timing import synchronize
from defenses import get
from defenses.base import Training

SHAPE, CLASSES = (1, 8, 8), 10
THREAT = Threat("linf", "0.1")
#: Defenses and their settings, without random draws.
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "standard": ("standard", {}),
    "at, BIM-10": ("at", {"attack": "bim"}),
}
#: Largest difference between gradients, over the largest gradient of the weight.
ROUNDING = 1e-3


class Stacked(nn.Module):
    """Several networks of one architecture as one: images [N·B, C, H, W] to logits [N·B, K], network by network."""

    def __init__(self, networks: list[Classifier]) -> None:
        super().__init__()
        #: In a tuple, so that it is no layer of this one.
        self._one = (networks[0],)
        weights, self.buffers_of = torch.func.stack_module_state(cast(list[nn.Module], networks))
        self.names = list(weights)
        self.weights = nn.ParameterList(weight.detach() for weight in weights.values())

    def forward(self, images: Tensor) -> Tensor:
        """Logits of every network for its images."""
        weights = dict(zip(self.names, self.weights, strict=True))
        parts = images.unflatten(0, (len(self.weights[0]), -1))
        return torch.vmap(self._pass)(weights, self.buffers_of, parts).flatten(0, 1)

    def _pass(self, weights: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor) -> Tensor:
        logits: Tensor = functional_call(self._one[0], (weights, buffers), (images,))
        return logits


def main() -> None:
    """Print a table for each number of networks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="*", metavar="NAME", default=["cnn6(width=0.25)", "cnn6"])
    parser.add_argument("--batches", nargs="*", type=int, default=[32, 128])
    parser.add_argument("--networks", nargs="*", type=int, default=[8])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for count in options.networks:
        Console().print(table(options.models, options.batches, count, options.rounds, options.device))


def table(models: list[str], batches: list[int], count: int, rounds: int, device: str) -> Table:
    """Milliseconds of a step of one network, alone and stacked, their ratio, and that of the same steps."""
    result = Table(title=f"{count} networks, images of {'x'.join(map(str, SHAPE))}, {device}; ms a network")
    for heading in ("network", "batch", "training", "alone", "stacked", "ratio", "same"):
        result.add_column(heading, no_wrap=True)
    for model in models:
        for batch in batches:
            for title, setting in SETTINGS.items():
                alone, again, stacked = (
                    Steps(model, batch, count, setting, torch.device(device), stacked=stacked)
                    for stacked in (False, False, True)
                )
                check(alone, stacked)
                before, ratio, same = compare(alone, stacked, again, rounds)
                busy = "" if abs(same - 1) < 0.1 else " TOO BUSY"
                result.add_row(
                    model,
                    str(batch),
                    title,
                    f"{1000 * before / count:.2f}",
                    f"{1000 * before / ratio / count:.2f}",
                    f"{ratio:.2f}",
                    f"{same:.2f}{busy}",
                )
    return result


class Steps:
    """Steps of several networks, one after the other or stacked, on batches that stay the same.

    Args:
        model, batch, count, setting, device: networks of this name, images for each, how many, and their training.
        stacked: all as one.
    """

    def __init__(
        self,
        model: str,
        batch: int,
        count: int,
        setting: tuple[str, dict[str, Any]],
        device: torch.device,
        *,
        stacked: bool,
    ) -> None:
        name, values = setting
        self.count, recipe = count, make_recipe(f"paper,batch_size={batch}")
        images, labels = _split(count * batch, device).batch(slice(None))
        networks = [
            build(model, input_shape=SHAPE, num_classes=CLASSES, seed=seed).to(device).train()
            for seed in range(count)
        ]
        self.trained: list[nn.Module] = [Stacked(networks)] if stacked else list(networks)
        size = len(images) // len(self.trained)
        self.batches = list(zip(images.split(size), labels.split(size), strict=True))
        self.lr = recipe.lr
        self.objectives = []
        for network in self.trained:
            training = Training(cast(Classifier, network), _split(size, device), THREAT, 1, 0, size)
            objective = get(name).make(values).objective(training)
            objective.begin_epoch(1)
            self.objectives.append(objective)
        self.optimizers = [recipe.make_optimizer(network.parameters()) for network in self.trained]
        self.steppers = [
            Stepper(objective, cast(Classifier, network), "fp32", size)
            for objective, network in zip(self.objectives, self.trained, strict=True)
        ]

    def gradients(self) -> list[Tensor]:
        """The gradient of each weight of all networks [N, …], of the sum of their losses."""
        losses = [
            objective.loss(cast(Classifier, network), *some)
            for objective, network, some in zip(self.objectives, self.trained, self.batches, strict=True)
        ]
        found = [
            torch.autograd.grad(loss * self.count / len(self.trained), list(network.parameters()))
            for loss, network in zip(losses, self.trained, strict=True)
        ]
        return list(found[0]) if len(found) == 1 else [torch.stack(each) for each in zip(*found, strict=True)]

    def __call__(self) -> float:
        """Seconds of one step of all networks: of the processor, on a device of the clock."""
        device = self.batches[0][0].device
        now = time.perf_counter if device.type == "cuda" else time.process_time
        synchronize(device)
        started = now()
        for step, optimizer, some in zip(self.steppers, self.optimizers, self.batches, strict=True):
            step(optimizer, *some, self.lr)
        synchronize(device)
        return now() - started


def compare(alone: Steps, stacked: Steps, again: Steps, rounds: int) -> tuple[float, float, float]:
    """Median seconds of a step one after the other, over stacked ones, and over the same once more."""
    found = [(alone(), stacked(), again()) for _ in range(WARM_UP + 1 + rounds)][-rounds:]
    return (
        statistics.median(first for first, _, _ in found),
        statistics.median(first / second for first, second, _ in found),
        statistics.median(first / third for first, _, third in found),
    )


def check(one: Steps, other: Steps) -> None:
    """Stop where the two ways give other gradients."""
    for first, second in zip(one.gradients(), other.gradients(), strict=True):
        worst = float((first - second).abs().max() / first.abs().max())
        if not worst <= ROUNDING:
            raise SystemExit(f"gradients differ by {worst:.1e} of the largest")


def _split(size: int, device: torch.device) -> Split:
    generator = make_generator("together")
    images = torch.randint(256, (size, *SHAPE), generator=generator, dtype=torch.uint8)
    return Split(images, torch.randint(CLASSES, (size,), generator=generator)).to(device)


if __name__ == "__main__":
    main()
