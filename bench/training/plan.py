"""The settings that all trainings of a run share."""

from dataclasses import dataclass, field
from typing import Any

from bench.core.classifier import Classifier
from bench.core.threat import Threat
from bench.data import Dataset
from bench.models import build
from bench.training.recipe import Recipe
from defenses.base import Defense


@dataclass(frozen=True)
class Plan:
    """The resolved settings that all trainings of a run share.

    Attributes:
        name: the defense's name in records; a `module:Class` keeps that form, so that it is not taken for a
            built-in.
        defense: the class; its hyper-parameters vary from training to training.
        fixed: hyper-parameters set by the user.
        model: the network's name.
        dataset: on the device to train on.
        threat: norm and ε to defend against.
        recipe: optimizer, learning rate, batches and augmentation.
        epochs: passes over the training split.
        precision: "fp32", "bf16" or "bf16-compiled".
        step_seconds: precision → seconds of a training step in the trial that chose it; empty without one.
    """

    name: str
    defense: type[Defense]
    fixed: dict[str, Any]
    model: str
    dataset: Dataset
    threat: Threat
    recipe: Recipe
    epochs: int
    precision: str
    step_seconds: dict[str, float] = field(default_factory=dict)

    def classifier(self, seed: int) -> Classifier:
        """Build a network on the data's device; its initial weights depend on the seed alone."""
        dataset = self.dataset
        network = build(
            self.model,
            input_shape=dataset.shape,
            num_classes=dataset.num_classes,
            mean=dataset.mean,
            std=dataset.std,
            seed=seed,
        )
        return network.to(dataset.train.images.device)
