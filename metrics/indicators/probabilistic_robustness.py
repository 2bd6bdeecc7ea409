"""Accuracy under random perturbations of the ball."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from bench.core.errors import UserError
from bench.core.limits import exact_number
from bench.core.record import Score, Value
from bench.core.statistics import mean_score
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation


@dataclass(frozen=True, kw_only=True)
class ProbabilisticRobustness(Metric):
    """PR(γ): the probability that an image is classified correctly after a uniform perturbation of size up to γ.

    Mean over test images, with `samples` draws of each, uniform in the ball of radius γ = factor·ε and cut to
    the pixel box. `/accuracy` is the share of images that at least 1 − ρ of their draws leave correct.

    Args:
        images: number of test images, the first ones.
        samples: draws for each image.
        factor: γ/ε.
        rho: ρ, the share of draws that may be misclassified.

    Raises:
        UserError: for fewer than 1 image or draw, a factor that is not above 0, or ρ outside [0, 1).

    Source: Robey et al. 2022, Probabilistically Robust Learning, arXiv 2202.01136, section 3 (ρ and the accuracy).
    """

    name = "probabilistic_robustness"
    titles = {"probabilistic_robustness": "Probabilistic robustness"}
    batteries = {"indicators": {}}

    images: int = 200
    samples: int = 100
    factor: str = "1"
    rho: float = 0.1

    def __post_init__(self) -> None:
        if min(self.images, self.samples) < 1 or not 0 <= self.rho < 1 or exact_number(self.factor) <= 0:
            raise UserError(
                "expected images and samples from 1, a factor above 0 and rho from 0 to 1, got "
                f"{self.images}, {self.samples}, {self.factor} and {self.rho}"
            )

    def settings(self) -> dict[str, Value]:
        """Number of images and draws, γ/ε and ρ."""
        return {"images": self.images, "samples": self.samples, "factor": self.factor, "rho": self.rho}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """How many draws leave each image correct [n], and the number of draws.

        Raises:
            NotMeasurable: when there is no image.
        """
        images, labels = evaluation.first(self.images)
        threat, generator = evaluation.threat.scaled(self.factor), evaluation.generator(self.name)
        right = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        with torch.no_grad(), evaluation.progress.task("probabilistic robustness", self.samples) as task:
            for _ in range(self.samples):
                drawn = threat.random_start(images, generator)
                parts = drawn.split(evaluation.batch_size)
                predicted = torch.cat([evaluation.classifier(part).argmax(dim=1) for part in parts])
                right += predicted == labels
                task.advance(1)
        return {"right": right.cpu().numpy(), "samples": np.array([self.samples])}

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        return self.name, f"{self.name}/accuracy"

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The mean probability with its interval over images, and the share of images."""
        share = arrays["right"] / int(arrays["samples"].item())
        mean = mean_score(share, unit=self.unit, bounds=self.bounds)
        # Rounded, so that ρ = 0.1 allows 10 of 100 draws.
        return {
            self.name: replace(mean, higher_is_better=True),
            f"{self.name}/accuracy": self.proportion(np.round(1 - share, 9) <= self.rho),
        }
