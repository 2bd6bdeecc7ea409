"""The time of a standard training epoch on this machine, measured beside each training for comparison."""

import copy
import statistics
import time
from itertools import islice

import torch

from bench.core.classifier import Classifier
from bench.core.randomness import make_generator, seeded
from bench.core.threat import Threat
from bench.data import Split
from bench.training.averaging import make_average
from bench.training.device import batches_ahead, channels_innermost, lay_out
from bench.training.graph import Stepper
from bench.training.recipe import Recipe
from bench.training.step import shuffled_batches
from defenses.base import Training
from defenses.standard import Standard

#: Measuring may take this share of the training time, and this many seconds in any case.
SHARE, SECONDS = 0.03, 3.0
#: When that is used up, one pass is timed every so many epochs, for the machine may have become slower or faster.
EPOCHS = 4
#: It has when a pass takes more than this factor longer, or shorter, than the median of the last passes.
PACE = 1.25


class StandardClock:
    """Times standard training on a copy of a network, a few steps at a time, averaging as the recipe says.

    It is timed again and again between the epochs of a training. Both slow down when the machine is busy, so their
    ratio is the cost of the defense.

    Args:
        classifier: copied and left unchanged.
        split, recipe, seed, precision: as for the training.
        limit: steps of one pass; its time is scaled to a whole epoch.
    """

    def __init__(
        self, classifier: Classifier, split: Split, recipe: Recipe, seed: int, precision: str, limit: int = 5
    ) -> None:
        self._twin = copy.deepcopy(classifier).train().requires_grad_(True)
        self._split, self._recipe, self._seed, self._precision = split, recipe, seed, precision
        device = split.images.device
        if channels_innermost(device, precision):
            lay_out(self._twin, torch.channels_last)
        #: At least as many as are drawn at once.
        self._limit = limit = max(limit, batches_ahead(split.images, recipe.batch_size))
        #: Passes in an epoch, counted in images because the last batch of an epoch is seldom full.
        self._passes = max(1.0, len(split) / (limit * recipe.batch_size))
        training = Training(self._twin, split, Threat("linf", "0"), 1, seed, recipe.batch_size)
        self._step = Stepper(Standard().objective(training), self._twin, precision, recipe.batch_size)
        self._optimizer = recipe.make_optimizer(self._twin.parameters())
        self._average = make_average(recipe, self._twin)
        self._used, self._idle = 0.0, 0
        self._last: list[float] = []
        self._warm = False

    def _pass(self) -> float:
        synchronize(self._split.images.device)
        started = time.perf_counter()
        generator = make_generator(self._seed, "standard", device=self._split.images.device)
        with seeded(self._seed, "standard"):
            batches = shuffled_batches(self._split, self._recipe, generator, self._precision)
            for _, images, labels in islice(batches, self._limit):
                self._step(self._optimizer, images, labels, self._recipe.lr)
                if self._average:
                    self._average.after_step(self._twin)
        synchronize(self._split.images.device)
        seconds = time.perf_counter() - started
        self._used += seconds
        return seconds

    def epoch_seconds(self, trained: float = 0.0) -> float:
        """Seconds of a standard epoch: the median of the last three passes.

        One pass is new if the time for measuring allows it, or after some epochs without a new one. All three are
        new where the machine has become slower or faster.

        Args:
            trained: seconds that this process has spent on the training itself so far.
        """
        if not self._warm:
            self._pass()  # the first pass pays for allocations and does not count
            self._warm = True
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
    """Wait until the device has finished its work, so that the time can be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
