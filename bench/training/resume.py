"""The state that a training resumes from, and whether it fits."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from bench.core.errors import UserError, first_line
from bench.core.names import identity
from bench.core.threat import Threat
from bench.data import Dataset, fingerprint
from bench.models.weights import load_checkpoint, write_checkpoint
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


class Keeper:
    """Keeps the states of a training in its checkpoint, one after the other.

    In the background, a state is copied at once, on its device, and written while the training goes on. A kill
    before it is written leaves the state before, from which the same epoch is trained again. At its end, the block
    waits for the writing.

    Args:
        checkpoint: the file; None keeps nothing.
        background: write in a thread, one state at a time.
    """

    def __init__(self, checkpoint: Path | None, *, background: bool) -> None:
        self._checkpoint = checkpoint
        self._thread = ThreadPoolExecutor(1, "checkpoint") if background else None
        self._writing: Future[None] | None = None

    def __enter__(self) -> "Keeper":
        return self

    def __exit__(self, *error: object) -> None:
        if self._thread:
            self._thread.shutdown()

    def keep(self, state: dict[str, Any]) -> None:
        """Write a state, in the background once the one before is written.

        Raises:
            UserError: when this one or the one before cannot be written.
        """
        self.wait()
        if self._checkpoint is None:
            return
        if self._thread:
            self._writing = self._thread.submit(self._write, deepcopy(state), _after_this())
        else:
            self._write(state)

    def _write(self, state: dict[str, Any], stream: torch.cuda.Stream | None = None) -> None:
        assert self._checkpoint is not None
        with torch.cuda.stream(stream) if stream else nullcontext():
            write_checkpoint(self._checkpoint, state)

    def wait(self) -> None:
        """Wait until the last state is written.

        Raises:
            UserError: when it cannot be written.
        """
        writing, self._writing = self._writing, None
        if writing:
            writing.result()


def _after_this() -> torch.cuda.Stream | None:
    """A stream that goes on from the work submitted so far, beside what follows; None without a CUDA device."""
    if not torch.cuda.is_initialized():
        return None
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    return stream


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
