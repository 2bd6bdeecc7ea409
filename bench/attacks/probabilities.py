"""Networks that end in a softmax: detect them by their output, and convert it to logits."""

import warnings

import torch
from torch import Tensor

NOTE = "the network gives probabilities, not logits; their logarithm was attacked"


class ProbabilitiesWarning(UserWarning):
    """A network gave probabilities where logits were expected."""


def are_probabilities(outputs: Tensor) -> bool:
    """Whether every row of the outputs [B, K] has no negative entry and sums to 1."""
    # One batch decides for a whole attack: logits do not have this form by chance.
    sums = outputs.detach().double().sum(dim=1)
    return bool((outputs >= 0).all() & ((sums - 1).abs() < 1e-4).all())


def logits_of(probabilities: Tensor) -> Tensor:
    """log p [B, K], logits whose softmax is p: predictions agree, and the gradient of a small p does not vanish."""
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


def warn() -> None:
    """Warn the caller of an attack that the network gives probabilities."""
    warnings.warn(f"{NOTE}; pass the network without its softmax", ProbabilitiesWarning, stacklevel=3)
