"""FGSM, BIM, PGD and C&W-margin: one loop, told apart by their settings.

Every iterate is looked at, the last one too. A look is one forward pass; where another step follows, the
gradient comes from that same pass, so an unbroken image costs one forward and one backward per step. Who is likely
to fall to a step is looked at first and differentiated only if the guess was wrong.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Literal

import torch
from torch import Tensor

from bench.attacks import probabilities
from bench.attacks.losses import LOSSES, Objective, forecast, losses_of
from bench.attacks.network import Network
from bench.core.checks import check_batch_size, check_inputs, images_per_pass
from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError
from bench.core.gradients import input_gradient, is_zero
from bench.core.guards import channels_last, evaluating, frozen, random_state_kept
from bench.core.passes import counting
from bench.core.progress import Progress
from bench.core.record import Value
from bench.core.threat import Threat

StepSize = Literal["auto", "paper"] | float


def step_length(step_size: StepSize, steps: int, threat: Threat) -> float:
    """The length α of one step, in units of pixels in [0, 1].

    "auto" is 2.5·ε/steps, and ε for a single step (FGSM); "paper" is 2/255, which cannot cross a ball with
    steps·2/255 < ε; a number is taken as it is.
    """
    if step_size == "auto":
        return threat.radius if steps == 1 else 2.5 * threat.radius / steps
    return 2 / 255 if step_size == "paper" else float(step_size)


def ascend(points: Tensor, gradient: Tensor, origin: Tensor, threat: Threat, length: float) -> Tensor:
    """One projected step of steepest ascent: α·sign(g) for ℓ∞, α·g/‖g‖₂ for ℓ2; all [B, C, H, W].

    Where the gradient is zero the point stays. Source: Madry et al. 2018, section 2.1.
    """
    if threat.norm == "linf":
        direction = gradient.sign()
    else:
        # Scaled by the largest entry first: squares of a saturated network's gradient underflow in float32.
        tiny = torch.finfo(gradient.dtype).tiny
        direction = gradient / gradient.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(tiny)
        direction = direction / direction.square().sum(dim=(1, 2, 3), keepdim=True).sqrt().clamp_min(tiny)
    return threat.project(points + length * direction, origin)


def maximise(
    classifier: AnyClassifier,
    images: Tensor,
    labels: Tensor,
    threat: Threat,
    generator: torch.Generator,
    *,
    steps: int,
    step_size: StepSize = "auto",
    loss: str = "ce",
    random_start: bool = True,
    mode: Literal["eval", "train"] = "eval",
) -> Tensor:
    """The inner maximization of adversarial training: the last iterate of every image [B, C, H, W].

    Nothing is dropped, and the last iterate is not looked at. Inputs are trusted: a check would wait for the
    device at every training step.

    Args:
        classifier: left in its modes, its gradients and flags untouched.
        images, labels: one training batch, float32 [B, C, H, W] in [0, 1] and int64 [B].
        threat: the ball.
        generator: source of the random start.
        steps, step_size, random_start: as in `Attack`.
        loss: a name of `LOSSES`.
        mode: "eval" attacks in eval mode; "train" leaves every module's mode as it is, so that batch norm
            also moves its running statistics.

    Source: Madry et al. 2018, equation 2.1.
    """
    objective, length = LOSSES[loss], step_length(step_size, steps, threat)
    points = threat.random_start(images, generator) if random_start else images
    with (
        evaluating(classifier) if mode == "eval" else nullcontext(),
        random_state_kept(),
        torch.enable_grad(),
    ):
        for _ in range(steps):
            points = points.detach().requires_grad_()
            gradient = input_gradient(objective(classifier(points), labels), points)
            points = ascend(points.detach(), gradient, images, threat, length)
    return points


@dataclass
class AttackResult:
    """What an attack did to every image.

    Attributes:
        adversarial: [B, C, H, W]; the iterate that broke a broken image, the last one of a survivor, and the
            image itself where the classifier is already wrong.
        step: int64 [B]; the iteration that broke it, 0 for the clean image or the start, −1 for survivors.
        restart: int64 [B]; the restart that broke it, −1 for survivors and for images wrong without attack.
        zero_gradient: bool [B]; the input gradient was exactly zero where it was first taken, in float32 and
            again in float64.
        zero_gradient_float32: bool [B]; the same in float32 alone, where a saturated softmax underflows.
        loss: [steps + 1] on the CPU; the raised loss by iteration, mean over the survivors of the last restart;
            empty when nothing survived.
        notes: what to know about the result, in words.
        forwards, backwards: passes through the network, in images.
    """

    adversarial: Tensor
    step: Tensor
    restart: Tensor
    zero_gradient: Tensor
    zero_gradient_float32: Tensor
    loss: Tensor
    notes: list[str] = field(default_factory=list)
    forwards: int = 0
    backwards: int = 0

    @property
    def broken(self) -> Tensor:
        """bool [B]; misclassified within the threat at any iterate, or without any attack."""
        return self.step >= 0


@dataclass(frozen=True)
class Attack:
    """An iterative gradient attack.

    Images do not influence each other: batch size and memory layout change nothing but rounding, unless the network
    draws random numbers. Those then come from a global state seeded for the attack, so that the same call gives the
    same result, and another batch size another one.

    Args:
        name: what tables call it.
        steps: gradient steps, at least 1.
        step_size: see `step_length`.
        loss: "ce", "margin" (C&W), "dlr" or "scaled-ce"; or several joined by "+", which the restarts take in turn.
        random_start: start from a uniform point of the ball instead of the image.
        restarts: independent runs; an image that one of them breaks is not attacked again.

    Raises:
        UserError: for settings that make no attack.
    """

    name: str
    steps: int
    step_size: StepSize = "auto"
    loss: str = "ce"
    random_start: bool = True
    restarts: int = 1

    def __post_init__(self) -> None:
        counts = (self.steps, self.restarts)
        if any(isinstance(count, bool) or not isinstance(count, int) or count < 1 for count in counts):
            raise UserError(
                f"{self.name} needs at least 1 step and 1 restart, got {self.steps} and {self.restarts}"
            )
        if len(losses_of(self.loss)) > self.restarts:
            raise UserError(f"{self.name}: losses {self.loss} need a restart each, got {self.restarts}")
        number = isinstance(self.step_size, int | float) and not isinstance(self.step_size, bool)
        number = number and 0 < float(self.step_size) < torch.inf
        if not number and self.step_size not in ("auto", "paper"):
            raise UserError(f"{self.name}: step size must be auto, paper or above 0, got {self.step_size!r}")
        if self.restarts > 1 and not self.random_start:
            raise UserError(
                f"{self.name}: {self.restarts} restarts without a random start would all be the same"
            )

    def settings(self) -> dict[str, Value]:
        """The fields besides the name, as a record holds them."""
        return {key: value for key, value in asdict(self).items() if key != "name"}

    def __call__(
        self,
        classifier: AnyClassifier,
        images: Tensor,
        labels: Tensor,
        threat: Threat,
        generator: torch.Generator,
        *,
        targets: Tensor | None = None,
        batch_size: int = 500,
        progress: Progress | None = None,
    ) -> AttackResult:
        """Attack every image that the classifier gets right.

        Args:
            classifier: attacked in eval mode, and left exactly as it was found.
            images: float32 [B, C, H, W] in [0, 1].
            labels: int64 [B].
            threat: norm and ε; every success is checked against it before it counts.
            generator: source of the random starts, drawn for the whole set in its order.
            targets: int64 [B]; the attack then succeeds only where the target is predicted.
            batch_size: images per pass; halved when memory runs out.
            progress: where the bar goes.

        Raises:
            UserError: for unusable images, labels or targets, a network that gives no finite logits [B, K],
                or the DLR loss with fewer than 3 classes.

        Warns:
            ProbabilitiesWarning: for a network that gives probabilities; their logarithm is attacked.
        """
        check_inputs(classifier, images, labels, targets)
        check_batch_size(batch_size)
        losses = losses_of(self.loss)
        if "dlr" in losses and classifier.num_classes < 3:
            raise UserError("the DLR loss needs at least 3 classes; use margin")
        images = images.detach()
        broken_by = torch.full_like(labels, -1)
        unflagged = torch.zeros_like(labels, dtype=torch.bool)
        result = AttackResult(
            adversarial=images.clone(),
            step=broken_by,
            restart=broken_by.clone(),
            zero_gradient=unflagged,
            zero_gradient_float32=unflagged.clone(),
            loss=torch.empty(0),
        )
        # With ε = 0 there is nothing but the images; a network that draws would fool itself by looking again.
        restarts = self.restarts if threat.radius > 0 else 0
        # An untargeted attack that starts at the images sees them clean in the first look of the loop.
        clean_look = self.random_start or targets is not None or restarts == 0
        total = clean_look + restarts * (self.steps + 1)
        with (
            evaluating(classifier),
            frozen(classifier),
            channels_last(classifier) as plain_layout,
            random_state_kept(generator.initial_seed()),
            counting(classifier) as passes,
            (progress or Progress()).task(self.name, total) as task,
        ):
            network = Network(
                classifier,
                classifier.num_classes,
                _raised(losses[0], targets),
                targets is not None,
                images_per_pass(images, batch_size),
                task,
                plain_layout=plain_layout,
            )
            everyone = torch.arange(len(images), device=images.device)
            goals = labels if targets is None else targets
            run = _Run(self, network, images, goals, threat, everyone, result)
            if clean_look:
                wrong = network.look(images, labels, gradient=False).predicted != labels
                result.step[wrong] = 0
                run.alive = everyone[~wrong]
            for restart in range(restarts):
                name = losses[restart % len(losses)]
                network.objective = _raised(name, targets)
                start = threat.random_start(images, generator) if self.random_start else images
                run.restart(restart, start, name if targets is None else None)
        result.forwards, result.backwards = passes.forwards, passes.backwards
        if network.probabilities:
            result.notes.append(probabilities.NOTE)
            probabilities.warn()
        return result


@dataclass
class _Run:
    """One call of an attack: what it works on [B, …], who is still right, and what it has found."""

    attack: Attack
    network: Network
    images: Tensor
    goals: Tensor
    threat: Threat
    alive: Tensor
    result: AttackResult

    def restart(self, number: int, start: Tensor, loss: str | None) -> None:
        """Steps from `start` [B, C, H, W] for the images that are still right; `loss` serves to guess who falls."""
        attack, network, result = self.attack, self.network, self.result
        length = step_length(attack.step_size, attack.steps, self.threat)
        alive = self.alive
        origin, points, aims = self.images[alive], start[alive], self.goals[alive]
        trace = origin.new_zeros(attack.steps + 1, len(self.images))
        expected: Tensor | None = None
        for iteration in range(attack.steps + 1):
            network.note = f"robust {len(alive) / len(self.images):.1%}"
            if len(alive) == 0:
                if network.task is not None:
                    network.task.advance(attack.steps + 1 - iteration, network.note)
                break
            seen = network.look(points, aims, gradient=iteration < attack.steps, expected=expected)
            trace[iteration, alive] = losses = seen.losses
            margins, gradient = seen.margins, seen.gradient
            hits = network.fooled(seen.predicted, aims).nonzero().squeeze(1)
            # Box and ball are checked here, whatever the steps made.
            hits = hits[self.threat.allows(points[hits], origin[hits])] if len(hits) else hits
            if len(hits):
                taken = alive[hits]
                result.adversarial[taken] = points[hits]
                result.step[taken] = iteration
                result.restart[taken] = number if attack.random_start or iteration else -1
                stay = torch.ones_like(alive).index_fill_(0, hits, 0).nonzero().squeeze(1)
                alive, origin, points, aims, losses, margins, gradient = (
                    part[stay] for part in (alive, origin, points, aims, losses, margins, gradient)
                )
            if iteration == number == 0:
                flat = is_zero(gradient)
                result.zero_gradient_float32[alive] = flat
                result.zero_gradient[alive[flat]] = network.is_zero_in_double(points[flat], aims[flat])
            if iteration < attack.steps:
                before, points = points, ascend(points, gradient, origin, self.threat, length)
                if loss is not None:
                    gains = (gradient * (points - before)).flatten(1).sum(dim=1)
                    expected = forecast(loss, losses, margins, gains)
                    if 4 * int(expected.sum()) < len(expected):
                        expected = None  # too few for a pass of their own
        result.adversarial[alive] = points
        result.loss = trace[:, alive].mean(dim=1).cpu() if len(alive) else torch.empty(0)
        self.alive = alive


def _raised(loss: str, targets: Tensor | None) -> Objective:
    """What the attack raises: the loss of the labels, or minus the loss of the targets."""
    objective = LOSSES[loss]
    return objective if targets is None else lambda logits, classes: -objective(logits, classes)


#: The attacks of the battery, by name.
ATTACKS: Mapping[str, Attack] = {
    attack.name: attack
    for attack in (
        Attack("fgsm", steps=1, random_start=False),
        Attack("bim", steps=5, random_start=False),
        Attack("pgd20", steps=20),
        Attack("pgd100", steps=100),
        Attack("cw", steps=10, loss="margin"),
        Attack("cw100x5", steps=100, loss="margin", restarts=5),
        # Where cross-entropy has no gradient left, these two losses have one.
        Attack("adaptive", steps=50, loss="margin+scaled-ce", restarts=4),
    )
}
