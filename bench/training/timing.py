"""What standard training costs here and now: the yardstick of every time per epoch."""

import copy
import statistics
import time

import torch

from bench.core.classifier import Classifier
from bench.core.randomness import make_generator, seeded
from bench.core.threat import Threat
from bench.data import Split
from bench.training.epoch import run_steps
from bench.training.recipe import Recipe
from defenses.base import Training
from defenses.standard import Standard

#: The yardstick may take this share of the training, and so many seconds in any case.
SHARE, SECONDS = 0.03, 3.0
#: Once it has taken that, it is looked at every so many epochs: the machine may have changed its pace.
EPOCHS = 4
#: A pass that is further from the last ones than this is the sign that it has.
PACE = 1.25


class StandardClock:
    """Times standard training on a copy of a network, a few steps at a time.

    Taken again and again between the epochs of a training, it slows down when the machine does, so that the ratio
    of the two says what the defense costs and not what else was running.

    Args:
        classifier: copied; it stays as it is.
        limit: steps of one pass; its time is scaled to a whole epoch.
    """

    def __init__(
        self, classifier: Classifier, split: Split, recipe: Recipe, seed: int, precision: str, limit: int = 5
    ) -> None:
        self._twin = copy.deepcopy(classifier).train().requires_grad_(True)
        self._split, self._recipe, self._seed, self._precision = split, recipe, seed, precision
        self._limit = limit
        #: How many passes make an epoch, counted in images: the last batch of an epoch is seldom full.
        self._passes = max(1.0, len(split) / (limit * recipe.batch_size))
        training = Training(self._twin, split, Threat("linf", "0"), 1, seed, recipe.batch_size)
        self._objective = Standard().objective(training)
        self._optimizer = recipe.make_optimizer(self._twin.parameters())
        self._used, self._idle = 0.0, 0
        self._last: list[float] = []
        self._pass()  # the first one pays for allocations and does not count

    def _pass(self) -> float:
        synchronize(self._split.images.device)
        started = time.perf_counter()
        with seeded(self._seed, "standard"):
            run_steps(
                self._objective,
                self._twin,
                lambda: self._optimizer,
                self._split,
                self._recipe,
                make_generator(self._seed, "standard"),
                self._precision,
                lambda share: self._recipe.lr,
                self._limit,
            )
        synchronize(self._split.images.device)
        seconds = time.perf_counter() - started
        self._used += seconds
        return seconds

    def epoch_seconds(self, trained: float = 0.0) -> float:
        """Seconds of a standard epoch: the median of the last three passes.

        One of them is new if time allows, or after some epochs without one; all three are where the machine has
        become slower or faster.

        Args:
            trained: seconds this process has spent on the training itself so far.
        """
        self._idle += 1
        if self._last and (self._used < SECONDS + SHARE * trained or self._idle >= EPOCHS):
            before, now = statistics.median(self._last), self._pass()
            same = before / PACE < now < before * PACE
            self._last = [*self._last[-2:], now] if same else [now]
            self._idle = 0
        while len(self._last) < 3:
            self._last.append(self._pass())
        return statistics.median(self._last) * self._passes


def synchronize(device: torch.device) -> None:
    """Wait until the device has done its work, so that a clock can be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
