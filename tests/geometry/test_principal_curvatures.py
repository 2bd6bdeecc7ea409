import math

import pytest
import torch
from torch import nn

from bench.core.errors import UserError
from bench.core.passes import counting
from bench.geometry.principal_curvatures import (
    boundary_at,
    boundary_points,
    mean_at,
    principal_directions,
    relative_curvature,
)

RADIUS = 2.0


class Against(nn.Module):
    """Logits (F, 0) of a function of flat points."""

    num_classes = 2

    def __init__(self, function, shape):
        super().__init__()
        self.function, self.input_shape, self.seen = function, shape, 0

    def forward(self, images):
        self.seen += len(images)
        value = self.function(images.flatten(1))
        return torch.stack([value, torch.zeros_like(value)], dim=1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sphere(points):
    return points.square().sum(dim=1) - RADIUS**2


def on_sphere(shape):
    draw = torch.randn(shape, generator=generator(3), dtype=torch.double)
    return RADIUS * draw / draw.norm()


def paraboloid(k):
    return lambda z: z[:, 0] + 0.5 * (k * z[:, 1:] ** 2).sum(dim=1)


@pytest.mark.parametrize("full_up_to", [100, 0])
@pytest.mark.parametrize(("own", "sign"), [(0, 1), (1, -1)])
def test_every_principal_curvature_of_a_sphere_is_one_over_its_radius(full_up_to, own, sign):
    shape = (1, 5, 8)
    boundary = boundary_at(Against(sphere, shape), on_sphere(shape), own, 1 - own)
    profile = principal_directions(boundary, generator(), extremes=4, full_up_to=full_up_to)
    assert len(profile.curvatures) == 39 if full_up_to else len(profile.curvatures) > 0
    expected = torch.full_like(profile.curvatures, sign / RADIUS)
    torch.testing.assert_close(profile.curvatures, expected, rtol=1e-6, atol=0)
    assert profile.mean == pytest.approx(sign / RADIUS)
    assert mean_at(boundary, generator()) == pytest.approx(sign / RADIUS)
    normal = boundary.point.flatten() / RADIUS
    torch.testing.assert_close(
        profile.directions @ normal, torch.zeros(len(expected), dtype=torch.double), atol=1e-6, rtol=0
    )


def test_principal_curvatures_of_a_paraboloid_are_its_coefficients_with_their_axes():
    k = torch.tensor([2, 1, -0.5, -3, 0.25], dtype=torch.double)
    classifier = Against(paraboloid(k), (1, 2, 3))
    boundary = boundary_at(classifier, torch.zeros(1, 2, 3, dtype=torch.double), 0, 1)
    profile = principal_directions(boundary, generator())
    values, order = k.sort()
    torch.testing.assert_close(profile.curvatures, values)
    assert profile.mean == pytest.approx(-0.05), "tr/(d − 1), where the whole space would give −.0417"
    torch.testing.assert_close(profile.directions.abs(), torch.eye(6, dtype=torch.double)[1 + order])


def test_lanczos_finds_both_ends_of_the_whole_spectrum():
    k = torch.linspace(-1, 2, 59, dtype=torch.double).pow(3)
    classifier = Against(paraboloid(k), (1, 6, 10))
    point = torch.zeros(1, 6, 10, dtype=torch.double)
    profile = principal_directions(
        boundary_at(classifier, point, 0, 1), generator(), extremes=5, full_up_to=0
    )
    assert len(profile.curvatures) == 10
    ordered = k.sort().values
    torch.testing.assert_close(profile.curvatures[-5:], ordered[-5:], rtol=0.02, atol=0.01)
    torch.testing.assert_close(profile.curvatures[:5], ordered[:5], rtol=0.1, atol=0.05)


def test_curvature_of_a_relu_network_is_that_of_its_kinks_within_a_step():
    # F = z₀ + Σ a·relu(z_j): over ±h from 0 the second difference along e_j is a/h, where autograd gives 0.
    classifier = Against(lambda z: z[:, 0] + 1.5 * z[:, 1:].relu().sum(dim=1), (1, 1, 5))
    boundary = boundary_at(classifier, torch.zeros(1, 1, 5, dtype=torch.double), 0, 1)
    unit = torch.eye(5, dtype=torch.double)
    expected = torch.tensor([0.0, *[1.5 / boundary.h] * 4], dtype=torch.double)
    torch.testing.assert_close(boundary.forms(unit), expected)
    smaller = boundary_at(classifier, boundary.point, 0, 1, h_scale=0.5)
    torch.testing.assert_close(smaller.forms(unit), 2 * expected)


def test_without_a_normal_there_is_no_profile():
    classifier = Against(lambda z: 0 * z[:, 0] + 1, (1, 2, 2))
    boundary = boundary_at(classifier, torch.zeros(1, 2, 2), 0, 1)
    assert principal_directions(boundary, generator()) is None
    assert relative_curvature(boundary, torch.eye(4), generator()) is None
    assert math.isnan(mean_at(boundary, generator()))


@pytest.mark.parametrize("full_up_to", [100, 0])
def test_a_plane_has_a_profile_of_zeros(full_up_to):
    classifier = Against(lambda z: z.sum(dim=1), (1, 5, 8))
    boundary = boundary_at(classifier, torch.zeros(1, 5, 8, dtype=torch.double), 0, 1)
    profile = principal_directions(boundary, generator(), extremes=3, full_up_to=full_up_to)
    assert profile.curvatures.abs().lt(1e-9).all()
    assert abs(profile.mean) < 1e-9


def test_relative_curvature_compares_with_random_directions():
    k = torch.zeros(29, dtype=torch.double)
    k[0], k[1] = 4.0, -2.0
    classifier = Against(paraboloid(k), (1, 5, 6))
    boundary = boundary_at(classifier, torch.zeros(1, 5, 6, dtype=torch.double), 0, 1)
    rho = relative_curvature(boundary, torch.eye(30, dtype=torch.double)[:4], generator(), samples=20_000)
    draws = torch.randn(200_000, 30, generator=generator(9), dtype=torch.double)
    draws = draws / draws.norm(dim=1, keepdim=True)
    usual = (4 * draws[:, 1] ** 2 - 2 * draws[:, 2] ** 2).abs().mean()
    # Along the normal there is nothing; the fourth direction is flat.
    torch.testing.assert_close(rho[[0, 3]], torch.zeros(2, dtype=torch.double), atol=1e-9, rtol=0)
    torch.testing.assert_close(rho[[1, 2]], torch.tensor([4.0, 2.0]).double() / usual, rtol=0.05, atol=0)


def test_points_are_brought_onto_the_boundary():
    shape = (1, 2, 3)
    classifier = Against(sphere, shape)
    draws = torch.randn(20, *shape, generator=generator(1))
    images = (
        draws
        / draws.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        * torch.linspace(1.0, 3.5, 20).view(-1, 1, 1, 1)
    )
    with counting(classifier) as passes:
        near = boundary_points(classifier, images)
    assert near.found.all()
    way = (near.perturbed - images).flatten(1).norm(dim=1)
    beside = (near.points.flatten(1).norm(dim=1) - RADIUS).abs()
    assert (beside <= way * 2**-12 + 1e-5).all()
    outside = images.flatten(1).norm(dim=1) > RADIUS
    assert torch.equal(near.own == 0, outside)
    assert (near.own != near.other).all()
    assert passes.forwards == classifier.seen


def test_passes_are_counted():
    classifier = Against(sphere, (1, 2, 3))
    boundary = boundary_at(classifier, on_sphere((1, 2, 3)), 0, 1, batch_size=4)
    with counting(classifier) as passes:
        principal_directions(boundary, generator())
    assert passes.forwards == classifier.seen
    # One for the normal, two for each of the d − 1 columns.
    assert passes.backwards == 1 + 2 * 5


def test_mistakes_are_told():
    classifier = Against(sphere, (1, 1, 1))
    with pytest.raises(UserError, match="at least 2 pixels"):
        principal_directions(boundary_at(classifier, torch.ones(1, 1, 1), 0, 1), generator())
    with pytest.raises(UserError, match="h_scale above 0"):
        boundary_at(classifier, torch.ones(1, 1, 1), 0, 1, h_scale=0.0)
