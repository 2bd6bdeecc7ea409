"""How well the mean features of each class align with its weights, clean and attacked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.attacks import ATTACKS
from bench.core.classifier import NO_HEAD
from bench.core.errors import UserError
from bench.core.record import Score, Value
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable
from metrics.indicators.heads import head_input

ATTACK = "pgd20"


@dataclass(frozen=True, kw_only=True)
class NeuralCollapse(Metric):
    """Alignment of class means with final weights (NC3, self-duality), 1 after full collapse.

    The mean over classes of cos(μ_c − μ, w_c − w): μ_c the mean input of the last layer over the evaluated
    images of class c, μ and w the means over classes. `/attacked` is the same with the images of PGD-20, each
    with the clean images' center μ, and `/loss` the first minus the second: how far the attack moves classes
    off their weights. Without intervals, which the few classes do not allow.

    Args:
        images: number of test images, the first ones.

    Raises:
        UserError: for fewer than 1 image.

    Source: Papyan, Han & Donoho 2020, arXiv 2008.08186 (NC3); attacked: Su et al. 2023, arXiv 2311.07444.
    """

    name = "neural_collapse"
    titles = {"neural_collapse": "Neural-collapse alignment"}
    unit: ClassVar[str] = "cosine"
    higher_is_better: ClassVar[bool | None] = None
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    batteries = {"indicators": {}}
    needs_head = True

    images: int = 200

    def __post_init__(self) -> None:
        if self.images < 1:
            raise UserError(f"expected images from 1, got {self.images}")

    def settings(self) -> dict[str, Value]:
        """Number of images, and the attack."""
        return {"images": self.images, "attack": ATTACK}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """The cosine of each class with images, clean and attacked.

        Raises:
            NotMeasurable: when the network has no final linear layer, or there is no test image.
        """
        classifier = evaluation.classifier
        if classifier.head is None:
            raise NotMeasurable(NO_HEAD)
        images, labels = evaluation.first(self.images)
        classes = labels.unique()
        attacked = evaluation.attack(ATTACKS[ATTACK], images, labels, self.name).adversarial
        weights = classifier.head.weight.detach().double()
        weights = weights - weights.mean(dim=0)
        clean, moved = (self._means(evaluation, some, labels, classes) for some in (images, attacked))
        center = clean.mean(dim=0)
        return {
            "clean": F.cosine_similarity(clean - center, weights[classes]).cpu().numpy(),
            "attacked": F.cosine_similarity(moved - center, weights[classes]).cpu().numpy(),
            "class": classes.cpu().numpy(),
            "images": np.array([len(images)]),
        }

    @staticmethod
    def _means(evaluation: Evaluation, images: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
        with torch.no_grad():
            found = torch.cat(
                [head_input(evaluation.classifier, some) for some in images.split(evaluation.batch_size)]
            ).double()
        return torch.stack([found[labels == one].mean(dim=0) for one in classes])

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        return self.name, f"{self.name}/attacked", f"{self.name}/loss"

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Both alignments and their difference."""
        n = int(arrays["images"].item())
        if len(arrays["class"]) < 2:
            one = self.score(None, n=n, reason="the test images are of fewer than two classes")
            return dict.fromkeys(self.names(), one)
        clean, attacked = float(arrays["clean"].mean()), float(arrays["attacked"].mean())
        return {
            self.name: self.score(clean, n=n),
            f"{self.name}/attacked": self.score(attacked, n=n, reason=ATTACK),
            f"{self.name}/loss": Score(value=clean - attacked, n=n, unit="difference", reason=ATTACK),
        }
