"""The major-region regularizer: `prs` without its Hamming term."""

from dataclasses import dataclass
from typing import ClassVar

from defenses.base import Objective, Training
from defenses.prs import RegionDefense, RegionObjective


@dataclass(frozen=True, kw_only=True)
class MR(RegionDefense):
    """Train, then pull features to the mean of their major region (Park et al. 2022, arXiv 2207.03400, λ3 = 0).

    Idea: as for `prs`, with the distance in feature space alone.
    Formula: after the warm-up λ1·L_CE + λ2·L_MRV, with the final layer frozen.
    Defaults: λ = (0.2, 0.8).
    Cost: 3 forward units a step, and one pass over the training set.
    Known weakness: as for `prs`; features near their mean do not constrain the neighborhood of the image.
    """

    name: ClassVar[str] = "mr"

    def objective(self, training: Training) -> Objective:
        """Cross-entropy first, then both terms."""
        return RegionObjective(training, self)
