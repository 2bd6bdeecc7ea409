"""Input gradients as part of a loss, trained by double backpropagation."""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator
from torch import Tensor, nn

from bench.core.classifier import Classifier
from bench.core.guards import evaluating
from defenses.base import Objective, Training
from defenses.double_backward import CheapDoubleBackward

GradientNorm = Literal["l1", "l2", "l2_squared", "linf"]
Reduction = Literal["per_sample", "batch_mean_grad"]
BatchNorm = Literal["eval", "train"]
#: 255 measures a gradient per gray level instead of per unit pixel; text is converted to a number.
PixelScale = Annotated[
    Literal[1, 255], BeforeValidator(lambda value: int(value) if value in ("1", "255") else value)
]
#: From logits [B, K] and labels [B] to one value for each image [B].
PerImage = Callable[[Tensor, Tensor], Tensor]


def require_gradient(images: Tensor) -> Tensor:
    """A copy of the images that requires a gradient."""
    return images.detach().clone().requires_grad_()


def gradient_of(values: Tensor, images: Tensor) -> Tensor:
    """∂values_i/∂x_i, itself differentiable: values [B] computed from images [B, C, H, W] to [B, C, H, W].

    The values must not depend on other images, as they do through batch norm in training mode.
    """
    (gradient,) = torch.autograd.grad(values.sum(), images, create_graph=True, materialize_grads=True)
    return gradient


def gradient_penalty(
    function_values: Tensor,
    images: Tensor,
    norm: GradientNorm = "l2",
    reduce: Reduction = "per_sample",
    pixel_scale: float = 1.0,
) -> Tensor:
    """A norm of the input gradient, itself differentiable (double backpropagation).

    Args:
        function_values: a scalar per image, [B], computed from `images`.
        images: [B, C, H, W], requiring a gradient.
        norm: of the gradient J. "l2_squared" is ‖J‖₂².
        reduce: "per_sample" is the mean over images of the norm of each image's gradient;
            "batch_mean_grad" is the norm of the gradient of the batch mean, all images as one vector, which for
            gradients of similar length is B times smaller in "l2_squared".
        pixel_scale: 255 measures the gradient per gray level instead of per unit pixel.

    Returns:
        The scalar penalty.
    """
    gradient = gradient_of(function_values, images) / pixel_scale
    if reduce == "batch_mean_grad":
        gradient = gradient / len(images)
    rows = gradient.flatten(1) if reduce == "per_sample" else gradient.reshape(1, -1)
    if norm == "l1":
        return rows.abs().sum(dim=1).mean()
    if norm == "linf":
        return rows.abs().amax(dim=1).mean()
    squared = rows.square().sum(dim=1)
    # The square root has no gradient at zero: an image whose gradient is zero must not turn the weights into NaN.
    return squared.mean() if norm == "l2_squared" else squared.clamp_min(1e-24).sqrt().mean()


def differentiable_logits(classifier: Classifier, images: Tensor) -> Tensor:
    """Logits [B, K] whose gradient in the images is cheap to differentiate."""
    with CheapDoubleBackward():
        return classifier(images)


def both_logits(classifier: Classifier, images: Tensor, bn: BatchNorm = "eval") -> tuple[Tensor, Tensor]:
    """Logits for the cross-entropy, in training mode, and logits for the penalty; both [B, K].

    With `bn="eval"`, those for the penalty come from a forward pass in eval mode, so that images are independent.
    The second forward pass is made only where the network has batch norm, for otherwise the logits are the same.

    Args:
        classifier: in training mode, and left in it.
        images: [B, C, H, W], requiring a gradient.
        bn: mode of the penalty's forward pass.
    """
    coupled = any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in classifier.modules())
    if bn == "train" or not coupled:
        logits = differentiable_logits(classifier, images)
        return logits, logits
    logits = classifier(images.detach())
    with evaluating(classifier):
        return logits, differentiable_logits(classifier, images)


class GradientPenalty(Objective):
    """L_CE + c·‖∂F/∂x‖, F any function of logits and labels."""

    def __init__(
        self,
        training: Training,
        function: PerImage,
        c: float,
        norm: GradientNorm,
        reduce: Reduction,
        pixel_scale: float,
        bn: BatchNorm,
    ) -> None:
        super().__init__(training)
        self.function, self.c, self.bn = function, c, bn
        self.norm, self.reduce, self.pixel_scale = norm, reduce, pixel_scale

    def loss(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The scalar to minimize for images [B, C, H, W] and labels [B]."""
        points = require_gradient(images)
        logits, penalty_logits = both_logits(classifier, points, self.bn)
        values = self.function(penalty_logits, labels)
        penalty = gradient_penalty(values, points, self.norm, self.reduce, self.pixel_scale)
        return self.cross_entropy(logits, labels) + self.c * penalty
