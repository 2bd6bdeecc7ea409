import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.core.classifier import Classifier, WrappedClassifier
from bench.core.errors import UserError
from bench.geometry.plane import plane_through, read_plane

SHAPE = (1, 2, 3)


def three(seed=0):
    return torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(seed))


def flat(weight, bias):
    """A network of one feature for each row of `weight`; class 1 where the first is positive."""
    weight = torch.as_tensor(weight, dtype=torch.float)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(weight.shape[1], len(weight)))
    head = nn.Linear(len(weight), 2)
    with torch.no_grad():
        backbone[1].weight.copy_(weight)
        backbone[1].bias.copy_(torch.as_tensor(bias))
        head.weight.zero_()[1, 0] = 1
        head.bias.zero_()
    return Classifier(
        backbone, head, activation=nn.Identity(), site="pre-activation", input_shape=(1, 1, weight.shape[1])
    )


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_the_plane_goes_through_its_images_and_keeps_their_distances(seed):
    images = three(seed)
    plane = plane_through(images)
    torch.testing.assert_close(plane.points(plane.corners), images.double())
    axes = plane.axes.flatten(1)
    torch.testing.assert_close(axes @ axes.T, torch.eye(2, dtype=torch.double), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        torch.cdist(plane.corners, plane.corners, compute_mode="donot_use_mm_for_euclid_dist"),
        torch.cdist(*[images.double().flatten(1)] * 2, compute_mode="donot_use_mm_for_euclid_dist"),
    )
    assert plane.corners[1, 1] == 0
    assert plane.corners[2, 1] > 0


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 30))
def test_the_window_is_a_square_of_square_cells_with_room_around_the_images(seed, resolution):
    plane = plane_through(three(seed))
    a, b = plane.window(resolution, margin=0.25)
    assert len(a) == len(b) == resolution
    side = np.ptp(plane.corners.numpy(), axis=0).max()
    cell = 1.5 * side / resolution
    np.testing.assert_allclose(np.diff(a), cell)
    np.testing.assert_allclose(np.diff(b), cell)
    for cells, places in ((a, plane.corners[:, 0].numpy()), (b, plane.corners[:, 1].numpy())):
        assert cells[0] - cell / 2 <= places.min() - 0.25 * side + 1e-9
        assert cells[-1] + cell / 2 >= places.max() + 0.25 * side - 1e-9


def test_regions_of_a_network_of_two_features_are_the_four_quadrants():
    images = torch.tensor([[-1.0, -1], [1, -1], [-1, 1]]).view(3, 1, 1, 2)
    classifier = flat([[1.0, 0], [0, 1]], [0.0, 0])
    plane = plane_through(images)
    a, b = plane.window(20)
    found = read_plane(classifier, plane, a, b, batch_size=7)
    # The first image is the origin, so that a and b run from its own pixels (−1, −1).
    x, y = np.meshgrid(a - 1, b - 1)
    assert found.count == 4
    expected = (x > 0) + 2 * (y > 0)
    pairs = {(one, other) for one, other in zip(found.region.ravel(), expected.ravel(), strict=True)}
    assert len(pairs) == 4
    assert (found.predicted == (x > 0)).all()
    names = dict(pairs and {(other, one) for one, other in pairs})
    assert found.at_corners.tolist() == [names[0], names[1], names[2]]


def test_region_zero_has_most_cells_and_sizes_fall():
    images = torch.tensor([[0.0, 0], [1, 0], [0, 1]]).view(3, 1, 1, 2)
    classifier = flat([[1.0, 0], [0, 1], [1, 1]], [-0.1, -0.3, -0.9])
    plane = plane_through(images)
    found = read_plane(classifier, plane, *plane.window(40))
    sizes = np.bincount(found.region.ravel())
    assert len(sizes) == found.count > 3
    assert (np.diff(sizes) <= 0).all()
    assert found.region.shape == (40, 40)


def test_rows_run_along_b_and_columns_along_a():
    images = torch.tensor([[0.0, 0], [1, 0], [0, 1]]).view(3, 1, 1, 2)
    classifier = flat([[0.0, 1]], [-0.5])
    plane = plane_through(images)
    found = read_plane(classifier, plane, np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0]))
    assert found.predicted.tolist() == [[0, 0, 0], [1, 1, 1]]


def test_a_region_of_an_image_that_no_cell_meets_is_not_counted():
    images = torch.tensor([[0.0, 0], [1, 0], [0, 1]]).view(3, 1, 1, 2)
    classifier = flat([[1.0, 1]], [-0.5])
    plane = plane_through(images)
    found = read_plane(classifier, plane, np.array([2.0]), np.array([2.0]))
    assert found.count == 1
    assert found.region.tolist() == [[0]]
    assert found.at_corners.tolist() == [1, 0, 0]


def test_a_constant_network_has_one_region():
    classifier = flat(np.zeros((3, 6)), [1.0, -1, 0])
    plane = plane_through(three().view(3, 1, 1, 6))
    found = read_plane(classifier, plane, *plane.window(8))
    assert (found.count, found.at_corners.tolist()) == (1, [0, 0, 0])
    assert not found.region.any()


def test_a_wrapped_network_is_read_before_its_head_and_batches_change_nothing():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Flatten(), nn.Linear(6, 9), nn.ReLU(), nn.Dropout(0.9), nn.Linear(9, 3))
    classifier = WrappedClassifier(module, SHAPE, 3).train()
    plane = plane_through(three())
    a, b = plane.window(12)
    found = [read_plane(classifier, plane, a, b, batch_size=size) for size in (5, 500)]
    assert np.array_equal(found[0].region, found[1].region)
    assert np.array_equal(found[0].predicted, found[1].predicted)
    assert found[0].count > 1
    assert all(part.training for part in classifier.modules())


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(3, 1, 1, 4),
        torch.tensor([0.0, 0.5, 1]).view(3, 1, 1, 1).expand(3, 1, 1, 4),
        torch.stack([torch.zeros(1, 1, 4), torch.zeros(1, 1, 4), torch.ones(1, 1, 4)]),
    ],
)
def test_images_on_a_line_span_no_plane(images):
    with pytest.raises(UserError, match="span a plane"):
        plane_through(images)


def test_two_images_are_too_few():
    with pytest.raises(UserError, match="three images"):
        plane_through(three()[:2])
