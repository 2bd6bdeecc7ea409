"""Predict the class of any number of images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.core.classifier import AnyClassifier


@dataclass
class Predictor:
    """k̂(x) of a classifier in eval mode.

    Attributes:
        classifier: images [B, C, H, W] to logits [B, K].
        batch_size: images per pass.
    """

    classifier: AnyClassifier
    batch_size: int = 500

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """The predicted class of every image: int64 [B]."""
        if len(images) == 0:
            return torch.zeros(0, dtype=torch.int64, device=images.device)
        return torch.cat([self.classifier(some).argmax(dim=1) for some in images.split(self.batch_size)])
