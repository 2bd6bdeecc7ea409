"""Accuracy on the training images, and how far that on the test images lies below."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch

from bench.core.record import Score
from bench.core.statistics import unpaired_difference
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable


class GeneralizationGap(Metric):
    """Accuracy on the training set minus that on the test set, without attack; with Newcombe's interval.

    `/train` is the accuracy on the training set, as it is, without augmentation. Both are baselines that an
    indicator of robustness has to beat.
    """

    name = "generalization_gap"
    unit: ClassVar[str] = "difference"
    titles = {"generalization_gap": "Train-test gap"}
    higher_is_better: ClassVar[bool | None] = None
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    batteries = {"indicators": {}}

    @torch.no_grad()
    def measure(self, evaluation: Evaluation) -> Arrays:
        """Whether each training image and each test image is classified correctly.

        Raises:
            NotMeasurable: when the training or the test set is empty.
        """
        splits = {"train": evaluation.dataset.train, "test": evaluation.dataset.test}
        found = {}
        for name, split in splits.items():
            if len(split) == 0:
                raise NotMeasurable(f"the {name} set is empty")
            right = []
            with evaluation.progress.task(f"accuracy on the {name} set", len(split)) as task:
                for start in range(0, len(split), evaluation.batch_size):
                    images, labels = split.batch(slice(start, start + evaluation.batch_size))
                    right.append((evaluation.classifier(images).argmax(dim=1) == labels).cpu().numpy())
                    task.advance(len(images))
            found[f"{name}_right"] = np.concatenate(right)
        return found

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        return self.name, f"{self.name}/train"

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The difference and the training accuracy, with intervals."""
        first, second = arrays["train_right"], arrays["test_right"]
        gap = unpaired_difference((int(first.sum()), len(first)), (int(second.sum()), len(second)))
        train = self.proportion(arrays["train_right"])
        return {
            self.name: self.score(gap.value, gap.low, gap.high, n=len(arrays["train_right"])),
            f"{self.name}/train": replace(train, unit="fraction", higher_is_better=True),
        }
