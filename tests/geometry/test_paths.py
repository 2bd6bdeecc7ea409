import math

import pytest
import torch
from torch import nn

from bench.core.errors import UserError
from bench.core.passes import counting
from bench.core.predictor import Predictor
from bench.geometry.paths import cross_section, find_paths

SHAPE = (1, 1, 2)


class Plane(nn.Module):
    """Class 0 where a function of the points of a plane [B, 2] is positive, class 1 elsewhere."""

    num_classes, input_shape = 2, SHAPE

    def __init__(self, inside):
        super().__init__()
        self.inside, self.seen = inside, 0

    def forward(self, images):
        self.seen += len(images)
        value = self.inside(images.flatten(1))
        return torch.stack([value, torch.zeros_like(value)], dim=1)


def annulus(points):
    radius = points.norm(dim=1)
    return (radius - 0.5) * (1.5 - radius)


def discs(points):
    centre = torch.tensor([1.0, 0.0])
    return 0.25 - torch.minimum((points - centre).square().sum(1), (points + centre).square().sum(1))


def convex(points):
    return 4 - points.square().sum(dim=1)


def point(x, y):
    return torch.tensor([x, y]).view(1, *SHAPE)


def test_antipodal_points_of_an_annulus_are_joined_around_the_hole():
    classifier = Plane(annulus)
    result = find_paths(classifier, point(-1.0, 0.0), point(1.0, 0.01))
    (path,) = result.paths
    assert path.found
    assert not path.straight
    assert torch.equal(path.anchors[0], point(-1.0, 0.0)[0])
    assert torch.equal(path.anchors[-1], point(1.0, 0.01)[0])
    # Around a hole of radius ½ from −1 to 1 the shortest way is two tangents and an arc.
    shortest = 2 * math.sqrt(1 - 0.25) + 0.5 * (math.pi - 2 * math.acos(0.5))
    assert shortest / 2 - 0.02 <= path.length < math.pi / 2
    assert 0.25 - 0.01 <= path.deviation < 0.75
    steps = torch.linspace(0, 1, 200).view(-1, 1, 1, 1)
    for start, end in zip(path.anchors[:-1], path.anchors[1:], strict=True):
        along = start + steps * (end - start)
        assert (annulus(along.flatten(1)) > -1e-3).all()


def test_two_separate_discs_are_not_joined_and_the_search_ends():
    classifier = Plane(discs)
    for max_depth in (3, 20):
        result = find_paths(classifier, point(-1.1, 0.1), point(0.9, 0.0), max_depth=max_depth)
        (path,) = result.paths
        assert not path.found
        assert not path.straight
        assert math.isnan(path.length)
        assert math.isnan(path.deviation)
        assert torch.equal(path.anchors, torch.cat([point(-1.1, 0.1), point(0.9, 0.0)]))


def test_a_straight_path_has_no_anchors_between():
    result = find_paths(Plane(convex), point(-1.0, 0.5), point(1.0, -0.5))
    (path,) = result.paths
    assert path.straight
    assert (len(path.anchors), path.length, path.deviation) == (2, 1.0, 0.0)


def test_each_pair_gets_what_it_would_alone():
    classifier = Plane(annulus)
    starts = torch.cat([point(-1.0, 0.0), point(0.0, 1.0), point(0.9, 0.0)])
    ends = torch.cat([point(1.0, 0.01), point(0.1, 1.1), point(-0.8, -0.4)])
    together = find_paths(classifier, starts, ends)
    for row, path in enumerate(together.paths):
        (alone,) = find_paths(classifier, starts[row : row + 1], ends[row : row + 1]).paths
        torch.testing.assert_close(path.anchors, alone.anchors)
        assert path.found == alone.found


def test_the_same_point_twice_is_joined():
    (path,) = find_paths(Plane(convex), point(0.3, 0.3), point(0.3, 0.3)).paths
    assert path.straight
    assert (path.length, path.deviation) == (1.0, 0.0)


def test_every_pass_is_counted():
    classifier = Plane(annulus)
    with counting(classifier) as passes:
        find_paths(classifier, point(-1.0, 0.0), point(1.0, 0.01), batch_size=7)
    assert passes.forwards == classifier.seen
    assert passes.backwards > 0


def test_a_path_with_too_many_anchors_is_given_up():
    (path,) = find_paths(Plane(annulus), point(-1.0, 0.0), point(1.0, 0.01), max_anchors=2).paths
    assert not path.found


def test_the_strip_around_a_straight_path_shows_the_region_to_both_sides():
    predict = Predictor(Plane(convex), batch_size=50)
    section = cross_section(
        predict, torch.cat([point(-1.0, 0.0), point(1.0, 0.0)]), torch.tensor([[[5.0, 1.0]]]), reach=3.0
    )
    inside = section.along.sub(1).square()[None, :] + section.across.square()[:, None] < 4
    assert torch.equal(section.labels == 0, inside)
    assert section.corners.tolist() == [0.0, 2.0]


def test_strips_of_a_bent_path_are_stitched_at_its_anchors():
    anchors = torch.cat([point(-1.0, 0.0), point(-1.0, 1.0), point(1.0, 1.0)])
    section = cross_section(
        Predictor(Plane(annulus)), anchors, torch.tensor([[[1.0, 1.0]]]), reach=0.2, columns=31, rows=5
    )
    assert section.corners.tolist() == [0.0, 1.0, 3.0]
    assert section.labels.shape == (5, 31)
    middle = torch.stack(
        [torch.tensor([-1.0, s]) if s <= 1 else torch.tensor([s - 2, 1.0]) for s in section.along.tolist()]
    )
    assert torch.equal(section.labels[2] == 0, annulus(middle) > 0)


def test_mistakes_are_told():
    classifier = Plane(annulus)
    for match, starts, ends, more in (
        ("two regions", point(0.0, 0.0), point(1.0, 0.0), {}),
        ("as many starts as ends", point(1.0, 0.0), torch.cat([point(1.0, 0.0)] * 2), {}),
        ("from 1, got 0", point(1.0, 0.0), point(1.0, 0.1), {"max_depth": 0}),
        ("from 1, got 20, 0", point(1.0, 0.0), point(1.0, 0.1), {"samples": 0}),
    ):
        with pytest.raises(UserError, match=match):
            find_paths(classifier, starts, ends, **more)
