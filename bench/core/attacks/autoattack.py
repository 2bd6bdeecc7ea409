"""AutoAttack, as the `pyautoattack` package runs it, inside our contracts.

The package's own attacks are driven stage by stage and batch by batch, in the order and with the seeds of its
`run_standard_evaluation`, so the adversarial images are bit for bit the ones it finds with equal seed and batch
size. Around them stands what the package lacks: a network left as it was found, a check of ball and box before a
success counts, stages left out where there are too few classes, counted passes, and a state to go on from.

Source: Croce & Hein 2020, Reliable evaluation of adversarial robustness.
"""

import hashlib
import json
import logging
from dataclasses import dataclass, field
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bench.core.attacks.state import (
    check_finite,
    check_inputs,
    check_logits,
    evaluating,
    frozen,
    random_state_kept,
)
from bench.core.classifier import AnyClassifier
from bench.core.errors import unknown_name
from bench.core.files import replacing
from bench.core.progress import Progress
from bench.core.threat import Threat

Version = Literal["standard", "plus", "rand"]


@dataclass
class AutoAttackResult:
    """What AutoAttack did to every image.

    Attributes:
        adversarial: [B, C, H, W]; the image itself where nothing broke it.
        stage: int64 [B]; the place in `stages` of what broke it, −1 for survivors.
        stages: "clean" (misclassified without attack), then the attacks in their order.
        skipped: attack → why it could not run here.
        warnings: stage → the first thing the package warned of.
        settings: package and its version, AutoAttack's version, seed, batch size, target classes.
        forwards, backwards: passes through the network, in images.
    """

    adversarial: Tensor
    stage: Tensor
    stages: tuple[str, ...]
    skipped: dict[str, str]
    warnings: dict[str, str]
    settings: dict[str, Any]
    forwards: int
    backwards: int

    @property
    def broken(self) -> Tensor:
        """bool [B]; misclassified within the threat by any stage, or without attack."""
        return self.stage >= 0


def estimate(images: int, clean_accuracy: float, robust_accuracy: float) -> tuple[int, int]:
    """Forward and backward passes of a standard run, in images: n·(1 + 103c + 7753r) and n·(101c + 1809r).

    An upper bound for 10 classes or more: within a stage, broken images cost less.

    Args:
        images: n, how many there are.
        clean_accuracy, robust_accuracy: c and r, fractions; r is what APGD-CE leaves.
    """
    forwards = 1 + 103 * clean_accuracy + 7753 * robust_accuracy
    backwards = 101 * clean_accuracy + 1809 * robust_accuracy
    return round(images * forwards), round(images * backwards)


def autoattack(
    classifier: AnyClassifier,
    images: Tensor,
    labels: Tensor,
    threat: Threat,
    *,
    seed: int,
    version: Version = "standard",
    batch_size: int = 250,
    progress: Progress | None = None,
    state_path: Path | None = None,
) -> AutoAttackResult:
    """Attack every image that the classifier gets right, with each stage in turn until one breaks it.

    Args:
        classifier: attacked in eval mode, and left exactly as it was found.
        images: float32 [B, C, H, W] in [0, 1].
        labels: int64 [B].
        threat: norm and ε; every success is checked against it before it counts.
        seed: given to every stage for every batch, as the package does.
        version: "standard", "plus", or "rand" for networks that draw random numbers.
        batch_size: images per pass; a part of the result, because each batch is seeded alike.
        progress: where the bars go, one a stage.
        state_path: written after every batch. A run that finds the state of an equal one there (same images,
            labels, network and settings) goes on from it; any other file is overwritten.

    Raises:
        UserError: for unusable images or labels, an unknown version, or a network that gives no finite logits
            [B, K].
    """
    check_inputs(classifier, images, labels)
    if version not in get_args(Version):
        raise unknown_name("AutoAttack version", version, get_args(Version))
    from pyautoattack import AutoAttack  # slow to import

    progress = progress or Progress()
    network = _Counted(classifier)
    log = _FirstWarning("autoattack")
    with evaluating(classifier), frozen(classifier), random_state_kept(), torch.no_grad():
        suite = AutoAttack(
            network,
            norm={"linf": "Linf", "l2": "L2"}[threat.norm],
            eps=threat.radius,
            seed=seed,
            version=version,
            device=images.device,
        )
        targets = min(9, classifier.num_classes - 1)
        suite.apgd_targeted.n_target_classes = suite.fab.n_target_classes = targets
        suite.apgd.logger = suite.apgd_targeted.logger = log
        skipped = _cannot_run(suite.attacks_to_run, classifier, threat)
        settings = {
            "package": f"pyautoattack {installed_version('pyautoattack')}",
            "version": version,
            "seed": seed,
            "batch_size": batch_size,
            "target_classes": targets,
        }
        state = _State.at(state_path, _fingerprint(classifier, images, labels, threat, settings))
