"""AutoAttack, as the `pyautoattack` package runs it, inside our contracts.

The package's own attacks are driven stage by stage and batch by batch, in the order and with the seeds of its
`run_standard_evaluation`: the adversarial images are bit for bit those it finds with equal seed and batch size.
Around them stands what the package lacks: a network left as it was found, a check of box and ball before a
success counts, a word where there are too few classes for a stage, counted passes, and a state to go on from.

Source: Croce & Hein 2020, Reliable evaluation of adversarial robustness.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.core.attacks.resume import Standing, fingerprint_of
from bench.core.attacks.state import (
    check_finite,
    check_inputs,
    check_logits,
    evaluating,
    frozen,
    random_state_kept,
)
from bench.core.classifier import AnyClassifier
from bench.core.errors import unknown_name
from bench.core.progress import Progress, Task
from bench.core.record import Value
from bench.core.threat import Threat

#: Forward passes an image costs at most in each stage, for each target where there are several; bars go by them.
PASSES = {"apgd-ce": 103, "apgd-dlr": 103, "apgd-t": 102, "fab": 204, "fab-t": 204, "square": 5002}
VERSIONS = ("standard", "plus", "rand")


@dataclass
class AutoAttackResult:
    """What AutoAttack did to every image.

    Attributes:
        adversarial: [B, C, H, W]; the image itself where nothing broke it.
        broken: bool [B]; misclassified within the threat by any stage, or without attack.
        stage: [B]; what broke each image: "clean" (misclassified without attack), an attack, "" for survivors.
        skipped: attack → why it could not run here.
        warnings: stage → the first thing the package warned of in it.
        settings: the package and its version, AutoAttack's version, seed, batch size, number of targets.
        forwards, backwards: passes through the network, in images.
    """

    adversarial: Tensor
    broken: Tensor
    stage: list[str]
    skipped: dict[str, str]
    warnings: dict[str, str]
    settings: dict[str, Value]
    forwards: int
    backwards: int


def estimate(images: int, clean_accuracy: float, robust_accuracy: float) -> tuple[int, int]:
    """About how many forward and backward passes a standard run takes, in images.

    n·(1 + 103c + 7753r) forwards and n·(101c + 1809r) backwards; with fewer than 10 classes it takes less.

    Args:
        images: n, how many there are.
        clean_accuracy, robust_accuracy: c and r, as fractions.
    """
    forwards = 1 + 103 * clean_accuracy + 7753 * robust_accuracy
    backwards = 101 * clean_accuracy + 1809 * robust_accuracy
    return round(images * forwards), round(images * backwards)


def autoattack(
    classifier: AnyClassifier,
    images: Tensor,
    labels: Tensor,
    threat: Threat,
    *,
    seed: int,
    version: str = "standard",
    batch_size: int = 250,
    progress: Progress | None = None,
    state_path: Path | None = None,
) -> AutoAttackResult:
    """Attack every image that the classifier gets right, stage after stage until one breaks it.

    Args:
        classifier: attacked in eval mode, and left exactly as it was found.
        images: float32 [B, C, H, W] in [0, 1].
        labels: int64 [B].
        threat: norm and ε; every success is checked against it before it counts.
        seed: given to every stage anew for every batch, as the package does.
        version: "standard", "plus", or "rand" for networks that draw random numbers.
        batch_size: images per pass; the random draws, and so the result, depend on it.
        progress: where the bars go, one for each stage.
        state_path: written after every batch. A run that finds there the state of an equal one (images, labels,
            network, settings) goes on from it; any other file is overwritten.

    Raises:
        UserError: for unusable images or labels, an unknown version, or a network that gives no finite logits
            [B, K].
    """
    check_inputs(classifier, images, labels)
    if version not in VERSIONS:
        raise unknown_name("AutoAttack version", version, VERSIONS)
    progress = progress or Progress()
    network, log = _Counted(classifier), _FirstWarnings("autoattack")
    settings: dict[str, Value] = {
        "package": f"pyautoattack {installed_version('pyautoattack')}",
        "version": version,
        "seed": seed,
        "batch_size": batch_size,
        "targets": min(9, classifier.num_classes - 1),
    }
    with evaluating(classifier), frozen(classifier), random_state_kept(), torch.no_grad():
        suite = _suite(network, classifier, threat, images.device, seed, version, log)
        stages = ("clean", *suite.attacks_to_run)
        skipped = _cannot_run(stages, classifier, threat)
        fingerprint = fingerprint_of(classifier, images, labels, threat, settings) if state_path else ""
        state = Standing.load(state_path, fingerprint, images) if state_path else None
        if state is None:
            state = Standing(images.clone(), torch.full_like(labels, -1))
            for rows in torch.arange(len(images), device=images.device).split(batch_size):
                logits = network(images[rows])
                check_finite(logits)
                _warn_of_probabilities(logits, log)
                state.stage[rows[_predicted(logits) != labels[rows]]] = 0
        else:
            network.forwards, network.backwards, log.first = state.forwards, state.backwards, state.warnings

        for number, attack in enumerate(stages):
            if number < max(1, state.number) or attack in skipped:
                continue
            if number > state.number:
                state.number, state.batches = number, 0
            log.stage = attack
            alive = ((state.stage < 0) | (state.stage == number)).nonzero().squeeze(1)
            if len(alive) == 0:
                break
            passes = _passes(attack, classifier.num_classes)
            with progress.task(f"autoattack {attack}", len(alive) * passes) as task:
                for batch, rows in enumerate(alive.split(batch_size)):
                    network.bar = bar = _BatchBar(task, len(rows) * passes)
                    if batch >= state.batches:
                        found = _perturb(suite, attack, images[rows], labels[rows])
                        allowed = threat.allows(found, images[rows])
                        logits = network(found)
                        check_finite(logits[allowed])
                        hits = allowed & (_predicted(logits) != labels[rows])
                        state.adversarial[rows[hits]] = found[hits]
                        state.stage[rows[hits]] = number
                        state.batches = batch + 1
                        state.forwards, state.backwards = network.forwards, network.backwards
                        state.warnings = log.first
                        if state_path:
                            state.save(state_path, fingerprint)
                    robust = (state.stage < 0).float().mean().item()
                    bar.finish(f"robust {robust:.1%}")
                network.bar = None
    return AutoAttackResult(
        adversarial=state.adversarial,
        broken=state.stage >= 0,
        stage=["" if number < 0 else stages[number] for number in state.stage.tolist()],
        skipped=skipped,
        warnings=log.first,
        settings=settings,
        forwards=network.forwards,
        backwards=network.backwards,
    )


def _suite(
    network: "_Counted",
    classifier: AnyClassifier,
    threat: Threat,
    device: torch.device,
    seed: int,
    version: str,
    log: logging.Logger,
) -> Any:
    """The package's attacks, with no more targets than there are other classes."""
    from pyautoattack import AutoAttack

    norm = {"linf": "Linf", "l2": "L2"}[threat.norm]
    suite = AutoAttack(network, norm=norm, eps=threat.radius, seed=seed, version=version, device=device)
    targets = min(9, classifier.num_classes - 1)
    suite.apgd_targeted.n_target_classes = suite.fab.n_target_classes = targets
    suite.apgd.logger = suite.apgd_targeted.logger = log
    return suite


def _perturb(suite: Any, attack: str, images: Tensor, labels: Tensor) -> Tensor:
    """One batch through one stage, set up as the package's own evaluation does it."""
    if attack.startswith("fab"):
        stage = suite.fab
        stage.targeted = attack == "fab-t"
        stage.n_restarts = 1 if stage.targeted else stage.n_restarts
    elif attack == "square":
        stage = suite.square
    elif attack == "apgd-t":
        stage = suite.apgd_targeted
    else:
        stage = suite.apgd
        stage.loss = attack.removeprefix("apgd-")
    return stage.perturb(images, labels)


def _cannot_run(stages: Sequence[str], classifier: AnyClassifier, threat: Threat) -> dict[str, str]:
    """Stage → why it is left out."""
    classes, side = classifier.num_classes, min(classifier.input_shape[1:])
    reasons = {}
    if classes < 3:
        reasons["apgd-dlr"] = f"the DLR loss needs 3 classes, there are {classes}"
    if classes < 4:
        reasons["apgd-t"] = f"the targeted DLR loss needs 4 classes, there are {classes}"
    if threat.norm == "l2" and side < 5:
        reasons["square"] = f"its l2 form needs images of 5x5 pixels or more, the side is {side}"
    return {stage: reasons[stage] for stage in stages if stage in reasons}


def _predicted(logits: Tensor) -> Tensor:
    return logits.max(dim=1).indices  # as the package takes it, ties included


def _warn_of_probabilities(logits: Tensor, log: logging.Logger) -> None:
    from pyautoattack.checks import check_range_output

    check_range_output(lambda images: logits, None, logger=log)


class _Counted:
    """The network as the package calls it, with every pass counted in images."""

    def __init__(self, classifier: AnyClassifier) -> None:
        self.classifier = classifier
        self.forwards = self.backwards = 0
        self.bar: _BatchBar | None = None

    def __call__(self, images: Tensor) -> Tensor:
        logits = check_logits(self.classifier(images), len(images), self.classifier.num_classes)
        self.forwards += len(images)
        if self.bar is not None:
            self.bar.advance(len(images))
        if images.requires_grad and not logits.requires_grad:
            # No path back to the pixels: a gradient of zero lets the stages run, and Square can still break it.
            logits = logits + 0 * images.flatten(1).sum(dim=1, keepdim=True)
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


def _passes(attack: str, classes: int) -> int:
    return PASSES[attack] * (min(9, classes - 1) if attack.endswith("-t") else 1)


class _BatchBar:
    """Moves a stage's bar within a batch, which may take minutes; what broken images save is made up at its end."""

    def __init__(self, task: Task, total: int) -> None:
        self._task, self._left = task, total

    def advance(self, images: int) -> None:
        images = min(images, self._left)
        self._left -= images
        self._task.advance(images)

    def finish(self, note: str) -> None:
        self._task.advance(self._left, note)


class _FirstWarnings(logging.Logger):
    """Keeps the first warning of each stage instead of printing it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.stage = "clean"
        self.first: dict[str, str] = {}

    def warning(self, msg: object, *args: object, **kwargs: Any) -> None:
        self.first.setdefault(self.stage, str(msg).partition(" See ")[0])
