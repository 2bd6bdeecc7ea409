"""What a metric is: `measure` gives arrays, `reduce` turns them into scores."""

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from bench.attacks import Attack, AttackResult
from bench.charts import Chart
from bench.core.classifier import AnyClassifier
from bench.core.passes import PassCount
from bench.core.progress import Progress
from bench.core.randomness import make_generator
from bench.core.record import Curve, Record, Score, Value
from bench.core.statistics import wilson
from bench.core.threat import Threat
from bench.data import Dataset, Split
from bench.geometry.regions import Patterns, pack

Arrays = dict[str, np.ndarray]
#: Name of each battery a metric belongs to → the arguments it takes there.
Batteries = Mapping[str, Mapping[str, Any]]

#: Why a network has neither features nor final weights, and what it would need.
NO_HEAD = (
    "the network's last operation is no linear layer, so it has no feature layer; "
    "needed are logits that come straight from nn.Linear"
)


class NotMeasurable(Exception):
    """This network or data set has no such quantity; the message becomes the reason in the record."""


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
    """One classifier under one battery: what every metric is given.

    Attributes:
        classifier: in eval mode, on `device`, float32.
        dataset: on `device`; a metric may read training and test images, never change them.
        threat: norm and ε of this evaluation.
        images, labels: the test images the attacks run on, float32 [n, C, H, W] in [0, 1], and int64 [n].
        test_index: their positions in `dataset.test` [n].
        seed: base of every random draw; use `generator(name)`.
        batch_size: images to push through the network at once.
        progress: where bars go.
        measured: arrays of the metrics that already ran, by metric name.
        history: one row an epoch of the training; empty for a network trained elsewhere.
        scratch: a folder in which a long metric may keep its progress, or None.
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

    def generator(self, name: str) -> torch.Generator:
        """A private CPU generator for one purpose, the same at every run of this evaluation."""
        return make_generator(self.seed, "evaluation", name)

    def attack(self, attack: Attack, images: Tensor, labels: Tensor, name: str) -> AttackResult:
        """Run an attack at the threat on images [n, C, H, W] with labels [n], drawing from `generator(name)`."""
        return attack(
            self.classifier,
            images,
            labels,
            self.threat,
            self.generator(name),
            batch_size=self.batch_size,
            progress=self.progress,
        )

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
        """Regions, predictions and labels of all images of a split; one pass serves every metric that asks.

        Raises:
            NotMeasurable: when the network has no feature layer, or the split no image.
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


class Metric(ABC):
    """A quantity measured on a trained classifier.

    `measure` runs once, and its arrays are kept beside the record; `reduce` turns them into scores, is cheap and
    pure, and can run again at any time. A metric of your own needs `name`, `measure` and `reduce`:

        class MeanLogit(Metric):
            name = "mean_logit"
            unit = "logits"
            higher_is_better = None
            bounds = (-np.inf, np.inf)

            def measure(self, evaluation):
                with torch.no_grad():
                    logits = evaluation.classifier(evaluation.images)
                return {"mean": logits.mean(dim=1).cpu().numpy()}

            def reduce(self, arrays):
                return {self.name: self.score(float(arrays["mean"].mean()), n=len(arrays["mean"]))}

    Attributes:
        name: key of the main score, and of the arrays.
        titles: score name → what the pages call it. Titled scores stand in the first table of an entry's page.
        unit: of the main score: "fraction", "AUC", "seconds", "ratio", "nats", "count", ….
        higher_is_better: True, False, or None where neither direction is better.
        bounds: the smallest and largest value the main score can take.
        needs: names of metrics that must have run before.
        batteries: of a built-in metric: name of each battery it belongs to → its arguments there. Others are asked
            for by name, as `--metrics NAME`.
        charts_function: "module:function" that draws: called with the metric, its arrays and the record, it gives a
            list of charts. A metric of your own can override `charts` instead.
    """

    name: str
    titles: Mapping[str, str] = {}
    unit: ClassVar[str] = "fraction"
    higher_is_better: ClassVar[bool | None] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs: tuple[str, ...] = ()
    batteries: Batteries = {}
    charts_function: ClassVar[str] = ""

    @abstractmethod
    def measure(self, evaluation: Evaluation) -> Arrays:
        """Compute the arrays: per-example values, or counts that `reduce` can work from.

        Raises:
            NotMeasurable: when the quantity is not defined here.
        """

    def check(self, classifier: AnyClassifier, image: Tensor) -> None:
        """Refuse settings that this network cannot meet, such as a layer it has not, before hours are spent.

        Args:
            classifier: trained or not.
            image: one of the data's [1, C, H, W].

        Raises:
            UserError: saying what there is instead.
        """

    def names(self) -> tuple[str, ...]:
        """Every score it writes, the main one first, but for those of single layers, named by the network."""
        return (self.name,)

    def settings(self) -> dict[str, Value]:
        """What the battery's protocol card says about this metric: every choice that changes the number."""
        return {}

    @abstractmethod
    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Turn the arrays into scores, by score name; the main one is called `self.name`."""

    def curves(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Curve]:
        """Curves to draw on the entry page; none by default."""
        return {}

    def charts(self, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
        """Figures of what `measure` gave, as plain data: those of `charts_function`, none without it.

        Args:
            arrays: this metric's own, as they lie beside the record.
            record: for class names, threat, network and the other scores; its own scores are in it.
        """
        if not self.charts_function:
            return []
        module, _, name = self.charts_function.partition(":")
        draw: Callable[..., list[Chart]] = getattr(import_module(module), name)
        return draw(self, arrays, record)

    def proportion(self, right: np.ndarray, reason: str = "") -> Score:
        """The share of true values in a bool array [n], with its Wilson interval."""
        n = len(right)
        if n == 0:
            return self.score(None, n=0, reason=reason or "no example to measure on")
        successes = int(np.count_nonzero(right))
        return self.score(successes / n, *wilson(successes, n), n=n, reason=reason)

    def score(
        self,
        value: float | None,
        low: float | None = None,
        high: float | None = None,
        n: int | None = None,
        reason: str = "",
    ) -> Score:
        """A `Score` with this metric's unit and direction."""
        return Score(
            value=value,
            low=low,
            high=high,
            n=n,
            unit=self.unit,
            higher_is_better=self.higher_is_better,
            reason=reason,
        )
