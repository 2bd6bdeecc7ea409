"""The base of the single-step defenses, which reports catastrophic overfitting."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from bench.attacks import maximise
from bench.core.classifier import Classifier
from bench.core.guards import evaluating
from bench.core.randomness import make_generator
from defenses.base import Attacked

#: Training images, the same after each epoch, on which catastrophic overfitting is looked for.
PROBE_IMAGES = 256


class SingleStep(Attacked, ABC):
    """Training on a single-step attack, to which a network can become robust without being robust to others.

    After each epoch, the history gets the accuracy on some training images under the single step and under PGD-10,
    and whether the two differ by so much that the network overfitted (Wong et al. 2020).
    """

    @abstractmethod
    def single_step(
        self, classifier: Classifier, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The images [B, C, H, W] after one step from the images or from a random start."""

    def attack(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The attacked images [B, C, H, W]."""
        return self.single_step(classifier, images, labels, self.generator)

    def report(self) -> dict[str, float | int | str | None]:
        """Accuracy under the single step and under PGD-10, and 1 when the network overfitted, else 0."""
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
    """Whether PGD-10 breaks more than half of the images that survive the single step, and more than 0.2 of all.

    Both bounds are ours. In the papers, accuracy under PGD decreases to almost 0 within an epoch.
    """
    return iterated < single / 2 and single - iterated > 0.2


@torch.no_grad()
def _accuracy(classifier: Classifier, images: Tensor, labels: Tensor) -> float:
    return float((classifier(images).argmax(dim=1) == labels).float().mean())
