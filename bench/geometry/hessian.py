"""The second-order expansion of a network around an image, and the bound that follows from it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from bench.core.checks import check_finite
from bench.core.errors import UserError, unknown_name
from bench.core.gradients import cached_rows, input_gradients
from bench.core.guards import evaluating, frozen, random_state_kept
from bench.core.margins import cross_entropy, decision_function
from bench.core.threat import Threat
from bench.geometry.curvature import Network, smoothed
from bench.geometry.jacobian import slopes

HessianKind = Literal["ce_exact", "finite_difference", "softplus"]

#: The function that is expanded. The second derivative of a ReLU network's logits is zero almost everywhere, that
#: of their cross-entropy is not.
EXPANDED: dict[HessianKind, str] = {
    "ce_exact": "cross-entropy",
    "finite_difference": "decision function",
    "softplus": "decision function of the network with softplus in place of ReLU",
}

#: Eigenvalues below this count as zero (decision-surface paper, §4.3).
NEAR_ZERO = 1e-10
#: The largest number of pixels for which a full Hessian is formed: 128 MiB in float64.
LARGEST = 4096
#: Entries of a Hessian processed at once: 32 MiB in float64.
_ENTRIES = 1 << 22


class Hessian(ABC):
    """H, symmetric [d, d], accessed by rows."""

    @property
    @abstractmethod
    def size(self) -> int:
        """The dimension d."""

    @abstractmethod
    def rows(self, start: int, stop: int) -> Tensor:
        """Rows start … stop − 1, float64 [stop − start, d]."""

    @property
    @abstractmethod
    def eigenvalues(self) -> Tensor:
        """All d eigenvalues, float64 [d], ascending; those within rounding of zero are set to zero."""

    @abstractmethod
    def absolute_form(self, delta: Tensor) -> float:
        """Σ|λ_i| y_i² with y = Eᵀδ and H = EΛEᵀ, for δ [d]; never below |δᵀHδ|."""

    def l1(self) -> float:
        """‖H‖₁ = Σ_ij |H_ij|, summed over blocks of rows, so that at most 32 MiB of H are in memory at once."""
        at_once = max(1, _ENTRIES // self.size)
        starts = range(0, self.size, at_once)
        return sum(self.rows(start, min(start + at_once, self.size)).abs().sum().item() for start in starts)

    def near_zero(self, threshold: float = NEAR_ZERO) -> float:
        """The share of eigenvalues with |λ_i| below a threshold."""
        return (self.eigenvalues.abs() < threshold).double().mean().item()

    def picture(self, side: int = 64) -> Tensor:
        """H itself where d is at most `side`, else the mean of |H_ij| over side x side cells; float64."""
        if self.size <= side:
            return self.rows(0, self.size)
        cuts = [self.size * at // side for at in range(side + 1)]
        at_once = max(1, _ENTRIES // self.size)
        cells = []
        for start, stop in pairwise(cuts):
            total = torch.zeros(side, dtype=torch.double)
            for first in range(start, stop, at_once):
                columns = self.rows(first, min(first + at_once, stop)).abs().sum(dim=0).cpu()
                total += torch.stack([columns[a:b].sum() / (b - a) for a, b in pairwise(cuts)])
            cells.append(total / (stop - start))
        return torch.stack(cells)


@dataclass(frozen=True)
class LowRankHessian(Hessian):
    """H = BᵀB, positive semi-definite and of rank at most K: memory K·d and time K·d², without a d x d matrix.

    Attributes:
        factor: B, float64 [K, d].
    """

    factor: Tensor

    @property
    def size(self) -> int:
        """The dimension d."""
        return self.factor.shape[1]

    def rows(self, start: int, stop: int) -> Tensor:
        """Some rows of BᵀB."""
        return self.factor[:, start:stop].T @ self.factor

    @cached_property
    def eigenvalues(self) -> Tensor:
        """The eigenvalues of the K x K matrix BBᵀ, and zeros."""
        found = torch.linalg.eigvalsh(self.factor @ self.factor.T)
        return _padded(_without_rounding(found)[-self.size :], self.size)

    def absolute_form(self, delta: Tensor) -> float:
        """‖Bδ‖²."""
        return (self.factor @ delta.to(self.factor)).square().sum().item()


@dataclass(frozen=True)
class DenseHessian(Hessian):
    """H as a full matrix.

    Attributes:
        matrix: float64 [d, d], symmetric.
    """

    matrix: Tensor

    @property
    def size(self) -> int:
        """The dimension d."""
        return len(self.matrix)

    def rows(self, start: int, stop: int) -> Tensor:
        """Some rows of the matrix."""
        return self.matrix[start:stop]

    @cached_property
    def _decomposed(self) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(self.matrix)
        return _without_rounding(values), vectors

    @property
    def eigenvalues(self) -> Tensor:
        """The eigenvalues of the full matrix, in time d³."""
        return self._decomposed[0]

    def absolute_form(self, delta: Tensor) -> float:
        """Σ|λ_i| y_i², y = Eᵀδ."""
        values, vectors = self._decomposed
        return (values.abs() * (vectors.T @ delta.to(vectors)).square()).sum().item()


@dataclass(frozen=True)
class Expansion:
    """F(x + δ) = F(x) + J·δ + ½δᵀHδ + … at one image.

    Attributes:
        function: F, images [B, C, H, W] and labels [B] to float64 [B]; see `EXPANDED`.
        value: F(x).
        gradient: J, float64 [d].
        hessian: H.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    value: float
    gradient: Tensor
    hessian: Hessian

    def bound(self, delta: Tensor) -> tuple[float, float]:
        """Σ|J_i||δ_i| and ½Σ|λ_i| y_i², y = Eᵀδ, for δ of d values: their sum bounds |J·δ + ½δᵀHδ|.

        Source: Yu et al., Interpreting Adversarial Robustness: A View from Decision Surface, equation 9.
        """
        flat = delta.flatten().to(self.gradient)
        return (self.gradient.abs() @ flat.abs()).item(), self.hessian.absolute_form(flat) / 2

    def steepest(self, threat: Threat) -> Tensor:
        """The δ within ε that maximizes J·δ, float64 [d]: ε·sign(J), or ε·J/‖J‖₂ under ℓ2; zero if J is zero."""
        if threat.norm == "linf":
            return threat.radius * self.gradient.sign()
        length = self.gradient.norm()
        return threat.radius * self.gradient / length.where(length > 0, 1.0)


def expand(
    classifier: nn.Module,
    image: Tensor,
    label: Tensor,
    *,
    hessian: HessianKind = "ce_exact",
    step: float = 0.05,
    beta: float = 10.0,
    batch_size: int = 500,
) -> Expansion:
    """Gradient and Hessian at one image of the function F given by `EXPANDED`.

    "ce_exact": H = Jᵀ(diag p − ppᵀ)J, where J is the Jacobian of the logits [K, d]. This is the Hessian of
    cross-entropy where the logits are linear around the image, as those of a ReLU network are almost everywhere.
    For other networks it is the Gauss-Newton part. Its rank is at most K − 1, and it takes K backward passes.

    "finite_difference": H_i = (∇L(x + h·e_i) − ∇L(x − h·e_i)) / 2h, made symmetric; 2d backward passes.

    "softplus": the exact Hessian of L for the smoothed network; d backward passes through a backward pass.

    Args:
        classifier: images to logits [B, K]; used in eval mode and left as it was.
        image: [C, H, W].
        label: int64 scalar.
        hessian: one of the three methods above.
        step: h, in pixel units, only for "finite_difference"; below about 1e-3 float32 rounding errors matter.
        beta: argument of `smoothed`, only for "softplus".
        batch_size: images per pass.

    Raises:
        UserError: for an unknown `hessian`, a step or beta that is not above zero, more than 4096 pixels where the
            full matrix is formed, or a network that cannot be smoothed.
        NotFinite: when the network gives NaN.

    Source: Yu et al., Interpreting Adversarial Robustness: A View from Decision Surface, equations 4 and 8.
    """
    if hessian not in get_args(HessianKind):
        raise unknown_name("hessian", hessian, get_args(HessianKind))
    if not (step > 0 and beta > 0):
        raise UserError(f"expected step and beta above 0, got {step} and {beta}")
    if hessian != "ce_exact" and image.numel() > LARGEST:
        raise UserError(
            f"hessian {hessian} forms a d x d matrix, for d up to {LARGEST} pixels, the images have "
            f"{image.numel()}; use ce_exact"
        )
    network = smoothed(classifier, beta) if hessian == "softplus" else classifier
    objective = cross_entropy if hessian == "ce_exact" else decision_function

    def function(images: Tensor, labels: Tensor) -> Tensor:
        with evaluating(classifier), random_state_kept(0), torch.no_grad():
            return objective(network(images).double(), labels)

    found: Hessian
    with evaluating(classifier), frozen(classifier), random_state_kept(0):
        if hessian == "ce_exact":
            value, gradient, found = _of_cross_entropy(network, image, label)
        elif hessian == "softplus":
            value, gradient, found = _exact(network, image, label)
        else:
            value, gradient, found = _differences(network, image, label, step, batch_size)
    check_finite(gradient)
    return Expansion(function, value, gradient, found)


def _of_cross_entropy(network: Network, image: Tensor, label: Tensor) -> tuple[float, Tensor, LowRankHessian]:
    """CE, its gradient Σ_k (p_k − [k = t]) J_k, and H = BᵀB with rows b_k = √p_k (J_k − Σ_i p_i J_i) of B."""
    with torch.enable_grad():
        point = image.detach()[None].requires_grad_()
        logits = network(point)
        gradients = input_gradients(logits, point)
        jacobian = torch.stack([gradient.flatten().double() for gradient in gradients])
    own = label.reshape(1)
    wide = logits.detach().double()
    # A term common to all logits does not change H. Subtracting it preserves digits where the softmax is saturated.
    jacobian -= jacobian[wide.argmax(dim=1)].clone()
    probability = wide.softmax(dim=1)[0]
    mean = probability @ jacobian
    gradient = mean - jacobian[label]
    jacobian -= mean
    jacobian *= probability.sqrt()[:, None]
    return cross_entropy(wide, own).item(), gradient, LowRankHessian(jacobian)


def _exact(network: Network, image: Tensor, label: Tensor) -> tuple[float, Tensor, DenseHessian]:
    with torch.enable_grad():
        point = image.detach()[None].requires_grad_()
        value = decision_function(network(point), label.reshape(1))
        if not value.requires_grad:
            return _flat(value, image)
        (gradient,) = torch.autograd.grad(value.sum(), point, create_graph=True, materialize_grads=True)
        rows = [row.flatten().double() for row in input_gradients(gradient.flatten(1), point)]
    return value.item(), gradient.detach().flatten().double(), _symmetric(torch.stack(rows))


def _differences(
    network: Network, image: Tensor, label: Tensor, step: float, batch_size: int
) -> tuple[float, Tensor, DenseHessian]:
    value, gradient = slopes(network, image[None], label.reshape(1), decision_function)
    dimension, rows = image.numel(), []
    at_once = max(1, cached_rows(image, batch_size) // 2)
    for start in range(0, dimension, at_once):
        places = torch.arange(start, min(start + at_once, dimension), device=image.device)
        moves = torch.zeros(len(places), dimension, dtype=image.dtype, device=image.device)
        moves[torch.arange(len(places), device=image.device), places] = step
        moves = moves.view(-1, *image.shape)
        points = torch.cat([image + moves, image - moves])
        _, ends = slopes(network, points, label.expand(len(points)), decision_function)
        above, below = ends.flatten(1).double().chunk(2)
        rows.append((above - below) / (2 * step))
    return value.item(), gradient.flatten().double(), _symmetric(torch.cat(rows))


def _flat(value: Tensor, image: Tensor) -> tuple[float, Tensor, DenseHessian]:
    """The expansion of a network whose output does not depend on the image."""
    zero = torch.zeros(image.numel(), dtype=torch.double, device=image.device)
    return value.item(), zero, DenseHessian(zero.new_zeros(len(zero), len(zero)))


def _symmetric(matrix: Tensor) -> DenseHessian:
    return DenseHessian((matrix + matrix.T) / 2)


def _without_rounding(values: Tensor) -> Tensor:
    """Set eigenvalues with |λ| at most d·eps·max|λ| to zero, the usual threshold for the rank of a matrix."""
    resolution = len(values) * torch.finfo(values.dtype).eps * values.abs().amax()
    return values.where(values.abs() > resolution, 0.0)


def _padded(values: Tensor, size: int) -> Tensor:
    """Non-negative ascending eigenvalues, padded with zeros in front."""
    return torch.cat([values.new_zeros(size - len(values)), values])
