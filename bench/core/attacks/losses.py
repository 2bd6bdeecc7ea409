"""What an attack raises, by name: logits [B, K] and classes [B] to [B]."""

from collections.abc import Callable, Mapping

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
