"""The Jacobian regularizer: flatten the decision function around each training image."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.core.attacks.state import evaluating
from bench.core.classifier import Classifier
from bench.core.margins import decision_function
from bench.core.space import LogUniform
from defenses.base import Defense, Objective, Training

GradientNorm = Literal["l1", "l2", "l2_squared", "linf"]
Reduction = Literal["per_sample", "batch_mean_grad"]


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
        pixel_scale: 255 measures the gradient per grey level instead of per unit pixel.

    Returns:
        The scalar penalty.
    """
    total = function_values.sum() if reduce == "per_sample" else function_values.mean()
    (gradient,) = torch.autograd.grad(total, images, create_graph=True)
    gradient = gradient / pixel_scale
    rows = gradient.flatten(1) if reduce == "per_sample" else gradient.reshape(1, -1)
    if norm == "l1":
        return rows.abs().sum(dim=1).mean()
    if norm == "linf":
        return rows.abs().amax(dim=1).mean()
    squared = rows.square().sum(dim=1)
    # The square root has no gradient at zero: a dead image must not turn the weights into NaN.
    return squared.mean() if norm == "l2_squared" else squared.clamp_min(1e-24).sqrt().mean()


@dataclass(frozen=True, kw_only=True)
class Jacobian(Defense):
    """Penalise the input gradient of the decision function (decision-surface paper, eqs. 11 and 12).

    Idea: a flat decision surface needs a larger step to cross.
    Formula: L_CE + c·‖∂L/∂x‖ with L(x) = Z_t(x) − max_{i≠t} Z_i(x).
    Defaults: the paper states c = 500 but neither norm, reduction nor pixel scale. c = 500 is in scale with
    `reduce="batch_mean_grad", norm="l2_squared"`; for the per-image penalty, the default here, c is ours.
    Cost: forward, backward to the input, and double backward; the paper reports 2.1 times standard training.
    Known weakness: a first-order promise, so it ends where the surface bends; the paper says so for larger ε.

    Attributes:
        c: weight of the penalty.
        norm, reduce, pixel_scale: see `gradient_penalty`.
        bn: batch norm in the penalty's forward: "eval" keeps images independent, "train" reuses the batch's own.
    """

    name: ClassVar[str] = "jacobian"
    family: ClassVar[str] = "input gradient"

    c: Annotated[float, Field(ge=0, le=1e6), LogUniform(1e-3, 10)] = 0.1
    norm: GradientNorm = "l2"
    reduce: Reduction = "per_sample"
    pixel_scale: Literal[1, 255] = 1
    bn: Literal["eval", "train"] = "eval"

    def forward_units(self) -> float:
        """Forward, backward to the input, and a backward through both."""
        return 6.0

    def objective(self, training: Training) -> Objective:
        """Cross-entropy and the penalty."""
        return InputGradient(training, self)


class InputGradient(Objective):
    """L_CE + c·‖∂L/∂x‖."""

    def __init__(self, training: Training, defense: Jacobian) -> None:
        super().__init__(training)
        self.defense = defense
        batch_norm = any(
            isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in training.classifier.modules()
        )
        #: A second forward is needed only where batch norm makes the two forwards differ.
        self.separate_forward = defense.bn == "eval" and batch_norm

    def loss(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The scalar to minimise for images [B, C, H, W] and labels [B]."""
        defense = self.defense
        traced = images.detach().requires_grad_()
        if self.separate_forward:
            loss = cross_entropy(classifier(images), labels)
            with evaluating(classifier):
                values = decision_function(classifier(traced), labels)
        else:
            logits = classifier(traced)
            loss, values = cross_entropy(logits, labels), decision_function(logits, labels)
        penalty = gradient_penalty(values, traced, defense.norm, defense.reduce, defense.pixel_scale)
        return loss + defense.c * penalty
