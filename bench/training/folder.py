"""A training in a folder of its own, which keeps its checkpoint and its history."""

import json
from collections.abc import Callable
from pathlib import Path

from bench.core.classifier import Classifier
from bench.core.errors import UserError
from bench.core.files import set_aside
from bench.core.progress import Progress
from bench.core.record import HISTORY
from bench.models.weights import load_checkpoint, previous_checkpoint
from bench.training.history import HistoryRow, read_history, write_history
from bench.training.loop import Diverged, Result, Stop, train
from bench.training.plan import Plan
from bench.training.resume import CheckpointUnusable
from bench.training.workers import shared_task
from defenses.base import Defense

#: Name of the file in a training's folder.
CHECKPOINT = "checkpoint.pt"


def train_in_folder(
    plan: Plan,
    defense: Defense,
    seed: int,
    folder: Path,
    progress: Progress,
    on_epoch: Callable[[HistoryRow], None] = lambda row: None,
    probe: Callable[[Classifier, int], HistoryRow] | None = None,
    *,
    thorough: bool = False,
) -> tuple[Classifier, Result]:
    """Train a fresh network, with `checkpoint.pt` and `history.jsonl` in `folder` written after every epoch.

    Where the folder has a checkpoint, the training resumes from it; from the one before, where it is damaged or of
    another training; and from the start, where that is so too.

    Args:
        plan: settings of the training.
        defense: with its hyper-parameters.
        seed: of the initial weights and of the training.
        folder: of this training alone.
        progress: where the bar goes, and what is said about damaged files.
        on_epoch: called with each row, also with those of the checkpoint; may raise `bench.training.loop.Stop`.
        probe, thorough: as for `bench.training.loop.train`.

    Returns:
        The trained network in eval mode, and its history.

    Raises:
        bench.training.loop.Diverged: when loss or weights stop being finite.
    """
    checkpoint = folder / CHECKPOINT
    previous = previous_checkpoint(checkpoint)
    history: list[HistoryRow] = []

    def keep(row: HistoryRow) -> None:
        history.append(row)
        write_history(folder, history)
        on_epoch(row)

    def resumed(rows: list[HistoryRow]) -> None:
        history[:] = trained_rows(folder, progress.say, rows)[: len(rows) - 1]
        for row in history:
            on_epoch(row)

    while True:
        if previous.exists() and not checkpoint.exists():
            previous.rename(checkpoint)
        if checkpoint.exists() and not checkpoint.is_file():
            set_aside(checkpoint, "is no file", progress.say)
            continue
        classifier = plan.classifier(seed)
        try:
            with shared_task(plan, defense, seed, thorough):
                result = train(
                    defense,
                    classifier,
                    plan.dataset,
                    plan.recipe,
                    plan.threat,
                    epochs=plan.epochs,
                    seed=seed,
                    precision=plan.precision,
                    thorough=thorough,
                    checkpoint=checkpoint,
                    on_epoch=keep,
                    on_resume=resumed,
                    probe=probe,
                    progress=progress,
                )
        except CheckpointUnusable as error:
            progress.say(str(error))
            fallback = "the one before it is used" if previous.exists() else "the training starts again"
            set_aside(checkpoint, f"is left out, and {fallback}", progress.say)
        except (Stop, Diverged):
            previous.unlink(missing_ok=True)
            raise
        else:
            previous.unlink(missing_ok=True)
            return classifier, result


def trained_rows(
    folder: Path, say: Callable[[str], None], rows: list[HistoryRow] | None = None
) -> list[HistoryRow]:
    """The history of a training; one that is damaged or missing is written again from the checkpoint, with a word.

    Args:
        folder: of the training.
        say: told one line.
        rows: of the checkpoint; None reads them from there where they are needed.
    """
    try:
        there = read_history(folder)
        if rows is None and (there or not (folder / CHECKPOINT).is_file()):
            return there
        if rows is not None and json.dumps(there[: len(rows) - 1]) == json.dumps(rows[: len(rows) - 1]):
            return rows
        reason = "does not fit the checkpoint" if there else ""
    except UserError:
        reason = "is damaged"
    if rows is None:
        try:
            rows = list(load_checkpoint(folder / CHECKPOINT)["history"])
        except (UserError, KeyError, TypeError):
            rows = []
    path = folder / HISTORY
    if path.exists() and not (path.is_file() and rows):
        set_aside(path, reason, say)
    elif reason:
        say(f"{path} {reason}; written again from the checkpoint")
    if rows:
        write_history(folder, rows)
    return rows
