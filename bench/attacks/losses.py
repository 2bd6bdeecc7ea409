"""What an attack raises, by name: logits [B, K] and classes [B] to [B]."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from bench.core.errors import unknown_name
from bench.core.margins import cross_entropy, decision_function, dlr_loss

#: What an attack raises: logits [B, K] and classes [B] to [B].
Objective = Callable[[Tensor, Tensor], Tensor]


def scaled_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """−log softmax(s·Z)_t with s = 1 / (Z_π1 − Z_π2) for each image, a constant to the gradient.

    The two leading logits then always stand one nat apart: the gradient neither underflows where the softmax is
    saturated nor drowns in rounding where all logits are nearly equal. Neither a shift nor a positive factor of the
    logits changes it.

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
    """Where a step is expected to misclassify an image that is still right: bool [B].

    To first order. A loss in nats is turned into a margin as if all wrong classes moved together: a gain of it is
    1 − p_t of the margin that is lost. A guess that saves time, never a result.

    Args:
        name: of `LOSSES`.
        losses: before the step [B].
        margins: the decision function before the step [B].
        gains: ⟨∂ℓ/∂x, step⟩ [B].
    """
    if name == "ce":
        return gains > margins * -torch.expm1(-losses)
    if name == "scaled-ce":  # on logits whose leading two stand 1 apart
        return gains > -torch.expm1(-losses)
    return gains > -losses  # minus a margin, or minus a share of one


def losses_of(names: str) -> list[str]:
    """The names in "margin+scaled-ce", one for each restart in turn.

    Raises:
        UserError: for a name that is no loss.
    """
    parts = names.split("+")
    for name in parts:
        if name not in LOSSES:
            raise unknown_name("loss", name, LOSSES)
    return parts
