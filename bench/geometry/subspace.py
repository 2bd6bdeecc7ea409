"""Directions that many images share, and the share of a vector in their span (classification regions, §IV)."""

import torch
from torch import Tensor

from bench.core.errors import UserError


def shared_directions(directions: Tensor, count: int) -> Tensor:
    """u_1 … u_m, the leading right singular vectors of unit directions stacked as rows: float64 [m, d].

    m is `count`, or the rank where that is lower.

    Args:
        directions: [n, d].
        count: the largest m.

    Raises:
        UserError: for an empty set of directions, or a count below 1.

    Source: Fawzi et al., Classification regions of deep neural networks, §IV.
    """
    if directions.dim() != 2 or len(directions) == 0 or count < 1:
        raise UserError(
            f"expected directions [n, d] and a count from 1, got {tuple(directions.shape)} and {count}"
        )
    _, sizes, rows = torch.linalg.svd(directions.double(), full_matrices=False)
    threshold = sizes[0] * max(directions.shape) * torch.finfo(torch.double).eps
    rank = int((sizes > threshold).sum())
    return rows[: min(count, rank)]


def share_within(vectors: Tensor, basis: Tensor) -> Tensor:
    """‖P_S v‖ / ‖v‖ for v [n, …] and an orthonormal basis [m, d] of S: float64 [n], NaN for v = 0.

    For a random v it is about √(m/d).

    Source: Fawzi et al., Classification regions of deep neural networks, table I.
    """
    flat = vectors.flatten(1).double()
    return (flat @ basis.T).norm(dim=1) / flat.norm(dim=1)


def noise_within(basis: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Unit vectors drawn uniformly from the sphere of S = span of an orthonormal basis [m, d]: [count, d]."""
    draws = torch.randn(count, len(basis), generator=generator, dtype=torch.double).to(basis)
    return (draws / draws.norm(dim=1, keepdim=True)) @ basis


def noise_outside(basis: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Unit vectors drawn uniformly from the sphere of the orthogonal complement of S: [count, d].

    Raises:
        UserError: when S is the whole space.
    """
    if len(basis) >= basis.shape[1]:
        raise UserError(f"expected fewer than d = {basis.shape[1]} basis vectors, got {len(basis)}")
    draws = torch.randn(count, basis.shape[1], generator=generator, dtype=torch.double).to(basis)
    outside = draws - (draws @ basis.T) @ basis
    return outside / outside.norm(dim=1, keepdim=True)
