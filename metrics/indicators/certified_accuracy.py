"""Accuracy that interval bounds certify, and the units that they leave unstable."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from bench.core.errors import UserError
from bench.core.passes import PassCount
from bench.core.record import Score, Value
from bench.core.statistics import mean_score
from bench.geometry.interval_operations import NotBounded
from bench.geometry.intervals import interval_bounds
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable

#: How far outside its bounds a float32 logit may lie by rounding, relative to the largest.
ROUNDING = 1e-4


@dataclass(frozen=True, kw_only=True)
class CertifiedAccuracy(Metric):
    """Share of test images that keep their class everywhere in the ε-box, as interval bounds prove.

    It is a lower bound of robust accuracy, as every attack gives an upper one; of a network that was not
    trained for it, it is usually 0. The box is that of ε around the image, cut to [0, 1]; it holds the ℓ2 ball
    of an ℓ2 threat, so that the number is a lower bound there too, and a looser one. The last layer enters the
    difference of two logits. `/unstable` is the mean share of ReLUs whose input can be on both sides of zero in
    the box; it has no value without ReLUs. `/margin` is the mean over images of the smallest lower bound of Z_t
    − Z_j.

    A pass of bounds counts as two forward passes, of centers and of widths. One more is the network's own.

    Args:
        images: number of test images, the first ones; all by default.

    Raises:
        UserError: for fewer than 1 image.

    Source: Gowal et al. 2018, arXiv 1810.12715; unstable units: Xiao et al. 2019, arXiv 1809.03008.
    """

    name = "certified_accuracy"
    titles = {
        "certified_accuracy": "Certified accuracy (IBP)",
        "certified_accuracy/unstable": "Unstable units",
    }
    batteries = {"indicators": {}}

    images: int | None = None

    def __post_init__(self) -> None:
        if self.images is not None and self.images < 1:
            raise UserError(f"expected images from 1, got {self.images}")

    def settings(self) -> dict[str, Value]:
        """Number of images, and the bounds."""
        return {"images": self.images, "bounds": "interval bound propagation in float64"}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Whether each image is certified, its smallest margin and unstable ReLUs [n]; the number of ReLUs.

        Raises:
            NotMeasurable: for a network with an operation whose bounds are not known, with its name.
        """
        images, labels = evaluation.first(self.images)
        radius = evaluation.threat.radius
        box = (images.double() - radius).clamp(0, 1), (images.double() + radius).clamp(0, 1)
        try:
            found = interval_bounds(evaluation.classifier, *box, labels, batch_size=evaluation.batch_size)
        except NotBounded as error:
            raise NotMeasurable(str(error)) from error
        evaluation.passes.add(PassCount(2 * len(images), 0))
        with torch.no_grad():
            logits = torch.cat([evaluation.classifier(some) for some in images.split(evaluation.batch_size)])
        slack = ROUNDING * (1 + logits.abs().amax())
        if ((logits < found.logits.lower - slack) | (logits > found.logits.upper + slack)).any():
            raise NotMeasurable(
                "the bounds do not hold the network's own logits: it is not the network it traces to"
            )
        return {
            "right": found.certified.cpu().numpy(),
            "margin": found.margin.amin(dim=1).cpu().numpy(),
            "unstable": found.unstable.cpu().numpy(),
            "relu_units": np.array([found.relu_units]),
        }

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        return self.name, f"{self.name}/unstable", f"{self.name}/margin"

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The certified share with its interval, the share of unstable ReLUs and the mean margin."""
        units = int(arrays["relu_units"].item())
        if units:
            unstable = mean_score(arrays["unstable"] / units, unit="fraction", bounds=(0, 1))
        else:
            unstable = Score(value=None, unit="fraction", reason="the network has no ReLU")
        return {
            self.name: self.proportion(arrays["right"]),
            f"{self.name}/unstable": replace(unstable, higher_is_better=None),
            f"{self.name}/margin": mean_score(arrays["margin"], unit="logits"),
        }
