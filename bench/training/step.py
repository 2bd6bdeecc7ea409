"""One optimizer step, and the shuffled batches of an epoch; the loop and the standard clock share both."""

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.core.classifier import Classifier
from bench.data import Split
from bench.training.device import batches_ahead, channels_innermost, set_learning_rate
from bench.training.recipe import Recipe
from defenses.base import Objective


def shuffled_batches(
    split: Split, recipe: Recipe, generator: torch.Generator, precision: str = "fp32"
) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Iterate once over a split in random order, with the recipe's augmentation.

    Args:
        split: images and labels.
        recipe: for batch size and augmentation.
        generator: draws the order first, then the augmentation of each batch when it is asked for; on a CUDA
            device, of several batches at once. It is on the device of the split, or on the CPU.
        precision: of the training, which decides how the images are laid out in memory.

    Yields:
        The share of the batches that came before, images [B, C, H, W] and labels [B].
    """
    order = torch.randperm(len(split), generator=generator, device=generator.device).to(split.images.device)
    batches = list(order.split(recipe.batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        # Batch norm over 1x1 maps cannot normalize a single image, so the last one joins the batch before it.
        batches[-2:] = [torch.cat(batches[-2:])]
    ahead = batches_ahead(split.images, recipe.batch_size)
    for first in range(0, len(batches), ahead):
        some = batches[first : first + ahead]
        images, labels = split.batch(torch.cat(some) if len(some) > 1 else some[0])
        images = recipe.augment(images, generator)
        if channels_innermost(images.device, precision):
            images = images.contiguous(memory_format=torch.channels_last)
        sizes = [len(index) for index in some]
        for number, batch in enumerate(zip(images.split(sizes), labels.split(sizes), strict=True), first):
            yield number / len(batches), *batch


def take_step(
    objective: Objective,
    classifier: Classifier,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    learning_rate: float,
    precision: str,
) -> Tensor:
    """Take one optimizer step on a batch and return its loss, a float32 scalar without graph.

    Args:
        images: [B, C, H, W].
        labels: [B].
        learning_rate: of this step, for every parameter group.
        precision: "fp32", or "bf16" for autocast of the forward passes.
    """
    set_learning_rate(optimizer, learning_rate)
    return update(objective, classifier, optimizer, images, labels, precision)


def update(
    objective: Objective,
    classifier: Classifier,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    precision: str,
) -> Tensor:
    """Take one optimizer step at the learning rate that the optimizer has; arguments as for `take_step`."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
        loss = objective.loss(classifier, images, labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach().float()
