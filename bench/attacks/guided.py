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


@dataclass
class Found:
    """What an attack found.

    Attributes:
        adversarial: [B, C, H, W]; the image itself where nothing was found.
        broken: bool [B]; misclassified within the threat, as the judge sees it.
    """

    adversarial: Tensor
    broken: Tensor

    @classmethod
    def nothing(cls, images: Tensor) -> "Found":
        """Before any attack."""
        return cls(images.detach().clone(), torch.zeros(len(images), dtype=torch.bool, device=images.device))

    def put(self, rows: Tensor, points: Tensor, hit: Tensor) -> None:
        """Keep those of the points [b, C, H, W] of these rows [b] that were a hit [b]."""
        self.adversarial[rows[hit]] = points[hit]
        self.broken[rows[hit]] = True


@dataclass(frozen=True)
class Guided:
    """Projected gradient descent along the gradient of a guide.

    A step is 4·ε/steps long in the first half, and falls to a tenth of that until the end, so that all steps
    together cross the ball. Losses take turns, each from a random start, on the images that are not broken yet.

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
        judge: Judge,
        images: Tensor,
        labels: Tensor,
        threat: Threat,
        generator: torch.Generator,
    ) -> Found:
        """Attack one batch.

        Args:
            guide: images to logits, in eval mode; in any precision.
            judge: decides which iterates count.
            images, labels: float32 [B, C, H, W] in [0, 1] and int64 [B].
            threat: norm and ε; checked for every iterate that counts.
            generator: of the random starts.
        """
        found = Found.nothing(images)
        length = 4 * threat.radius / self.steps
        for loss in self.losses:
            start = threat.random_start(images, generator)
            rows = (~found.broken).nonzero().squeeze(1)
            points = start[rows]
            for step in range(1, self.steps + 1):
                if len(rows) == 0:
                    break
                share = max(0.0, 2 * step / self.steps - 1)
                points = self._step(
                    guide, points, images[rows], labels[rows], threat, length * 0.1**share, loss
                )
                if step % self.every == 0 or step == self.steps:
                    hit = judge(points, labels[rows]) & threat.allows(points, images[rows])
                    found.put(rows, points, hit)
                    rows, points = rows[~hit], points[~hit]
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
