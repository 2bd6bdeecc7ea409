"""What a network does to its logits last: they saturate, are rounded, or say the class alone."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def one_hot(logits: Tensor) -> Tensor:
    """The predicted class alone."""
    return 10 * F.one_hot(logits.argmax(dim=1), logits.shape[1]).float()


def scaled(factor: float) -> Callable[[Tensor], Tensor]:
    """Larger logits."""
    return lambda logits: factor * logits


def squashed(logits: Tensor) -> Tensor:
    """Logits between −1 and 1."""
    return torch.tanh(0.5 * logits)


def rounded(logits: Tensor) -> Tensor:
    """Whole logits."""
    return (logits / 4).round()


def rounded_probabilities(logits: Tensor) -> Tensor:
    """Probabilities with one decimal."""
    return (10 * F.softmax(logits, dim=1)).round() / 10


def first_only(logits: Tensor) -> Tensor:
    """The largest logit alone, the others at zero."""
    return logits * F.one_hot(logits.argmax(dim=1), logits.shape[1])


def two_only(logits: Tensor) -> Tensor:
    """The two largest logits alone, the others at zero."""
    kept = torch.zeros_like(logits).scatter(1, logits.topk(2, dim=1).indices, 1.0)
    return logits * kept
