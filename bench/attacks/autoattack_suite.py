"""The attacks of the package `pyautoattack`, and the wrapper through which they call a network."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from bench.attacks import probabilities
from bench.core.checks import check_logits
from bench.core.classifier import AnyClassifier
from bench.core.errors import out_of_memory
from bench.core.progress import Task
from bench.core.threat import Threat


def make_suite(
    network: "SuiteNetwork",
    classifier: AnyClassifier,
    threat: Threat,
    device: torch.device,
    seed: int,
    version: str,
    log: logging.Logger,
) -> Any:
    """Make the attacks of the package, with no more targets than there are other classes."""
    from pyautoattack import AutoAttack

    norm = {"linf": "Linf", "l2": "L2"}[threat.norm]
    suite = AutoAttack(network, norm=norm, eps=threat.radius, seed=seed, version=version, device=device)
    targets = min(9, classifier.num_classes - 1)
    suite.apgd_targeted.n_target_classes = suite.fab.n_target_classes = targets
    suite.apgd.logger = suite.apgd_targeted.logger = log
    return suite


def perturb(suite: Any, attack: str, images: Tensor, labels: Tensor, log: logging.Logger) -> Tensor:
    """Attack one batch with one stage, set up as in the package; split the batch when memory runs out."""
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
    return torch.cat([perturb(suite, attack, *half, log) for half in halves])


def left_out(stages: Sequence[str], classifier: AnyClassifier, threat: Threat) -> dict[str, str]:
    """The stages that cannot run here, each with the reason."""
    classes, side = classifier.num_classes, min(classifier.input_shape[1:])
    reasons = {}
    if classes < 3:
        reasons["apgd-dlr"] = f"the DLR loss needs 3 classes, there are {classes}"
    if classes < 4:
        reasons["apgd-t"] = f"the targeted DLR loss needs 4 classes, there are {classes}"
    if threat.norm == "l2" and side < 5:
        reasons["square"] = f"its l2 form needs images of 5x5 pixels or more, the side is {side}"
    return {stage: reason for stage, reason in reasons.items() if stage in stages}


def most_queries(suite: Any, attack: str) -> int:
    """The largest number of forward passes that a stage takes per image: the total of a progress bar."""
    if attack == "square":
        return suite.square.n_queries + 2
    if attack.startswith("fab"):
        runs = suite.fab.n_target_classes if attack == "fab-t" else suite.fab.n_restarts
        return runs * (2 * suite.fab.n_iter + 4)
    apgd = suite.apgd_targeted if attack == "apgd-t" else suite.apgd
    runs = apgd.n_target_classes * apgd.n_restarts if attack == "apgd-t" else apgd.n_restarts
    return runs * ((apgd.n_iter + 1) * apgd.eot_iter + 1) + 2


def predicted_classes(logits: Tensor) -> Tensor:
    """The class with the largest logit [B]; ties are resolved as in the package."""
    return logits.max(dim=1).indices


class SuiteNetwork:
    """Wrap a classifier for the package.

    Attributes:
        bar: the progress of the batch under attack.
        at_once: the largest number of images per pass; None is no limit.
        low: compute in bfloat16.
        probabilities: whether the network ends in a softmax, whose logarithm is then taken; None before the first
            pass.
        plain_layout: called when the network cannot run in the channels-last layout.
    """

    def __init__(
        self, classifier: AnyClassifier, log: "FirstWarnings", plain_layout: Callable[[], None] | None
    ) -> None:
        self.classifier, self.log, self.plain_layout = classifier, log, plain_layout
        self.bar: BatchBar | None = None
        self.at_once: int | None = None
        self.low = False
        self.probabilities: bool | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """Logits float32 [B, K] of images [B, C, H, W]."""
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
            # The logits are not differentiable in the pixels. A zero gradient lets the gradient stages run all the
            # same; Square needs no gradient and may still succeed.
            logits = logits + 0 * images.flatten(1).sum(dim=1, keepdim=True)
        return logits

    @contextmanager
    def in_bfloat16(self, low: bool) -> Iterator[None]:
        """Compute in bfloat16 if `low`, where autocast allows it; logits are returned in float32."""
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
                continue  # outside the handler, so that the failed pass is no longer in memory
            return logits.float() if self.low else logits

    def _recover(self, error: Exception, size: int) -> None:
        """Prepare to repeat a failed pass: in pieces, or in the plain layout.

        Raises:
            Exception: the error itself, where neither would help. A pass whose gradient is taken needs as much
                memory in pieces as at once, so its stage is given fewer images instead.
        """
        if out_of_memory(error) and not torch.is_grad_enabled() and min(size, self.at_once or size) > 1:
            self.at_once = min(size, self.at_once or size) // 2
            self.log.warning(f"memory ran out for {size} images, their passes were taken in pieces")
        elif self.plain_layout is not None and "view size is not compatible" in str(error):
            self.plain_layout()
            self.plain_layout = None
        else:
            raise error


class BatchBar:
    """Progress within a batch, which may take minutes; passes saved by broken images are added at its end."""

    def __init__(self, task: Task, total: int) -> None:
        self._task, self._left = task, total

    def advance(self, images: int) -> None:
        """Advance by the images of a pass, up to the batch's total."""
        images = min(images, self._left)
        self._left -= images
        self._task.advance(images)

    def finish(self, note: str) -> None:
        """Advance to the batch's total."""
        self._task.advance(self._left, note)


class FirstWarnings(logging.Logger):
    """A logger that stores the first warning of each stage instead of printing it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.stage = "clean"
        self.first: dict[str, str] = {}

    def warning(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Store a warning, without the package's reference to its own documentation."""
        self.first.setdefault(self.stage, str(msg).partition(" See ")[0])
