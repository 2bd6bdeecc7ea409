"""The classifier every part works on: normalize → backbone → features (pre-activation) → head."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from bench.core.errors import UserError
from bench.core.foreign import GuardedNetwork, materialize, try_network

Site = Literal["pre-activation", "pooled", "none"]

#: Why a network has neither features nor final weights, and what it needs to have them.
NO_HEAD = (
    "the network's last operation is no linear layer, so it has no feature layer; "
    "needed are logits that come straight from nn.Linear"
)


class Classifier(nn.Module):
    """Images in [0, 1] to logits, with the penultimate features in reach.

    The decision region of an image is the sign pattern `features(images) > 0` (P1, definition 2).

    Args:
        backbone: normalized images [B, C, H, W] to features Z [B, D].
        head: the final linear layer, D to classes.
        activation: applied to Z before the head; `nn.Identity()` when Z is read after pooling.
        site: "pre-activation" when Z is the output of a linear map before its non-linearity,
            "pooled" when it is read after the last non-linearity.
        input_shape: (C, H, W) of the images.
        mean, std: per-channel normalization, kept inside so that attacks see plain pixels.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Linear,
        *,
        activation: nn.Module,
        site: Site,
        input_shape: tuple[int, int, int],
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        channels = input_shape[0]
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean or [0.0] * channels).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std or [1.0] * channels).view(1, -1, 1, 1))
        self.backbone = backbone
        self.activation = activation
        self.head = head
        self.site: Site = site
        self.input_shape = tuple(input_shape)

    @property
    def num_classes(self) -> int:
        """How many logits there are."""
        return self.head.out_features

    @property
    def num_features(self) -> int:
        """D, the width of the penultimate layer."""
        return self.head.in_features

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K] of images [B, C, H, W] in [0, 1]."""
        return self.forward_with_features(images)[0]

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features Z [B, D], before the activation."""
        return self.backbone((images - self.mean) / self.std)

    def forward_with_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, K] and features Z [B, D] of one forward pass."""
        features = self.features(images)
        return self.head(self.activation(features)), features


class WrappedClassifier(nn.Module):
    """Someone else's network behind the same interface.

    The input of its last linear layer serves as features (site "pooled": it lies after the non-linearity,
    and `> 0` gives the same sign pattern there as before a ReLU). A network whose logits do not come
    straight from a linear layer has `site == "none"` and `head is None`; region metrics leave it out.

    Args:
        module: maps images [B, C, H, W] in [0, 1] to logits [B, K]; it normalizes for itself. Lazy layers get their
            shapes.
        input_shape: (C, H, W).
        num_classes: K.

    Raises:
        UserError: when `try_network` refuses it.
    """

    def __init__(self, module: nn.Module, input_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        materialize(module, input_shape)
        self.module = module
        self.input_shape = tuple(input_shape)
        self.num_classes = num_classes
        head, copies = try_network(module, self.input_shape, num_classes)
        self.site: Site = "pooled" if head is not None else "none"
        #: In tuples, so that no layer is registered a second time.
        self._head = (head,) if head is not None else ()
        self._guarded = (GuardedNetwork(module, copies=copies),)

    @property
    def head(self) -> nn.Linear | None:
        """The final linear layer, or None when the logits do not come straight from one."""
        return self._head[0] if self._head else None

    @property
    def guarded(self) -> GuardedNetwork:
        """What all passes go through."""
        return self._guarded[0]

    @property
    def num_features(self) -> int:
        """D, the width of the input of the final linear layer; 0 without one."""
        return self.head.in_features if self.head is not None else 0

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K] of images [B, C, H, W] in [0, 1]."""
        return self.guarded(images)

    def features(self, images: Tensor) -> Tensor:
        """The input of the final linear layer [B, D]."""
        return self.forward_with_features(images)[1]

    def forward_with_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, K] and features [B, D] of one forward pass.

        Raises:
            UserError: when the network has no final linear layer.
        """
        if self.head is None:
            raise UserError(NO_HEAD)
        seen: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
        try:
            logits = self.guarded(images)
        finally:
            hook.remove()
        return logits, seen[-1]


#: What attacks and metrics accept.
AnyClassifier = Classifier | WrappedClassifier
