"""Accuracy on the training images, and how far that on the test images lies below."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch

from bench.core.names import CLEAN_ACCURACY
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
    titles = {"generalization_gap": "Train-test gap"}
    higher_is_better: ClassVar[bool | None] = None
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    needs = (CLEAN_ACCURACY,)
    batteries = {"indicators": {}}

    @torch.no_grad()
    def measure(self, evaluation: Evaluation) -> Arrays:
        """Whether each training image and each test image is classified correctly.

        Raises:
            NotMeasurable: when the training or the test set is empty.
        """
        train, test = evaluation.dataset.train, evaluation.measured[CLEAN_ACCURACY]["right"]
        if len(train) == 0 or len(test) == 0:
            raise NotMeasurable(f"the {'test' if len(train) else 'training'} set is empty")
        right = []
        with evaluation.progress.task("accuracy on the training set", len(train)) as task:
            for start in range(0, len(train), evaluation.batch_size):
                images, labels = train.batch(slice(start, start + evaluation.batch_size))
                right.append((evaluation.classifier(images).argmax(dim=1) == labels).cpu().numpy())
                task.advance(len(images))
        return {"train_right": np.concatenate(right), "test_right": test}

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        return self.name, f"{self.name}/train"

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The difference and the training accuracy, with intervals."""
        counts = [(int(right.sum()), len(right)) for right in (arrays["train_right"], arrays["test_right"])]
        gap = unpaired_difference(*counts)
        train = self.proportion(arrays["train_right"])
        return {
            self.name: self.score(gap.value, gap.low, gap.high, n=len(arrays["train_right"])),
            f"{self.name}/train": train,
        }
