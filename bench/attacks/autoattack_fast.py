"""AutoAttack's own loops with the passes left out that cannot change an outcome.

The attacks of `pyautoattack` run as they are; what is changed is what they call.

APGD: nothing is drawn after a run's start, and every image has a step size and a best point of its own. So a broken
image can leave the run, and the iterates of the others stay what they were.

Square in ℓ∞: a candidate becomes the new point if its margin is smaller than every margin before, or not positive.
A candidate that was classified before fails both, so it is not classified again. All values of a candidate are the
bounds of its pixels, and a square that is drawn twice, or lies where its colour is already, gives the same one.
"""

from typing import Any

import torch
from torch import Tensor

from bench.attacks.autoattack_suite import SuiteNetwork
from bench.core.checks import SAME_LOGITS


def spare_passes(suite: Any) -> None:
    """Let APGD and, in ℓ∞, Square leave out the passes that cannot change which images they break.

    The version "rand" takes the mean of many passes, which differ, and keeps them all.
    """
    for apgd in (suite.apgd, suite.apgd_targeted):
        if apgd.eot_iter == 1:
            _Leaving(apgd)
    if suite.square.norm == "Linf":
        _Seen(suite.square)


class _AllBroken(Exception):
    """Ends a run of APGD in which no image is left."""


class _Leaving:
    """Run APGD with a network that classifies no image again once it is misclassified.

    An image leaves when another logit exceeds its own by more than rounding, so that it is misclassified in other
    batches too. Its gradient is zero from then on, and its misclassified point is kept.
    """

    def __init__(self, apgd: Any) -> None:
        self._apgd, self._run = apgd, apgd.attack_single_run
        apgd.attack_single_run = self.attack_single_run

    def attack_single_run(
        self, images: Tensor, labels: Tensor, start: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """As the package's: points of the highest loss, whether each is right, the loss, adversarial images."""
        network: SuiteNetwork = self._apgd.model
        self._network, self._labels = network, labels
        self._points, self._logits = images.clone(), images.new_zeros(0)
        self._broken = torch.zeros_like(labels, dtype=torch.bool)
        self._apgd.model = self
        try:
            best, right, loss, found = self._run(images, labels, start)
        except _AllBroken:
            return self._points, ~self._broken, None, self._points
        finally:
            self._apgd.model = network
        found[self._broken] = self._points[self._broken]
        return best, right, loss, found

    def __call__(self, images: Tensor) -> Tensor:
        """Logits float32 [B, K]: those of the images that are left, and for others those that they left with."""
        if not self._broken.any():
            rows = torch.arange(len(images), device=images.device)
            answer = logits = self._network(images)
            self._logits = logits.detach().clone()
        else:
            rows = (~self._broken).nonzero().squeeze(1)
            if not len(rows):
                raise _AllBroken
            logits = self._network(images[rows])
            answer = self._logits.index_put((rows,), logits)
        logits = logits.detach()
        own = logits.gather(1, self._labels[rows, None]).squeeze(1)
        hit = logits.amax(dim=1) - own > SAME_LOGITS * logits.abs().amax(dim=1)
        self._logits[rows[hit]] = logits[hit]
        self._points[rows[hit]] = images.detach()[rows[hit]]
        self._broken[rows[hit]] = True
        return answer


class _Seen:
    """Run Square with a margin that is infinite for what was classified before."""

    def __init__(self, square: Any) -> None:
        self._run, self._margin = square.attack_single_run, square.margin_and_loss
        square.attack_single_run = self.attack_single_run
        square.margin_and_loss = self.margin_and_loss

    def attack_single_run(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """As the package's: how many queries each image took, and its last point."""
        draw = torch.Generator().manual_seed(0)
        size = images[0].numel()
        self._weights = torch.randint(-(2**63), 2**63 - 1, (size,), generator=draw).to(images.device)
        self._seen: list[set[int]] = [set() for _ in images]
        self._left = list(range(len(images)))
        queries, points = self._run(images, labels)
        return queries, points

    def margin_and_loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """As the package's, of the images whose margin is positive so far: margin [b], twice."""
        keys = self._keys(images)
        new = [key not in self._seen[row] for row, key in zip(self._left, keys, strict=True)]
        for row, key in zip(self._left, keys, strict=True):
            self._seen[row].add(key)
        # Not infinity, which the package multiplies by zero.
        margin = torch.full((len(images),), torch.finfo(torch.float32).max, device=images.device)
        if any(new):
            fresh = torch.tensor(new, device=images.device)
            margin[fresh] = self._margin(images[fresh], labels[fresh])[0]
        self._left = [
            row for row, positive in zip(self._left, (margin > 0).tolist(), strict=True) if positive
        ]
        return margin, margin.clone()

    def _keys(self, images: Tensor) -> list[int]:
        """A hash of each image: two different ones share theirs with a chance below 2^-42."""
        bits = images.flatten(1).contiguous().view(torch.int32).long()
        # So that what differs in the highest bits alone differs in the lowest too.
        return ((bits ^ (bits >> 23)) * self._weights).sum(dim=1).tolist()
