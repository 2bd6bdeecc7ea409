"""The training recipe: everything about a training except the defense."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bench.core import values
from bench.core.errors import UserError, unknown_name
from bench.core.record import describe

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Number = Annotated[float, BeforeValidator(values.number)]
#: How many of something, up to what fits into the numbers that libraries count images with.
Count = Annotated[int, Field(ge=1, le=2**31 - 1), BeforeValidator(values.whole_number)]


class Recipe(BaseModel):
    """Optimizer, learning rate, batches and augmentation, which do not depend on the defense.

    The learning rate at a share t of the training is lr·f(t): "constant" f = 1; "piecewise" f is 1, 0.1 from
    t = 1/2 and 0.01 from t = 3/4; "cosine" f = (1 + cos πt)/2; "one-cycle" f increases linearly from 0 to 1 at
    t = 0.4, then decreases linearly to 0.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "paper"
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: Annotated[Number, Field(gt=0, le=10)] = 1e-3
    momentum: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[Number, Field(ge=0, le=1)] = 0.0
    schedule: Literal["constant", "piecewise", "cosine", "one-cycle"] = "constant"
    batch_size: Count = 128
    augmentation: Literal["none", "crop-flip"] = "none"
    label_smoothing: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    averaging: Literal["none", "ema", "swa"] = "none"
    ema_decay: Annotated[Number, Field(ge=0, lt=1)] = 0.999
    weights: Literal["last", "best"] = Field(
        default="last",
        description="which epoch's weights are kept: the last, or the best validation robust accuracy",
    )
    patience: Count | None = Field(
        default=None, description="stop after so many epochs without a better validation robust accuracy"
    )

    def learning_rate(self, share: float) -> float:
        """The learning rate after a share of the training, 0 to 1."""
        factor = {
            "constant": 1.0,
            "piecewise": 1.0 if share < 0.5 else 0.1 if share < 0.75 else 0.01,
            "cosine": (1 + math.cos(math.pi * share)) / 2,
            "one-cycle": share / 0.4 if share < 0.4 else (1 - share) / 0.6,
        }[self.schedule]
        return self.lr * factor

    def make_optimizer(self, parameters: "Iterable[nn.Parameter]") -> "torch.optim.Optimizer":
        """Make a new optimizer over the parameters that require a gradient."""
        import torch

        trained = [parameter for parameter in parameters if parameter.requires_grad]
        if trained and all(parameter.is_cuda for parameter in trained):
            return self._make_fused(trained)
        if self.optimizer == "adam":
            return torch.optim.Adam(trained, lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(trained, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)

    def _make_fused(self, trained: "list[nn.Parameter]") -> "torch.optim.Optimizer":
        """The same optimizer in one kernel on a CUDA device; a captured step reads its learning rate there."""
        import torch

        lr = torch.full((), self.lr, device=trained[0].device)
        if self.optimizer == "adam":
            return torch.optim.Adam(
                trained, lr=lr, weight_decay=self.weight_decay, fused=True, capturable=True
            )
        return torch.optim.SGD(
            trained, lr=lr, momentum=self.momentum, weight_decay=self.weight_decay, fused=True
        )

    def augment(self, images: "Tensor", generator: "torch.Generator") -> "Tensor":
        """Augment images [B, C, H, W]; "crop-flip" is `crop_and_flip`."""
        if self.augmentation == "none":
            return images
        return crop_and_flip(images, generator)


def crop_and_flip(images: "Tensor", generator: "torch.Generator") -> "Tensor":
    """Pad each side by an eighth (4 of 32 pixels), crop at a random place, and mirror with probability 1/2."""
    import torch
    from torch.nn.functional import pad

    count, _, height, width = images.shape
    down, across = max(1, height // 8), max(1, width // 8)
    at = generator.device
    top = torch.randint(2 * down + 1, (count,), generator=generator, device=at).to(images.device)
    left = torch.randint(2 * across + 1, (count,), generator=generator, device=at).to(images.device)
    mirror = (torch.rand(count, generator=generator, device=at) < 0.5).to(images.device)
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device).expand(count, width)
    columns = left[:, None] + torch.where(mirror[:, None], columns.flip(1), columns)
    padded = pad(images, (across, across, down, down))
    sample = torch.arange(count, device=images.device)[:, None, None]
    return padded[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


#: Name of a recipe → what it is, for `bench list recipes`.
SUMMARIES = {
    "paper": "P1's: Adam at 0.001, no weight decay, no augmentation, the weights of the last epoch",
    "strong": "usual for robust training (Rice et al. 2020): SGD at 0.1 with momentum and weight decay, piecewise "
    "schedule, crop and flip, the weights of the best epoch",
}

RECIPES: dict[str, Recipe] = {
    "paper": Recipe(),
    "strong": Recipe(
        name="strong",
        optimizer="sgd",
        lr=0.1,
        weight_decay=5e-4,
        schedule="piecewise",
        augmentation="crop-flip",
        weights="best",
    ),
}


def make_recipe(text: str) -> Recipe:
    """Make a recipe from "paper", "strong", or a name with changes: "paper,batch_size=512,lr=3e-4".

    Raises:
        UserError: for an unknown recipe or field, or a value of the wrong type or out of bounds.
    """
    name, *changes = [part.strip() for part in text.split(",")]
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    fields: dict[str, Any] = RECIPES[name].model_dump()
    keys = [change.partition("=")[0] for change in changes]
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise UserError(f"recipe change {change!r} must have the form name=value, such as batch_size=512")
        if keys.count(key) > 1:
            raise UserError(f"recipe {values.shown(text)} names {values.shown(key)} twice; keep one")
        if key not in Recipe.model_fields or key == "name":
            raise unknown_name("recipe field", key, set(Recipe.model_fields) - {"name"})
        fields[key] = value
    try:
        return Recipe.model_validate({**fields, "name": text.replace(" ", "")})
    except ValidationError as error:
        raise UserError(f"recipe {values.shown(text)}: {describe(error)}") from None
