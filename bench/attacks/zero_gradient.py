"""Find images where the loss of an attack has a zero input gradient."""

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.losses import LOSSES
from bench.attacks.oracle import GradientOracle
from bench.core.classifier import AnyClassifier
from bench.core.errors import unknown_name
from bench.core.gradients import is_zero
from bench.core.guards import evaluating, frozen, random_state_kept


@dataclass(frozen=True)
class ZeroGradients:
    """Images whose input gradient is exactly zero in every entry.

    Attributes:
        right: bool [B]; correctly classified. Misclassified images are not differentiated, and both of the
            following are False for them.
        float32: bool [B]; zero in float32, where a saturated softmax underflows.
        float64: bool [B]; zero in float64 as well.
    """

    right: Tensor
    float32: Tensor
    float64: Tensor


def zero_gradients(
    classifier: AnyClassifier, images: Tensor, labels: Tensor, loss: str = "ce", *, batch_size: int = 500
) -> ZeroGradients:
    """Find the images whose loss has a zero gradient at the image itself (P1 §3.2, figure 5).

    With logits (500, 0) and label 0, the gradient of cross-entropy is zero in float32, but that of the margin is
    not.

    Args:
        classifier: left as it was found.
        images, labels: float32 [B, C, H, W] in [0, 1] and int64 [B].
        loss: a name of `LOSSES`.
        batch_size: images per pass.

    Raises:
        UserError: for an unknown loss, or logits that are not finite.
    """
    if loss not in LOSSES:
        raise unknown_name("loss", loss, LOSSES)
    right = torch.zeros_like(labels, dtype=torch.bool)
    float32, float64 = right.clone(), right.clone()
    if len(images) == 0:
        return ZeroGradients(right, float32, float64)
    with evaluating(classifier), frozen(classifier), random_state_kept():
        oracle = GradientOracle(
            classifier,
            classifier.num_classes,
            LOSSES[loss],
            targeted=False,
            batch_size=batch_size,
            task=None,
        )
        right = oracle.query(images, labels, gradient=False).predicted == labels
        if right.any():
            gradient = oracle.query(images[right], labels[right], gradient=True).gradient
            float32[right] = is_zero(gradient)
            zero = torch.nonzero(float32).flatten()
            float64[zero] = oracle.has_zero_gradient_in_float64(images[zero], labels[zero])
    return ZeroGradients(right, float32, float64)
