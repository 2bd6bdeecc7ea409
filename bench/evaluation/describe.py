"""Convert runtime objects to the record's schema."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import torch

from bench.core import provenance
from bench.core import record as schema
from bench.core.classifier import AnyClassifier
from bench.core.names import data_source, identity, is_local_path
from bench.core.plugin_sources import PluginSource, describe_sources
from bench.core.threat import Threat
from bench.data import DATASETS, Dataset, fingerprint
from bench.evaluation.battery import Battery
from bench.models.weights import weights_of
from bench.training.history import HistoryRow
from bench.training.recipe import Recipe
from defenses.base import Defense


@dataclass(frozen=True)
class Trained:
    """How the network was trained, for its record.

    Attributes:
        defense: name and hyper-parameters.
        recipe: of the training.
        precision: "fp32", "bf16" or "bf16-compiled".
        step_seconds: precision → seconds of a step in the trial that chose it.
        epochs: planned length of the training.
        epoch_of_weights: the epoch whose weights the network has.
        best_epoch: the best epoch by validation accuracy, or None.
        history: one row for each epoch; empty for a network trained elsewhere.
        parts: role and class or function of the code behind it.
    """

    defense: schema.Defense
    recipe: Recipe
    precision: str
    epochs: int
    epoch_of_weights: int
    best_epoch: int | None
    history: list[HistoryRow]
    parts: tuple[tuple[str, object], ...] = ()
    step_seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def elsewhere(cls, label: str) -> "Trained":
        """For a network that was trained outside this project."""
        return cls(schema.Defense(name=label, hyperparameters={}), Recipe(), "fp32", 0, 0, None, [])


def code_of_defense(defense: type[Defense]) -> list[tuple[str, object]]:
    """The class of a defense and of each component, with their role."""
    components = getattr(defense, "component_types", ())
    return [("defense", defense), *(part for each in components for part in code_of_defense(each))]


def code_of_data(name: object) -> list[tuple[str, object]]:
    """What gives a named data set, with its role; nothing for one that comes from files, or has no name."""
    if not isinstance(name, str) or is_local_path(data_source(name)):
        return []
    return [("data", DATASETS.get(name))]


def describe_dataset(dataset: Dataset, images: torch.Tensor, labels: torch.Tensor) -> schema.Dataset:
    """The data set, and the images that were attacked."""
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
    """The battery with every setting of every metric."""
    settings = {metric.name: chosen for metric in battery.metrics if (chosen := metric.settings())}
    return schema.Battery(name=battery.name, version=battery.version, settings=settings)


def describe_training(trained: Trained) -> schema.Training | None:
    """The training; None for a network trained elsewhere."""
    if not trained.history:
        return None
    return schema.Training(
        recipe=trained.recipe.model_dump(),
        precision=trained.precision,
        step_seconds=trained.step_seconds,
        epochs=trained.epochs,
        epoch_of_weights=trained.epoch_of_weights,
        best_epoch=trained.best_epoch,
    )


def describe_provenance(
    run: str,
    command: str,
    config: Mapping[str, Any],
    device: torch.device,
    sources: Sequence[PluginSource] = (),
) -> schema.Provenance:
    """The present commit, versions, hardware and time, and the sources of plug-ins."""
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
        sources=describe_sources(sources),
    )


def result_id(
    run: str,
    seed: int,
    battery: str,
    version: str,
    *,
    classifier: AnyClassifier,
    data: str,
    evaluated: str,
    threat: Threat,
    network: str | None,
) -> str:
    """The identifier of a result: run, seed and battery, and six hex digits of what they leave open.

    Args:
        run, seed, battery, version: names of the run and the battery, the seed, the battery's version.
        classifier: whose weights the digits stand for.
        data, evaluated: fingerprints of all data and of the attacked images.
        threat: norm and ε.
        network: the identity of a stranger's network, if any.
    """
    about = [fingerprint(*weights_of(classifier).values()), data, evaluated]
    values = {"about": about, "threat": str(threat), "battery": version}
    digits = identity({**values, "network": network} if network else values)[:6]
    return f"{run}-s{seed}-{battery}-{digits}"
