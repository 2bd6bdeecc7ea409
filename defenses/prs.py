"""The PRS regularizer: pull features toward the mean and the signs of their class's major region."""

from abc import ABC
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from bench.core.classifier import NO_HEAD, Classifier
from bench.core.errors import UserError
from bench.core.guards import evaluating
from bench.geometry.regions import major_region_vectors
from defenses.base import Defense, Objective, Training, freeze
from defenses.space import LogUniform
from defenses.warmup import warmup_epochs

Surrogate = Literal["tanh", "ste", "hinge", "literal"]


def mrv_loss(features: Tensor, target: Tensor, reduce: Literal["sum", "mean"] = "sum") -> Tensor:
    """L_MRV = (1/N) Σ_i ‖MRV_{y_i} − f(x_i)‖² (P1, eq. 1).

    Args:
        features: f(x) before the activation, [N, D].
        target: MRV of each sample's class, [N, D].
        reduce: over D, "sum" is the literal formula, "mean" divides by D.
    """
    squared = (target - features).square()
    return squared.sum(dim=1).mean() if reduce == "sum" else squared.mean()


def hamming_loss(features: Tensor, target: Tensor, surrogate: Surrogate = "tanh", tau: float = 1.0) -> Tensor:
    """L_ham = share of features whose sign differs from their class's (P1, eq. 2).

    Its gradient is zero almost everywhere. All surrogates but "literal" have a useful one.
    With s = ±1 the target's sign (−1 for zero), "tanh" is mean((1 − s·tanh(f/τ))/2), "hinge" is
    mean(max(0, 1 − s·f/τ)), "ste" has the value of the literal loss and the gradient of "tanh", and "literal" is
    eq. 2 itself.

    Args:
        features: f(x) before the activation, [N, D].
        target: MRV of each sample's class, [N, D].
        surrogate: one of the four.
        tau: τ above, in feature units.
    """
    sign = torch.where(target > 0, 1.0, -1.0).to(features.dtype)
    if surrogate == "hinge":
        return (1 - sign * features / tau).clamp_min(0).mean()
    smooth = ((1 - sign * torch.tanh(features / tau)) / 2).mean()
    if surrogate == "tanh":
        return smooth
    literal = ((features > 0) != (target > 0)).to(features.dtype).mean()
    return literal if surrogate == "literal" else literal + smooth - smooth.detach()


@dataclass(frozen=True, kw_only=True)
class RegionDefense(Defense, ABC):
    """The base of `prs` and `mr`: two stages, the second with L_MRV.

    Attributes:
        ce, mrv: weights of cross-entropy and L_MRV once the warm-up is over (P1, section 4.1).
        warmup: length of the cross-entropy stage: a share of the epochs below 1, a number of epochs from 1 on.
            P1 warms up for 50 epochs.
        mrv_update: "once" builds the region means after the warm-up; k rebuilds them every k epochs.
        freeze_head: freeze the final layer after the warm-up (P1, section 4.2).
        reduce: L_MRV summed (the formula as printed) or averaged over features.
        min_count: with fewer samples in a major region, the mean is taken over the whole class; 0 never does so.
    """

    family: ClassVar[str] = "region"

    ce: Annotated[float, Field(ge=0, le=100), LogUniform(0.05, 2)] = 0.2
    mrv: Annotated[float, Field(ge=0, le=1000), LogUniform(1e-3, 2)] = 0.8
    warmup: Annotated[float, Field(gt=0, le=100_000)] = 0.5
    mrv_update: Literal["once"] | Annotated[int, Field(ge=1)] = "once"
    freeze_head: bool = True
    reduce: Literal["sum", "mean"] = "sum"
    min_count: Annotated[int, Field(ge=0)] = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mrv == 0:
            raise UserError(
                f"{self.name}: mrv must be above 0; got 0. L_ham compares signs with the region means that L_MRV "
                f"pulls to, and is meaningless without it; for cross-entropy alone use standard"
            )


@dataclass(frozen=True, kw_only=True)
class PRS(RegionDefense):
    """Train, then pull every sample into its class's major region (Park et al. 2022, arXiv 2207.03400, eq. 3).

    Idea: the training data of robust networks lie in few decision regions, so train for that directly.
    Formula: after the warm-up λ1·L_CE + λ2·L_MRV + λ3·L_ham, with the final layer frozen.
    Defaults: λ = (0.2, 0.8, 1) and a warm-up of half the epochs (P1: 50 of an assumed 100).
    Cost: 3 forward units a step, as standard training, and one pass over the training set.
    Known weakness: the loss does not constrain the neighborhood of an image; expect little under AutoAttack.

    Attributes:
        ham: weight of L_ham.
        surrogate: replaces L_ham, whose gradient is zero; "literal" trains like `mr`.
        tau: scale of the surrogate in feature units.
    """

    name: ClassVar[str] = "prs"

    ham: Annotated[float, Field(ge=0, le=1000), LogUniform(0.1, 10)] = 1.0
    surrogate: Surrogate = "tanh"
    tau: Annotated[float, Field(gt=0)] = 1.0

    def objective(self, training: Training) -> Objective:
        """Cross-entropy first, then all three terms."""
        return RegionObjective(training, self, self.ham, self.surrogate, self.tau)


class RegionObjective(Objective):
    """The two stages of the region defenses."""

    def __init__(
        self,
        training: Training,
        defense: RegionDefense,
        ham: float = 0.0,
        surrogate: Surrogate = "literal",
        tau: float = 1.0,
    ) -> None:
        super().__init__(training)
        if training.classifier.site == "none":
            raise UserError(f"{defense.name} trains the features of the network: {NO_HEAD}")
        head = {id(parameter) for parameter in training.classifier.head.parameters()}
        if not any(each.requires_grad and id(each) not in head for each in training.classifier.parameters()):
            raise UserError(
                f"{defense.name} trains the features of the network, "
                "but nothing before its last layer can be trained"
            )
        self.defense = defense
        self.ham, self.surrogate, self.tau = ham, surrogate, tau
        self.warmup = warmup_epochs(defense.name, defense.warmup, training.epochs, "regularizer")
        missing = set(range(training.classifier.num_classes)) - set(training.train.labels.tolist())
        if missing:
            raise UserError(
                f"{defense.name} needs training images of every class, for its major region; there are none of "
                f"{', '.join(map(str, sorted(missing)[:5]))}; use more images with --train-size"
            )
        #: Mean vector of each class's major region [K, D]; None during the warm-up.
        self.mrv: Tensor | None = None
        #: Classes whose major region was too small, so that the mean is over the whole class.
        self.fell_back: list[int] = []

    def epoch(self, number: int) -> None:
        """End the warm-up, or rebuild the region means, at the epochs for that."""
        since = number - self.warmup - 1
        if since < 0:
            return
        every = self.defense.mrv_update
        if since == 0 or (every != "once" and since % every == 0):
            self._build_region_means()
        if since == 0:
            if self.defense.freeze_head:
                freeze(self.training.classifier.head)
            self.training.restart_optimizer()

    def _build_region_means(self) -> None:
        classifier = self.training.classifier
        with evaluating(classifier):
            major = major_region_vectors(
                lambda: self._features(classifier), classifier.num_classes, min_count=self.defense.min_count
            )
        self.mrv, self.fell_back = major.mrv, list(major.fell_back)

    @torch.no_grad()
    def _features(self, classifier: Classifier) -> Iterator[tuple[Tensor, Tensor]]:
        train, size = self.training.train, max(self.training.batch_size, 500)
        for start in range(0, len(train), size):
            images, labels = train.batch(slice(start, start + size))
            yield classifier.features(images), labels

    def loss(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The scalar to minimize for images [B, C, H, W] and labels [B]."""
        logits, features = classifier.forward_with_features(images)
        if self.mrv is None:
            return self.cross_entropy(logits, labels)
        target = self.mrv[labels]
        loss = self.defense.ce * self.cross_entropy(logits, labels)
        loss = loss + self.defense.mrv * mrv_loss(features, target, self.defense.reduce)
        if self.ham > 0:
            loss = loss + self.ham * hamming_loss(features, target, self.surrogate, self.tau)
        return loss

    def settled(self) -> bool:
        """Whether the warm-up is over."""
        return self.mrv is not None

    def report(self) -> dict[str, float | int | str | None]:
        """The stage, and the classes whose means are over the whole class."""
        if self.mrv is None:
            return {"stage": "warm-up"}
        return {"stage": "region", "classes_without_major_region": ", ".join(map(str, self.fell_back))}

    def state_dict(self) -> dict[str, Any]:
        """The region means, once there are any."""
        return {} if self.mrv is None else {"mrv": self.mrv, "fell_back": self.fell_back}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the second stage: the region means and the frozen head."""
        if "mrv" not in state:
            return
        self.mrv = state["mrv"].to(next(self.training.classifier.parameters()).device)
        self.fell_back = list(state["fell_back"])
        if self.defense.freeze_head:
            freeze(self.training.classifier.head)
