"""AutoAttack with the attacks of the package `pyautoattack`.

Numbers in the comments are the steps of the package's `run_standard_evaluation`:

(1) Classify the clean images; those that are wrong are not attacked.
(2) For each stage in turn, attack the images that survived all earlier ones, batch by batch. The standard stages
    are APGD with cross-entropy, targeted APGD with the DLR loss, targeted FAB, and Square.
(3) Classify what the stage returns; a misclassified image is broken.

With equal seed and batch size the adversarial images are bit for bit those of the package. We add to it:

(a) A success counts only within the ball and the pixel box.
(b) With fewer than ten classes there are fewer targets, and a stage that needs more classes is left out.
(c) The network is left as it was found, passes are counted, and a killed run goes on with its next batch.
(d) Where memory runs out, a batch is attacked in halves, or its passes are taken in pieces.
(e) Two faster ways can be chosen.

Source: Croce & Hein 2020, Reliable evaluation of adversarial robustness, section 6.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from bench.attacks import probabilities
from bench.attacks.autoattack_fast import spare_passes
from bench.attacks.autoattack_suite import (
    BatchBar,
    FirstWarnings,
    SuiteNetwork,
    left_out,
    make_suite,
    most_queries,
    perturb,
    predicted_classes,
)
from bench.attacks.resume import AutoAttackState, fingerprint_of
from bench.core import division
from bench.core.checks import check_batch_size, check_finite, check_inputs, images_per_pass
from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError, unknown_name
from bench.core.guards import channels_last, evaluating, frozen, random_state_kept
from bench.core.passes import PassCount, counting
from bench.core.progress import Progress
from bench.core.record import Value
from bench.core.threat import Threat

VERSIONS = ("standard", "plus", "rand")

#: Which passes are made, and how; see `autoattack`.
Passes = Literal["exact", "fast", "bfloat16"]

#: The stages that "bfloat16" is for: forward passes alone. Rounding would lead gradient stages astray.
LOW = ("square",)


@dataclass
class AutoAttackResult:
    """What AutoAttack did to every image.

    Attributes:
        adversarial: [B, C, H, W]; the image itself where no stage succeeded.
        broken: bool [B]; misclassified within the threat by any stage, or without attack.
        stage: [B]; what broke each image: "clean" (misclassified without attack), an attack, "" for survivors.
        unconfirmed: bool [B]; misclassified in bfloat16 by Square, in float32 by no stage.
        skipped: stage → the reason why it could not run here.
        warnings: stage → its first warning; "output" → a warning about the network's output.
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
    """Check the settings of `autoattack`.

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
    """Attack every correctly classified image, stage after stage until one succeeds.

    Args:
        classifier: attacked in eval mode, and left exactly as it was found.
        images: float32 [B, C, H, W] in [0, 1].
        labels: int64 [B].
        threat: norm and ε; every success is checked against it before it counts.
        seed: given to every stage anew for every batch, as the package does.
        version: "standard", "plus", or "rand" for stochastic networks.
        batch_size: images attacked together; the random draws, and so the result, depend on it. Where memory runs
            out the batch is attacked in halves or passes are taken in pieces, and `warnings` says so.
        passes: "exact" gives the package's images bit for bit. "fast" breaks the same images up to rounding: it
            leaves out passes that change no outcome (`bench.attacks.autoattack_fast`) and sums in another order,
            in float32 (channels innermost, as many images at once as a CPU's caches hold). "bfloat16" is "fast"
            with the queries of Square in bfloat16; what is misclassified there alone, float32 attacks again.
        progress: gets a bar for each stage.
        state_path: written after every batch. A run that finds the state of an equal run there (images, labels,
            network, settings) goes on from it; any other file is overwritten.

    Raises:
        UserError: for unusable images or labels, an unknown version or kind of passes, or a network that gives no
            finite logits [B, K].

    Warns:
        ProbabilitiesWarning: for a network that gives probabilities; their logarithm is attacked.
    """
    check_inputs(classifier, images, labels)
    check_settings(version, seed, batch_size, passes)
    log = FirstWarnings("autoattack")
    settings: dict[str, Value] = {
        "package": f"pyautoattack {installed_version('pyautoattack')}",
        "version": version,
        "seed": seed,
        "batch_size": batch_size,
        "targets": min(9, classifier.num_classes - 1),
        **({} if passes == "exact" else {"passes": passes}),
    }
    # Before the weights change their layout.
    fingerprint = fingerprint_of(classifier, images, labels, threat, settings) if state_path else ""
    with (
        evaluating(classifier),
        frozen(classifier),
        nullcontext(None) if passes == "exact" else channels_last(classifier) as plain_layout,
        random_state_kept(seed),
        torch.no_grad(),
        counting(classifier) as count,
    ):
        network = SuiteNetwork(classifier, log, plain_layout)
        if passes != "exact":
            network.at_once = images_per_pass(images, batch_size)
        suite = make_suite(network, classifier, threat, images.device, seed, version, log)
        if passes != "exact":
            spare_passes(suite)
        # With ε = 0 the ball holds the image alone.
        stages = ("clean", *(suite.attacks_to_run if threat.radius > 0 else ()))
        skipped = left_out(stages, classifier, threat)
        state = AutoAttackState.load(state_path, fingerprint, images) if state_path else None
        if kept := division.first_of(state and vars(state)):
            state = AutoAttackState(**kept)
        resumed = PassCount(state.forwards, state.backwards) if state else PassCount()
        run = _Run(
            suite=suite,
            network=network,
            images=images,
            labels=labels,
            threat=threat,
            state=state or AutoAttackState.initial(images, labels),
            log=log,
            count=count,
            batch_size=batch_size,
            save=(lambda state: state.save(state_path, fingerprint)) if state_path else lambda state: None,
        )
        if state is None:
            run.classify_clean()
        else:
            run.resume()
        for number, stage in enumerate(stages):
            if number >= max(1, run.state.number) and stage not in skipped and not run.finished(number):
                run.attack(number, stage, passes == "bfloat16" and stage in LOW, progress or Progress())
    if "output" in log.first:
        probabilities.warn()
    state = run.state
    return AutoAttackResult(
        adversarial=state.adversarial,
        broken=state.stage >= 0,
        stage=["" if number < 0 else stages[number] for number in state.stage.tolist()],
        unconfirmed=state.unconfirmed & (state.stage < 0),
        skipped=skipped,
        warnings=log.first,
        settings=settings,
        forwards=count.forwards,
        backwards=count.backwards,
        resumed=resumed,
    )


@dataclass
class _Run:
    """One call of `autoattack`: the attacks, the images, and what was found so far."""

    suite: Any
    network: SuiteNetwork
    images: Tensor
    labels: Tensor
    threat: Threat
    state: AutoAttackState
    log: FirstWarnings
    count: PassCount
    batch_size: int
    save: Callable[[AutoAttackState], None]

    def classify_clean(self) -> None:
        """(1) Mark the images that are wrong without attack."""
        for rows in torch.arange(len(self.images), device=self.images.device).split(self.batch_size):
            logits = self.network(self.images[rows])
            check_finite(logits)
            self.state.stage[rows[predicted_classes(logits) != self.labels[rows]]] = 0

    def resume(self) -> None:
        """Take over the counts and warnings of the run that wrote the state."""
        self.count.add(PassCount(self.state.forwards, self.state.backwards))
        self.log.first = self.state.warnings
        self.network.probabilities = "output" in self.log.first

    def surviving(self, number: int) -> Tensor:
        """Positions of the images that survived all stages before this one."""
        return ((self.state.stage < 0) | (self.state.stage == number)).nonzero().squeeze(1)

    def finished(self, number: int) -> bool:
        """Whether no image is left for a stage."""
        return len(self.surviving(number)) == 0

    def attack(self, number: int, stage: str, low: bool, progress: Progress) -> None:
        """(2) Attack all surviving images with one stage, from the first batch that is not done yet."""
        state = self.state
        if number > state.number:
            state.number, state.batches = number, 0
        self.log.stage = stage
        surviving = self.surviving(number)
        queries = most_queries(self.suite, stage)
        with progress.task(f"autoattack {stage}", len(surviving) * queries) as task:
            batches = list(enumerate(surviving.split(self.batch_size)))
            for at in range(0, len(batches), at_once := division.processes()):
                some = batches[at : at + at_once]
                bar = self.network.bar = BatchBar(task, sum(len(rows) for _, rows in some) * queries)
                if left := [(batch, rows) for batch, rows in some if batch >= state.batches]:
                    found = division.each(
                        [rows for _, rows in left],
                        lambda rows: [*self.attack_batch(rows, low), self.log.first],
                        self.network.classifier,
                    )
                    for (_, rows), (adversarial, hit, unconfirmed, warnings) in zip(left, found, strict=True):
                        state.adversarial[rows[hit]] = adversarial[hit]
                        state.stage[rows[hit]] = number
                        state.unconfirmed[rows[unconfirmed]] = True
                        self.log.first = warnings | self.log.first
                    state.batches = left[-1][0] + 1
                    state.forwards, state.backwards = self.count.forwards, self.count.backwards
                    state.warnings = self.log.first
                    self.save(state)
                robust = (state.stage < 0).float().mean().item()
                bar.finish(f"robust {robust:.1%}")
            self.network.bar = None

    def attack_batch(self, rows: Tensor, low: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Attack one batch, in bfloat16 if `low`.

        Returns:
            adversarial images [b, C, H, W]; which of them count, bool [b]; which were wrong in bfloat16 alone, so
            that float32 attacked them again, bool [b].
        """
        images, labels = self.images[rows], self.labels[rows]
        with self.network.in_bfloat16(low):
            found = perturb(self.suite, self.log.stage, images, labels, self.log)
            claimed = predicted_classes(self.network(found)) != labels if low else None
        # (3) Classify, and count what lies within the threat.
        allowed = self.threat.allows(found, images)
        logits = self.network(found)
        check_finite(logits[allowed])
        hits = allowed & (predicted_classes(logits) != labels)
        unconfirmed = torch.zeros_like(hits) if claimed is None else claimed & allowed & ~hits
        if bool(unconfirmed.any()):
            again, hits_again, _ = self.attack_batch(rows[unconfirmed], low=False)
            found[unconfirmed], hits[unconfirmed] = again, hits_again
        return found, hits, unconfirmed
