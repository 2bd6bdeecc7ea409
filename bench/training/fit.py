"""Train one setting of a plan in a folder of its own, resuming what is there."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.classifier import Classifier
from bench.core.files import write_text
from bench.core.progress import Progress
from bench.core.record import HISTORY
from bench.core.threat import Threat
from bench.data import Dataset
from bench.models import build
from bench.training.loop import Result, Row, train
from bench.training.recipe import Recipe
from defenses.base import Defense

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Plan:
    """A run's settings, resolved: what every training of it has in common.

    Attributes:
        name: the defense as records call it; a `module:Class` keeps that name, so that it never passes for ours.
        defense: the class; its hyper-parameters vary from training to training.
        fixed: hyper-parameters the user set.
        dataset: on the device to train on.
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
        """A fresh network on the data's device; its weights depend on the seed alone."""
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


def fit(
    plan: Plan,
    defense: Defense,
    seed: int,
    folder: Path,
    progress: Progress,
    on_epoch: Callable[[Row], None] = lambda row: None,
    probe: Callable[[Classifier, int], Row] | None = None,
) -> tuple[Classifier, Result]:
    """Train, with `checkpoint.pt` and `history.jsonl` kept up to date in `folder` after every epoch.

    Args:
        on_epoch: called with each new row; may raise `bench.training.loop.Stop`.
        probe: as for `bench.training.loop.train`.

    Raises:
        bench.training.loop.Diverged: when loss or weights stop being finite.
    """
    classifier = plan.classifier(seed)
    history: list[Row] = read_history(folder)

    def keep(row: Row) -> None:
        del history[int(row["epoch"] or 1) - 1 :]
        history.append(row)
        write_text(folder / HISTORY, "".join(json.dumps(each) + "\n" for each in history))
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


def read_history(folder: Path) -> list[Row]:
    """The rows written so far; empty when there are none."""
    path = folder / HISTORY
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
