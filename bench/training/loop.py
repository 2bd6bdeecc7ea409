"""The one training loop. It knows no defense by name."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bench.attacks import ATTACKS
from bench.core.classifier import Classifier
from bench.core.errors import NotFinite
from bench.core.guards import evaluating, random_state_kept
from bench.core.progress import Progress
from bench.core.randomness import make_generator, seeded
from bench.core.threat import Threat
from bench.data import Dataset, Split
from bench.models.weights import load_checkpoint, save_checkpoint
from bench.training.averaging import make_average, weights_of
from bench.training.epoch import run_steps
from bench.training.recipe import Recipe
from bench.training.timing import StandardClock, synchronize
from defenses.base import Defense, Training

Row = dict[str, Any]

#: Validation images of the robust accuracy after each epoch; more would cost more than the training of an epoch.
VALIDATION_IMAGES = 1000
#: An image counts as robust when it survives both. One loss alone is not enough to choose by: a penalty on the
#: margin's gradient hides the way from the margin attack, a saturated softmax from the cross-entropy's.
VALIDATION_ATTACKS = ("pgd20", "cw")
#: How much validation clean accuracy may be given up for robust accuracy, by an epoch or by a setting.
CLEAN_LOSS = 0.10


class Diverged(Exception):
    """The training cannot go on: the loss or the weights are no longer finite."""


class Stop(Exception):
    """Raised by `on_epoch` to end a training early (pruning)."""


@dataclass
class Result:
    """A finished training: the history, the weights' epoch; the classifier itself was trained in place."""

    history: list[Row] = field(default_factory=list)
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
    checkpoint: Path | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    probe: Callable[[Classifier, int], Row] | None = None,
    progress: Progress | None = None,
) -> Result:
    """Train a classifier in place.

    Every draw depends on (seed, epoch) alone, so a run that goes on from its checkpoint gives, on the CPU, the
    weights of an uninterrupted one bit for bit.

    Args:
        defense: makes the objective.
        classifier: on the device to train on; it ends in eval mode.
        dataset: on the same device; the training never touches its test split.
        epochs: passes over the training split.
        seed: base of every draw.
        precision: "fp32", or "bf16" for autocast of the objective.
        checkpoint: file to resume from and to write after each epoch; None keeps nothing.
        on_epoch: called with each new row of the history, after the checkpoint, and on resuming once more with the
            last one; may raise `Stop`.
        probe: called after each epoch with the network as it stands, in eval mode, and the epoch's number; what it
            gives joins the row. Nothing is chosen by it, its seconds are no training time, and the weights are the
            same without it.

    Raises:
        Diverged: when the loss stops being finite, with the epoch and the cause.
        UserError: when the defense does not fit the number of epochs, or the checkpoint cannot be read or written.
    """
    progress = progress or Progress()
    loop = _Loop(defense, classifier, dataset, recipe, threat, epochs, seed, precision, probe)
    if checkpoint is not None and checkpoint.exists():
        loop.load(load_checkpoint(checkpoint, loop.device))
        if on_epoch is not None and loop.history:
            # A kill may have come between the checkpoint and this call.
            on_epoch(loop.history[-1])
    if not loop.done:
        clock = StandardClock(classifier, dataset.train, recipe, seed, precision)
        trained = 0.0
        with progress.task(f"train {defense.name}", epochs) as task:
            task.advance(loop.epoch)
            while not loop.done:
                row = loop.run_epoch(clock.epoch_seconds(trained))
                trained += float(row["seconds"] or 0)
                if checkpoint is not None:
                    save_checkpoint(checkpoint, loop.state())
                task.advance(1, _note(row))
                if on_epoch is not None:
                    on_epoch(row)
    return loop.finish()


class Best(NamedTuple):
    """The best epoch so far by validation robust, then clean accuracy; its weights where the recipe keeps them."""

    robust: float
    clean: float
    epoch: int
    weights: dict[str, Tensor]


class _Loop:
    """State of one training between epochs."""

    def __init__(
        self,
        defense: Defense,
        classifier: Classifier,
        dataset: Dataset,
        recipe: Recipe,
        threat: Threat,
        epochs: int,
        seed: int,
        precision: str,
        probe: Callable[[Classifier, int], Row] | None,
    ) -> None:
        self.classifier, self.dataset, self.recipe, self.threat = classifier, dataset, recipe, threat
        self.epochs, self.seed, self.precision, self.probe = epochs, seed, precision, probe
        self.device = dataset.train.images.device
        self.epoch = 0
        self.history: list[Row] = []
        self.best: Best | None = None
        self.best_clean = 0.0
        self.average = make_average(recipe, classifier)
        training = Training(
            classifier=classifier,
            train=dataset.train,
            threat=threat,
            epochs=epochs,
            seed=seed,
            batch_size=recipe.batch_size,
            label_smoothing=recipe.label_smoothing,
            restart_optimizer=self._restart_optimizer,
        )
        self.objective = defense.objective(training)
        self.optimizer = recipe.make_optimizer(classifier.parameters())

    def _restart_optimizer(self) -> None:
        self.optimizer = self.recipe.make_optimizer(self.classifier.parameters())

    def state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "classifier": self.classifier.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "objective": self.objective.state_dict(),
            "history": self.history,
            "best": tuple(self.best) if self.best else None,
            "best_clean": self.best_clean,
            "average": self.average.state_dict() if self.average else None,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.epoch, self.history = state["epoch"], state["history"]
        self.best = Best(*state["best"]) if state["best"] else None
        self.best_clean = state["best_clean"]
        self.classifier.load_state_dict(state["classifier"])
        # The objective first: what it freezes decides which parameters the optimizer holds.
        self.objective.load_state_dict(state["objective"])
        self._restart_optimizer()
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            self.average.load_state_dict(state["average"])

    @property
    def kept(self) -> Classifier:
        """The network that counts: the average, once there is one."""
        return self.average.network if self.average and self.average.started else self.classifier

    @property
    def done(self) -> bool:
        """Whether every epoch was run, or the recipe's patience is at its end."""
        patience = self.recipe.patience
        impatient = (
            patience is not None and self.best is not None and self.epoch - self.best.epoch >= patience
        )
        return impatient or self.epoch >= self.epochs

    def run_epoch(self, standard_seconds: float) -> Row:
        self.epoch += 1
        try:
            return self._run_epoch(standard_seconds)
        except NotFinite as error:
            raise Diverged(f"epoch {self.epoch}: {error}") from error

    def _run_epoch(self, standard_seconds: float) -> Row:
        self.classifier.train()
        synchronize(self.device)
        started = time.perf_counter()
        self.objective.begin_epoch(self.epoch)
        with seeded(self.seed, "epoch", self.epoch):
            loss = run_steps(
                self.objective,
                self.classifier,
                lambda: self.optimizer,
                self.dataset.train,
                self.recipe,
                make_generator(self.seed, "batches", self.epoch),
                self.precision,
                lambda step: self.recipe.learning_rate((self.epoch - 1 + step) / self.epochs),
                after_step=self.average.after_step if self.average else None,
            )
            if self.average:
                self.average.after_epoch(self.classifier, self.epoch / self.epochs, self._plain_batches())
        synchronize(self.device)
        seconds = time.perf_counter() - started
        self._require_finite(loss)
        row: Row = {
            "epoch": self.epoch,
            "train_loss": loss,
            **self._validate(),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "seconds": seconds,
            "standard_seconds": standard_seconds,
            **self.objective.report(),
            **self._look(),
        }
        self.history.append(row)
        self._keep_best(row)
        return row

    def _require_finite(self, loss: float) -> None:
        bad = [
            name for name, weight in self.classifier.named_parameters() if not torch.isfinite(weight).all()
        ]
        if math.isfinite(loss) and not bad:
            return
        cause = f"the loss became {loss}" if not math.isfinite(loss) else "the loss is finite"
        where = f"; not finite: {', '.join(bad[:3])}" if bad else ""
        raise Diverged(f"epoch {self.epoch}: {cause}{where}; a smaller learning rate or weight may help")

    def _plain_batches(self) -> Iterator[Tensor]:
        train, size = self.dataset.train, self.recipe.batch_size
        for start in range(0, len(train), size):
            yield train.batch(slice(start, start + size))[0]

    def _validate(self) -> Row:
        validation = self.dataset.validation
        shown = self.dataset.train.take(max(len(validation), 1))
        network = self.kept
        with evaluating(network):
            row: Row = {
                "train_accuracy": accuracy(network, shown),
                "validation_accuracy": None,
                "validation_robust_accuracy": None,
            }
            if len(validation):
                row["validation_accuracy"] = accuracy(network, validation)
                row["validation_robust_accuracy"] = self._robust_accuracy(network)
        return row

    def _look(self) -> Row:
        if self.probe is None:
            return {}
        with evaluating(self.kept), random_state_kept():
            return self.probe(self.kept, self.epoch)

    def _robust_accuracy(self, network: Classifier) -> float:
        images, labels = self.dataset.validation.batch(slice(0, VALIDATION_IMAGES))
        attacked = len(images)
        for name in VALIDATION_ATTACKS:
            if len(images) == 0:
                break
            generator = make_generator(self.seed, "validation", name)
            result = ATTACKS[name](network, images, labels, self.threat, generator)
            images, labels = images[~result.broken], labels[~result.broken]
        return len(images) / attacked

    def _keep_best(self, row: Row) -> None:
        if not self.objective.settled():
            return
        clean, robust = (float(row[f"validation_{kind}"] or 0.0) for kind in ("accuracy", "robust_accuracy"))
        self.best_clean = max(self.best_clean, clean)
        floor = self.best_clean - CLEAN_LOSS
        before = self.best
        # An epoch below the floor is no candidate, however robust: a constant answer is never fooled.
        better = before is None or before.clean < floor or (robust, clean) > (before.robust, before.clean)
        if clean >= floor and better:
            weights = weights_of(self.kept) if self.recipe.weights == "best" else {}
            self.best = Best(robust, clean, self.epoch, weights)

    def finish(self) -> Result:
        if self.recipe.weights == "best" and self.best is not None:
            epoch, weights = self.best.epoch, self.best.weights
        else:
            epoch, weights = self.epoch, weights_of(self.kept)
        self.classifier.load_state_dict(weights)
        self.classifier.eval()
        return Result(self.history, epoch, self.best.epoch if self.best else None)


@torch.no_grad()
def accuracy(classifier: nn.Module, split: Split, batch_size: int = 1000) -> float:
    """Share of a split that is classified correctly, in the classifier's present mode."""
    right = 0
    for start in range(0, len(split), batch_size):
        images, labels = split.batch(slice(start, start + batch_size))
        right += int((classifier(images).argmax(dim=1) == labels).sum())
    return right / len(split)


def _note(row: Row) -> str:
    clean, robust = row["validation_accuracy"], row["validation_robust_accuracy"]
    parts = [f"loss {row['train_loss']:.3f}"]
    if clean is not None and robust is not None:
        parts.append(f"validation {float(clean):.1%} clean, {float(robust):.1%} robust")
    return ", ".join(parts)
