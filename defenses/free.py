"""Free adversarial training: one backward pass for the weights and for the perturbation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from bench.attacks import maximise
from bench.attacks.steps import ascend
from bench.core.classifier import Classifier
from defenses.at import scale_threat
from defenses.base import Defense, Objective, Training
from defenses.single_step import SingleStep
from defenses.space import Uniform


@dataclass(frozen=True, kw_only=True)
class Free(Defense):
    """Adversarial training at the cost of standard training (Shafahi et al. 2019, arXiv 1904.12843, algorithm 1).

    Idea: the backward pass of a training step also gives the gradient of the pixels, so every step attacks for
    free.
    Formula: each batch is replayed m times; a replay steps the weights with ∇_θ L_CE(f(x + δ), y) and the
    perturbation by δ ← δ + α·sign ∇_x of the same loss, projected onto the ball and the pixel box. δ starts at 0
    and is carried from replay to replay, batch to batch and epoch to epoch, its i-th entry to the i-th image.
    Defaults: m = 8, the paper's for CIFAR-10, and α = ε.
    Epochs: an epoch has as many steps as one of standard training, so it meets 1/m of the images; m epochs make one
    pass over them. The paper divides the number of epochs by m instead, for the same total.
    Cost: 3 forward units.
    Known weakness: a large m trains on few images between two looks at the others, and few epochs see an image
    seldom. Catastrophic overfitting is looked for as for `fast`.

    Attributes:
        replays: m, steps in a row on each batch.
        step_factor: α/ε.
        eps_factor: ε of the training attack divided by the threat's.
    """

    name: ClassVar[str] = "free"
    family: ClassVar[str] = "adversarial training"
    attacks: ClassVar[bool] = True

    replays: Annotated[int, Field(ge=1, le=100), Uniform(2, 10)] = 8
    step_factor: Annotated[float, Field(gt=0, le=2), Uniform(0.5, 2)] = 1.0
    eps_factor: Annotated[float, Field(gt=0, le=4), Uniform(0.5, 1.5)] = 1.0

    def objective(self, training: Training) -> Objective:
        """Cross-entropy on images with the carried perturbation."""
        return Replayed(training, self)


class Replayed(SingleStep):
    """L_CE on images with a perturbation that the backward pass of the loss moves on."""

    def __init__(self, training: Training, defense: Free) -> None:
        super().__init__(training)
        self.replays = defense.replays
        self.threat = scale_threat(training.threat, defense.eps_factor, defense.name)
        self.length = defense.step_factor * self.threat.radius
        images = training.train.images
        # The last batch of an epoch can have one image more. In place on a CUDA device, where a replayed graph
        # reads and writes it.
        self.perturbation = torch.zeros(training.batch_size + 1, *images.shape[1:], device=images.device)
        self._last: tuple[Tensor, Tensor] | None = None

    def attack(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The images [B, C, H, W] with the perturbation as the last step left it."""
        return (images + self.perturbation[: len(images)]).clamp(0, 1)

    def loss_on(self, classifier: Classifier, images: Tensor, attacked: Tensor, labels: Tensor) -> Tensor:
        """The scalar to minimize for images and attacked images [B, C, H, W] and labels [B]."""
        points = attacked.detach().requires_grad_()
        self._last = images, points
        return self.cross_entropy(classifier(points), labels)

    @torch.no_grad()
    def after_backward(self) -> None:
        """Move the perturbation of the images of the last loss along its gradient."""
        assert self._last is not None, "called after the backward pass of a loss"
        images, points = self._last
        self._last = None  # a captured step must find the state that it left
        assert points.grad is not None
        moved = ascend(points.detach(), points.grad, images, self.threat, self.length)
        self.perturbation[: len(images)] = moved - images

    def single_step(
        self, classifier: Classifier, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> Tensor:
        """One step of α from the images [B, C, H, W], for the report; training has no separate attack."""
        return maximise(
            classifier,
            images,
            labels,
            self.threat,
            generator,
            steps=1,
            step_size=self.length,
            random_start=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """The perturbation."""
        return {"perturbation": self.perturbation.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the perturbation."""
        self.perturbation.copy_(state["perturbation"])
