"""HopSkipJump: an attack that uses the predicted class alone.

Numbers in the comments are the steps of algorithm 2 of the paper, for all images of a batch at once:

(1) Start at an image that is misclassified.
(2) Move to the boundary on the way to the image under attack, by bisection.
(3) Estimate the direction of the boundary's normal there from the classes of random points around.
(4) Step along it, half as far until the point is misclassified; go on from (2).

We depart from the paper in three points: (a) the start is the nearest misclassified image among some of other
classes; (b) an image ends as soon as its point lies within the threat; (c) the number of random points stays
the same from iteration to iteration.

Source: Chen, Jordan & Wainwright 2020, HopSkipJumpAttack: A Query-Efficient Decision-Based Attack.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.guided import Found, Judge
from bench.attacks.steps import normalized
from bench.core.threat import Threat

#: Images of other classes among which the start of an image is looked for.
STARTS = 20
#: Halvings of an interval, and of a step.
HALVINGS = 12
#: Pixels of all probes that are in memory at once.
MOST_VALUES = 2**25


@dataclass(frozen=True)
class HopSkipJump:
    """The attack.

    Args:
        iterations: moves to the boundary, at most.
        probes: random points from which a normal is estimated.
    """

    iterations: int = 30
    probes: int = 100

    def judged(self) -> int:
        """How often the judge sees an image that is never broken, at most."""
        return STARTS + HALVINGS + self.iterations * (self.probes + 2 * HALVINGS)

    def __call__(
        self,
        judge: Judge,
        images: Tensor,
        labels: Tensor,
        threat: Threat,
        generator: torch.Generator,
        others: Tensor,
    ) -> Found:
        """Attack one batch.

        Args:
            judge: decides which points are misclassified.
            images, labels: float32 [B, C, H, W] in [0, 1] and int64 [B].
            threat: norm and ε.
            generator: of every draw, on the CPU.
            others: images [m, C, H, W] to start from, of any class.
        """
        found = Found.nothing(images)
        points, started = self._starts(judge, images, labels, threat, generator, others)
        rows = started.nonzero().squeeze(1)
        points = points[rows]
        for iteration in range(self.iterations + 1):
            # (2)
            points = _to_boundary(judge, points, images[rows], labels[rows], threat)
            hit = threat.allows(points, images[rows])
            found.put(rows, points, hit)
            rows, points = rows[~hit], points[~hit]
            if len(rows) == 0 or iteration == self.iterations:
                break
            # (3) and (4)
            distance = threat.distance(points, images[rows]).to(points.dtype)
            normal = self._normal(judge, points, labels[rows], distance, threat, generator)
            points = _step(judge, points, labels[rows], normal, distance / (iteration + 1) ** 0.5)
        return found

    def _starts(
        self,
        judge: Judge,
        images: Tensor,
        labels: Tensor,
        threat: Threat,
        generator: torch.Generator,
        others: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """(1) The nearest misclassified start of each image, and whether there is one."""
        best, nearest = images.clone(), torch.full((len(images),), torch.inf, device=images.device)
        for _ in range(STARTS):
            chosen = others[torch.randint(len(others), (len(images),), generator=generator).to(others.device)]
            distance = threat.distance(chosen, images).to(nearest.dtype)
            better = judge(chosen, labels) & (distance < nearest)
            best[better], nearest[better] = chosen[better], distance[better]
        return best, nearest.isfinite()

    def _normal(
        self,
        judge: Judge,
        points: Tensor,
        labels: Tensor,
        distance: Tensor,
        threat: Threat,
        generator: torch.Generator,
    ) -> Tensor:
        """The direction in which points become misclassified [B, C, H, W], estimated from their neighbors."""
        size, pixels = len(points), points[0].numel()
        # As far as the boundary may bend: a share of the distance that shrinks with the number of pixels.
        reach = (distance / pixels**0.5).clamp_min(1e-3).view(-1, 1, 1, 1)
        signs, moves, signed = (torch.zeros_like(reach), torch.zeros_like(points), torch.zeros_like(points))
        at_once = max(1, MOST_VALUES // points.numel())
        for start in range(0, self.probes, at_once):
            count = min(at_once, self.probes - start)
            shape = (count * size, *points.shape[1:])
            noise = (
                torch.rand(shape, generator=generator) * 2 - 1
                if threat.norm == "linf"
                else torch.randn(shape, generator=generator)
            ).to(points)
            middle = points.repeat(count, 1, 1, 1)
            near = (middle + reach.repeat(count, 1, 1, 1) * normalized(noise)).clamp(0, 1)
            sign = judge(near, labels.repeat(count)).to(points.dtype).view(-1, 1, 1, 1) * 2 - 1
            moved = near - middle
            signs += sign.view(count, *reach.shape).sum(dim=0) / self.probes
            moves += moved.view(count, *points.shape).sum(dim=0) / self.probes
            signed += (sign * moved).view(count, *points.shape).sum(dim=0) / self.probes
        # Without their mean, the signs say more; where all agree, the mean is all they say.
        direction = torch.where(signs.abs() < 1 - 1e-6, signed - signs * moves, signed)
        return direction.sign() if threat.norm == "linf" else normalized(direction)


def _step(judge: Judge, points: Tensor, labels: Tensor, normal: Tensor, length: Tensor) -> Tensor:
    """The farthest misclassified point along the normal among steps of length, length/2, …; else the point."""
    moved, left = points.clone(), torch.ones(len(points), dtype=torch.bool, device=points.device)
    length = length.clone()
    for _ in range(HALVINGS):
        rows = left.nonzero().squeeze(1)
        if len(rows) == 0:
            break
        tried = (points[rows] + length[rows].view(-1, 1, 1, 1) * normal[rows]).clamp(0, 1)
        hit = judge(tried, labels[rows])
        moved[rows[hit]] = tried[hit]
        left[rows[hit]] = False
        length[rows] /= 2
    return moved


def _to_boundary(judge: Judge, points: Tensor, origin: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    """The misclassified point nearest to the origin on the way there, by bisection [B, C, H, W].

    On the way, the ball around the origin shrinks: in ℓ2 along a line, in ℓ∞ by cutting pixels.
    """
    distance = threat.distance(points, origin).to(points.dtype)
    low, high = torch.zeros_like(distance), torch.ones_like(distance)
    best = points.clone()
    # Where the threat's own ball suffices, no nearer point is needed.
    inside = (threat.radius / distance.clamp_min(1e-12)).clamp_max(1.0)
    for number in range(HALVINGS):
        middle = inside if number == 0 else (low + high) / 2
        tried = _shrunk(points, origin, middle, distance, threat)
        hit = judge(tried, labels)
        best[hit] = tried[hit]
        high, low = torch.where(hit, middle, high), torch.where(hit, low, middle)
    return best


def _shrunk(points: Tensor, origin: Tensor, share: Tensor, distance: Tensor, threat: Threat) -> Tensor:
    delta = points - origin
    if threat.norm == "l2":
        return origin + share.view(-1, 1, 1, 1) * delta
    bound = (share * distance).view(-1, 1, 1, 1)
    return origin + delta.clamp(-bound, bound)
