"""A whole training of ours beside a bare loop of the same steps: the same weights, bit for bit.

The training measures clean and robust accuracy on validation images after each epoch, times standard steps for the
cost of a defense, and writes its checkpoint; the first peer does nothing of that, the second validates as well.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch.nn import functional as F

from bench.core.classifier import Classifier
from bench.core.randomness import seeded
from bench.core.threat import Threat
from bench.data import Dataset, load
from bench.models import build
from bench.training.loop import train
from bench.training.recipe import make_recipe
from bench.training.step import epoch_batches
from bench.training.validation import validate
from benchmarks.speed.rows import Row, in_turn, timed
from defenses import get

THREAT, EPOCHS = Threat("linf", "0.2"), 5


def rows(rounds: int) -> Iterator[Row]:
    """A training on the digits beside the bare loop, and the command line beside its parser."""
    data, trained = load("digits"), list[Classifier]()

    def ours() -> None:
        network, recipe = _network(data), make_recipe("paper")
        with tempfile.TemporaryDirectory() as folder:
            defense, checkpoint = get("standard").make({}), Path(folder) / "checkpoint.pt"
            train(defense, network, data, recipe, THREAT, epochs=EPOCHS, seed=0, checkpoint=checkpoint)
        trained.append(network)

    def bare(validating: bool) -> None:
        network, recipe = _network(data).train(), make_recipe("paper")
        optimizer = torch.optim.Adam(network.parameters(), lr=recipe.lr)
        for epoch in range(1, EPOCHS + 1):
            with seeded(0, "epoch", epoch):
                for _, images, labels in epoch_batches(data.train, recipe, 0, epoch, "fp32", 1):
                    loss = F.cross_entropy(network(images), labels)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            if validating:
                validate(network, data, THREAT, 0)
        trained.append(network)

    for name, validating in (("bare loop", False), ("bare loop that validates", True)):
        peer = partial(bare, validating)
        trained.clear()
        ours()
        peer()
        equal = all(torch.equal(*pair) for pair in zip(*(each.parameters() for each in trained), strict=True))
        if not equal:
            raise SystemExit("the bare loop trained other weights")
        work = f"whole training of {EPOCHS} epochs, cnn6, digits"
        yield in_turn(work, name, "the same weights", ours, peer, rounds, warm=True)


def _network(data: Dataset) -> Classifier:
    shape, classes = data.shape, data.num_classes
    return build("cnn6", input_shape=shape, num_classes=classes, mean=data.mean, std=data.std, seed=0)


def help_seconds(rounds: int) -> float:
    """The least seconds of the clock that `bench --help` takes."""
    command = [sys.executable, "-m", "bench", "--help"]
    call = partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)
    return min(timed(call)[1] for _ in range(rounds))
