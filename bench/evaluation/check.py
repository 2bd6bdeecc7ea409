"""What every extra check does: attack the images that survived so far, verify what it found, go on after a kill.

The rule by which an image is broken is that of `bench.attacks.answers`: its adversarial image lies within the
threat, and the network itself misclassifies it, in one float32 pass, or in most of 50 passes where its output is
random, or alone where its answers depend on the batch. The verification is a pass of its own after the attack.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.attacks.answers import PASSES, VOTES, Answers
from bench.attacks.examples import first_broken
from bench.attacks.guided import Found
from bench.core.files import open_regular
from bench.core.names import ROBUST_ACCURACY, SUSPICIOUS
from bench.core.passes import PassCount
from bench.core.predictor import Predictor
from bench.core.record import Score, Value
from bench.core.threat import Threat
from bench.evaluation.resume import save_arrays
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation

#: At most so many surviving images are attacked. The scores are then over the test images up to the last of these.
MOST_IMAGES = 300
#: Images attacked together; a killed check goes on after the last of these batches.
TOGETHER = 100


@dataclass
class Batch:
    """Images that are attacked together.

    Attributes:
        evaluation: of the network.
        answers: how the network is asked.
        images, labels: float32 [b, C, H, W] and int64 [b].
        threat: within which they are attacked.
        generator: of every draw.
    """

    evaluation: Evaluation
    answers: Answers
    images: Tensor
    labels: Tensor
    threat: Threat
    generator: torch.Generator

    def task(self, rows: Tensor | None = None) -> tuple[Tensor, Tensor, Threat, torch.Generator]:
        """The last four, as attacks take them, for some rows [r] of the images or all."""
        images, labels = self.images, self.labels
        if rows is not None:
            images, labels = images[rows], labels[rows]
        return images, labels, self.threat, self.generator


class Check(Metric):
    """A check of the images that survived the battery and the checks before it.

    Args:
        images: surviving images of the battery that are attacked, at most.
        random: whether the network's output is random.
        alone: whether its answers depend on the batch.
    """

    #: Whether the images it finds lie within the threat, so that they count for the worst case.
    within_threat = True

    def __init__(
        self, name: str, images: int = MOST_IMAGES, *, random: bool = False, alone: bool = False
    ) -> None:
        self.name, self.images = SUSPICIOUS + name, images
        self.random, self.alone = random, alone

    def settings(self) -> dict[str, Value]:
        """The largest number of images, and how the network is asked."""
        return {"images": self.images, "votes": self.votes, "alone": self.alone}

    @property
    def votes(self) -> int:
        """Passes that decide what the network answers."""
        return VOTES if self.random else 1

    @property
    def mean_of(self) -> int:
        """Passes of the network in one pass of what guides an attack."""
        return PASSES if self.random else 1

    def answers(self, evaluation: Evaluation) -> Answers:
        """How the network is asked."""
        return Answers(evaluation.classifier, evaluation.batch_size, self.votes, self.alone)

    def threat(self, evaluation: Evaluation) -> Threat:
        """The threat within which it attacks."""
        return evaluation.threat

    def measure(self, evaluation: Evaluation) -> Arrays:
        """For each image [n]: whether it was attacked, and whether it is still right afterwards; n reaches to the
        last image that a check attacks. Images that were broken before are not right.

        Also a few adversarial images with their positions, each verified by a pass after the attack.
        """
        tried = surviving_checks(evaluation, self.images)
        index = torch.from_numpy(np.flatnonzero(tried)).to(evaluation.device)
        right = tried.copy()
        examples = {}
        if len(index):
            images, labels = evaluation.images[index], evaluation.labels[index]
            found = self._in_batches(evaluation, images, labels)
            right[index[found.broken].cpu().numpy()] = False
            examples = first_broken(found.broken, found.adversarial, images)
            examples["example_index"] = index.cpu().numpy()[examples["example_index"]]
        return {
            "right": right,
            "tried": tried,
            **({"within_threat": np.array([True]), **examples} if self.within_threat else {}),
        }

    def _in_batches(self, evaluation: Evaluation, images: Tensor, labels: Tensor) -> Found:
        found, answers, threat = Found.nothing(images), self.answers(evaluation), self.threat(evaluation)
        path = evaluation.scratch / f"{self.name.replace('/', '.')}.part.npz" if evaluation.scratch else None
        batches = torch.arange(len(images), device=images.device).split(TOGETHER)
        with evaluation.progress.task(self.name.replace("/", " "), len(images)) as task:
            before = evaluation.forwards, evaluation.backwards
            start = _resume(path, found, evaluation.passes)
            for number, rows in enumerate(batches):
                if number >= start:
                    some, classes = images[rows], labels[rows]
                    # Of its own for each batch, so that a resumed check draws the same numbers.
                    generator = evaluation.generator(f"{self.name} {number}" if number else self.name)
                    points = self.find(Batch(evaluation, answers, some, classes, threat, generator))
                    if self.random or self.alone:
                        wrong = answers.wrong(some, classes)
                        points[wrong] = some[wrong]
                    hit = answers.wrong(points, classes) & threat.allows(points, some)
                    found.put(rows, points, hit)
                    passes = evaluation.forwards - before[0], evaluation.backwards - before[1]
                    _keep(path, found, number + 1, passes)
                task.advance(len(rows), f"{int(found.broken.sum())} broken")
        if path is not None:
            path.unlink(missing_ok=True)
        return found

    @abstractmethod
    def find(self, batch: Batch) -> Tensor:
        """Images [b, C, H, W] that may be adversarial; all are verified afterwards."""

    @abstractmethod
    def cost(self) -> tuple[int, int]:
        """Forward and backward passes for an image that is never broken."""

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Share of the images that are still right, with its interval."""
        return {self.name: self.proportion(arrays["right"])}


def _keep(path: Path | None, found: Found, batches: int, passes: tuple[int, int]) -> None:
    if path is not None:
        arrays = {"adversarial": found.adversarial.cpu().numpy(), "broken": found.broken.cpu().numpy()}
        save_arrays(path, {**arrays, "position": np.array([batches, *passes])})


def _resume(path: Path | None, found: Found, passes: PassCount) -> int:
    """Take over what a killed check has found, and its passes; how many batches were done."""
    if path is None:
        return 0
    try:
        with open_regular(path) as stream, np.load(stream, allow_pickle=False) as stored:
            adversarial, broken, position = (stored[key] for key in ("adversarial", "broken", "position"))
        if adversarial.shape != tuple(found.adversarial.shape):
            return 0
        found.adversarial[:] = torch.from_numpy(adversarial).to(found.adversarial)
        found.degree[:] = torch.from_numpy(broken).to(found.degree)
        done, forwards, backwards = (int(value) for value in position)
    except Exception:  # what is no archive of arrays may raise anything
        return 0
    passes.add(PassCount(forwards, backwards))
    return done


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


def surviving_checks(evaluation: Evaluation, images: int) -> np.ndarray:
    """Which of the `surviving_images` every check within the threat leaves right, too: bool [n]."""
    checks = [
        arrays["right"]
        for name, arrays in evaluation.measured.items()
        if name.startswith(SUSPICIOUS) and "within_threat" in arrays
    ]
    return np.logical_and.reduce([surviving_images(evaluation, images), *checks])
