"""Base class of the metrics that compare the robustness of two groups of images."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from bench.attacks.grid import attack_grid, find_grid_attacks, scaled_threats
from bench.charts.words import attack_title
from bench.core.errors import UserError
from bench.core.intervals import proportion_interval
from bench.core.record import Curve, Point, Score, Value
from bench.core.statistics import mean_score, unpaired_difference
from bench.core.threat import Threat
from bench.data import Split
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation

#: The attacks on groups of images in the battery "full".
FULL_ATTACKS = ("fgsm", "bim", "pgd20", "pgd100", "cw")
#: For checking factors alone; any threat would do.
_ANY = Threat("linf", "1/255")


@dataclass(frozen=True, kw_only=True)
class GroupRobustness(Metric):
    """Robust accuracy of two groups of images under several attacks and at several ε.

    `NAME` is the first group's robust accuracy under all the attacks together, minus the second's.
    `NAME/GROUP/ATTACK` is a group's robust accuracy under one attack at the threat's ε; `NAME/GROUP/target_logit`
    and `/confidence` are the mean logit and softmax probability of its images' labels, without attack. The curves
    `NAME/GROUP/ATTACK` hold the accuracies at every ε.

    Args:
        attacks: names of `bench.attacks.ATTACKS`, or "autoattack".
        factors: multiples of the threat's ε to attack at, besides ε itself and 0.
        images: number of images of each group, drawn at random; None takes all, and so does a smaller group.

    Raises:
        UserError: for an unknown attack, a factor that is no number, or fewer than 1 image.
    """

    unit: ClassVar[str] = "difference"
    higher_is_better: ClassVar[bool | None] = None
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    #: Names of the first and the second group.
    groups: ClassVar[tuple[str, str]]

    attacks: tuple[str, ...] = ("fgsm", "bim", "pgd20", "cw")
    factors: tuple[str, ...] = ("1/2", "2")
    images: int | None = 100

    def __post_init__(self) -> None:
        find_grid_attacks(self.attacks)
        scaled_threats(_ANY, self.factors)
        if self.images is not None and self.images < 1:
            raise UserError(f"expected at least 1 image in each group, got images={self.images}")

    @abstractmethod
    def choose(self, evaluation: Evaluation) -> dict[str, tuple[Split, np.ndarray]]:
        """For each group, its split and the positions of its images there [n]; n can be 0.

        Raises:
            NotMeasurable: when the groups are not defined for this network or data set.
        """

    def settings(self) -> dict[str, Value]:
        """Attacks, multiples of ε, and number of images."""
        return {
            "attacks": ", ".join(self.attacks),
            "factors": ", ".join(self.factors),
            "images": self.images,
        }

    def measure(self, evaluation: Evaluation) -> Arrays:
        """ε [E] and attacks [A]; by group, positions of its images [n], which withstood [A, E, n], confidences [n].

        `GROUP_notes` lists what AutoAttack left out or warned of, if anything.

        Raises:
            NotMeasurable: when the groups are not defined for this network or data set.
        """
        threats = scaled_threats(evaluation.threat, self.factors)
        arrays: Arrays = {
            "attack": np.array(self.attacks),
            "eps": np.array([threat.radius for threat in threats]),
            "at_threat": np.array([threats.index(evaluation.threat)]),
        }
        for group, (split, index) in self.choose(evaluation).items():
            grid = attack_grid(
                evaluation.classifier,
                split,
                torch.from_numpy(index),
                find_grid_attacks(self.attacks),
                threats,
                evaluation.generator,
                batch_size=evaluation.batch_size,
                progress=evaluation.progress,
                name=f"{self.name} {group}",
            )
            labels = split.labels.cpu()[torch.from_numpy(index)].unsqueeze(1)
            arrays |= {
                f"{group}_index": index,
                f"{group}_right": grid.right.numpy(),
                f"{group}_target_logit": grid.logits.gather(1, labels).squeeze(1).numpy(),
                f"{group}_confidence": grid.logits.softmax(dim=1).gather(1, labels).squeeze(1).numpy(),
            }
            if grid.notes:
                said = [f"{attack}\t{note}" for attack, notes in grid.notes.items() for note in notes]
                arrays[f"{group}_notes"] = np.array(said, dtype=np.str_)
        return arrays

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        parts = (*self.attacks, "target_logit", "confidence")
        return self.name, *(f"{self.name}/{group}/{part}" for group in self.groups for part in parts)

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The difference of the groups, and the accuracies and confidences of each."""
        at = int(arrays["at_threat"].item())
        scores = {self.name: self._difference(arrays, at)}
        for group in self.groups:
            right, missing = arrays[f"{group}_right"], f"no {group} image to attack"
            for number, attack in enumerate(arrays["attack"]):
                reason = missing if right.shape[2] == 0 else _notes(arrays, group, str(attack))
                scores[f"{self.name}/{group}/{attack}"] = self._share(right[number, at], reason)
            for kind, unit, bounds in (
                ("target_logit", "logits", (-math.inf, math.inf)),
                ("confidence", "fraction", (0.0, 1.0)),
            ):
                values = arrays[f"{group}_{kind}"]
                scores[f"{self.name}/{group}/{kind}"] = mean_score(
                    values, unit=unit, reason="" if len(values) else missing, bounds=bounds
                )
        return scores

    def curves(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Curve]:
        """Robust accuracy by ε with Wilson intervals, a curve for each attack and each group that has images."""
        return {
            f"{self.name}/{group}/{attack}": Curve(
                x_label="ε",
                y_label=f"accuracy of {group} images under {attack_title(str(attack))}",
                n=right.shape[1],
                points=points_of(arrays["eps"], right),
            )
            for group in self.groups
            for attack, right in zip(arrays["attack"], arrays[f"{group}_right"], strict=True)
            if right.shape[1]
        }

    def _difference(self, arrays: Mapping[str, np.ndarray], at: int) -> Score:
        first, second = (np.all(arrays[f"{group}_right"][:, at], axis=0) for group in self.groups)
        n = first.size + second.size
        counts = f"{first.size} {self.groups[0]} and {second.size} {self.groups[1]} images"
        if first.size == 0 or second.size == 0:
            return self.score(None, n=n, reason=f"both groups are needed, there are {counts}")
        found = unpaired_difference((int(first.sum()), first.size), (int(second.sum()), second.size))
        under = ", ".join(arrays["attack"])
        reason = f"{counts}, right under all of {under}"
        return self.score(found.value, found.low, found.high, n=n, reason=reason)

    def _share(self, right: np.ndarray, reason: str) -> Score:
        share = self.proportion(right, reason)
        return replace(share, unit="fraction", higher_is_better=True)


def _notes(arrays: Mapping[str, np.ndarray], group: str, attack: str) -> str:
    """What was noted about an attack on a group, for the reason."""
    said = (str(line).partition("\t") for line in arrays.get(f"{group}_notes", ()))
    return "; ".join(note for name, _, note in said if name == attack)


def points_of(eps: np.ndarray, right: np.ndarray) -> list[Point]:
    """The accuracies of one group under one attack, by ε [E], from which images withstood it [E, n]."""
    points = []
    for radius, row in zip(eps, right, strict=True):
        low, high = proportion_interval(int(np.count_nonzero(row)), len(row))
        points.append(Point(x=float(radius), value=float(row.mean()), low=low, high=high))
    return points
