"""Accuracies after each epoch, and the choice of the best epoch by those on the validation split."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bench.attacks import ATTACKS
from bench.attacks.screening import screen
from bench.core.classifier import Classifier
from bench.core.guards import evaluating
from bench.core.randomness import make_generator
from bench.core.threat import Threat
from bench.data import Dataset, Split
from bench.training.averaging import weights_of
from bench.training.history import HistoryRow, clean_accuracy, robust_accuracy
from bench.training.ranks import sharing

#: The most validation images that are attacked after an epoch.
VALIDATION_IMAGES = 1000
#: Where nothing is chosen by them, attacks may take this share of the passes of an epoch, but for so many images.
SHARE, FEWEST_IMAGES = 0.05, 100
#: An image counts as robust when it survives both. One loss alone is a poor guide: a penalty on the margin's
#: gradient weakens the margin attack, a saturated softmax weakens the attack on the cross-entropy.
VALIDATION_ATTACKS = ("pgd20", "cw")
#: How much validation clean accuracy an epoch or a search trial may give up for robust accuracy.
CLEAN_LOSS = 0.10


def attacked_images(training_images: int, forward_units: float) -> int:
    """How many validation images are attacked after an epoch by which nothing is chosen.

    Args:
        training_images: of an epoch.
        forward_units: the passes of a training step for each, as `defenses.base.Defense.forward_units`.
    """
    passes = sum(3 * ATTACKS[name].steps for name in VALIDATION_ATTACKS)
    return min(VALIDATION_IMAGES, max(FEWEST_IMAGES, int(SHARE * training_images * forward_units / passes)))


def validate(
    network: Classifier,
    dataset: Dataset,
    threat: Threat,
    seed: int,
    precision: str = "fp32",
    attacked: int = VALIDATION_IMAGES,
) -> HistoryRow:
    """Measure clean accuracy on training and validation images, and robust accuracy on validation images.

    Args:
        network: evaluated in eval mode; every module's mode is restored.
        dataset: without a validation split, both validation accuracies are None.
        threat: of the attacks.
        seed: of the attacks' random starts, which are the same after every epoch.
        precision: of the training; but for "fp32" the attacks search in bfloat16, and float32 confirms their finds.
        attacked: how many validation images are attacked, the first ones.
    """
    validation = dataset.validation
    shown = dataset.train.take(max(len(validation), 1))
    with evaluating(network), sharing(network):
        row: HistoryRow = {
            "train_accuracy": accuracy(network, shown),
            "validation_accuracy": None,
            "validation_robust_accuracy": None,
        }
        if len(validation):
            row["validation_accuracy"] = accuracy(network, validation)
            right = _survivors(network, validation, threat, seed, precision != "fp32", attacked)
            row["validation_robust_accuracy"] = int(right.sum()) / len(right)
    return row


def outcomes(
    network: Classifier, dataset: Dataset, threat: Threat, seed: int, precision: str = "fp32"
) -> tuple[np.ndarray, np.ndarray]:
    """Which validation images are right, and which are under attack, as `validate` counts them.

    Returns:
        bool [n] over all validation images, and bool [m] over those that are attacked, the first m of them.
    """
    validation = dataset.validation
    if not len(validation):
        return np.zeros(0, bool), np.zeros(0, bool)
    with evaluating(network):
        clean = classified(network, validation)
        robust = _survivors(network, validation, threat, seed, precision != "fp32", VALIDATION_IMAGES)
    return clean.numpy(), robust.cpu().numpy()


def screened_accuracy(network: Classifier, dataset: Dataset, threat: Threat, seed: int) -> float:
    """Share of the first `VALIDATION_IMAGES` validation images that survive screening; 0 where there are none."""
    images, labels = dataset.validation.batch(slice(0, VALIDATION_IMAGES))
    if not len(images):
        return 0.0
    broken = screen(network, images, labels, threat, seed=seed).broken
    return int((~broken).sum()) / len(broken)


def accuracy(classifier: nn.Module, split: Split, batch_size: int = 1000) -> float:
    """Share of a split that is classified correctly, in the classifier's current mode."""
    return int(classified(classifier, split, batch_size).sum()) / len(split)


@torch.no_grad()
def classified(classifier: nn.Module, split: Split, batch_size: int = 1000) -> Tensor:
    """Which images of a split are classified correctly, bool [N] on the CPU, in the classifier's current mode."""
    found = []
    for start in range(0, len(split), batch_size):
        images, labels = split.batch(slice(start, start + batch_size))
        found.append((classifier(images).argmax(dim=1) == labels).cpu())
    return torch.cat(found)


def _survivors(
    network: Classifier, split: Split, threat: Threat, seed: int, bf16: bool, count: int
) -> Tensor:
    """Which of the first `count` images every one of `VALIDATION_ATTACKS` leaves correct, bool [m]."""
    images, labels = split.batch(slice(0, count))
    right = torch.ones(len(images), dtype=torch.bool, device=images.device)
    for name in VALIDATION_ATTACKS:
        if len(images) == 0:
            break
        generator = make_generator(seed, "validation", name)
        result = ATTACKS[name](
            network, images, labels, threat, generator, batch_size=VALIDATION_IMAGES, bf16=bf16
        )
        right[right.clone()] = ~result.broken
        images, labels = images[~result.broken], labels[~result.broken]
    return right


class _Candidate(NamedTuple):
    robust: float
    clean: float
    epoch: int
    weights: dict[str, Tensor]


class BestEpoch:
    """The epoch with the highest validation robust accuracy so far; clean accuracy settles ties.

    An epoch more than `CLEAN_LOSS` below the highest clean accuracy so far is no candidate, however robust it is:
    no attack changes the answer of a constant network.

    Args:
        keep_weights: whether to keep a copy of the best epoch's weights.
    """

    def __init__(self, keep_weights: bool) -> None:
        self.keep_weights = keep_weights
        self._best: _Candidate | None = None
        self._highest_clean = 0.0

    @property
    def epoch(self) -> int | None:
        """Its number; None before the first candidate."""
        return self._best.epoch if self._best else None

    @property
    def weights(self) -> dict[str, Tensor]:
        """Its weights; empty where none are kept."""
        return self._best.weights if self._best else {}

    def consider(self, row: HistoryRow, network: Classifier) -> None:
        """Make the row's epoch the best where it is better than the best so far."""
        clean, robust = clean_accuracy(row), robust_accuracy(row)
        self._highest_clean = max(self._highest_clean, clean)
        floor = self._highest_clean - CLEAN_LOSS
        best = self._best
        better = best is None or best.clean < floor or (robust, clean) > (best.robust, best.clean)
        if clean >= floor and better:
            weights = weights_of(network) if self.keep_weights else {}
            self._best = _Candidate(robust, clean, int(row["epoch"] or 0), weights)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs."""
        return {"best": tuple(self._best) if self._best else None, "best_clean": self._highest_clean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave; other keys are ignored."""
        self._best = _Candidate(*state["best"]) if state["best"] else None
        self._highest_clean = state["best_clean"]
