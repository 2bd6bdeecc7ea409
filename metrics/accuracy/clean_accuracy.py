"""Accuracy on unchanged test images."""

from collections.abc import Mapping

import numpy as np
import torch

from bench.core.checks import moved_between, moved_by_batch
from bench.core.guards import random_state_kept
from bench.core.record import Score
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation

#: Images that are classified alone as well.
ALONE = 32


class CleanAccuracy(Metric):
    """Share of the whole test set that is classified correctly, with a Wilson interval.

    More passes over some of the images that attacks run on measure how far logits move between two passes, and when
    an image is alone or in another order. The alarms "randomised output" and "predictions depend on the batch" read
    this.
    """

    name = "clean_accuracy"
    titles = {"clean_accuracy": "Clean accuracy"}
    batteries = {"quick": {}, "standard": {}, "full": {}, "geometry": {}, "indicators": {}}

    @torch.no_grad()
    def measure(self, evaluation: Evaluation) -> Arrays:
        """Whether each test image is classified correctly [N]; how far logits move between two passes [1], and for
        the first images, by what they are batched with [n].
        """
        right = []
        test, classifier = evaluation.dataset.test, evaluation.classifier
        with (
            random_state_kept(evaluation.generator(self.name).initial_seed()),
            evaluation.progress.task("clean accuracy", len(test)) as task,
        ):
            for start in range(0, len(test), evaluation.batch_size):
                images, labels = test.batch(slice(start, start + evaluation.batch_size))
                right.append((classifier(images).argmax(dim=1) == labels).cpu().numpy())
                task.advance(len(images))
            some = evaluation.images[: evaluation.batch_size]
            first, second = classifier(some), classifier(some)
            by_batch = moved_by_batch(classifier, some[:ALONE], first[:ALONE])
        moved = np.array([moved_between(first, second)], dtype=np.float32)
        return {
            "right": np.concatenate(right),
            "between_passes": moved,
            "between_batches": by_batch.float().cpu().numpy(),
        }

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Accuracy with its interval."""
        return {self.name: self.proportion(arrays["right"])}
