"""The losses that an attack can maximize, by name: logits [B, K] and classes [B] to [B]."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from bench.core.errors import unknown_name
from bench.core.margins import cross_entropy, decision_function, dlr_loss

#: The loss that an attack maximizes: logits [B, K] and classes [B] to [B].
Objective = Callable[[Tensor, Tensor], Tensor]


def scaled_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """−log softmax(s·Z)_t with s = 1 / (Z_π1 − Z_π2) for each image; the gradient treats s as a constant.

    The two largest scaled logits always differ by one nat. So the gradient does not underflow where the softmax is
    saturated, and does not vanish in rounding errors where all logits are nearly equal. The loss is invariant to a
    shift of the logits and to a positive factor.

    Source: Yu & Xu 2023, Efficient Loss Function by Minimizing the Detrimental Effect of Floating-Point Errors on
    Gradient-Based Attacks.
    """
    top = logits.detach().topk(2, dim=1).values
    gap = (top[:, :1] - top[:, 1:]).clamp_min(1e-30)
    return cross_entropy(((logits - top[:, :1]) / gap).clamp_min(-1e30), labels)


LOSSES: Mapping[str, Objective] = {
    "ce": cross_entropy,
    "margin": lambda logits, labels: -decision_function(logits, labels),
    "dlr": dlr_loss,
    "scaled-ce": scaled_cross_entropy,
}


def forecast(name: str, losses: Tensor, margins: Tensor, gains: Tensor) -> Tensor:
    """Images that are correctly classified and that a step is expected to make misclassified: bool [B].

    The forecast is of first order. It converts a loss in nats to a margin as if all wrong classes moved together:
    the loss then grows by 1 − p_t times the decrease of the margin. It only saves time and affects no result.

    Args:
        name: a name of `LOSSES`.
        losses: before the step [B].
        margins: the decision function before the step [B].
        gains: ⟨∂ℓ/∂x, step⟩ [B].
    """
    if name == "ce":
        return gains > margins * -torch.expm1(-losses)
    if name == "scaled-ce":  # the two largest scaled logits differ by 1
        return gains > -torch.expm1(-losses)
    return gains > -losses  # the loss is minus a margin, or minus a fraction of one


def losses_of(names: str) -> list[str]:
    """The names in "margin+scaled-ce", one for each restart in turn.

    Raises:
        UserError: for an unknown loss.
    """
    parts = names.split("+")
    for name in parts:
        if name not in LOSSES:
            raise unknown_name("loss", name, LOSSES)
    return parts
