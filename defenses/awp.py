"""Adversarial weight perturbation around another defense: flatten the loss in the weights as well."""

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from bench.core.classifier import Classifier
from bench.core.errors import UserError
from defenses.base import Attacked, Defense, Objective, Training
from defenses.composition import Composition
from defenses.space import LogUniform
from defenses.warmup import warmup_epochs

#: γ with AT and with TRADES (Wu et al. 2020, section 5); .01 for defenses that the paper does not try.
GAMMA, GAMMA_WITH_TRADES = 0.01, 0.005


@dataclass(frozen=True, kw_only=True)
class AWP(Composition, ABC):
    """Compute another defense's loss at the worst weights nearby (Wu et al. 2020, arXiv 2004.05884, section 4).

    Idea: the robustness of a loss that is flat in the weights generalizes better to test images.
    Formula: min_w L(w + v), v_l = γ·‖w_l‖·g_l/‖g_l‖ for every weight of two or more dimensions, g = ∂L/∂w on the
    same attacked images. The optimizer step is taken at w with the gradient at w + v.
    Defaults: the authors' γ = 0.01 around AT and 0.005 around TRADES, after 10 epochs of warm-up (their AT script
    has none). The learning rate of their proxy network, 0.01, cancels in v and is no option here.
    Cost: the inner defense's forward units, and its loss once more without the attack.
    Known weakness: γ is meant for networks with batch norm, which undoes a change of scale. Without it, 0.01 can
    stop the learning altogether (`cnn6` on the digits) and 0.001 does not; the search range begins there.

    Attributes:
        gamma: size of the perturbation relative to each weight's norm.
        warmup: epochs of the inner defense alone: a share below 1, a number of epochs from 1 on.
    """

    family: ClassVar[str] = "surrogate loss"
    attacks: ClassVar[bool] = True

    gamma: Annotated[float, Field(gt=0, le=1), LogUniform(1e-3, 0.05)] = GAMMA
    warmup: Annotated[float, Field(ge=0, le=100_000)] = 10.0

    def forward_units(self) -> float:
        """The inner defense, and its loss once more."""
        (inner,) = self.components
        return 2 * inner.forward_units() - inner.attack_units()

    def objective(self, training: Training) -> Objective:
        """The inner loss at perturbed weights."""
        return WorstWeights(training, self)


class WorstWeights(Attacked):
    """L(w + v) on the images that the inner defense attacked at w."""

    def __init__(self, training: Training, defense: AWP) -> None:
        super().__init__(training)
        self.gamma = defense.gamma
        self.warmup = warmup_epochs(defense.name, defense.warmup, training.epochs, "perturbation")
        inner = defense.components[0].objective(training)
        if not isinstance(inner, Attacked):
            raise UserError(
                f"{defense.name}: {type(inner).__name__} must be a subclass of defenses.base.Attacked, so that "
                f"both losses are computed on the same attacked images"
            )
        if not _perturbed(training.classifier):
            raise UserError(
                f"{defense.name}: the network has no trained weight of two or more dimensions, so there is "
                f"nothing to perturb"
            )
        self.inner = inner
        self.replays = inner.replays
        self.active = False

    def epoch(self, number: int) -> None:
        """Begin the epoch in the inner defense; perturb once the warm-up is over."""
        self.inner.begin_epoch(number)
        self.active = number > self.warmup

    def attack(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Any:
        """The result of the inner defense's attack."""
        return self.inner.attack(classifier, images, labels)

    def loss_on(self, classifier: Classifier, images: Tensor, attacked: Any, labels: Tensor) -> Tensor:
        """The inner loss at w + v. Its gradient in w is the gradient at w + v, since v is constant."""
        if not self.active:
            return self.inner.loss_on(classifier, images, attacked, labels)
        network = _LossOf(classifier, self.inner)
        moved = self._worst(network, classifier, (images, attacked, labels))
        return functional_call(network, moved, (images, attacked, labels))

    def _worst(
        self, network: nn.Module, classifier: Classifier, inputs: tuple[Tensor, Any, Tensor]
    ) -> dict[str, Tensor]:
        weights = _perturbed(classifier)
        # Copies, so that computing this gradient does not update batch norm's running statistics.
        buffers = {f"classifier.{name}": buffer.clone() for name, buffer in classifier.named_buffers()}
        loss = functional_call(network, buffers, inputs)
        gradients = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
        return {
            f"classifier.{name}": weight + self.gamma * _rescaled(gradient, weight.detach().norm())
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
        }

    def after_backward(self) -> None:
        """Tell the inner defense."""
        self.inner.after_backward()

    def settled(self) -> bool:
        """Whether weights are perturbed and the inner defense is settled."""
        return self.active and self.inner.settled()

    def report(self) -> dict[str, float | int | str | None]:
        """The inner report, and whether weights are perturbed."""
        return {**self.inner.report(), "weight_perturbation": int(self.active)}

    def state_dict(self) -> dict[str, Any]:
        """The inner state."""
        return self.inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the inner state."""
        self.inner.load_state_dict(state)


class _LossOf(nn.Module):
    """An objective's loss as a module, so that `functional_call` can compute it at other weights."""

    def __init__(self, classifier: Classifier, objective: Attacked) -> None:
        super().__init__()
        self.classifier, self.objective = classifier, objective

    def forward(self, images: Tensor, attacked: Any, labels: Tensor) -> Tensor:
        return self.objective.loss_on(self.classifier, images, attacked, labels)


def _perturbed(classifier: nn.Module) -> dict[str, nn.Parameter]:
    return {
        name: weight
        for name, weight in classifier.named_parameters()
        if weight.dim() > 1 and weight.requires_grad
    }


def _rescaled(gradient: Tensor, length: Tensor) -> Tensor:
    """The gradient scaled to a given length; a zero gradient stays zero."""
    return gradient * (length / gradient.norm().clamp_min(torch.finfo(gradient.dtype).tiny))


def awp_around(inner: type[Defense]) -> type[AWP]:
    """Make the class of AWP around a defense.

    Raises:
        UserError: when the defense does not attack its images.
    """
    if not inner.attacks:
        raise UserError(
            f"awp({inner.name}): awp perturbs the weights against the images its inner defense attacks, and "
            f"{inner.name} attacks none; try awp(at), awp(trades) or awp({inner.name}+at)"
        )
    return _awp_around(inner)


@cache
def _awp_around(inner: type[Defense]) -> type[AWP]:
    usual = GAMMA_WITH_TRADES if inner.name == "trades" else GAMMA

    @dataclass(frozen=True, kw_only=True)
    class AWPAround(AWP):
        __doc__ = (
            f"AWP around {inner.name}: its loss at worst weights nearby (Wu et al. 2020, arXiv 2004.05884)."
        )

        name: ClassVar[str] = f"awp({inner.name})"
        component_types: ClassVar[tuple[type[Defense], ...]] = (inner,)

        gamma: Annotated[float, Field(gt=0, le=1), LogUniform(1e-3, 0.05)] = usual

    return AWPAround
