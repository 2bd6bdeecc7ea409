"""A training in a folder of its own, which keeps its checkpoint and its history."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.classifier import Classifier
from bench.core.progress import Progress
from bench.core.threat import Threat
from bench.data import Dataset
from bench.models import build
from bench.training.history import HistoryRow, read_history, write_history
from bench.training.loop import Result, train
from bench.training.recipe import Recipe
from defenses.base import Defense

#: Name of the file in a training's folder.
CHECKPOINT = "checkpoint.pt"


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
        precision: "fp32" or "bf16".
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


def train_in_folder(
    plan: Plan,
    defense: Defense,
    seed: int,
    folder: Path,
    progress: Progress,
    on_epoch: Callable[[HistoryRow], None] = lambda row: None,
    probe: Callable[[Classifier, int], HistoryRow] | None = None,
) -> tuple[Classifier, Result]:
    """Train a fresh network, with `checkpoint.pt` and `history.jsonl` in `folder` written after every epoch.

    Where the folder has a checkpoint, the training resumes from it.

    Args:
        plan: settings of the training.
        defense: with its hyper-parameters.
        seed: of the initial weights and of the training.
        folder: of this training alone.
        progress: where the bar goes.
        on_epoch: called with each new row; may raise `bench.training.loop.Stop`.
        probe: as for `bench.training.loop.train`.

    Returns:
        The trained network in eval mode, and its history.

    Raises:
        bench.training.loop.Diverged: when loss or weights stop being finite.
    """
    classifier = plan.classifier(seed)
    history = read_history(folder)

    def keep(row: HistoryRow) -> None:
        del history[int(row["epoch"] or 1) - 1 :]
        history.append(row)
        write_history(folder, history)
        on_epoch(row)

    result = train(
        defense,
        classifier,
        plan.dataset,
        plan.recipe,
        plan.threat,
        epochs=plan.epochs,
        seed=seed,
        precision=plan.precision,
        checkpoint=folder / CHECKPOINT,
        on_epoch=keep,
        probe=probe,
        progress=progress,
    )
    return classifier, result
