"""Networks that end in a softmax: found out by what they give, and read as logits."""

import warnings

import torch
from torch import Tensor

NOTE = "the network gives probabilities, not logits; their logarithm was attacked"


class ProbabilitiesWarning(UserWarning):
    """A network gave probabilities where logits were expected."""


def are_probabilities(outputs: Tensor) -> bool:
    """Whether every row of the outputs [B, K] has no negative entry and sums to 1."""
    # One look decides for a whole attack; a few rows cannot be such by chance.
    sums = outputs.detach().double().sum(dim=1)
    return bool((outputs >= 0).all() & ((sums - 1).abs() < 1e-4).all())


def logits_of(probabilities: Tensor) -> Tensor:
    """log p [B, K], logits of the same softmax: predictions agree, and a small p has a gradient of its own."""
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


def warn() -> None:
    """Tell the caller of an attack."""
    warnings.warn(f"{NOTE}; pass the network without its softmax", ProbabilitiesWarning, stacklevel=3)
