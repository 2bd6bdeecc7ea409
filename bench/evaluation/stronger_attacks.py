"""The checks that a raised alarm calls for, each a metric on the images that survived every attack of the battery.

They have more steps and restarts, other losses, no gradient at all, or a larger ball.

Source: Carlini et al. 2019, On Evaluating Adversarial Robustness, section 4; Athalye et al. 2018, section 3.1.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from bench.attacks import Attack, maximise
from bench.core.classifier import AnyClassifier
from bench.core.names import ROBUST_ACCURACY, SUSPICIOUS
from bench.core.passes import counting
from bench.core.predictor import Predictor
from bench.core.record import Score, Value
from bench.core.threat import Threat
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation

WORST = SUSPICIOUS + "worst_case"
UNBOUNDED = SUSPICIOUS + "unbounded"

#: At most so many surviving images are attacked. The scores are then over the test images up to the last of these.
MOST_IMAGES = 300

MORE_STEPS = Attack("pgd500", steps=500)
MORE_RESTARTS = Attack("margin100x10", steps=100, loss="margin", restarts=10)
OTHER_LOSS = Attack("margin100", steps=100, loss="margin")


class Check(Metric):
    """A check of the surviving images; images that the battery's attacks broke count as broken.

    Args:
        images: surviving images to attack, at most.
    """

    #: Whether the images it finds lie within the threat, so that they count for the worst case.
    within_threat = True

    def __init__(self, name: str, images: int = MOST_IMAGES) -> None:
        self.name, self.images = SUSPICIOUS + name, images

    def settings(self) -> dict[str, Value]:
        """The largest number of images."""
        return {"images": self.images}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """For each image whether it is still right [n], where n reaches to the last image that was attacked."""
        surviving = surviving_images(evaluation, self.images)
        index = torch.from_numpy(np.flatnonzero(surviving)).to(evaluation.device)
        right = surviving.copy()
        if len(index):
            broken = self.broken(evaluation, evaluation.images[index], evaluation.labels[index])
            right[index.cpu().numpy()[broken.cpu().numpy()]] = False
        return {"right": right, **({"within_threat": np.array([True])} if self.within_threat else {})}

    @abstractmethod
    def broken(self, evaluation: Evaluation, images: Tensor, labels: Tensor) -> Tensor:
        """Which images [m, C, H, W] the check breaks: bool [m]."""

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Share of the images that are still right, with its interval."""
        return {self.name: self.proportion(arrays["right"])}


class StrongerAttack(Check):
    """An attack with more steps or restarts than the battery's, or with another loss."""

    def __init__(self, attack: Attack, images: int = MOST_IMAGES) -> None:
        super().__init__(attack.name, images)
        self.attack = attack

    def broken(self, evaluation: Evaluation, images: Tensor, labels: Tensor) -> Tensor:
        """Under the attack, at the threat's ε."""
        return _attack(
            evaluation, self.attack, evaluation.classifier, images, labels, evaluation.threat, self.name
        )


class LargerBall(Check):
    """The margin attack at 4·ε, or bounded by the pixel box alone, where a sound attack breaks every image."""

    within_threat = False

    def broken(self, evaluation: Evaluation, images: Tensor, labels: Tensor) -> Tensor:
        """In the larger ball."""
        threat = evaluation.threat
        if self.name == UNBOUNDED:
            radius = 1 if threat.norm == "linf" else int(np.ceil(images[0].numel() ** 0.5))
            threat = Threat(threat.norm, str(radius))
        else:
            threat = threat.scaled(4)
        return _attack(evaluation, OTHER_LOSS, evaluation.classifier, images, labels, threat, self.name)


class Noise(Check):
    """Random points of the ball, half of them uniform and half Gaussian, which need no gradient.

    Args:
        images: surviving images to attack, at most.
        draws: points for each image.
    """

    def __init__(self, images: int = MOST_IMAGES, draws: int = 200) -> None:
        super().__init__("noise", images)
        self.draws = draws

    @torch.no_grad()
    def broken(self, evaluation: Evaluation, images: Tensor, labels: Tensor) -> Tensor:
        """By any of the points."""
        threat, generator = evaluation.threat, evaluation.generator(self.name)
        predict = Predictor(evaluation.classifier, evaluation.batch_size)
        alive = torch.arange(len(images), device=images.device)
        draws = evaluation.progress.track(range(self.draws), "suspicious noise", self.draws)
        for draw in draws:
            origin, right_labels = images[alive], labels[alive]
            if len(alive) == 0:
                continue
            if draw % 2:
                spread = threat.radius if threat.norm == "linf" else threat.radius / origin[0].numel() ** 0.5
                noise = torch.randn(origin.shape, generator=generator).to(origin)
                points = threat.project(origin + spread * noise, origin)
            else:
                points = threat.random_start(origin, generator)
            adversarial = threat.allows(points, origin) & (predict(points) != right_labels)
            alive = alive[~adversarial]
        broken = torch.ones_like(labels, dtype=torch.bool)
        broken[alive] = False
        return broken


class Transfer(Check):
    """Adversarial images of a standardly trained network, given to this one.

    Args:
        standard: the network that is attacked.
        images: surviving images to attack, at most.
    """

    def __init__(self, standard: AnyClassifier, images: int = MOST_IMAGES) -> None:
        super().__init__("transfer", images)
        self.standard = standard

    def broken(self, evaluation: Evaluation, images: Tensor, labels: Tensor) -> Tensor:
        """By the last iterate of PGD-100 on the standard network, with cross-entropy or with the margin."""
        threat, generator = evaluation.threat, evaluation.generator(self.name)
        predict = Predictor(evaluation.classifier, evaluation.batch_size)
        broken = torch.zeros_like(labels, dtype=torch.bool)
        with (
            counting(self.standard, evaluation.passes),
            evaluation.progress.task("suspicious transfer", 2 * len(images)) as task,
        ):
            for loss in ("ce", "margin"):
                for rows in torch.arange(len(images), device=images.device).split(evaluation.batch_size):
                    points = maximise(
                        self.standard,
                        images[rows],
                        labels[rows],
                        threat,
                        generator,
                        steps=100,
                        loss=loss,
                    )
                    wrong = predict(points) != labels[rows]
                    broken[rows] |= wrong & threat.allows(points, images[rows])
                    task.advance(len(rows))
        return broken


class MeanAttack(Check):
    """PGD-100 on the mean of twenty passes of a stochastic network.

    Source: Athalye et al. 2018, section 4.2 (expectation over transformation).
    """

    within_threat = False

    def __init__(self, images: int = MOST_IMAGES) -> None:
        super().__init__("mean_of_20_passes", images)

    def broken(self, evaluation: Evaluation, images: Tensor, labels: Tensor) -> Tensor:
        """Where the mean of the logits is wrong."""
        # An attack uses a network's logits, input shape and number of classes, which the mean has as well.
        mean = cast(AnyClassifier, MeanOfPasses(evaluation.classifier, 20))
        attack = Attack("mean of 20 passes", steps=100)
        return _attack(evaluation, attack, mean, images, labels, evaluation.threat, self.name)


class MeanOfPasses(nn.Module):
    """The mean logits of several passes of a stochastic network."""

    def __init__(self, classifier: AnyClassifier, passes: int) -> None:
        super().__init__()
        self.classifier, self.passes = classifier, passes
        self.input_shape, self.num_classes = classifier.input_shape, classifier.num_classes

    def forward(self, images: Tensor) -> Tensor:
        """Mean logits [B, K]."""
        return torch.stack([self.classifier(images) for _ in range(self.passes)]).mean(dim=0)


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
        after = [
            arrays["right"]
            for name, arrays in evaluation.measured.items()
            if name.startswith(SUSPICIOUS) and "within_threat" in arrays
        ]
        return {"before": before, "right": np.logical_and.reduce([before, *after])}

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Robust accuracy with its interval, and that on the same images without the checks."""
        n = len(arrays["before"])
        reason = f"{arrays['before'].mean():.1%} on the same {n} images without the extra checks"
        return {self.name: self.proportion(arrays["right"], reason)}


def surviving_images(evaluation: Evaluation, images: int) -> np.ndarray:
    """Which images every attack of the battery leaves right: bool [n].

    Args:
        evaluation: after the battery; without attacks, the correctly classified images are the surviving ones.
        images: n reaches to the last of the first so many surviving images.
    """
    attacks = [
        arrays["right"] for name, arrays in evaluation.measured.items() if name.startswith(ROBUST_ACCURACY)
    ]
    if attacks:
        surviving = np.logical_and.reduce(attacks)
    else:
        predict = Predictor(evaluation.classifier, evaluation.batch_size)
        surviving = (predict(evaluation.images) == evaluation.labels).cpu().numpy()
    places = np.flatnonzero(surviving)
    return surviving[: places[images]] if len(places) > images else surviving


def _attack(
    evaluation: Evaluation,
    attack: Attack,
    classifier: AnyClassifier,
    images: Tensor,
    labels: Tensor,
    threat: Threat,
    name: str,
) -> Tensor:
    """Which images the attack breaks: bool [m]."""
    result = attack(
        classifier,
        images,
        labels,
        threat,
        evaluation.generator(name),
        batch_size=evaluation.batch_size,
        progress=evaluation.progress,
    )
    return result.broken
