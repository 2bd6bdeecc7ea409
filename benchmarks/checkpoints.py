"""What keeping the state of a training costs, written at once and in the background.

python -m benchmarks.checkpoints                       # cnn6 and resnet18 on the digits; a minute
python -m benchmarks.checkpoints --device cuda

The state is that after a step of standard training: the weights and the optimizer's moments. "At once" is the time
until it is written, "background" the time until the training may go on; both are medians, on a CPU of the CPU time
of the thread that trains, on a device of the clock. An epoch is one of standard training on the digits in batches
of 128, without validation, measured in the same process. What was written is read again and compared.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bench.core.threat import Threat
from bench.data import load
from bench.models import build
from bench.models.weights import load_checkpoint
from bench.training.recipe import make_recipe
from bench.training.resume import Keeper
from bench.training.step import take_step
from bench.training.timing import StandardClock, synchronize
from defenses import get
from defenses.base import Training

#: Of the measurements; a state that has been kept makes room for the next.
ROUNDS = 7


def main() -> None:
    """Print a row for each network and recipe."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="*", metavar="NAME", default=["cnn6", "resnet18"])
    parser.add_argument("--recipes", nargs="*", metavar="NAME", default=["paper", "strong"])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = Table(title=f"the state of a training, {options.device}")
    for heading in ("network", "recipe", "MB", "at once, ms", "background, ms", "epoch, s"):
        result.add_column(heading, no_wrap=True)
    for model in options.models:
        for recipe in options.recipes:
            result.add_row(model, recipe, *measured(model, recipe, torch.device(options.device)))
    Console().print(result)


def measured(model: str, recipe: str, device: torch.device) -> list[str]:
    """Megabytes of the state, the milliseconds of both ways, and the seconds of an epoch."""
    state, epoch = trained(model, recipe, device)
    times = []
    for background in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "checkpoint.pt"
            with Keeper(path, background=background) as keeper:
                times.append(statistics.median(seconds(keeper, state, device) for _ in range(ROUNDS)))
            size = path.stat().st_size
            found = load_checkpoint(path, device)
        torch.testing.assert_close(found, state, rtol=0, atol=0)
    return [f"{size / 1e6:.1f}", *(f"{1000 * each:.1f}" for each in times), f"{epoch:.2f}"]


def seconds(keeper: Keeper, state: dict[str, Any], device: torch.device) -> float:
    """Seconds until the training may go on, where the state before is written already."""
    now = time.perf_counter if device.type == "cuda" else time.thread_time
    keeper.wait()
    synchronize(device)
    started = now()
    keeper.keep(state)
    return now() - started


def trained(model: str, recipe: str, device: torch.device) -> tuple[dict[str, Any], float]:
    """The state after one step on the digits, and the seconds of an epoch."""
    dataset, settings = load("digits").to(device), make_recipe(recipe)
    network = build(model, input_shape=dataset.shape, num_classes=dataset.num_classes, seed=0).to(device)
    epoch = StandardClock(network, dataset.train, settings, 0, "fp32").epoch_seconds()
    training = Training(network.train(), dataset.train, Threat("linf", "0"), 1, 0, settings.batch_size)
    optimizer = settings.make_optimizer(network.parameters())
    batch = dataset.train.batch(slice(0, settings.batch_size))
    take_step(get("standard").make({}).objective(training), network, optimizer, *batch, settings.lr, "fp32")
    return {"classifier": network.state_dict(), "optimizer": optimizer.state_dict()}, epoch


if __name__ == "__main__":
    main()
