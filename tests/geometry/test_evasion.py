from dataclasses import fields

import pytest
import torch
from torch import nn

from bench.attacks.deepfool import deepfool
from bench.core.errors import UserError
from bench.core.passes import counting
from bench.geometry.curvature import mean_curvature, step_length, unit_vectors
from bench.geometry.evasion import Surrogate, evade

SHAPE = (1, 3, 4)


class Smooth(nn.Module):
    """A network with tanh, whose second differences are not exact, in any number of classes."""

    def __init__(self, classes):
        super().__init__()
        self.num_classes, self.input_shape = classes, SHAPE
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, classes))

    def forward(self, images):
        return self.layers(4 * images - 2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images_of(count):
    return torch.rand(count, *SHAPE, generator=generator(1))


@pytest.mark.parametrize("classes", [2, 5])
def test_with_the_detectors_directions_the_surrogate_is_the_score(classes):
    network, images = Smooth(classes).double(), images_of(7).double()
    expected = mean_curvature(network, images, generator(), directions=9)
    unit = unit_vectors(9, torch.Size(SHAPE), generator())
    surrogate = Surrogate(network, unit, step_length(12), batch_size=20)
    found = surrogate(images, torch.zeros(7, dtype=torch.int64))
    assert torch.equal(found.predicted, expected.predicted)
    torch.testing.assert_close(found.score, expected.score, rtol=1e-9, atol=1e-12)


def test_its_gradient_is_that_of_the_second_differences_with_normals_held():
    network, images = Smooth(2).double(), images_of(3).double()
    unit = unit_vectors(6, torch.Size(SHAPE), generator())
    h, labels = step_length(12), torch.zeros(3, dtype=torch.int64)
    found = Surrogate(network, unit, h)(images, labels)
    predicted = found.predicted

    def boundary(points, row):
        logits = network(points[None])[0]
        return logits[1 - predicted[row]] - logits[predicted[row]]

    for row, image in enumerate(images):
        gradient = torch.autograd.functional.jacobian(lambda x, row=row: boundary(x, row), image)
        length = gradient.norm()
        normal = gradient / length

        def surrogate(x, row=row, normal=normal, length=length):
            def form(v):
                ends = boundary(x + h * v, row) + boundary(x - h * v, row)
                return (ends - 2 * boundary(x, row)) / h**2

            trace = 12 * torch.stack([form(v) for v in unit]).mean()
            return (trace - form(normal)) / (11 * length)

        torch.testing.assert_close(found.gradient[row], torch.autograd.functional.jacobian(surrogate, image))
        sign = 1 if predicted[row] == 1 else -1  # the margin of class 0
        torch.testing.assert_close(found.margin_gradient[row], sign * gradient)


def test_passes_are_counted_and_batches_change_nothing_but_rounding():
    network, images = Smooth(4).double(), images_of(5).double()
    unit, labels = unit_vectors(6, torch.Size(SHAPE), generator()), torch.zeros(5, dtype=torch.int64)
    seen = []
    network.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    values = []
    for batch_size in (8, 500):
        seen.clear()
        surrogate = Surrogate(network, unit, 1.0, batch_size=batch_size)
        with counting(network) as passes:
            values.append(surrogate(images, labels))
        assert passes.forwards == sum(seen) == 5 * (1 + 2 * 6 + 2 * 3)
    for field in fields(values[0]):
        torch.testing.assert_close(*(getattr(value, field.name) for value in values))


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_evasion_keeps_the_network_fooled_in_ball_and_box_and_never_makes_the_surrogate_worse(side):
    network, images = Smooth(3).eval(), images_of(40)
    attack = deepfool(network, images, clip=True)
    found = attack.found
    assert found.sum() > 20
    images, labels, starts = images[found], attack.clean_labels[found], attack.perturbed[found]
    radius = 5 * (starts - images).flatten(1).norm(dim=1)
    result = evade(network, images, labels, starts, radius, generator(), side=side, steps=10, directions=6)
    points = result.adversarial
    assert (network(points).argmax(dim=1) != labels).all()
    assert ((points - images).flatten(1).norm(dim=1) <= radius + 1e-5).all()
    assert points.min() >= 0
    assert points.max() <= 1
    unit = unit_vectors(6, torch.Size(SHAPE), generator()).float()
    surrogate = Surrogate(network, unit, step_length(12))
    before, after = surrogate(starts, labels).score, surrogate(points, labels).score
    better = side * after < side * before - 1e-6
    assert (side * after <= side * before + 1e-3).all()
    assert better.float().mean() > 0.5


def test_a_flat_network_leaves_the_starts_as_they_are():
    class Flat(nn.Module):
        num_classes, input_shape = 2, SHAPE

        def forward(self, images):
            return torch.tensor([0.0, 1.0]).expand(len(images), 2)

    images = images_of(3)
    labels, radius = torch.zeros(3, dtype=torch.int64), torch.ones(3)
    result = evade(Flat(), images, labels, images, radius, generator(), steps=3)
    assert torch.equal(result.adversarial, images)


def test_mistakes_are_told():
    images = images_of(2)
    with pytest.raises(UserError, match="steps and directions from 1, got 0"):
        evade(
            Smooth(2), images, torch.zeros(2, dtype=torch.int64), images, torch.ones(2), generator(), steps=0
        )
