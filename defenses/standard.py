"""Standard training: cross-entropy alone."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bench.core.classifier import Classifier
from defenses.base import Defense, Objective, Training


@dataclass(frozen=True, kw_only=True)
class Standard(Defense):
    """Minimize the cross-entropy on clean images.

    Idea: none; it is the baseline of every other defense, in robustness and in time.
    Formula: L_CE(f(x), y).
    Cost: 3 forward units a step (one forward, one backward at twice its cost).
    Known weakness: accuracy near zero under any iterative attack at the usual ε.
    """

    name: ClassVar[str] = "standard"
    family: ClassVar[str] = "none"

    def objective(self, training: Training) -> Objective:
        """Cross-entropy."""
        return CrossEntropy(training)


class CrossEntropy(Objective):
    """L_CE, averaged over the batch."""

    def loss(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The mean cross-entropy of images [B, C, H, W] and labels [B]."""
        return self.cross_entropy(classifier(images), labels)
