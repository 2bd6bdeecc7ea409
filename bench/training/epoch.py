"""One pass of optimisation over a split."""

from collections.abc import Callable

import torch

from bench.core.classifier import Classifier
from bench.data import Split
from bench.training.recipe import Recipe
from defenses.base import Objective


def run_steps(
    objective: Objective,
    classifier: Classifier,
    optimizer: Callable[[], torch.optim.Optimizer],
    split: Split,
    recipe: Recipe,
    generator: torch.Generator,
    precision: str,
    learning_rate: Callable[[float], float],
    limit: int | None = None,
    after_step: Callable[[Classifier], None] | None = None,
) -> float:
    """One pass over a split in random order; the mean loss.

    Args:
        optimizer: gives the current optimizer; the objective may have replaced it.
        generator: draws the order and the augmentation.
        learning_rate: from the share of this pass, 0 to 1.
        limit: stop after so many steps.
        after_step: called with the classifier after each step.
    """
    device = split.images.device
    order = torch.randperm(len(split), generator=generator).to(device)
    batches = list(order.split(recipe.batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        # Batch norm over 1x1 maps cannot take a single image; let it ride with the batch before.
        batches[-2:] = [torch.cat(batches[-2:])]
    batches = batches[:limit]
    total = torch.zeros((), device=device)
    for step, index in enumerate(batches):
        images, labels = split.batch(index)
        images = recipe.augment(images, generator)
        current = optimizer()
        for group in current.param_groups:
            group["lr"] = learning_rate(step / len(batches))
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = objective.loss(classifier, images, labels)
        current.zero_grad(set_to_none=True)
        loss.backward()
        current.step()
        if after_step is not None:
            after_step(classifier)
        total += loss.detach().float() * len(index)
    return float(total) / sum(len(index) for index in batches)
