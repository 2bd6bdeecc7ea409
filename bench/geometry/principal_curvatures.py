"""Principal curvatures of a network's decision boundary at a point, over a finite step.

A ReLU network's Hessian is zero almost everywhere, so Hv denotes (∇F(z + hv) − ∇F(z − hv)) / 2h for a unit v, with
the step h of `curvature.step_length`. This map is not linear in v. The eigenvalues of a matrix with such columns
are therefore too large, up to several times. So the columns only determine the directions, and each curvature is
measured along its direction, by the second difference over ±h.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

from bench.attacks.deepfool import deepfool
from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError
from bench.core.gradients import cached_rows, input_gradient
from bench.core.guards import evaluating, frozen
from bench.core.predictor import Predictor
from bench.geometry.curvature import second_difference, step_length


@dataclass
class Boundary:
    """F = f_own − f_other around a point z, positive where the logit of `own` is larger (§II).

    Attributes:
        classifier: in eval mode.
        point: z [C, H, W].
        own, other: the two classes.
        h: step length, in pixel units.
        batch_size: images per pass.
    """

    classifier: AnyClassifier
    point: Tensor
    own: int
    other: int
    h: float
    batch_size: int = 500

    def values(self, points: Tensor) -> Tensor:
        """F at points [M, C, H, W]: [M]."""
        logits = self.classifier(points)
        return logits[:, self.own] - logits[:, self.other]

    def gradients(self, points: Tensor) -> Tensor:
        """∇F at points [M, C, H, W], flat, in float64: [M, d]."""
        parts = []
        for some in points.split(cached_rows(self.point, self.batch_size)):
            with torch.enable_grad():
                inputs = some.detach().requires_grad_()
                parts.append(input_gradient(self.values(inputs), inputs).flatten(1).double())
        return torch.cat(parts)

    def products(self, directions: Tensor) -> Tensor:
        """(∇F(z + hv) − ∇F(z − hv)) / 2h for unit vectors v, float64 [M, d] to [M, d]."""
        half = max(1, cached_rows(self.point, self.batch_size) // 2)
        parts = []
        for some in directions.split(half):
            steps = self.h * some.view(-1, *self.point.shape).to(self.point)
            above, below = self.gradients(torch.cat([self.point + steps, self.point - steps])).chunk(2)
            parts.append((above - below) / (2 * self.h))
        return torch.cat(parts)

    @torch.no_grad()
    def forms(self, directions: Tensor) -> Tensor:
        """vᵀHv for unit vectors v, float64 [M, d] to [M], from second differences: forward passes only."""
        half = max(1, cached_rows(self.point, self.batch_size) // 2)
        here = self.values(self.point[None])[:, None]
        parts = []
        for some in directions.split(half):
            form = second_difference(
                lambda points: self.values(points)[:, None],
                self.point.expand(len(some), *self.point.shape),
                here.expand(len(some), 1),
                some.view(-1, *self.point.shape).to(self.point),
                self.h,
            )
            parts.append(form[:, 0])
        return torch.cat(parts) if parts else directions.new_zeros(0)

    def normal(self) -> tuple[Tensor, float]:
        """n = ∇F/‖∇F‖ [d] and ‖∇F‖; both zero where the gradient is within the rounding error of the logits."""
        gradient = self.gradients(self.point[None])[0]
        length = gradient.norm().item()
        with torch.no_grad():
            size = self.classifier(self.point[None]).abs().amax().item()
        resolution = torch.finfo(self.point.dtype).eps * size
        if not length * self.h > resolution:
            return torch.zeros_like(gradient), 0.0
        return gradient / length, length


@dataclass(frozen=True)
class Profile:
    """Principal curvatures at one point, ascending, per pixel unit.

    Attributes:
        curvatures: float64 [p]; all d − 1 curvatures, or only the lowest and the highest.
        directions: float64 [p, d], unit principal directions in the tangent space, in the same order.
        mean: mean curvature over random tangent directions, or in few dimensions over a full orthonormal basis.
    """

    curvatures: Tensor
    directions: Tensor
    mean: float


def boundary_points(
    classifier: AnyClassifier, images: Tensor, *, halvings: int = 12, batch_size: int = 500
) -> "BoundaryPoints":
    """Points z on the boundary: bisect DeepFool's perturbation r(x) until the change of label is bracketed.

    Args:
        classifier: in eval mode.
        images: x [B, C, H, W]; they may leave the pixel box.
        halvings: number of bisections; the bracket's length is 2^−halvings of ‖r(x)‖.
        batch_size: images per pass.
    """
    attack = deepfool(classifier, images, batch_size=batch_size)
    predict = Predictor(classifier, batch_size)
    low = torch.zeros(len(images), 1, 1, 1, device=images.device, dtype=images.dtype)
    high, beyond = torch.ones_like(low), attack.labels.clone()
    for _ in range(halvings):
        between = (low + high) / 2
        labels = predict(images + between * attack.perturbation)
        left = labels != attack.clean_labels
        beyond = torch.where(left, labels, beyond)
        aside = left.view(-1, 1, 1, 1)
        low, high = torch.where(aside, low, between), torch.where(aside, between, high)
    return BoundaryPoints(
        points=images + high * attack.perturbation,
        own=attack.clean_labels,
        other=beyond,
        perturbed=attack.perturbed,
        found=attack.found,
    )


@dataclass(frozen=True)
class BoundaryPoints:
    """Points on the boundary, one for each image.

    Attributes:
        points: z [B, C, H, W], meaningless where `found` is False.
        own, other: int64 [B], the classes on the two sides.
        perturbed: x + r(x) with the overshoot [B, C, H, W].
        found: bool [B], whether DeepFool found a change of label.
    """

    points: Tensor
    own: Tensor
    other: Tensor
    perturbed: Tensor
    found: Tensor


def principal_directions(
    boundary: Boundary,
    generator: torch.Generator,
    *,
    extremes: int = 20,
    full_up_to: int = 1024,
    mean_directions: int = 100,
    mean_up_to: int | None = None,
) -> Profile | None:
    """Principal curvatures κ_i and directions at z, or None where ∇F vanishes, so that there is no normal.

    The directions are eigenvectors of P H P on the tangent space, P = I − nnᵀ, and κ_i = vᵀHv / ‖∇F‖ along them.
    Up to `full_up_to` dimensions H is computed on a full orthonormal basis of the tangent space and made symmetric.
    The basis is random, so that a step changes all pixels a little. In more dimensions Lanczos finds the lowest and
    the highest eigenvalues.

    Args:
        boundary: F, z and h.
        generator: source of the basis, on the CPU.
        extremes: number of curvatures at each end, from Lanczos.
        full_up_to: the largest d for which all eigenvalues are computed.
        mean_directions: number of random directions for the mean, where it is not over a full basis.
        mean_up_to: the largest d, among those with all eigenvalues, for which the mean is over a full basis; None
            for all of them. For larger d the mean is exactly the one that accompanies the extremes from Lanczos.

    Raises:
        UserError: for fewer than 2 pixels, or counts below 1.

    Source: Fawzi et al., Classification regions of deep neural networks, §IV, equation 1.
    """
    dimension = boundary.point.numel()
    if dimension < 2 or extremes < 1 or mean_directions < 1:
        raise UserError(
            "expected at least 2 pixels, 1 extreme and 1 direction, "
            f"got {dimension}, {extremes} and {mean_directions}"
        )
    with evaluating(boundary.classifier), frozen(boundary.classifier):
        normal, length = boundary.normal()
        if length == 0:
            return None
        if dimension > full_up_to:
            return _lanczos(
                boundary, normal, length, generator, min(extremes, dimension // 4), mean_directions
            )
        mean = None
        if mean_up_to is not None and dimension > mean_up_to:
            _start(normal, generator)
            mean = _mean(boundary, normal, length, generator, mean_directions)
        return _full(boundary, normal, length, generator, mean)


def _start(normal: Tensor, generator: torch.Generator) -> Tensor:
    """The random start of Lanczos [1, d]; drawn before the directions of the mean."""
    return torch.randn(1, len(normal), generator=generator, dtype=torch.double).to(normal)


def _full(
    boundary: Boundary, normal: Tensor, length: float, generator: torch.Generator, mean: float | None
) -> Profile:
    """All principal curvatures; their mean is taken over the basis where none is given."""
    dimension = len(normal)
    draws = torch.randn(dimension, dimension - 1, generator=generator, dtype=torch.double).to(normal)
    tangent = torch.linalg.qr(torch.cat([normal[:, None], draws], dim=1)).Q[:, 1:]
    products = boundary.products(tangent.T.contiguous()) @ tangent / length
    vectors = torch.linalg.eigh((products + products.T) / 2).eigenvectors
    if mean is None:
        mean = boundary.forms(tangent.T.contiguous()).mean().item() / length
    return _measured(boundary, (tangent @ vectors).T.contiguous(), length, mean)


def _measured(boundary: Boundary, directions: Tensor, length: float, mean: float) -> Profile:
    curvatures = boundary.forms(directions) / length
    order = curvatures.argsort()
    return Profile(curvatures[order], directions[order], mean)


def _lanczos(
    boundary: Boundary,
    normal: Tensor,
    length: float,
    generator: torch.Generator,
    extremes: int,
    mean_directions: int,
) -> Profile:
    dimension = len(normal)

    def project(vectors: Tensor) -> Tensor:
        return vectors - (vectors @ normal)[:, None] * normal

    def multiply(vector: np.ndarray) -> np.ndarray:
        tangent = project(torch.from_numpy(np.asarray(vector, float).reshape(1, -1)).to(normal))
        size = tangent.norm()
        if size == 0:
            return np.zeros(dimension)
        return (project(boundary.products(tangent / size)) * size / length)[0].cpu().numpy()

    start = project(_start(normal, generator))
    operator = LinearOperator((dimension, dimension), matvec=multiply, dtype=np.float64)
    try:
        _, found = eigsh(operator, k=2 * extremes, which="BE", v0=start[0].cpu().numpy(), tol=1e-2, maxiter=5)
    except ArpackNoConvergence as unfinished:
        # Curvatures are measured along the vectors found so far: the map is not quite linear and need not converge.
        found = unfinished.eigenvectors
    except ArpackError:  # F is linear over the step: all directions are equivalent
        found = np.zeros((dimension, 0))
    vectors = project(torch.from_numpy(np.ascontiguousarray(found.T)).to(normal))
    # The normal is an eigenvector of P H P with eigenvalue 0; what remains of it is not a principal direction.
    sizes = vectors.norm(dim=1, keepdim=True)
    vectors = vectors[sizes[:, 0] > 0.5] / sizes[sizes[:, 0] > 0.5]
    return _measured(boundary, vectors, length, _mean(boundary, normal, length, generator, mean_directions))


def mean_at(boundary: Boundary, generator: torch.Generator, directions: int = 100) -> float:
    """Mean principal curvature at z from random tangent directions; NaN where ∇F vanishes."""
    with evaluating(boundary.classifier), frozen(boundary.classifier):
        normal, length = boundary.normal()
        return _mean(boundary, normal, length, generator, directions) if length else math.nan


def _mean(
    boundary: Boundary, normal: Tensor, length: float, generator: torch.Generator, directions: int
) -> float:
    draws = torch.randn(directions, len(normal), generator=generator, dtype=torch.double).to(normal)
    tangent = draws - (draws @ normal)[:, None] * normal
    tangent = tangent / tangent.norm(dim=1, keepdim=True)
    return boundary.forms(tangent).mean().item() / length


def boundary_at(
    classifier: AnyClassifier,
    point: Tensor,
    own: int,
    other: int,
    *,
    h_scale: float = 1.0,
    batch_size: int = 500,
) -> Boundary:
    """The boundary between two classes at a point [C, H, W], with the step h = √d · 10/512 · h_scale."""
    if not (h_scale > 0 and math.isfinite(h_scale)):
        raise UserError(f"expected h_scale above 0, got {h_scale}")
    return Boundary(classifier, point, own, other, step_length(point.numel(), h_scale), batch_size)


def relative_curvature(
    boundary: Boundary, directions: Tensor, generator: torch.Generator, samples: int = 100
) -> Tensor | None:
    """ρ_i = |u_iᵀ P H P u_i| / E_v|vᵀ P H P v|, v uniform on the unit sphere of all directions: float64 [m].

    None where ∇F vanishes, or where the curvature is zero along all random directions.

    Args:
        boundary: F, z and h.
        directions: unit u_i [m, d].
        generator: source of v, on the CPU.
        samples: number of v.

    Source: Fawzi et al., Classification regions of deep neural networks, §IV.
    """
    with evaluating(boundary.classifier), frozen(boundary.classifier):
        normal, length = boundary.normal()
        if length == 0:
            return None
        draws = torch.randn(samples, len(normal), generator=generator, dtype=torch.double).to(normal)
        draws = draws / draws.norm(dim=1, keepdim=True)
        both = torch.cat([directions.to(normal), draws])
        tangent = both - (both @ normal)[:, None] * normal
        sizes = tangent.norm(dim=1)
        unit = tangent / sizes.clamp_min(torch.finfo(torch.double).tiny)[:, None]
        forms = (boundary.forms(unit) * sizes.square()).abs()
    usual = forms[len(directions) :].mean()
    return forms[: len(directions)] / usual if usual > 0 else None
