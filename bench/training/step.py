"""One optimizer step, and the shuffled batches of an epoch; the loop and the standard clock share both."""

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor

from bench.core.classifier import Classifier
from bench.core.randomness import make_generator
from bench.data import Split
from bench.training.device import batches_ahead, channels_innermost, set_learning_rate
from bench.training.recipe import Recipe
from defenses.base import Objective


def epoch_batches(
    split: Split, recipe: Recipe, seed: int, epoch: int, precision: str, replays: int
) -> Iterator[tuple[float, Tensor, Tensor]]:
    """The batch of each step of an epoch, counted from 1.

    Args:
        split, recipe, precision: as for `shuffled_batches`.
        seed: of the training.
        replays: steps in a row on each batch. An epoch always has as many steps as the split has batches, so
            `replays` epochs share one random order, and the steps on a batch can begin in one epoch and end in the
            next, where it is augmented anew.

    Yields:
        As `shuffled_batches`.
    """
    device = split.images.device
    generator = make_generator(seed, "batches", epoch, device=device)
    if replays == 1:
        return shuffled_batches(split, recipe, generator, precision)
    number, part = divmod(epoch - 1, replays)
    shuffler = make_generator(seed, "replayed batches", number, device=device)
    return shuffled_batches(split, recipe, generator, precision, shuffler, replays, part)


def shuffled_batches(
    split: Split,
    recipe: Recipe,
    generator: torch.Generator,
    precision: str = "fp32",
    shuffler: torch.Generator | None = None,
    replays: int = 1,
    part: int = 0,
) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Iterate over a split in random order, with the recipe's augmentation.

    Args:
        split: images and labels.
        recipe: for batch size and augmentation.
        generator: draws the order first, then the augmentation of each batch when it is asked for; on a CUDA
            device, of several batches at once. It is on the device of the split, or on the CPU.
        precision: of the training, which decides how the images are laid out in memory.
        shuffler: draws the order instead.
        replays: how often each batch comes in a row.
        part: which of the `replays` equal parts of this sequence to give, counted from 0.

    Yields:
        The share of the steps of the part that came before, images [B, C, H, W] and labels [B].
    """
    shuffler = shuffler or generator
    order = torch.randperm(len(split), generator=shuffler, device=shuffler.device).to(split.images.device)
    batches = list(order.split(recipe.batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        # Batch norm over 1x1 maps cannot normalize a single image, so the last one joins the batch before it.
        batches[-2:] = [torch.cat(batches[-2:])]
    steps = range(part * len(batches), (part + 1) * len(batches))
    times = Counter(step // replays for step in steps)
    chosen, taken = list(times), 0
    ahead = batches_ahead(split.images, recipe.batch_size)
    for first in range(0, len(chosen), ahead):
        numbers = chosen[first : first + ahead]
        some = [batches[number] for number in numbers]
        images, labels = split.batch(torch.cat(some) if len(some) > 1 else some[0])
        images = recipe.augment(images, generator)
        if channels_innermost(images.device, precision):
            images = images.contiguous(memory_format=torch.channels_last)
        sizes = [len(index) for index in some]
        for number, *batch in zip(numbers, images.split(sizes), labels.split(sizes), strict=True):
            for _ in range(times[number]):
                yield taken / len(batches), *batch
                taken += 1


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
        precision: "fp32"; any other is autocast of the forward passes to bfloat16.
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
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision != "fp32"):
        loss = objective.loss(classifier, images, labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    objective.after_backward()
    optimizer.step()
    return loss.detach().float()
