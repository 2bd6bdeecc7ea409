"""One attack on one network, from Python."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.attacks import ATTACKS, AttackResult
from bench.attacks.autoattack import AutoAttackResult, autoattack
from bench.core.checks import SAME_LOGITS, moved_between
from bench.core.errors import UserError, unknown_name
from bench.core.guards import random_state_kept, torch_defaults
from bench.core.progress import Progress
from bench.core.randomness import make_generator
from bench.core.threat import Threat
from bench.data import as_floats
from bench.data.pixels import as_labels, is_nhwc
from bench.evaluation.inputs import as_threat, check_module, count_classes, device_of, wrapped

AUTOATTACK = "autoattack"


@torch_defaults()
def attack(
    model: nn.Module,
    images: Any,
    labels: Any,
    threat: Threat | str,
    attack: str = "pgd20",
    *,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> AttackResult | AutoAttackResult:
    """Run one attack against a network.

    Args:
        model: maps float32 images [B, C, H, W] in [0, 1] to logits [B, K]; its modes and gradients are restored.
        images: tensor or array [n, C, H, W]: floats in [0, 1], which are attacked as they are, or uint8.
        labels: true classes, whole numbers [n].
        threat: norm and ε, or text such as "linf:8/255".
        attack: a name of `bench.attacks.ATTACKS`, or "autoattack", which takes its version `rand` where the output
            is random; `bench list attacks` describes them.
        seed: of every random draw.
        batch_size: images in one pass, 500 where it is not given; AutoAttack depends on it and takes 250, as in
            the battery.
        progress: where bars go; silent by default.

    Returns:
        `adversarial` images [n, C, H, W] and `broken` [n], whether each is misclassified, on the network's device.

    Raises:
        UserError: for an unknown attack, images or labels of another form, or a network that does not take them.
    """
    check_module(model)
    if attack != AUTOATTACK and attack not in ATTACKS:
        raise unknown_name("attack", attack, (*ATTACKS, AUTOATTACK))
    device = device_of(model)
    batch, classes = _images(images).to(device), as_labels(labels, "labels").to(device)
    classifier = wrapped(model, tuple(batch.shape[1:]), count_classes(model, batch))  # type: ignore[arg-type]
    ball, bars = as_threat(threat), progress or Progress()
    with random_state_kept(seed):
        if attack == AUTOATTACK:
            size = batch_size or 250
            with torch.no_grad():
                moved = moved_between(classifier(batch[:size]), classifier(batch[:size]))
            version = "rand" if moved > SAME_LOGITS else "standard"
            return autoattack(
                classifier, batch, classes, ball, seed=seed, version=version, batch_size=size, progress=bars
            )
        return ATTACKS[attack](
            classifier,
            batch,
            classes,
            ball,
            make_generator(seed, "evaluation", attack),
            batch_size=batch_size or 500,
            progress=bars,
        )


def _images(images: Any) -> Tensor:
    """Images as float32, in the range they have."""
    try:
        batch = images.detach() if isinstance(images, Tensor) else torch.from_numpy(np.array(images))
    except (TypeError, ValueError):
        raise UserError(f"expected images as a tensor or an array, got {type(images).__name__}") from None
    if batch.dim() != 4 or is_nhwc(batch.shape):
        layout = ", which is the layout NHWC; give images.permute(0, 3, 1, 2)" if batch.dim() == 4 else ""
        raise UserError(f"expected images of shape (n, C, H, W), got {tuple(batch.shape)}{layout}")
    return batch.float() if batch.is_floating_point() else as_floats(batch)
