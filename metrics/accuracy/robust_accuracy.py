"""Accuracy under one of our own attacks."""

from collections.abc import Mapping

import numpy as np

from bench.attacks import ATTACKS
from bench.attacks.examples import first_broken
from bench.charts.words import ACCURACIES
from bench.core.record import Score, Value
from metrics.base import Batteries, Metric
from metrics.evaluation import Arrays, Evaluation

#: The batteries of an attack that `BATTERIES` does not name.
_USUAL: Batteries = {"quick": {}, "standard": {}, "full": {}, "indicators": {}}
#: Attack → the batteries it belongs to.
BATTERIES: Mapping[str, Batteries] = {"pgd20": {**_USUAL, "geometry": {}}, "cw100x5": {"full": {}}}


class RobustAccuracy(Metric):
    """Share of the attacked test images that stay correctly classified under one attack, with a Wilson interval.

    An image is broken when any iterate of the attack is misclassified, the clean image included.

    Args:
        attack: a name of `bench.attacks.ATTACKS`.
    """

    def __init__(self, attack: str) -> None:
        self.attack = ATTACKS[attack]
        self.name = f"robust_accuracy/{attack}"
        self.titles = {self.name: ACCURACIES[attack]} if attack in ACCURACIES else {}
        self.batteries = BATTERIES.get(attack, _USUAL)

    def settings(self) -> dict[str, Value]:
        """The attack's settings."""
        return self.attack.settings()

    def measure(self, evaluation: Evaluation) -> Arrays:
        """For each image [n]: still correct, step and restart that broke it, zero input gradient; the loss by step.

        Also a few adversarial images with their positions among those attacked.
        """
        result = evaluation.attack(self.attack, evaluation.images, evaluation.labels, self.name)
        return {
            "right": (~result.broken).cpu().numpy(),
            "step": result.step.cpu().numpy(),
            "restart": result.restart.cpu().numpy(),
            "zero_gradient": result.zero_gradient.cpu().numpy(),
            "zero_gradient_float32": result.zero_gradient_float32.cpu().numpy(),
            "loss": np.asarray(result.loss, dtype=np.float64),
            "notes": np.asarray(result.notes, dtype=np.str_),
            **first_broken(result.broken, result.adversarial, evaluation.images),
        }

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Robust accuracy with its interval; the reason is what the attack noted."""
        return {self.name: self.proportion(arrays["right"], "; ".join(arrays.get("notes", ())))}
