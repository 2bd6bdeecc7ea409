"""The training loop. It knows no defense by name."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import nn

from bench.core.classifier import Classifier
from bench.core.errors import NotFinite
from bench.core.guards import evaluating, random_state_kept
from bench.core.progress import Progress
from bench.core.randomness import seeded
from bench.core.threat import Threat
from bench.data import Dataset
from bench.training.averaging import make_average, weights_of
from bench.training.device import training_layout
from bench.training.graph import Stepper
from bench.training.history import HistoryRow
from bench.training.ranks import by_first, check_divisible, sharing
from bench.training.recipe import Recipe
from bench.training.resume import Keeper, digest, read_state, unusable_where_it_fails
from bench.training.step import epoch_batches
from bench.training.timing import StandardClock, synchronize
from bench.training.validation import VALIDATION_IMAGES, BestEpoch, attacked_images, validate
from defenses.base import Defense, Training


class Diverged(Exception):
    """The training cannot go on: the loss or the weights are no longer finite."""


class Stop(Exception):
    """Raised by `on_epoch` to end a training early (pruning)."""


@dataclass
class Result:
    """A finished training; the classifier itself was trained in place.

    Attributes:
        history: one row for each epoch.
        epoch_of_weights: the epoch whose weights the classifier has.
        best_epoch: the best epoch by validation accuracy; None where no epoch was a candidate.
    """

    history: list[HistoryRow] = field(default_factory=list)
    epoch_of_weights: int = 0
    best_epoch: int | None = None


def train(
    defense: Defense,
    classifier: Classifier,
    dataset: Dataset,
    recipe: Recipe,
    threat: Threat,
    *,
    epochs: int,
    seed: int,
    precision: str = "fp32",
    thorough: bool = False,
    checkpoint: Path | None = None,
    on_epoch: Callable[[HistoryRow], None] = lambda row: None,
    on_resume: Callable[[list[HistoryRow]], None] = lambda history: None,
    probe: Callable[[Classifier, int], HistoryRow] | None = None,
    progress: Progress | None = None,
) -> Result:
    """Train a classifier in place.

    Every random draw depends on (seed, epoch) alone, so on the CPU a training that resumes from its checkpoint
    gives the weights of an uninterrupted one bit for bit.

    Args:
        defense: makes the objective.
        classifier: on the device to train on; it ends in eval mode.
        dataset: on the same device; its test split is never read, except by `probe`.
        epochs: passes over the training split.
        seed: base of every draw.
        precision: "fp32", "bf16" for autocast of the objective, or "bf16-compiled" to compile its passes as well.
        thorough: after each epoch, attack as many validation images as may ever be. Else this is done only where
            the weights or the end of the training depend on it; elsewhere, where the attacks could take longer than
            the training, it is `bench.training.validation.attacked_images`.
        checkpoint: file to resume from, written after each epoch, on a CUDA device while the next one is trained;
            None keeps no state.
        on_epoch: called with each new row of the history after that, on a CUDA device once the state is copied, and
            again with the last row on resuming; may raise `Stop`.
        on_resume: called before that with the whole history of the checkpoint.
        probe: called after each epoch with the network in eval mode and the epoch's number; its result joins the
            row. It has no influence on the weights or on the choice of an epoch, and its time is not training
            time.

    Raises:
        Diverged: when the loss or a weight stops being finite, with the epoch and the cause.
        CheckpointUnusable: when the checkpoint is damaged, or belongs to another training.
        UserError: when the defense does not fit the number of epochs, or the checkpoint cannot be read or written.
    """
    device = dataset.train.images.device
    progress = progress or Progress()
    optimizer: torch.optim.Optimizer

    def restart_optimizer() -> None:
        nonlocal optimizer
        optimizer = recipe.make_optimizer(classifier.parameters())

    average = make_average(recipe, classifier)
    objective = defense.objective(
        Training(
            classifier=classifier,
            train=dataset.train,
            threat=threat,
            epochs=epochs,
            seed=seed,
            batch_size=recipe.batch_size,
            label_smoothing=recipe.label_smoothing,
            restart_optimizer=restart_optimizer,
        )
    )
    restart_optimizer()
    epoch, history, best = 0, list[HistoryRow](), BestEpoch(keep_weights=recipe.weights == "best")

    # Resume; of several processes, the first reads and writes
    training = digest(defense, dataset, recipe, threat, epochs, seed, precision) if checkpoint else ""
    state = by_first(lambda: read_state(checkpoint, device, training, epochs))
    if state is not None:
        with unusable_where_it_fails(checkpoint):
            epoch, history = state["epoch"], state["history"]
            classifier.load_state_dict(state["classifier"])
            # The objective first: what it freezes decides which parameters the optimizer holds.
            objective.load_state_dict(state["objective"])
            restart_optimizer()
            optimizer.load_state_dict(state["optimizer"])
            best.load_state_dict(state)
            if average:
                average.load_state_dict(state["average"])
            del state
        by_first(lambda: on_resume(history))
        # The process may have been killed between writing the checkpoint and this call.
        by_first(lambda: on_epoch(history[-1]))

    def finished() -> bool:
        patience_over = (
            recipe.patience is not None and best.epoch is not None and epoch - best.epoch >= recipe.patience
        )
        return epoch >= epochs or patience_over

    check_divisible(classifier, dataset.train)
    choosing = thorough or recipe.weights == "best" or recipe.patience is not None
    affordable = attacked_images(len(dataset.train), defense.forward_units())
    attacked = VALIDATION_IMAGES if choosing else affordable
    clock, trained_seconds = StandardClock(classifier, dataset.train, recipe, seed, precision), 0.0
    take_step = Stepper(objective, classifier, precision, recipe.batch_size)
    with (
        training_layout(precision, classifier, average.network if average else None),
        progress.task(f"train {defense.name}", epochs) as task,
        # A CPU has no time to spare while it trains: a thread would only slow down what is timed.
        Keeper(checkpoint, background=device.type == "cuda") as keeper,
    ):
        task.advance(epoch)
        while not finished():
            epoch += 1
            standard_seconds = clock.epoch_seconds(trained_seconds)
            with _diverged_where_not_finite(epoch):
                # Train for one epoch; `epoch_batches` draws order and augmentation and repeats a batch for a
                # defense with replays, and `take_step` sets the learning rate and makes the forward pass under
                # autocast, the backward pass and the step
                classifier.train()
                synchronize(device)
                started = time.perf_counter()
                with sharing(classifier):
                    objective.begin_epoch(epoch)
                loss_sum, met = torch.zeros((), device=device), 0
                with sharing(classifier), seeded(seed, "epoch", epoch):
                    for share, images, labels in epoch_batches(
                        dataset.train, recipe, seed, epoch, precision, objective.replays
                    ):
                        learning_rate = recipe.learning_rate((epoch - 1 + share) / epochs)
                        loss = take_step(optimizer, images, labels, learning_rate)
                        loss_sum += loss * len(labels)
                        met += len(labels)
                        if average:
                            average.after_step(classifier)
                    if average:
                        average.after_epoch(classifier, epoch / epochs, dataset.train, recipe.batch_size)
                synchronize(device)
                seconds = time.perf_counter() - started
                trained_seconds += seconds
                train_loss = float(loss_sum) / met
                _require_finite(epoch, train_loss, classifier)

                # Validate the averaged network, once there is one
                network = average.network if average and average.started else classifier
                row: HistoryRow = {
                    "epoch": epoch,
                    "train_loss": train_loss,
                    **validate(network, dataset, threat, seed, precision, attacked),
                    "learning_rate": learning_rate,
                    "seconds": seconds,
                    "standard_seconds": standard_seconds,
                    **objective.report(),
                }
                row |= by_first(partial(_probed, probe, network, epoch))
            history.append(row)
            if objective.settled():
                best.consider(row, network)

            # Save and report
            by_first(
                partial(
                    keeper.keep,
                    {
                        "training": training,
                        "epoch": epoch,
                        "classifier": classifier.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "objective": objective.state_dict(),
                        "history": history,
                        **best.state_dict(),
                        "average": average.state_dict() if average else None,
                    },
                )
            )
            task.advance(1, _note(row))
            by_first(partial(on_epoch, row))
        by_first(keeper.wait)

    # Keep the weights of the best or of the last epoch
    if recipe.weights == "best" and best.epoch is not None:
        epoch_of_weights, weights = best.epoch, best.weights
    else:
        network = average.network if average and average.started else classifier
        epoch_of_weights, weights = epoch, weights_of(network)
    classifier.load_state_dict(weights)
    classifier.eval()
    return Result(history, epoch_of_weights, best.epoch)


@contextmanager
def _diverged_where_not_finite(epoch: int) -> Iterator[None]:
    """Turn the error of an attack or a metric that met NaN into `Diverged`, with the epoch."""
    try:
        yield
    except NotFinite as error:
        raise Diverged(f"epoch {epoch}: {error}") from error


def _require_finite(epoch: int, loss: float, classifier: nn.Module) -> None:
    bad = [name for name, weight in classifier.named_parameters() if not torch.isfinite(weight).all()]
    if math.isfinite(loss) and not bad:
        return
    cause = f"the loss became {loss}" if not math.isfinite(loss) else "the loss is finite"
    where = f"; not finite: {', '.join(bad[:3])}" if bad else ""
    raise Diverged(f"epoch {epoch}: {cause}{where}; a smaller learning rate or weight may help")


def _probed(
    probe: Callable[[Classifier, int], HistoryRow] | None, network: Classifier, epoch: int
) -> HistoryRow:
    if probe is None:
        return {}
    with evaluating(network), random_state_kept():
        return probe(network, epoch)


def _note(row: HistoryRow) -> str:
    clean, robust = row["validation_accuracy"], row["validation_robust_accuracy"]
    parts = [f"loss {row['train_loss']:.3f}"]
    if clean is not None and robust is not None:
        parts.append(f"validation {float(clean):.1%} clean, {float(robust):.1%} robust")
    return ", ".join(parts)
