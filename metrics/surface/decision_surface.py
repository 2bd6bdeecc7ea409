"""Loss and decision surfaces around test images and around the weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.core.errors import UserError
from bench.core.predictor import Predictor
from bench.core.record import Score, Value
from bench.core.statistics import median_score
from bench.geometry.surface import (
    BETAS,
    attack_direction,
    downhill,
    filter_normalised,
    first_crossing,
    input_surface,
    parameter_surface,
    pixel_step,
    profiles,
    random_direction,
    steepest,
)
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable

#: β → its name in figures and reasons.
BETA_TITLES = {
    "random": "random β",
    "untargeted": "β from cross-entropy",
    "least_likely": "β from the least likely class",
    "cw": "β from L (C&W)",
}
#: Half the width of the surface in parameter space; 1 moves every filter by its own length.
_PARAMETER_REACH = 1.0


@dataclass(frozen=True, kw_only=True)
class DecisionSurface(Metric):
    """Median ℓ∞ distance at which L falls to zero along the sign of its gradient, and the surfaces around images.

    V[i, j] = F(o + iα + jβ), where F is the cross-entropy or L. Around an image, α has random signs and β the signs
    of a gradient: of the C&W margin for `decision_surface`, of cross-entropies for `/untargeted` and
    `/least_likely`; for `/random` its signs are random. The sign of every β is such that L falls along it.
    Distances are along a straight line from correctly classified images, at most `half` steps of 1/255 (0.05 on
    gray images), and can leave the pixel box; in another direction the boundary can be closer. Around the weights,
    F is a mean over images and α is random; β is random as in the paper's figures, and in a second pair of surfaces
    −∇L, the adversarial direction, which the paper uses around images only. Directions around the weights are
    filter-normalized.

    Args:
        images: number of images whose surfaces are drawn.
        half: steps on each side of the image.
        line_images: number of images for the distances, the first ones that are classified correctly.
        parameter_images: number of images over which F is averaged around the weights; 0 leaves these surfaces out.
        parameter_half: steps on each side of the weights.

    Raises:
        UserError: when one of them is too small.

    Source: Yu et al., Interpreting Adversarial Robustness: A View from Decision Surface, equations 1–3.
    """

    name = "decision_surface"
    unit: ClassVar[str] = "ℓ∞"
    higher_is_better: ClassVar[bool | None] = None
    bounds: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    batteries = {
        "full": {"images": 4, "line_images": 1000, "parameter_images": 200},
        "geometry": {},
    }
    charts_function = "metrics.surface.charts.decision_surface:draw"

    images: int = 2
    half: int = 20
    line_images: int = 100
    parameter_images: int = 50
    parameter_half: int = 7

    def __post_init__(self) -> None:
        if (
            min(self.images, self.half, self.line_images, self.parameter_half) < 1
            or self.parameter_images < 0
        ):
            raise UserError(
                "expected images, half, line_images and parameter_half from 1 and parameter_images from 0, got "
                f"{self.images}, {self.half}, {self.line_images}, {self.parameter_half} and {self.parameter_images}"
            )

    def settings(self) -> dict[str, Value]:
        """Numbers of images, and the grids."""
        return {
            "images": self.images,
            "half": self.half,
            "line_images": self.line_images,
            "parameter_images": self.parameter_images,
            "parameter_half": self.parameter_half,
            "step": "1/255 on colour, 0.05 on grey images",
            "parameter_directions": "random, and the gradient of L; filter-normalised",
        }

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Surfaces [s, 4, I, I], L along each β [n, 4, J], and the surfaces around the weights [I', I'].

        Where no image is classified correctly, the surfaces are those of the first images and there are no
        distances.

        Raises:
            NotMeasurable: when there is no image.
        """
        if len(evaluation.images) == 0:
            raise NotMeasurable("there is no test image")
        right = self._right(evaluation)
        drawn = (right if len(right) else torch.arange(len(evaluation.images), device=evaluation.device))[
            : self.images
        ]
        step = pixel_step(evaluation.images.shape[1])
        offsets = step * torch.arange(-self.half, self.half + 1, dtype=torch.double)
        return {
            "offset": offsets.numpy(),
            "label": evaluation.labels[drawn].cpu().numpy(),
            "test_index": evaluation.test_index.cpu().numpy()[drawn.cpu().numpy()],
            **self._surfaces(evaluation, drawn, offsets),
            **self._lines(evaluation, right[: self.line_images], offsets[self.half :]),
            **self._around_weights(evaluation),
        }

    def _right(self, evaluation: Evaluation) -> Tensor:
        """Positions of correctly classified images, from the first on, until there are enough."""
        wanted, found = max(self.images, self.line_images), []
        predict = Predictor(evaluation.classifier, evaluation.batch_size)
        for start in range(0, len(evaluation.images), evaluation.batch_size):
            rows = slice(start, start + evaluation.batch_size)
            hits = predict(evaluation.images[rows]) == evaluation.labels[rows]
            found.append(start + torch.nonzero(hits).flatten())
            if sum(map(len, found)) >= wanted:
                break
        return torch.cat(found)

    def _surfaces(self, evaluation: Evaluation, drawn: Tensor, offsets: Tensor) -> Arrays:
        images, labels = evaluation.images[drawn], evaluation.labels[drawn]
        alphas = random_direction(images, evaluation.generator(f"{self.name}/alpha"))
        losses, margins = [], []
        with evaluation.progress.task("decision surfaces", len(drawn) * len(BETAS)) as task:
            for beta in BETAS:
                betas = self._betas(evaluation, images, labels, beta)
                for image, label, alpha, direction in zip(images, labels, alphas, betas, strict=True):
                    surface = input_surface(
                        evaluation.classifier,
                        image,
                        label,
                        alpha,
                        direction,
                        offsets,
                        batch_size=evaluation.batch_size,
                    )
                    losses.append(surface.cross_entropy.float())
                    margins.append(surface.decision.float())
                    task.advance()
        shape = len(BETAS), len(drawn), len(offsets), len(offsets)
        return {
            "loss": torch.stack(losses).view(shape).transpose(0, 1).numpy(),
            "decision": torch.stack(margins).view(shape).transpose(0, 1).numpy(),
        }

    def _lines(self, evaluation: Evaluation, index: Tensor, offsets: Tensor) -> Arrays:
        images, labels = evaluation.images[index], evaluation.labels[index]
        lines = []
        with evaluation.progress.task("decision profiles", len(BETAS)) as task:
            for beta in BETAS:
                betas = self._betas(evaluation, images, labels, beta)
                lines.append(
                    profiles(
                        evaluation.classifier,
                        images,
                        labels,
                        betas,
                        offsets,
                        batch_size=evaluation.batch_size,
                    ).float()
                )
                task.advance()
        return {"line": torch.stack(lines, dim=1).numpy()}

    def _betas(self, evaluation: Evaluation, images: Tensor, labels: Tensor, beta: str) -> Tensor:
        if len(images) == 0:
            return torch.zeros_like(images)
        return attack_direction(
            evaluation.classifier,
            images,
            labels,
            beta,  # type: ignore[arg-type]
            evaluation.generator(f"{self.name}/{beta}"),
            batch_size=evaluation.batch_size,
        )

    def _around_weights(self, evaluation: Evaluation) -> Arrays:
        images, labels = (part[: self.parameter_images] for part in (evaluation.images, evaluation.labels))
        offsets = torch.linspace(-_PARAMETER_REACH, _PARAMETER_REACH, 2 * self.parameter_half + 1)
        movable = any(parameter.dim() > 1 for parameter in evaluation.classifier.parameters())
        if len(images) == 0 or not movable:
            return {}
        alpha, beta = (
            filter_normalised(evaluation.classifier, evaluation.generator(f"{self.name}/weights/{axis}"))
            for axis in ("alpha", "beta")
        )
        size = evaluation.batch_size
        betas = {
            "parameter": downhill(evaluation.classifier, images, labels, beta, batch_size=size),
            "parameter_gradient": steepest(evaluation.classifier, images, labels, batch_size=size),
        }
        arrays: Arrays = {
            "parameter_offset": offsets.double().numpy(),
            "parameter_images": np.array([len(images)]),
        }
        for kind, beta in betas.items():
            surface = parameter_surface(
                evaluation.classifier, images, labels, alpha, beta, offsets, batch_size=size
            )
            arrays[f"{kind}_loss"] = surface.cross_entropy.numpy()
            arrays[f"{kind}_decision"] = surface.decision.numpy()
        return arrays

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        return self.name, *(f"{self.name}/{beta}" for beta in BETAS if beta != "cw")

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The median distance along each β."""
        distances = self._distances(arrays)
        reach = arrays["offset"][-1]
        scores = {}
        for place, beta in sorted(enumerate(BETAS), key=lambda item: item[1] != "cw"):
            values = distances[:, place]
            crossed = np.count_nonzero(np.isfinite(values))
            scores[self.name if beta == "cw" else f"{self.name}/{beta}"] = median_score(
                values,
                unit=self.unit,
                reason=f"{BETA_TITLES[beta]}; {crossed} of {len(values)} cross within {reach:.3g}"
                if len(values)
                else "no test image is classified correctly",
                infinite=f"at least half of the images do not cross the boundary within {reach:.3g}",
            )
        return scores

    @staticmethod
    def _distances(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Distances at which L falls to zero [n, 4], ∞ where it does not."""
        lines = torch.from_numpy(arrays["line"])
        offsets = torch.from_numpy(arrays["offset"][-lines.shape[2] :])
        return first_crossing(offsets, lines.flatten(0, 1)).view(lines.shape[:2]).numpy()
