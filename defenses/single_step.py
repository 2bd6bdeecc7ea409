"""What the single-step defenses share: the alarm for catastrophic overfitting."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from bench.attacks.pgd import maximise
from bench.core.classifier import Classifier
from bench.core.guards import evaluating
from bench.core.randomness import make_generator
from defenses.base import Attacked

#: Training images the alarm looks at after each epoch, always the same ones.
PROBE_IMAGES = 256


class SingleStep(Attacked, ABC):
    """Training on one step, which a network can learn to survive without becoming robust.

    After each epoch the history gets the accuracy on some training images under the training attack, that under
    PGD-10, and whether they part (Wong et al. 2020).
    """

    @abstractmethod
    def single_step(
        self, classifier: Classifier, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The attacked images [B, C, H, W], one step from the images or a random start."""

    def attack(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The attacked images [B, C, H, W]."""
        return self.single_step(classifier, images, labels, self.generator)

    def report(self) -> dict[str, float | int | str | None]:
        """Accuracy under the single step and under PGD-10, and the alarm: 1 when the network overfitted."""
        training = self.training
        classifier, generator = training.classifier, make_generator(training.seed, "probe")
        chosen = torch.randperm(len(training.train), generator=generator)[:PROBE_IMAGES]
        images, labels = training.train.batch(chosen.to(training.train.images.device))
        with evaluating(classifier):
            step = self.single_step(classifier, images, labels, generator)
            pgd = maximise(classifier, images, labels, training.threat, generator, steps=10)
            single, iterated = (_accuracy(classifier, points, labels) for points in (step, pgd))
        return {
            "probe_single_step_accuracy": single,
            "probe_pgd10_accuracy": iterated,
            "catastrophic_overfitting": int(overfitted(single, iterated)),
        }


def overfitted(single: float, iterated: float) -> bool:
    """Whether PGD-10 breaks more than half of what survives the single step, by more than chance can: 0.2.

    Both bounds are ours; the papers show the effect as a fall to almost 0 within an epoch.
    """
    return iterated < single / 2 and single - iterated > 0.2


@torch.no_grad()
def _accuracy(classifier: Classifier, images: Tensor, labels: Tensor) -> float:
    return float((classifier(images).argmax(dim=1) == labels).float().mean())
