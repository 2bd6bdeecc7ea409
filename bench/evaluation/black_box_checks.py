"""The extra checks that use no gradient: only the logits, or the predicted class alone."""

from typing import cast

import torch
from torch import Tensor

from bench.attacks.autoattack_suite import FirstWarnings, SuiteNetwork, left_out, make_suite, perturb
from bench.attacks.hop_skip_jump import HopSkipJump
from bench.core.classifier import AnyClassifier
from bench.evaluation.check import MOST_IMAGES, Batch, Check
from metrics.evaluation import NotMeasurable


class Decision(Check):
    """HopSkipJump, which uses the predicted class alone; for outputs that hide how near the boundary is."""

    attack = HopSkipJump()

    def __init__(self, images: int = MOST_IMAGES, *, alone: bool = False) -> None:
        super().__init__("hop_skip_jump", images, alone=alone)

    def find(self, batch: Batch) -> Tensor:
        """From the nearest of some other test images."""
        others = batch.evaluation.images
        return self.attack(batch.answers.wrong, *batch.task(), others).adversarial

    def cost(self) -> tuple[int, int]:
        """All queries."""
        return self.attack.judged() + 1, 0


class MoreSquare(Check):
    """AutoAttack's Square with twice its queries and another seed, which uses no gradient.

    Source: Andriushchenko et al. 2020, Square Attack.
    """

    #: AutoAttack's take 5,000.
    queries = 10_000

    def __init__(self, images: int = MOST_IMAGES, *, alone: bool = False) -> None:
        super().__init__("square", images, alone=alone)

    @torch.no_grad()
    def find(self, batch: Batch) -> Tensor:
        """By random squares."""
        log = FirstWarnings("square")
        guide, threat = cast(AnyClassifier, batch.answers.guide()), batch.threat
        reasons = left_out(("square",), guide, threat)
        if reasons:
            raise NotMeasurable(reasons["square"])
        network, seed = SuiteNetwork(guide, log, None), batch.generator.initial_seed() % 2**31
        suite = make_suite(network, guide, threat, batch.images.device, seed, "standard", log)
        suite.square.n_queries = self.queries
        return perturb(suite, "square", batch.images, batch.labels, log)

    def cost(self) -> tuple[int, int]:
        """All queries."""
        return self.queries + 3, 0


class Noise(Check):
    """Random points of the ball, half of them uniform and half Gaussian, which need no gradient.

    Args:
        images: surviving images to attack, at most.
        draws: points for each image.
        alone: as for every check.
    """

    def __init__(self, images: int = MOST_IMAGES, draws: int = 200, *, alone: bool = False) -> None:
        super().__init__("noise", images, alone=alone)
        self.draws = draws

    @torch.no_grad()
    def find(self, batch: Batch) -> Tensor:
        """The first misclassified one of the points."""
        images, labels, threat, generator = batch.task()
        found, alive = images.clone(), torch.arange(len(images), device=images.device)
        for draw in range(self.draws):
            origin, right_labels = images[alive], labels[alive]
            if len(alive) == 0:
                break
            if draw % 2:
                spread = threat.radius if threat.norm == "linf" else threat.radius / origin[0].numel() ** 0.5
                noise = torch.randn(origin.shape, generator=generator).to(origin)
                points = threat.project(origin + spread * noise, origin)
            else:
                points = threat.random_start(origin, generator)
            hit = threat.allows(points, origin) & batch.answers.wrong(points, right_labels)
            found[alive[hit]] = points[hit]
            alive = alive[~hit]
        return found

    def cost(self) -> tuple[int, int]:
        """All draws."""
        return self.draws + 1, 0
