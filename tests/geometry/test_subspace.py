import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.errors import UserError
from bench.geometry.subspace import noise_outside, noise_within, share_within, shared_directions


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def basis_of(count, dimension, seed=0):
    draws = torch.randn(dimension, count, generator=generator(seed), dtype=torch.double)
    return torch.linalg.qr(draws).Q.T


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 39), st.integers(0, 1000))
def test_a_random_vector_lies_in_a_subspace_by_the_root_of_the_dimensions(count, seed):
    vectors = torch.randn(2000, 40, generator=generator(seed))
    shares = share_within(vectors, basis_of(count, 40, seed))
    # E‖P_S v‖² = m/d exactly for unit v, of Beta(m/2, (d − m)/2) distribution.
    variance = 2 * count * (40 - count) / (40**2 * 42)
    assert abs(shares.square().mean() - count / 40) < 5 * math.sqrt(variance / 2000)
    if count >= 10:
        assert shares.mean() == pytest.approx(math.sqrt(count / 40), rel=0.05)


def test_vectors_in_the_subspace_and_orthogonal_to_it():
    basis = basis_of(5, 12)
    inside, outside = noise_within(basis, 50, generator(1)), noise_outside(basis, 50, generator(1))
    for unit, share in ((inside, 1.0), (outside, 0.0)):
        torch.testing.assert_close(unit.norm(dim=1), torch.ones(50, dtype=torch.double))
        torch.testing.assert_close(
            share_within(unit, basis), torch.full((50,), share, dtype=torch.double), atol=1e-9, rtol=0
        )


def test_zero_has_no_share():
    assert share_within(torch.zeros(1, 12), basis_of(5, 12)).isnan().all()


def test_directions_that_all_share_a_plane_give_the_plane():
    plane = basis_of(2, 10)
    angles = torch.rand(30, generator=generator(3), dtype=torch.double) * 2 * math.pi
    stacked = torch.stack([angles.cos(), angles.sin()], dim=1) @ plane
    shared = shared_directions(stacked, 6)
    assert shared.shape == (2, 10), "no more than the rank"
    torch.testing.assert_close(shared @ shared.T, torch.eye(2, dtype=torch.double))
    torch.testing.assert_close(share_within(shared, plane), torch.ones(2, dtype=torch.double))


def test_the_most_shared_direction_comes_first():
    often, seldom = torch.eye(4, dtype=torch.double)[:2]
    shared = shared_directions(torch.stack([often] * 5 + [seldom] * 2), 2)
    torch.testing.assert_close(shared.abs(), torch.stack([often, seldom]))


def test_mistakes_are_told():
    with pytest.raises(UserError, match="count from 1"):
        shared_directions(torch.ones(2, 3), 0)
    with pytest.raises(UserError, match="fewer than d = 3"):
        noise_outside(torch.eye(3), 1, generator())
