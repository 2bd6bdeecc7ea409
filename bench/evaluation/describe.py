"""Our objects in the words of the record."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import torch

from bench.core import provenance
from bench.core import record as schema
from bench.data import Dataset, fingerprint
from bench.evaluation.battery import Battery
from bench.training.recipe import Recipe


@dataclass(frozen=True)
class Trained:
    """How the network came to be, for its record."""

    defense: schema.Defense
    recipe: Recipe
    precision: str
    epochs: int
    epoch_of_weights: int
    best_epoch: int | None
    history: list[dict[str, Any]]

    @classmethod
    def elsewhere(cls, label: str) -> "Trained":
        """A network that was trained outside the harness."""
        return cls(schema.Defense(name=label, hyperparameters={}), Recipe(), "fp32", 0, 0, None, [])


def describe_dataset(dataset: Dataset, images: torch.Tensor, labels: torch.Tensor) -> schema.Dataset:
    """The record's view of a data set and of the images the attacks ran on."""
    return schema.Dataset(
        name=dataset.name,
        fingerprint=dataset.fingerprint,
        shape=dataset.shape,
        classes=list(dataset.classes),
        train_size=len(dataset.train),
        validation_size=len(dataset.validation),
        test_size=len(dataset.test),
        evaluated_size=len(labels),
        evaluated_fingerprint=fingerprint(images, labels),
    )


def describe_battery(battery: Battery) -> schema.Battery:
    """The record's view of a battery: every setting of every metric."""
    settings = {metric.name: chosen for metric in battery.metrics if (chosen := metric.settings())}
    return schema.Battery(name=battery.name, version=battery.version, settings=settings)


def describe_training(trained: Trained) -> schema.Training | None:
    """The record's view of a training; None for a network trained elsewhere."""
    if not trained.history:
        return None
    return schema.Training(
        recipe=trained.recipe.model_dump(),
        precision=trained.precision,
        epochs=trained.epochs,
        epoch_of_weights=trained.epoch_of_weights,
        best_epoch=trained.best_epoch,
    )


def describe_provenance(
    run: str, command: str, config: Mapping[str, Any], device: torch.device
) -> schema.Provenance:
    """Commit, versions, hardware and time of now."""
    commit, dirty = provenance.commit()
    return schema.Provenance(
        run=run,
        commit=commit,
        dirty=dirty,
        command=command,
        config=dict(config),
        versions=provenance.versions(),
        hardware=provenance.hardware(device),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
