"""The state that a training resumes from, and whether it fits."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bench.core.errors import UserError, first_line
from bench.core.names import identity
from bench.core.threat import Threat
from bench.data import Dataset, fingerprint
from bench.models.weights import load_checkpoint, save_checkpoint
from bench.training.recipe import Recipe
from defenses.base import Defense


class CheckpointUnusable(UserError):
    """The checkpoint is damaged, or of another training; nothing was trained yet."""


def read_state(
    checkpoint: Path | None, device: torch.device, training: str, epochs: int
) -> dict[str, Any] | None:
    """The state in a checkpoint; None where there is none.

    Args:
        training: `digest` of the training.
        epochs: of the whole training.

    Raises:
        CheckpointUnusable: when it is damaged, or of another training.
    """
    if checkpoint is None or not checkpoint.exists():
        return None
    with unusable_where_it_fails(checkpoint):
        state = load_checkpoint(checkpoint, device)
        # Those of earlier versions do not say what they belong to.
        if state.get("training", training) != training:
            raise UserError("it belongs to another training")
        epoch = state["epoch"]
        if [row["epoch"] for row in state["history"]] != list(
            range(1, epoch + 1)
        ) or not 1 <= epoch <= epochs:
            raise UserError("its history does not fit its epoch")
    return state


def keep_state(checkpoint: Path | None, state: dict[str, Any]) -> None:
    """Write a state, where there is a checkpoint to write."""
    if checkpoint is not None:
        save_checkpoint(checkpoint, state)


def digest(
    defense: Defense,
    dataset: Dataset,
    recipe: Recipe,
    threat: Threat,
    epochs: int,
    seed: int,
    precision: str,
) -> str:
    """Eight hex digits of all that a training depends on, apart from code."""
    train, validation = dataset.train, dataset.validation
    return identity(
        {
            "defense": [type(defense).__name__, defense.hyperparameters()],
            "data": fingerprint(train.images, train.labels, validation.images, validation.labels),
            "recipe": recipe.model_dump(exclude={"name"}),
            "threat": [threat.norm, str(threat.exact)],
            "numbers": [epochs, seed, precision],
        }
    )


@contextmanager
def unusable_where_it_fails(checkpoint: Path | None) -> Iterator[None]:
    """Turn whatever a foreign or damaged state raises into `CheckpointUnusable`; a disk or a memory is no state."""
    try:
        yield
    except Exception as error:
        if isinstance(error.__cause__ or error, OSError | MemoryError | torch.OutOfMemoryError):
            raise
        reason = str(error) if isinstance(error, UserError) else f"it does not fit ({first_line(error)})"
        raise CheckpointUnusable(f"{checkpoint} cannot be resumed from: {reason}") from error
