"""Whether classification regions are connected: paths between points of one class (§III)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.attacks.deepfool import deepfool
from bench.core.errors import UserError
from bench.core.predictor import Predictor
from bench.core.record import Score, Value
from bench.core.statistics import mean_score
from bench.geometry.paths import Path, cross_section, find_paths
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation

#: Scenario → the second point of its pairs.
SCENARIOS = {
    "images": "another test image of the region",
    "adversarial": "an image of another region, pushed into this one",
    "random": "a random point of an image's typical norm, pushed into this one",
}
#: Deviation from the straight line, relative to its length, from which a drawn path is visibly bent.
_VISIBLE = 0.005
#: Pairs in one batch.
_AT_ONCE = 25


@dataclass(frozen=True, kw_only=True)
class Connectivity(Metric):
    """Share of pairs of points of one region that a path within the region joins, in three scenarios.

    Algorithm 1 (§III): a straight segment with a sample outside the region is bent at its midpoint, which targeted
    DeepFool moves back into the region. The first point is a test image. The second is another image of that region
    (`paths`), an image of another region moved there by targeted DeepFool (`paths/adversarial`), or a point drawn
    uniformly from the sphere of the images' median norm and moved the same way (`paths/random`). `paths/straight…`
    is the share of pairs that the straight line joins, and `paths/length…` the mean length of the paths found,
    relative to the straight line. As in the paper, points can leave the pixel box. That no path is found does not
    prove that there is none, and a path that is found is one at the resolution of the samples.

    Args:
        pairs: number of pairs in each scenario, at most; every image is the first point of at most one pair.
        max_depth: how often a segment is halved, at most.
        samples: number of points that are classified on a segment.

    Raises:
        UserError: when one of them is below 1.

    Source: Fawzi et al., Classification regions of deep neural networks, §III, algorithm 1, figure 2.
    """

    name = "paths"
    batteries = {"full": {"pairs": 1000}, "geometry": {"pairs": 20}}
    charts_function = "metrics.curvature.charts.paths:draw"

    pairs: int = 50
    max_depth: int = 20
    samples: int = 20

    def __post_init__(self) -> None:
        for name in ("pairs", "max_depth", "samples"):
            if getattr(self, name) < 1:
                raise UserError(f"expected {name} from 1, got {name}={getattr(self, name)}")

    def settings(self) -> dict[str, Value]:
        """How pairs are made and joined."""
        return {
            "pairs": self.pairs,
            "max_depth": self.max_depth,
            "samples": self.samples,
            "projection": "targeted deepfool, overshoot 0.02, not clipped to the pixel box",
        }

    def measure(self, evaluation: Evaluation) -> Arrays:
        """By scenario, for each pair, found, straight, length, deviation, anchors, label; one cross-section."""
        predict = Predictor(evaluation.classifier, evaluation.batch_size)
        images, labels = evaluation.images, predict(evaluation.images)
        generator = evaluation.generator(self.name)
        arrays: Arrays = {}
        example: tuple[str, Path] | None = None
        with evaluation.progress.task("paths", len(SCENARIOS) * self.pairs) as task:
            for scenario in SCENARIOS:
                starts, ends, failed = self._pairs(scenario, evaluation, predict, images, labels, generator)
                paths: list[Path] = []
                for first in range(0, len(starts), _AT_ONCE):
                    rows = slice(first, first + _AT_ONCE)
                    result = find_paths(
                        evaluation.classifier,
                        starts[rows],
                        ends[rows],
                        max_depth=self.max_depth,
                        samples=self.samples,
                        batch_size=evaluation.batch_size,
                    )
                    paths.extend(result.paths)
                    task.advance(len(result.paths))
                arrays |= {
                    f"{scenario}/found": np.array([path.found for path in paths], bool),
                    f"{scenario}/straight": np.array([path.straight for path in paths], bool),
                    f"{scenario}/length": np.array([path.length for path in paths], float),
                    f"{scenario}/deviation": np.array([path.deviation for path in paths], float),
                    f"{scenario}/anchors": np.array([len(path.anchors) for path in paths], int),
                    f"{scenario}/label": predict(starts).cpu().numpy(),
                    f"{scenario}/failed": np.array([failed]),
                }
                for path in paths:
                    if path.found and (
                        example is None or _example_rank(scenario, path) > _example_rank(*example)
                    ):
                        example = scenario, path
        if example is not None:
            arrays |= self._sections(evaluation, predict, *example)
        return arrays

    def _pairs(
        self,
        scenario: str,
        evaluation: Evaluation,
        predict: Predictor,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor, int]:
        """Starts and ends with the same predicted label, and how many ends could not be moved into its region."""
        order = torch.randperm(len(images), generator=generator).to(labels.device)
        chance = torch.rand(len(images), generator=generator).to(labels.device)
        first: list[int] = []
        second: list[int] = []
        for index, draw in zip(order.tolist(), chance.tolist(), strict=True):
            if len(first) == self.pairs:
                break
            same = labels == labels[index]
            if scenario == "images":
                same[index] = False
                choice = torch.nonzero(same).flatten()
            else:
                choice = torch.nonzero(~same).flatten()
            if scenario == "random":
                first.append(index)
            elif len(choice):
                first.append(index)
                second.append(int(choice[int(draw * len(choice))]))
        starts = images[first]
        if scenario == "images":
            return starts, images[second], 0
        if scenario == "random":
            radius = images.flatten(1).norm(dim=1).median()
            noise = torch.randn(len(first), *images.shape[1:], generator=generator)
            others = radius * (noise / noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1)).to(images)
        else:
            others = images[second]
        if len(first) == 0:
            return starts, others, 0
        pushed = deepfool(
            evaluation.classifier, others, targets=labels[first], batch_size=evaluation.batch_size
        )
        arrived = pushed.found & (predict(pushed.perturbed) == labels[first])
        return starts[arrived], pushed.perturbed[arrived], int((~arrived).sum())

    def _sections(self, evaluation: Evaluation, predict: Predictor, scenario: str, path: Path) -> Arrays:
        """Cross-sections along the straight line and along the path found, for the figure."""
        ends = path.anchors[[0, -1]]
        push = deepfool(evaluation.classifier, ends[:1], batch_size=1)
        aside = push.perturbation[0]
        if not aside.any():
            aside = torch.randn(aside.shape, generator=evaluation.generator("paths/aside")).to(aside)
        reach = 0.35 * (ends[1] - ends[0]).norm().item()
        arrays: Arrays = {
            "section/scenario": np.array([list(SCENARIOS).index(scenario)]),
            "section/deviation": np.array([path.deviation]),
        }
        for side, anchors in (("straight", ends), ("path", path.anchors)):
            section = cross_section(predict, anchors, aside, reach=reach)
            arrays |= {
                f"section/{side}/{part}": getattr(section, part).cpu().numpy()
                for part in ("along", "across", "labels", "corners")
            }
        return arrays

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        tails = ["" if scenario == "images" else f"/{scenario}" for scenario in SCENARIOS]
        return tuple(f"{self.name}{kind}{tail}" for tail in tails for kind in ("", "/straight", "/length"))

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Shares found and straight, and the mean length, of each scenario."""
        scores = {}
        for scenario, what in SCENARIOS.items():
            tail = "" if scenario == "images" else f"/{scenario}"
            found, straight = arrays[f"{scenario}/found"], arrays[f"{scenario}/straight"]
            failed = int(arrays[f"{scenario}/failed"].item())
            reason = f"second point: {what}" + (f"; {failed} could not be pushed there" if failed else "")
            if len(found) == 0:
                reason = f"no pair of one region could be made; {reason}"
            scores[f"{self.name}{tail}"] = self.proportion(found, reason)
            scores[f"{self.name}/straight{tail}"] = self.proportion(straight, reason)
            lengths = arrays[f"{scenario}/length"][found]
            scores[f"{self.name}/length{tail}"] = self._length(lengths, reason)
        return scores

    def _length(self, lengths: np.ndarray, reason: str) -> Score:
        what = "length of the paths found over that of the straight line"
        what = what if len(lengths) else "no path was found"
        return mean_score(lengths, unit="ratio", reason=f"{what}; {reason}", bounds=(1.0, math.inf))


def _example_rank(scenario: str, path: Path) -> tuple[bool, float]:
    """Sort key of examples for the figure: two test images with a visibly bent path first, then the most bent."""
    return scenario == "images" and path.deviation >= _VISIBLE, path.deviation
