import pytest
import torch
from torch import nn

from bench.core import gradients
from bench.core.gradients import cached_rows, input_gradients


class Unbatched(torch.autograd.Function):
    """x², whose backward pass cannot be batched: it has no rule for vmap."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return torch.from_numpy(2 * gradient.numpy()) * x


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            *(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(16, 6)),
        ).eval()


def jacobians(function, points):
    return [
        torch.autograd.functional.jacobian(lambda x: function(x[None])[0], point).unbind() for point in points
    ]


@pytest.mark.parametrize("rows", [1, 10, 20, 64])
def test_every_way_to_group_the_columns_gives_the_jacobian(rows, monkeypatch):
    monkeypatch.setattr(gradients, "_CPU_ROWS", rows)
    monkeypatch.setattr(gradients, "_CPU_VALUES", 0)
    model = network().double()
    points = torch.rand(5, 1, 4, 4, dtype=torch.double, requires_grad=True)
    found = list(input_gradients(model(points), points))
    assert len(found) == 6
    for row, expected in enumerate(jacobians(model, points.detach())):
        for column, gradient in enumerate(found):
            torch.testing.assert_close(gradient[row], expected[column])


def test_a_backward_pass_that_cannot_be_batched_is_taken_column_by_column():
    points = torch.rand(3, 1, 2, 2, requires_grad=True)
    values = Unbatched.apply(points).flatten(1)
    found = list(input_gradients(values, points))
    for column, gradient in enumerate(found):
        expected = torch.zeros(3, 4)
        expected[:, column] = 2 * points.detach().flatten(1)[:, column]
        torch.testing.assert_close(gradient.flatten(1), expected)


def test_values_that_do_not_depend_on_the_image_have_no_gradient():
    points, others = torch.rand(3, 1, 2, 2, requires_grad=True), torch.rand(3, 4, requires_grad=True)
    for values in (torch.zeros(3, 4), others * 2):
        found = list(input_gradients(values, points))
        assert len(found) == 4
        assert not any(gradient.any() for gradient in found)


def test_the_graph_is_kept_when_asked():
    points = torch.rand(3, 1, 4, 4, requires_grad=True)
    values = network()(points)
    first = list(input_gradients(values, points, keep_graph=True))
    second = list(input_gradients(values, points))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_only_the_cpu_has_caches_to_fit():
    image = torch.empty(3, 224, 224)
    assert cached_rows(image, 500) < cached_rows(image[:, :32, :32], 500) < 500
    assert cached_rows(image, 3) == 3
    assert cached_rows(image.to("meta"), 500) == 500
