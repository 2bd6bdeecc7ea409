"""Logits that are cosines, so there is no linear head. From this folder: `--model cosine_head:CosineNetwork`.

Attacks and accuracies are measured as for any network. Region metrics and the defenses `prs` and `mr` read the
input of a last linear layer, and say before a training that they cannot be used.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CosineNetwork(nn.Module):
    """One hidden layer, then the cosines between its values and one direction for each class."""

    def __init__(self, input_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.hidden = nn.LazyLinear(64)
        self.directions = nn.Parameter(torch.randn(num_classes, 64))

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] to logits [B, K]."""
        features = self.hidden(images.flatten(1)).relu()
        return 10 * F.linear(F.normalize(features), F.normalize(self.directions))
