"""Accuracy on unchanged test images."""

from collections.abc import Mapping

import numpy as np
import torch

from bench.core.checks import moved_between, moved_by_batch, runner_up_is_tied
from bench.core.differences import gradient_errors
from bench.core.guards import random_state_kept
from bench.core.record import Score
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation

#: Images that are classified alone as well.
ALONE = 32


class CleanAccuracy(Metric):
    """Share of the whole test set that is classified correctly, with a Wilson interval.

    More passes over some of the images that attacks run on measure how far logits move between two passes, and when
    an image is alone or in another order; how far the gradient is from finite differences; and where the second
    largest logit says nothing. The alarms about the output and "gradient contradicts the output" read this.
    """

    name = "clean_accuracy"
    titles = {"clean_accuracy": "Clean accuracy"}
    batteries = {"quick": {}, "standard": {}, "full": {}, "geometry": {}, "indicators": {}}

    @torch.no_grad()
    def measure(self, evaluation: Evaluation) -> Arrays:
        """Whether each test image is classified correctly [N]; how far logits move between two passes [1], and for
        the first images, by what they are batched with [n].

        Also the errors of the first images' gradients, NaN where they cannot be told [n], and for the first batch
        whether the second largest logit is tied [b]; with fewer than three classes, of none.
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
            draws = evaluation.generator(f"{self.name} gradients")
            errors = gradient_errors(classifier, some[:ALONE], draws, evaluation.batch_size)
        moved = np.array([moved_between(first, second)], dtype=np.float32)
        tied = runner_up_is_tied(first) if first.shape[1] > 2 else torch.zeros(0, dtype=torch.bool)
        return {
            "right": np.concatenate(right),
            "between_passes": moved,
            "between_batches": by_batch.float().cpu().numpy(),
            "gradient_error": errors.float().cpu().numpy(),
            "tied": tied.cpu().numpy(),
        }

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Accuracy with its interval."""
        return {self.name: self.proportion(arrays["right"])}
