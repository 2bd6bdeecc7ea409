"""FGSM, BIM, PGD and C&W-margin: one loop with different settings.

Numbers in the comments are the steps of projected gradient descent:

(1) Start at a uniform point of the ball around x (PGD), or at x itself (FGSM, BIM).
(2) Take the input gradient g of the loss.
(3) Step to x + α·sign(g) for ℓ∞, to x + α·g/‖g‖₂ for ℓ2.
(4) Project onto the ball; repeat from (2).
(5) Classify the last iterate.

We depart from the paper in five points:

(a) Every iterate is classified, not only the last one. This needs no pass of its own: the forward pass that gives
    the gradient of the next step also gives the class. The first adversarial iterate is kept, and its image leaves
    the batch. A surviving image costs one forward and one backward pass per step.
(b) Iterates that are expected to be misclassified are classified before they are differentiated, which saves their
    backward pass. A wrong forecast costs a forward pass and changes no result.
(c) Iterates also stay in the pixel box [0, 1].
(d) Restarts may take several losses in turn.
(e) An image whose iterates repeat takes no further steps (`bench.attacks.cycles`): its last iterate is known.

Source: Madry et al. 2018, Towards Deep Learning Models Resistant to Adversarial Attacks, section 2.1. With one step
and no random start it is FGSM (Goodfellow et al. 2015); with several steps, BIM (Kurakin et al. 2017). The loss
"margin" is that of Carlini & Wagner 2017 (f₆ of section V-A), without their κ and their penalty on the distance.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import torch
from torch import Tensor

from bench.attacks import probabilities
from bench.attacks.cycles import Cycles
from bench.attacks.losses import LOSSES, Objective, forecast, losses_of
from bench.attacks.oracle import GradientOracle
from bench.attacks.settings import SETTINGS
from bench.attacks.steps import StepSize, ascend, step_length
from bench.core.checks import check_batch_size, check_inputs, images_per_pass
from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError
from bench.core.gradients import is_zero
from bench.core.guards import channels_last, evaluating, frozen, random_state_kept
from bench.core.passes import counting
from bench.core.progress import Progress
from bench.core.record import Value
from bench.core.threat import Threat


@dataclass
class AttackResult:
    """The outcome of an attack on every image.

    Attributes:
        adversarial: [B, C, H, W]; the first misclassified iterate, or the last iterate where all are classified
            correctly, or the image itself where it is misclassified without attack.
        step: int64 [B]; the iteration that broke the image, 0 for the clean image or the start, −1 for survivors.
        restart: int64 [B]; the restart that broke the image, −1 for survivors and for images misclassified without
            attack.
        zero_gradient: bool [B]; whether the first input gradient was exactly zero, in float32 and again in float64.
        zero_gradient_float32: bool [B]; the same in float32 alone, where a saturated softmax underflows.
        loss: [steps + 1] on the CPU; the maximized loss at each iteration, averaged over the survivors of the last
            restart; empty when no image survived.
        notes: remarks on the result, for readers.
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

    @classmethod
    def before(cls, images: Tensor) -> "AttackResult":
        """The result before any attack: every image survives unchanged."""
        survived = torch.full((len(images),), -1, dtype=torch.int64, device=images.device)
        no_flag = torch.zeros_like(survived, dtype=torch.bool)
        return cls(images.clone(), survived, survived.clone(), no_flag, no_flag.clone(), loss=torch.empty(0))

    @property
    def broken(self) -> Tensor:
        """Images misclassified within the threat at any iterate, or without attack: bool [B]."""
        return self.step >= 0


@dataclass(frozen=True)
class Attack:
    """An iterative gradient attack.

    Images do not influence each other: batch size and memory layout change nothing but rounding, unless the network
    is stochastic. The random numbers of a stochastic network come from a global state that is seeded for the
    attack: the same call gives the same result, but another batch size may give another one.

    Args:
        name: its name in tables.
        steps: gradient steps, at least 1.
        step_size: see `step_length`.
        loss: "ce", "margin" (C&W), "dlr" or "scaled-ce"; or several joined by "+", used by the restarts in turn.
        random_start: start from a uniform point of the ball instead of the image.
        restarts: independent runs; an image broken by one of them is not attacked again.

    Raises:
        UserError: for invalid settings.
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
        """All fields but the name, as stored in a record."""
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
        bf16: bool = False,
        progress: Progress | None = None,
    ) -> AttackResult:
        """Attack every image that is correctly classified.

        Args:
            classifier: attacked in eval mode, and left exactly as it was found.
            images: float32 [B, C, H, W] in [0, 1].
            labels: int64 [B].
            threat: norm and ε; a success counts only after it was checked against them.
            generator: source of the random starts, drawn for all images in order.
            targets: int64 [B]; with targets, the attack succeeds only where the target is predicted.
            batch_size: images per pass; halved when memory runs out.
            bf16: take the passes with a gradient under bfloat16 autocast, for outcomes that no record shows. A
                success counts only where float32 misclassifies the image too; no gradient is looked at for zeros.
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
        # With ε = 0 the ball is the image. Another pass would give an attack on a stochastic network a second try.
        restarts = self.restarts if threat.radius > 0 else 0
        # An untargeted attack that starts at the images classifies the clean ones in its first query.
        clean_pass = self.random_start or targets is not None or restarts == 0
        total = clean_pass + restarts * (self.steps + 1)
        with (
            evaluating(classifier),
            frozen(classifier),
            channels_last(classifier) as plain_layout,
            random_state_kept(generator.initial_seed()),
            counting(classifier) as passes,
            (progress or Progress()).task(self.name, total) as task,
        ):
            oracle = GradientOracle(
                classifier,
                classifier.num_classes,
                _objective(losses[0], targets),
                targets is not None,
                images_per_pass(images, batch_size),
                task,
                plain_layout=plain_layout,
                bf16=bf16,
            )
            run = _Run(self, oracle, images, labels if targets is None else targets, threat)
            if clean_pass:
                run.drop_misclassified(labels)
            for restart in range(restarts):
                loss = losses[restart % len(losses)]
                oracle.objective = _objective(loss, targets)
                # (1) Start.
                start = threat.random_start(images, generator) if self.random_start else images
                run.restart(restart, start, loss if targets is None else None)
        result = run.result
        result.forwards, result.backwards = passes.forwards, passes.backwards
        if oracle.probabilities:
            result.notes.append(probabilities.NOTE)
            probabilities.warn()
        return result


class _Run:
    """One call of an attack.

    Attributes:
        classes: int64 [B]; the labels, or the targets of a targeted attack.
        active: positions of the images that are not broken yet.
        result: the result up to now.
    """

    def __init__(
        self, attack: Attack, oracle: GradientOracle, images: Tensor, classes: Tensor, threat: Threat
    ) -> None:
        self.attack, self.oracle, self.threat = attack, oracle, threat
        self.images, self.classes = images, classes
        self.active = torch.arange(len(images), device=images.device)
        self.result = AttackResult.before(images)

    def drop_misclassified(self, labels: Tensor) -> None:
        """Count images that are misclassified without attack as broken at step 0."""
        wrong = self.oracle.query(self.images, labels, gradient=False).predicted != labels
        self.result.step[wrong] = 0
        self.active = self.active[~wrong]

    def restart(self, number: int, start: Tensor, loss: str | None) -> None:
        """Take all steps from `start` [B, C, H, W] with the active images.

        Args:
            number: number of the restart, from 0.
            start: starting points of all images; only those of active images are used.
            loss: name of the loss, with which to forecast which steps succeed; None for no forecast.
        """
        attack, oracle, result = self.attack, self.oracle, self.result
        length = step_length(attack.step_size, attack.steps, self.threat)
        active = self.active
        origin, points, classes = self.images[active], start[active], self.classes[active]
        trace = origin.new_zeros(attack.steps + 1, len(self.images))
        cycles = Cycles(self.images, attack.steps)
        expected: Tensor | None = None
        for iteration in range(attack.steps + 1):
            oracle.note = f"robust {1 - float(result.broken.float().mean()):.1%}"
            if len(active) == 0:
                if oracle.task is not None:
                    oracle.task.advance(attack.steps + 1 - iteration, oracle.note)
                break
            # (2) Gradient; at the last iterate only (5) classification.
            response = oracle.query(points, classes, gradient=iteration < attack.steps, expected=expected)
            trace[iteration, active] = losses = response.losses
            margins, gradient = response.margins, response.gradient
            # Departure (a): keep adversarial iterates, and go on with the other images.
            hit = oracle.is_adversarial(response.predicted, classes)
            # Check box and ball here, independently of the projection.
            hit[hit.clone()] = self.threat.allows(points[hit], origin[hit])
            if oracle.bf16 and iteration < attack.steps and bool(hit.any()):
                hit[hit.clone()] = self.confirmed(points[hit], classes[hit])
            result.adversarial[active[hit]] = points[hit]
            result.step[active[hit]] = iteration
            result.restart[active[hit]] = number if attack.random_start or iteration else -1
            # Departure (e).
            at_end = cycles.find(iteration, points, margins) & ~hit
            result.adversarial[active[at_end]] = points[at_end]
            cycles.end(iteration, at_end, active[at_end])
            if bool((hit | at_end).any()):
                stay = (~hit & ~at_end).nonzero().squeeze(1)
                active, origin, points, classes, losses, margins, gradient = (
                    part[stay] for part in (active, origin, points, classes, losses, margins, gradient)
                )
                cycles.keep(stay)
            if iteration == number == 0 and not oracle.bf16:
                self.flag_zero_gradients(active, points, classes, gradient)
            if iteration < attack.steps:
                # (3) Step and (4) projection.
                before, points = points, ascend(points, gradient, origin, self.threat, length)
                if loss is not None:
                    # Departure (b).
                    gains = (gradient * (points - before)).flatten(1).sum(dim=1)
                    expected = forecast(loss, losses, margins, gains)
                    if 4 * int(expected.sum()) < len(expected):
                        expected = None  # too few for a separate pass
        result.adversarial[active] = points
        self.active = active = self.active[~result.broken[self.active]]
        result.loss = cycles.complete(trace)[:, active].mean(dim=1).cpu() if len(active) else torch.empty(0)

    def confirmed(self, points: Tensor, classes: Tensor) -> Tensor:
        """Whether points that bfloat16 finds adversarial are so in float32: bool [B]."""
        response = replace(self.oracle, task=None).query(points, classes, gradient=False)
        return self.oracle.is_adversarial(response.predicted, classes)

    def flag_zero_gradients(self, active: Tensor, points: Tensor, classes: Tensor, gradient: Tensor) -> None:
        """Flag active images whose first gradient is zero in float32, and in float64 as well."""
        zero = is_zero(gradient)
        self.result.zero_gradient_float32[active] = zero
        double = self.oracle.has_zero_gradient_in_float64(points[zero], classes[zero])
        self.result.zero_gradient[active[zero]] = double


def _objective(loss: str, targets: Tensor | None) -> Objective:
    """The objective of the attack: the loss of the labels, or minus the loss of the targets."""
    objective = LOSSES[loss]
    return objective if targets is None else lambda logits, classes: -objective(logits, classes)


#: The attacks of the battery, by name.
ATTACKS: Mapping[str, Attack] = {name: Attack(name, **settings) for name, settings in SETTINGS.items()}
