"""What a metric is given: one network, one data set, one threat."""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from bench.attacks import Attack, AttackResult
from bench.attacks.autoattack import AutoAttackResult
from bench.attacks.calls import AttackCall, AutoAttackCall, Call
from bench.core.classifier import NO_HEAD, AnyClassifier
from bench.core.passes import PassCount
from bench.core.progress import Progress
from bench.core.randomness import make_generator
from bench.core.threat import Threat
from bench.data import Dataset, Split
from bench.geometry.regions import Patterns, pack

Arrays = dict[str, np.ndarray]
#: Has other processes make a call of an attack while the block runs.
Helped = Callable[[Call], AbstractContextManager[None]]


def alone(call: Call) -> AbstractContextManager[None]:
    """Without other processes."""
    return nullcontext()


class NotMeasurable(Exception):
    """Raised where a quantity is not defined for a network or data set; the message is the reason in the record."""


@dataclass(frozen=True)
class SplitRegions:
    """The decision region of every image of a split.

    Attributes:
        patterns: packed sign patterns, uint64 [N, ceil(D / 64)].
        predicted, labels: predicted and true classes, int64 [N].
    """

    patterns: Patterns
    predicted: np.ndarray
    labels: np.ndarray


@dataclass
class Evaluation:
    """One network under evaluation, as every metric is given it.

    Attributes:
        classifier: in eval mode, on `device`, in float32.
        dataset: on `device`; a metric can read training and test images and never changes them.
        threat: norm and ε of this evaluation.
        images, labels: the test images that attacks run on, float32 [n, C, H, W] in [0, 1], and int64 [n].
        test_index: their positions in `dataset.test` [n].
        seed: of every random draw, which goes through `generator(name)`.
        batch_size: images in one pass through the network.
        progress: shows progress bars and messages.
        measured: arrays of the metrics that already ran, by metric name.
        history: one row for each epoch of the training; empty for a network trained elsewhere.
        scratch: a folder in which a long metric can save its progress, or None.
        helped: has other processes make the same call of an attack while the block runs; by default there are none.
        passes: all passes through the classifier since this evaluation was made; no metric has to count.
    """

    classifier: AnyClassifier
    dataset: Dataset
    threat: Threat
    images: Tensor
    labels: Tensor
    test_index: Tensor
    seed: int = 0
    batch_size: int = 500
    progress: Progress = field(default_factory=Progress)
    measured: dict[str, Arrays] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    scratch: Path | None = None
    helped: Helped = alone
    passes: PassCount = field(default_factory=PassCount, init=False)
    _regions: dict[str, SplitRegions] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        # The hook goes with the evaluation: a dropped one leaves the classifier as it was.
        weakref.finalize(self, self.passes.watch(self.classifier).remove)

    @property
    def forwards(self) -> int:
        """Forward passes through the classifier so far, in images.

        Assigning is allowed and changes nothing: older metrics do `evaluation.forwards += n` for passes that are
        counted already.
        """
        return self.passes.forwards

    @forwards.setter
    def forwards(self, value: int) -> None:
        pass

    @property
    def backwards(self) -> int:
        """Backward passes through the classifier so far, in images; as `forwards`."""
        return self.passes.backwards

    @backwards.setter
    def backwards(self, value: int) -> None:
        pass

    @property
    def device(self) -> torch.device:
        """Where classifier and data live."""
        return self.images.device

    def first(self, count: int | None) -> tuple[Tensor, Tensor]:
        """The first so many attacked images [n, C, H, W] and their labels [n]; all of them with None.

        Raises:
            NotMeasurable: when there is none.
        """
        images, labels = self.images[:count], self.labels[:count]
        if len(images) == 0:
            raise NotMeasurable("there is no test image")
        return images, labels

    def generator(self, name: str) -> torch.Generator:
        """A CPU generator for one purpose, seeded by that purpose: the same in every run of this evaluation."""
        return make_generator(self.seed, "evaluation", name)

    def attack(
        self,
        attack: Attack,
        images: Tensor,
        labels: Tensor,
        name: str,
        *,
        threat: Threat | None = None,
        progress: Progress | None = None,
    ) -> AttackResult:
        """Run an attack on images [n, C, H, W] with labels [n], drawing from `generator(name)`.

        Args:
            threat: that of the evaluation by default.
            progress: that of the evaluation by default.
        """
        call = AttackCall(
            attack,
            images,
            labels,
            threat or self.threat,
            self.generator(name).initial_seed(),
            self.batch_size,
        )
        with self.helped(call):
            return call(self.classifier, progress or self.progress)

    def autoattack(self, **settings: Any) -> AutoAttackResult:
        """Run AutoAttack at the threat on all attacked images.

        Args:
            settings: seed, version, batch size and kind of passes; see `bench.attacks.autoattack.autoattack`. Its
                state is kept in `scratch`.
        """
        call = AutoAttackCall(self.images, self.labels, self.threat, settings)
        state = self.scratch / "autoattack.pt" if self.scratch else None
        with self.helped(call):
            return call(self.classifier, self.progress, state)

    def features(self, split: Split, name: str) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Stream (features Z [B, D], logits [B, K], labels [B]) over a split, without gradient.

        Raises:
            NotMeasurable: when the network has no final linear layer to read features from.
        """
        if self.classifier.site == "none":
            raise NotMeasurable(NO_HEAD)
        with torch.no_grad(), self.progress.task(name, len(split)) as task:
            for start in range(0, len(split), self.batch_size):
                images, labels = split.batch(slice(start, start + self.batch_size))
                logits, features = self.classifier.forward_with_features(images)
                yield features, logits, labels
                task.advance(len(images))

    def regions(self, split: Literal["train", "test"]) -> SplitRegions:
        """Regions, predictions and labels of all images of a split, computed once for all metrics.

        Raises:
            NotMeasurable: when the network has no feature layer, or the split is empty.
        """
        if split not in self._regions:
            images: Split = getattr(self.dataset, split)
            name = {"train": "training", "test": "test"}[split]
            if len(images) == 0:
                raise NotMeasurable(f"the {name} set is empty, so it populates no region")
            patterns = np.empty((len(images), -(-self.classifier.num_features // 64)), dtype=np.uint64)
            predicted = np.empty(len(images), dtype=np.int64)
            done = 0
            for features, logits, labels in self.features(images, f"regions of the {name} set"):
                rows = slice(done, done + len(labels))
                patterns[rows] = pack(features)
                predicted[rows] = logits.argmax(dim=1).cpu().numpy()
                done = rows.stop
            self._regions[split] = SplitRegions(patterns, predicted, images.labels.cpu().numpy())
        return self._regions[split]
