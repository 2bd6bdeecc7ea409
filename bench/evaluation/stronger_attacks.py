"""The checks that a raised alarm calls for: each attacks in a way that what hinders the battery does not hinder.

They have more steps and restarts, other gradients, no gradient at all, or a larger ball.

Source: Carlini et al. 2019, On Evaluating Adversarial Robustness, section 4; Athalye et al. 2018, sections 3.1 and
4; Tramèr et al. 2020, On Adaptive Attacks to Adversarial Example Defenses.
"""

from collections.abc import Mapping
from typing import cast

import numpy as np
from torch import Tensor

from bench.attacks import Attack
from bench.attacks.guided import Found, Guided
from bench.attacks.stand_in import StandIn, Unsupported
from bench.core.classifier import AnyClassifier
from bench.core.names import SUSPICIOUS
from bench.core.passes import counting
from bench.core.record import Score
from bench.core.threat import Threat
from bench.evaluation.check import MOST_IMAGES, Batch, Check, surviving_checks, surviving_images
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable

WORST = SUSPICIOUS + "worst_case"
UNBOUNDED = SUSPICIOUS + "unbounded"

MORE_STEPS = Attack("pgd500", steps=500)
MORE_RESTARTS = Attack("margin100x10", steps=100, loss="margin", restarts=10)
OTHER_LOSS = Attack("margin100", steps=100, loss="margin")


class StrongerAttack(Check):
    """An attack with more steps or restarts than the battery's, or with another loss."""

    def __init__(
        self,
        attack: Attack,
        images: int = MOST_IMAGES,
        name: str = "",
        *,
        random: bool = False,
        alone: bool = False,
    ) -> None:
        super().__init__(name or attack.name, images, random=random, alone=alone)
        self.attack = attack

    def find(self, batch: Batch) -> Tensor:
        """By the attack, on the mean of several passes where the output is random."""
        # An attack uses a network's logits, input shape and number of classes, which a guide has as well.
        guide, size = cast(AnyClassifier, batch.answers.guide()), batch.evaluation.batch_size
        return self.attack(guide, *batch.task(), batch_size=size).adversarial

    def cost(self) -> tuple[int, int]:
        """All steps of all restarts."""
        steps = self.attack.steps * self.attack.restarts * self.mean_of
        return steps + self.attack.restarts + self.votes, steps


class LargerBall(StrongerAttack):
    """The margin attack at 4·ε, or bounded by the pixel box alone, where a sound attack breaks every image."""

    within_threat = False

    def __init__(
        self, name: str, images: int = MOST_IMAGES, *, random: bool = False, alone: bool = False
    ) -> None:
        super().__init__(OTHER_LOSS, images, name, random=random, alone=alone)

    def threat(self, evaluation: Evaluation) -> Threat:
        """The larger ball."""
        threat = evaluation.threat
        if self.name != UNBOUNDED:
            return threat.scaled(4)
        radius = 1 if threat.norm == "linf" else int(np.ceil(evaluation.images[0].numel() ** 0.5))
        return Threat(threat.norm, str(radius))


class MeanAttack(Check):
    """The margin and the cross-entropy of the mean of twenty passes, for networks with a random output.

    Source: Athalye et al. 2018, section 4.2 (expectation over transformation).
    """

    attack = Guided(steps=60, losses=("margin", "ce"), every=20)

    def __init__(self, images: int = MOST_IMAGES, *, alone: bool = False) -> None:
        super().__init__("eot", images, random=True, alone=alone)

    def find(self, batch: Batch) -> Tensor:
        """Along the gradient of the mean."""
        return self.attack(batch.answers.guide(), batch.answers.degree, *batch.task()).adversarial

    def cost(self) -> tuple[int, int]:
        """All steps with both losses, and the votes."""
        steps = self.attack.steps * len(self.attack.losses) * self.mean_of
        return steps + (self.attack.judged() + 1) * self.votes, steps


class StandInAttack(Check):
    """Attacks along the gradient of stand-ins with the network's answers and a backward pass that goes through.

    Those of `straight_through` have the identity in place of operations without a gradient (BPDA); then also in
    place of what is done to the images; then wider activations. Those of `float64` compute in float64, in which
    gradients do not underflow: first the network's own output, then inner logits. Where the output is random,
    the mean of twenty passes is differentiated (EOT).

    Args:
        double: float64 instead of the identity.
        images, random, alone: as for every check.
    """

    attack = Guided(steps=100, losses=("margin", "scaled-ce"))

    def __init__(
        self, double: bool, images: int = MOST_IMAGES, *, random: bool = False, alone: bool = False
    ) -> None:
        super().__init__("float64" if double else "straight_through", images, random=random, alone=alone)
        if random:
            self.attack = Guided(steps=100, losses=("margin", "ce") * 2, every=20)
        self.ways: list[dict[str, bool]] = [{}, {"always": True}, {"always": True, "soft": True}]
        if double:
            self.ways = [{"double": True, "inner": False}, {"double": True}]

    def find(self, batch: Batch) -> Tensor:
        """Along the gradient of one stand-in after the other.

        Raises:
            NotMeasurable: when no stand-in can be made of the network.
        """
        total, reasons, network = Found.nothing(batch.images), [], batch.evaluation.classifier
        for way in self.ways:
            rows = (~total.sure).nonzero().squeeze(1)
            try:
                stand_in = StandIn(network, batch.evaluation.images, **way)
            except Unsupported as error:
                reasons.append(str(error))
                continue
            if len(rows) and (stand_in.saturates or "soft" not in way):
                guide = batch.answers.guide(stand_in)
                found = self.attack(guide, batch.answers.degree, *batch.task(rows))
                total.put(rows, found.adversarial, found.degree)
        if len(reasons) == len(self.ways):
            raise NotMeasurable(f"no stand-in for the network's gradient: {reasons[0]}")
        return total.adversarial

    def cost(self) -> tuple[int, int]:
        """All steps with all losses along every stand-in; the last one has none where no activation saturates."""
        ways = len(self.ways)
        steps = ways * self.attack.steps * len(self.attack.losses) * self.mean_of
        return steps + (ways * self.attack.judged() + 1) * self.votes, steps


class Transfer(Check):
    """Adversarial images of a standardly trained network, given to this one.

    Args:
        standard: the network that is attacked.
        images, random, alone: as for every check.
    """

    attack = Guided(steps=100, losses=("ce", "margin"))

    def __init__(
        self, standard: AnyClassifier, images: int = MOST_IMAGES, *, random: bool = False, alone: bool = False
    ) -> None:
        super().__init__("transfer", images, random=random, alone=alone)
        self.standard = standard
        if random:
            self.attack = Guided(steps=100, losses=("ce", "margin"), every=50)

    def find(self, batch: Batch) -> Tensor:
        """By iterates of PGD-100 on the standard network, with cross-entropy or with the margin."""
        with counting(self.standard, batch.evaluation.passes):
            return self.attack(self.standard, batch.answers.degree, *batch.task()).adversarial

    def cost(self) -> tuple[int, int]:
        """All steps of both losses through the standard network, and every judged iterate through this one."""
        steps = self.attack.steps * len(self.attack.losses)
        return steps + (self.attack.judged() + 1) * self.votes, steps


class WorstCaseAfterChecks(Metric):
    """Share of the images that survive the battery and every check within the threat.

    Args:
        images: as for the checks.
    """

    name = WORST

    def __init__(self, images: int = MOST_IMAGES) -> None:
        self.images = images

    def measure(self, evaluation: Evaluation) -> Arrays:
        """For each image whether it survives the battery, and whether it survives the checks too: both [n]."""
        before = surviving_images(evaluation, self.images)
        return {"before": before, "right": surviving_checks(evaluation, self.images)}

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Robust accuracy with its interval, and that on the same images without the checks."""
        n = len(arrays["before"])
        reason = f"{arrays['before'].mean():.1%} on the same {n} images without the extra checks"
        return {self.name: self.proportion(arrays["right"], reason)}
