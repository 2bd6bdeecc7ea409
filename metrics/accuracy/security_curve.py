"""Robust accuracy by ε."""

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from bench.attacks import ATTACKS
from bench.core.intervals import proportion_interval
from bench.core.names import PGD20
from bench.core.progress import Progress
from bench.core.record import Curve, Point, Score, Value
from bench.core.threat import Threat
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation


class SecurityCurve(Metric):
    """Accuracy under PGD-20 at multiples of the threat's ε, at ε = 1/2, and with the pixel box as the only bound.

    A sound attack drives this curve to zero. One that does not is hindered by masked gradients (Athalye et al.
    2018, section 3.1); the alarm "curve not falling" reads the curve.

    Args:
        factors: multiples of the threat's ε.
        images: how many of the images that attacks run on, at most; None for all.
    """

    name = "security_curve"
    batteries = {"quick": {}, "standard": {}, "full": {}, "indicators": {}}

    def __init__(
        self, factors: tuple[str, ...] = ("1/4", "1/2", "3/4", "1", "3/2", "2"), images: int | None = None
    ) -> None:
        self.factors, self.images = factors, images

    def settings(self) -> dict[str, Value]:
        """Attack, multiples of ε, and number of images."""
        return {"attack": "pgd20", "factors": ", ".join(self.factors), "images": self.images}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """The norm; ε of each point [P], from 0; whether each image is classified correctly there [P, n]."""
        images, labels = evaluation.images[: self.images], evaluation.labels[: self.images]
        threats = self._threats(evaluation.threat, images[0].numel())
        right = []
        for threat in evaluation.progress.track(threats, "security curve", len(threats)):
            if threat.exact == evaluation.threat.exact and PGD20 in evaluation.measured:
                # One attack at one ε gives one number in a record.
                right.append(evaluation.measured[PGD20]["right"][: self.images])
                continue
            result = evaluation.attack(
                ATTACKS["pgd20"],
                images,
                labels,
                f"{self.name} {threat}",
                threat=threat,
                progress=Progress(),
            )
            right.append((~result.broken).cpu().numpy())
        return {
            "norm": np.array(evaluation.threat.norm, dtype=np.str_),
            "eps": np.array([threat.radius for threat in threats]),
            "right": np.stack(right),
        }

    def _threats(self, threat: Threat, pixels: int) -> list[Threat]:
        radii = {Fraction(0), *(threat.scaled(factor).exact for factor in self.factors)}
        # The farthest corner of the box: no perturbation is longer than this.
        radii |= (
            {Fraction(1, 2), Fraction(1)} if threat.norm == "linf" else {Fraction(int(np.ceil(pixels**0.5)))}
        )
        return [Threat(threat.norm, str(radius)) for radius in sorted(radii)]

    def names(self) -> tuple[str, ...]:
        """None: the result is a curve."""
        return ()

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Nothing: the result is a curve."""
        return {}

    def curves(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Curve]:
        """Robust accuracy by ε, with Wilson intervals."""
        points = []
        for eps, right in zip(arrays["eps"], arrays["right"], strict=True):
            low, high = proportion_interval(int(right.sum()), len(right))
            points.append(Point(x=float(eps), value=float(right.mean()), low=low, high=high))
        return {"security": Curve(x_label="ε", y_label="accuracy under PGD-20", points=points)}
