"""What a raised alarm calls for: attacks with more steps and restarts, other ways in, a larger ball.

The battery's own scores stay as they are; `suspicious/worst_case` says what the worst case would be. Only the
images that every attack of the battery left standing are attacked again.

Source: Carlini et al. 2019, On Evaluating Adversarial Robustness, section 4; Athalye et al. 2018, section 3.1.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from bench.attacks import ATTACKS, Attack, maximise
from bench.core.classifier import AnyClassifier
from bench.core.names import ROBUST_ACCURACY, SUSPICIOUS
from bench.core.passes import counting
from bench.core.record import Alarm, Record, Score, Value
from bench.core.threat import Threat
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation

WORST = SUSPICIOUS + "worst_case"
UNBOUNDED = SUSPICIOUS + "unbounded"
ALARM = "extra checks"

#: At most so many standing images are attacked; the scores then speak of the test images up to the last of them.
STANDING = 300
#: The worst case falls by more: the battery's own number was too good.
LIMIT = 0.01

MORE_STEPS = Attack("pgd500", steps=500)
MORE_RESTARTS = Attack("margin100x10", steps=100, loss="margin", restarts=10)
OTHER_LOSS = Attack("margin100", steps=100, loss="margin")


def extra_checks(
    alarms: Sequence[Alarm], standard: AnyClassifier | None, images: int = STANDING
) -> tuple[Metric, ...]:
    """The checks that raised alarms call for, as metrics that run after a battery; none when none is raised.

    Args:
        alarms: of the battery.
        standard: a network that was trained without defense on the same data, whose adversarial images are tried
            on this one; None leaves that check out.
        images: standing images to attack, at most.
    """
    raised = {alarm.name for alarm in alarms if alarm.raised}
    if not raised:
        return ()
    return (
        Attacked(MORE_STEPS, images),
        Attacked(MORE_RESTARTS, images),
        *([Attacked(ATTACKS["adaptive"], images)] if "zero gradients" in raised else []),
        Noise(images),
        *([Transfer(standard, images)] if standard is not None else []),
        *([Averaged(images)] if "randomised output" in raised else []),
        LargerBall("eps_x4", images),
        LargerBall("unbounded", images),
        WorstCase(images),
    )


def check_called(name: str) -> Metric:
    """The check whose arrays bear this name, fit to `reduce` them, which every check does alike."""
    return WorstCase() if name == WORST else LargerBall(name.removeprefix(SUSPICIOUS))


def verdict(measured: Mapping[str, Arrays], alarms: Sequence[Alarm]) -> Alarm:
    """What the extra checks found, in words and numbers: raised when they lower the worst case by over a point.

    It is raised too when an image stays right although nothing but the pixel box bounds the attack.

    Args:
        measured: arrays by metric, those of the extra checks among them.
        alarms: the battery's, which led to the checks.
    """
    names = [alarm.name for alarm in alarms if alarm.raised]
    before, after = (float(measured[WORST][key].mean()) for key in ("before", "right"))
    n, standing = len(measured[WORST]["before"]), int(measured[WORST]["before"].sum())
    unbounded = float(measured[UNBOUNDED]["right"].mean())
    broke = {
        name.removeprefix(SUSPICIOUS): int((measured[WORST]["before"] & ~arrays["right"]).sum())
        for name, arrays in measured.items()
        if name.startswith(SUSPICIOUS) and "within_threat" in arrays
    }
    found = ", ".join(f"{name} broke {count}" for name, count in broke.items())
    left_out = "" if "transfer" in broke else "; transfer was left out, for there is no standard network"
    raised = before - after > LIMIT + 1e-9 or unbounded > 0
    conclusion = (
        f"the worst case would be {after:.1%} instead of {before:.1%}"
        if after < before
        else f"the worst case stays {before:.1%}"
    )
    return Alarm(
        name=ALARM,
        raised=raised,
        message=(
            f"after {', '.join(names)}: of {standing} images still standing among {n}, {found}{left_out}; "
            f"{conclusion}; without a bound {unbounded:.1%} stay right"
        ),
        numbers={
            "worst_case": before,
            "with_extra_checks": after,
            "unbounded": unbounded,
            **{f"broken_by_{name}": float(count) for name, count in broke.items()},
        },
    )


def unanswered(record: Record) -> bool:
    """Whether a record has a raised alarm and no extra checks."""
    return any(alarm.raised for alarm in record.alarms) and WORST not in record.metrics


class Check(Metric):
    """A check of the standing images; an image that fell earlier counts as broken.

    Args:
        images: standing images to look at, at most.
    """

    #: Whether what it finds lies within the threat and counts for the worst case.
    within_threat = True

    def __init__(self, name: str, images: int = STANDING) -> None:
        self.name, self.images = SUSPICIOUS + name, images

    def settings(self) -> dict[str, Value]:
        """How many images, at most."""
        return {"images": self.images}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Per image whether it is still right [n], n up to the last standing image that was looked at."""
        standing = still_standing(evaluation, self.images)
        index = torch.from_numpy(np.flatnonzero(standing)).to(evaluation.device)
        right = standing.copy()
        if len(index):
            broken = self.broken(evaluation, evaluation.images[index], evaluation.labels[index])
            right[index.cpu().numpy()[broken.cpu().numpy()]] = False
        return {"right": right, **({"within_threat": np.array([True])} if self.within_threat else {})}

    @abstractmethod
    def broken(self, evaluation: Evaluation, images: Tensor, labels: Tensor) -> Tensor:
        """Which images [m, C, H, W] fall: bool [m]."""

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Share of the images that still stand, with its interval."""
        return {self.name: self.proportion(arrays["right"])}


class Attacked(Check):
    """An attack with more steps or restarts than the battery's."""

    def __init__(self, attack: Attack, images: int = STANDING) -> None:
        super().__init__(attack.name, images)
        self.attack = attack

    def broken(self, evaluation: Evaluation, images: Tensor, labels: Tensor) -> Tensor:
        """Under the attack, at the threat's ε."""
        return _attack(
            evaluation, self.attack, evaluation.classifier, images, labels, evaluation.threat, self.name
        )


class LargerBall(Check):
    """The margin attack at 4·ε, or with nothing but the pixel box as bound, where a sound one breaks everything."""

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
    """Random points of the ball, half of them uniform and half Gaussian: what they break needs no gradient.

    Args:
        draws: points an image.
    """

    def __init__(self, images: int = STANDING, draws: int = 200) -> None:
        super().__init__("noise", images)
        self.draws = draws

    @torch.no_grad()
    def broken(self, evaluation: Evaluation, images: Tensor, labels: Tensor) -> Tensor:
        """By any of the points."""
        threat, generator = evaluation.threat, evaluation.generator(self.name)
        alive = torch.arange(len(images), device=images.device)
        draws = evaluation.progress.track(range(self.draws), "suspicious noise", self.draws)
        for draw in draws:
            origin, aims = images[alive], labels[alive]
            if len(alive) == 0:
                continue
            if draw % 2:
                spread = threat.radius if threat.norm == "linf" else threat.radius / origin[0].numel() ** 0.5
                noise = torch.randn(origin.shape, generator=generator).to(origin)
                points = threat.project(origin + spread * noise, origin)
            else:
                points = threat.random_start(origin, generator)
            hits = threat.allows(points, origin) & (_predict(evaluation, points) != aims)
            alive = alive[~hits]
        fallen = torch.ones_like(labels, dtype=torch.bool)
        fallen[alive] = False
        return fallen


class Transfer(Check):
    """Adversarial images of a standard network, tried on this one.

    Args:
        standard: the network they are made on.
    """

    def __init__(self, standard: AnyClassifier, images: int = STANDING) -> None:
        super().__init__("transfer", images)
        self.standard = standard

    def broken(self, evaluation: Evaluation, images: Tensor, labels: Tensor) -> Tensor:
        """By the last iterate of PGD-100 on the standard network, with cross-entropy or with the margin."""
        threat, generator = evaluation.threat, evaluation.generator(self.name)
        fallen = torch.zeros_like(labels, dtype=torch.bool)
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
                    wrong = _predict(evaluation, points) != labels[rows]
                    fallen[rows] |= wrong & threat.allows(points, images[rows])
                    task.advance(len(rows))
        return fallen


class Averaged(Check):
    """PGD-100 on the mean of twenty passes of a network that draws random numbers.

    Source: Athalye et al. 2018, section 4.2 (expectation over transformation).
    """

    within_threat = False

    def __init__(self, images: int = STANDING) -> None:
        super().__init__("mean_of_20_passes", images)

    def broken(self, evaluation: Evaluation, images: Tensor, labels: Tensor) -> Tensor:
        """The mean of the logits is wrong."""
        # An attack asks a network for its logits, its shape and its classes, which the mean has as well.
        mean = cast(AnyClassifier, MeanOfPasses(evaluation.classifier, 20))
        attack = Attack("mean of 20 passes", steps=100)
        return _attack(evaluation, attack, mean, images, labels, evaluation.threat, self.name)


class MeanOfPasses(nn.Module):
    """The mean logits of several passes of a network that draws random numbers."""

    def __init__(self, classifier: AnyClassifier, passes: int) -> None:
        super().__init__()
        self.classifier, self.passes = classifier, passes
        self.input_shape, self.num_classes = classifier.input_shape, classifier.num_classes

    def forward(self, images: Tensor) -> Tensor:
        """Mean logits [B, K]."""
        return torch.stack([self.classifier(images) for _ in range(self.passes)]).mean(dim=0)


class WorstCase(Metric):
    """Share of the images that survive the battery and every extra check within the threat.

    Args:
        images: as for the checks.
    """

    name = WORST

    def __init__(self, images: int = STANDING) -> None:
        self.images = images

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Per image, whether it stood before the checks and after them: both [n]."""
        before = still_standing(evaluation, self.images)
        after = [
            arrays["right"]
            for name, arrays in evaluation.measured.items()
            if name.startswith(SUSPICIOUS) and "within_threat" in arrays
        ]
        return {"before": before, "right": np.logical_and.reduce([before, *after])}

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Robust accuracy with its interval, and what it was on the same images without the checks."""
        n = len(arrays["before"])
        reason = f"{arrays['before'].mean():.1%} on the same {n} images without the extra checks"
        return {self.name: self.proportion(arrays["right"], reason)}


def still_standing(evaluation: Evaluation, images: int) -> np.ndarray:
    """bool [n]: what every attack of the battery left right, n up to the last of the first `images` such ones."""
    attacks = [
        arrays["right"] for name, arrays in evaluation.measured.items() if name.startswith(ROBUST_ACCURACY)
    ]
    if attacks:
        standing = np.logical_and.reduce(attacks)
    else:
        standing = (_predict(evaluation, evaluation.images) == evaluation.labels).cpu().numpy()
    places = np.flatnonzero(standing)
    return standing[: places[images]] if len(places) > images else standing


def _attack(
    evaluation: Evaluation,
    attack: Attack,
    classifier: AnyClassifier,
    images: Tensor,
    labels: Tensor,
    threat: Threat,
    name: str,
) -> Tensor:
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


@torch.no_grad()
def _predict(evaluation: Evaluation, images: Tensor) -> Tensor:
    parts = [evaluation.classifier(some).argmax(dim=1) for some in images.split(evaluation.batch_size)]
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64, device=images.device)
