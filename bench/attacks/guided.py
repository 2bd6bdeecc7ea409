"""Attacks that follow the gradient of one network and are judged by another.

The guide may be a network trained on the same data (transfer), the mean of several passes (expectation over
transformation), or a stand-in with another backward pass (`bench.attacks.stand_in`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.attacks.losses import LOSSES
from bench.attacks.steps import ascend
from bench.core.gradients import input_gradient
from bench.core.threat import Threat

#: Which images [B, C, H, W] with labels [B] are misclassified: bool [B].
Judge = Callable[[Tensor, Tensor], Tensor]
#: How surely they are: float [B], above 0 where misclassified, and from `SURE` on where chance does not explain it.
Degree = Callable[[Tensor, Tensor], Tensor]
SURE = 1.0


@dataclass
class Found:
    """What an attack found.

    Attributes:
        adversarial: [B, C, H, W]; the image itself where nothing was found.
        degree: float [B]; how surely it is misclassified within the threat, as the judge sees it.
    """

    adversarial: Tensor
    degree: Tensor

    @classmethod
    def nothing(cls, images: Tensor) -> "Found":
        """Before any attack."""
        return cls(images.detach().clone(), torch.zeros(len(images), device=images.device))

    @property
    def broken(self) -> Tensor:
        """Which images are misclassified: bool [B]."""
        return self.degree > 0

    @property
    def sure(self) -> Tensor:
        """Which images are surely misclassified, so that no attack goes on with them: bool [B]."""
        return self.degree >= SURE

    def put(self, rows: Tensor, points: Tensor, degree: Tensor) -> None:
        """Keep those of the points [b, C, H, W] of these rows [b] that are more surely misclassified than before.

        Args:
            rows, points: which images, and their points.
            degree: of each point [b]; a hit or none where it is bool.
        """
        degree = degree.to(self.degree)
        better = degree > self.degree[rows]
        self.adversarial[rows[better]] = points[better]
        self.degree[rows[better]] = degree[better]


@dataclass(frozen=True)
class Guided:
    """Projected gradient descent along the gradient of a guide.

    A step is 4·ε/steps long in the first half, and falls to a tenth of that until the end, so that all steps
    together cross the ball. Losses take turns, each from a random start, on the images that are not surely broken
    yet: where votes decide, an image that a lucky vote broke is attacked further.

    Args:
        steps: for each loss.
        losses: names of `LOSSES`.
        every: the judge sees the iterate after so many steps, and the last one.
    """

    steps: int
    losses: Sequence[str]
    every: int = 10

    def judged(self) -> int:
        """How often the judge sees an image that is never broken."""
        return len(self.losses) * -(-self.steps // self.every)

    def __call__(
        self,
        guide: nn.Module,
        judge: Judge | Degree,
        images: Tensor,
        labels: Tensor,
        threat: Threat,
        generator: torch.Generator,
    ) -> Found:
        """Attack one batch.

        Args:
            guide: images to logits, in eval mode; in any precision.
            judge: decides which iterates count, and how surely.
            images, labels: float32 [B, C, H, W] in [0, 1] and int64 [B].
            threat: norm and ε; checked for every iterate that counts.
            generator: of the random starts.
        """
        found = Found.nothing(images)
        length = 4 * threat.radius / self.steps
        for loss in self.losses:
            start = threat.random_start(images, generator)
            rows = (~found.sure).nonzero().squeeze(1)
            points = start[rows]
            for step in range(1, self.steps + 1):
                if len(rows) == 0:
                    break
                share = max(0.0, 2 * step / self.steps - 1)
                points = self._step(
                    guide, points, images[rows], labels[rows], threat, length * 0.1**share, loss
                )
                if step % self.every == 0 or step == self.steps:
                    degree = judge(points, labels[rows]) * threat.allows(points, images[rows])
                    found.put(rows, points, degree)
                    left = ~found.sure[rows]
                    rows, points = rows[left], points[left]
        return found

    def _step(
        self,
        guide: nn.Module,
        points: Tensor,
        origin: Tensor,
        labels: Tensor,
        threat: Threat,
        length: float,
        loss: str,
    ) -> Tensor:
        with torch.enable_grad():
            # In float64, in which a gradient that underflows in float32 keeps its sign.
            traced = points.detach().double().requires_grad_()
            logits = guide(traced.to(getattr(guide, "dtype", torch.float32)))
            gradient = input_gradient(LOSSES[loss](logits, labels), traced)
        return ascend(points.double(), gradient, origin.double(), threat, length).to(origin.dtype)
