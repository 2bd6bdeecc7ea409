"""Losses of single images: decision function, cross-entropy and DLR.

All take logits [B, K] and labels int64 [B] and give [B].
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def strongest_other(logits: Tensor, labels: Tensor) -> Tensor:
    """argmax_{i≠t} Z_i, the class with the largest logit besides the labeled one: int64 [B]."""
    return logits.detach().scatter(1, labels.unsqueeze(1), -torch.inf).argmax(dim=1)


def decision_function(logits: Tensor, labels: Tensor) -> Tensor:
    """L(x) = Z_t(x) − max_{i≠t} Z_i(x), positive where the image is classified correctly.

    The competing class is chosen without gradient; the gradient flows through the two logits alone.

    Source: Yu et al., Interpreting Adversarial Robustness: A View from Decision Surface, equation 2.
    """
    pair = torch.stack((labels, strongest_other(logits, labels)), dim=1)
    own, other = logits.gather(1, pair).unbind(dim=1)
    return own - other


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """CE(x) = −log softmax(Z(x))_t, in nats."""
    return F.cross_entropy(logits, labels, reduction="none")


def dlr_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """DLR(x) = −(Z_t − max_{i≠t} Z_i) / (Z_π1 − Z_π3), π the order of falling logits; K ≥ 3.

    Neither a shift nor a positive factor of the logits changes it.

    Source: Croce & Hein 2020, Reliable evaluation of adversarial robustness, equation 6.
    """
    top = logits.topk(3, dim=1).values
    return -decision_function(logits, labels) / (top[:, 0] - top[:, 2] + 1e-12)
