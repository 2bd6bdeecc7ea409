"""A defense: train on noisy images."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from bench.core.classifier import Classifier
from defenses import Defense, Objective, Training
from defenses.space import LogUniform


@dataclass(frozen=True, kw_only=True)
class InputNoise(Defense):
    """Cross-entropy on images with Gaussian noise of standard deviation `sigma`, in pixels."""

    name: ClassVar[str] = "input-noise"
    family: ClassVar[str] = "noise"

    sigma: Annotated[float, Field(gt=0), LogUniform(0.01, 0.5)] = 0.1  # bounds, search range, default

    def objective(self, training: Training) -> Objective:
        """Cross-entropy on noisy images."""
        return NoisyCrossEntropy(training, self.sigma)


class NoisyCrossEntropy(Objective):
    """L_CE(x + σ·n)."""

    def __init__(self, training: Training, sigma: float) -> None:
        super().__init__(training)
        self.sigma = sigma

    def loss(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The scalar to minimise for images [B, C, H, W] and labels [B]."""
        noise = torch.randn(images.shape, generator=self.generator).to(images)
        return self.cross_entropy(classifier((images + self.sigma * noise).clamp(0, 1)), labels)
