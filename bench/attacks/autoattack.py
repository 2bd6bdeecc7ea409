"""AutoAttack, as the `pyautoattack` package runs it, inside our contracts.

The package's own attacks are driven stage by stage and batch by batch, in the order and with the seeds of its
`run_standard_evaluation`: the adversarial images are bit for bit those it finds with equal seed and batch size.
Around them stands what the package lacks: a network left as it was found, a check of box and ball before a
success counts, a word where there are too few classes for a stage, counted passes, and a state to go on from.
Two faster ways through the network can be chosen instead of its own arithmetic.

Source: Croce & Hein 2020, Reliable evaluation of adversarial robustness.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from bench.attacks import probabilities
from bench.attacks.resume import Standing, fingerprint_of
from bench.core.checks import (
    check_batch_size,
    check_finite,
    check_inputs,
    check_logits,
    images_per_pass,
    out_of_memory,
)
from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError, unknown_name
from bench.core.guards import channels_last, evaluating, frozen, random_state_kept
from bench.core.passes import PassCount, counting
from bench.core.progress import Progress, Task
from bench.core.record import Value
from bench.core.threat import Threat

VERSIONS = ("standard", "plus", "rand")

#: How passes are computed: "exact" as the package does; "fast" in float32 with another order of summation;
#: "bfloat16" as fast, with the stages of `LOW` in bfloat16 and their successes confirmed in float32.
Passes = Literal["exact", "fast", "bfloat16"]

#: The stages that only ask, half of all passes. The others follow a gradient, which rounding leads astray.
LOW = ("square",)


@dataclass
class AutoAttackResult:
    """What AutoAttack did to every image.

    Attributes:
        adversarial: [B, C, H, W]; the image itself where nothing broke it.
        broken: bool [B]; misclassified within the threat by any stage, or without attack.
        stage: [B]; what broke each image: "clean" (misclassified without attack), an attack, "" for survivors.
        unconfirmed: bool [B]; misclassified in bfloat16 by Square, in float32 by no stage.
        skipped: attack → why it could not run here.
        warnings: stage → the first thing that was warned of in it; "output" → what is odd about the network's.
        settings: the package and its version, AutoAttack's version, seed, batch size, number of targets.
        forwards, backwards: passes through the network, in images, those of `resumed` among them.
        resumed: the passes of the process that wrote the state this run goes on from; none without one.
    """

    adversarial: Tensor
    broken: Tensor
    stage: list[str]
    unconfirmed: Tensor
    skipped: dict[str, str]
    warnings: dict[str, str]
    settings: dict[str, Value]
    forwards: int
    backwards: int
    resumed: PassCount


def check_settings(version: str, seed: int, batch_size: int, passes: str) -> None:
    """Refuse what `autoattack` cannot work with.

    Raises:
        UserError: for an unknown version or kind of passes, a seed that is no whole number, a batch size below 1.
    """
    if version not in VERSIONS:
        raise unknown_name("AutoAttack version", version, VERSIONS)
    if passes not in get_args(Passes):
        raise unknown_name("kind of passes", passes, get_args(Passes))
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise UserError(f"expected a whole number as seed, got {seed!r}")
    check_batch_size(batch_size)


def autoattack(
    classifier: AnyClassifier,
    images: Tensor,
    labels: Tensor,
    threat: Threat,
    *,
    seed: int,
    version: str = "standard",
    batch_size: int = 250,
    passes: Passes = "exact",
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
        batch_size: images attacked together; the random draws, and so the result, depend on it. Where memory runs
            out the batch is attacked in halves or passes are taken in pieces, and `warnings` says so.
        passes: "exact" gives the package's images bit for bit. "fast" stays in float32 but adds up in another order
            (channels innermost, as many images at once as a CPU's caches hold). "bfloat16" is fast and has Square
            ask in bfloat16; a success counts in float32 alone, and where that denies it, Square runs again in it.
        progress: where the bars go, one for each stage.
        state_path: written after every batch. A run that finds there the state of an equal one (images, labels,
            network, settings) goes on from it; any other file is overwritten.

    Raises:
        UserError: for unusable images or labels, an unknown version or kind of passes, or a network that gives no
            finite logits [B, K].

    Warns:
        ProbabilitiesWarning: for a network that gives probabilities; their logarithm is attacked.
    """
    check_inputs(classifier, images, labels)
    check_settings(version, seed, batch_size, passes)
    progress = progress or Progress()
    log = _FirstWarnings("autoattack")
    settings: dict[str, Value] = {
        "package": f"pyautoattack {installed_version('pyautoattack')}",
        "version": version,
        "seed": seed,
        "batch_size": batch_size,
        "targets": min(9, classifier.num_classes - 1),
        **({} if passes == "exact" else {"passes": passes}),
    }
    # Before anything is laid out anew.
    fingerprint = fingerprint_of(classifier, images, labels, threat, settings) if state_path else ""
    resumed = PassCount()
    with (
        evaluating(classifier),
        frozen(classifier),
        nullcontext(None) if passes == "exact" else channels_last(classifier) as plain_layout,
        random_state_kept(seed),
        torch.no_grad(),
        counting(classifier) as passed,
    ):
        network = _Counted(classifier, log, plain_layout)
        if passes != "exact":
            network.at_once = images_per_pass(images, batch_size)
        suite = _suite(network, classifier, threat, images.device, seed, version, log)
        # With ε = 0 there is nothing but the images.
        stages = ("clean", *(suite.attacks_to_run if threat.radius > 0 else ()))
        skipped = _cannot_run(stages, classifier, threat)
        state = Standing.load(state_path, fingerprint, images) if state_path else None
        if state is None:
            state = Standing.at_the_start(images, labels)
            for rows in torch.arange(len(images), device=images.device).split(batch_size):
                logits = network(images[rows])
                check_finite(logits)
                state.stage[rows[_predicted(logits) != labels[rows]]] = 0
        else:
            resumed = PassCount(state.forwards, state.backwards)
            passed.forwards, passed.backwards, log.first = state.forwards, state.backwards, state.warnings
            network.probabilities = "output" in log.first

        run = _Run(suite, network, images, labels, threat, state, log)
        for number, stage in enumerate(stages):
            if number < max(1, state.number) or stage in skipped:
                continue
            if number > state.number:
                state.number, state.batches = number, 0
            log.stage = stage
            alive = ((state.stage < 0) | (state.stage == number)).nonzero().squeeze(1)
            if len(alive) == 0:
                break
            looks = _looks(suite, stage)
            with progress.task(f"autoattack {stage}", len(alive) * looks) as task:
                for batch, rows in enumerate(alive.split(batch_size)):
                    network.bar = bar = _BatchBar(task, len(rows) * looks)
                    if batch >= state.batches:
                        denied = run.strike(rows, low=passes == "bfloat16" and stage in LOW)
                        if len(denied):
                            run.strike(denied, low=False)
                            state.unconfirmed[denied] = True
                        state.batches = batch + 1
                        state.forwards, state.backwards = passed.forwards, passed.backwards
                        state.warnings = log.first
                        if state_path:
                            state.save(state_path, fingerprint)
                    robust = (state.stage < 0).float().mean().item()
                    bar.finish(f"robust {robust:.1%}")
                network.bar = None
    if "output" in log.first:
        probabilities.warn()
    return AutoAttackResult(
        adversarial=state.adversarial,
        broken=state.stage >= 0,
        stage=["" if number < 0 else stages[number] for number in state.stage.tolist()],
        unconfirmed=state.unconfirmed & (state.stage < 0),
        skipped=skipped,
        warnings=log.first,
        settings=settings,
        forwards=passed.forwards,
        backwards=passed.backwards,
        resumed=resumed,
    )


@dataclass
class _Run:
    """The package's attacks on our images, and what they have done so far."""

    suite: Any
    network: "_Counted"
    images: Tensor
    labels: Tensor
    threat: Threat
    state: Standing
    log: "_FirstWarnings"

    def strike(self, rows: Tensor, *, low: bool) -> Tensor:
        """The stage under way on one batch; gives the rows that are misclassified in low precision alone."""
        images, labels, state = self.images[rows], self.labels[rows], self.state
        with self.network.in_bfloat16(low):
            found = _perturb(self.suite, self.log.stage, images, labels, self.log)
            claimed = _predicted(self.network(found)) != labels if low else None
        allowed = self.threat.allows(found, images)
        logits = self.network(found)
        check_finite(logits[allowed])
        hits = allowed & (_predicted(logits) != labels)
        state.adversarial[rows[hits]] = found[hits]
        state.stage[rows[hits]] = state.number
        return rows[:0] if claimed is None else rows[claimed & allowed & ~hits]


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


def _perturb(suite: Any, attack: str, images: Tensor, labels: Tensor, log: logging.Logger) -> Tensor:
    """One batch through one stage, set up as the package's own evaluation does it; in halves if memory runs out."""
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
    try:
        return stage.perturb(images, labels)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error) or len(images) == 1:
            raise
    log.warning(f"memory ran out for {len(images)} images, they were attacked in halves")
    halves = zip(images.chunk(2), labels.chunk(2), strict=True)
    return torch.cat([_perturb(suite, attack, *half, log) for half in halves])


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
    return {stage: reason for stage, reason in reasons.items() if stage in stages}


def _looks(suite: Any, attack: str) -> int:
    """How many forward passes an image takes at most in a stage; bars go by them."""
    if attack == "square":
        return suite.square.n_queries + 2
    if attack.startswith("fab"):
        runs = suite.fab.n_target_classes if attack == "fab-t" else suite.fab.n_restarts
        return runs * (2 * suite.fab.n_iter + 4)
    apgd = suite.apgd_targeted if attack == "apgd-t" else suite.apgd
    runs = apgd.n_target_classes * apgd.n_restarts if attack == "apgd-t" else apgd.n_restarts
    return runs * ((apgd.n_iter + 1) * apgd.eot_iter + 1) + 2


def _predicted(logits: Tensor) -> Tensor:
    return logits.max(dim=1).indices  # as the package takes it, ties included


class _Counted:
    """The network as the package calls it."""

    def __init__(
        self, classifier: AnyClassifier, log: "_FirstWarnings", plain_layout: Callable[[], None] | None
    ) -> None:
        self.classifier, self.log, self.plain_layout = classifier, log, plain_layout
        self.bar: _BatchBar | None = None
        self.at_once: int | None = None
        self.low = False
        self.probabilities: bool | None = None

    def __call__(self, images: Tensor) -> Tensor:
        logits = check_logits(self._forward(images), len(images), self.classifier.num_classes)
        if self.bar is not None:
            self.bar.advance(len(images))
        if self.probabilities is None:
            self.probabilities = probabilities.are_probabilities(logits)
            if self.probabilities:
                self.log.first["output"] = probabilities.NOTE
        if self.probabilities:
            logits = probabilities.logits_of(logits)
        if images.requires_grad and not logits.requires_grad:
            # No path back to the pixels: a gradient of zero lets the stages run, and Square can still break it.
            logits = logits + 0 * images.flatten(1).sum(dim=1, keepdim=True)
        return logits

    @contextmanager
    def in_bfloat16(self, low: bool) -> Iterator[None]:
        """Compute in bfloat16 where autocast allows it, if `low`; logits come back in float32."""
        self.low = low
        try:
            yield
        finally:
            self.low = False

    def _forward(self, images: Tensor) -> Tensor:
        while True:
            try:
                with torch.autocast(images.device.type, torch.bfloat16, enabled=self.low):
                    if self.at_once is None or len(images) <= self.at_once:
                        logits = self.classifier(images)
                    else:
                        logits = torch.cat([self.classifier(some) for some in images.split(self.at_once)])
            except (RuntimeError, MemoryError) as error:
                self._recover(error, len(images))
                continue  # out here the failed pass is no longer in memory
            return logits.float() if self.low else logits

    def _recover(self, error: Exception, size: int) -> None:
        """Make the same pass possible: in pieces, or in the plain layout.

        Raises:
            Exception: the error itself, where neither would help. In pieces a pass needs as much memory for its
                gradient as at once, so a stage that takes one is given fewer images instead.
        """
        if out_of_memory(error) and not torch.is_grad_enabled() and min(size, self.at_once or size) > 1:
            self.at_once = min(size, self.at_once or size) // 2
            self.log.warning(f"memory ran out for {size} images, their passes were taken in pieces")
        elif self.plain_layout is not None and "view size is not compatible" in str(error):
            self.plain_layout()
            self.plain_layout = None
        else:
            raise error


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
