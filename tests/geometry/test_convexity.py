import pytest
import torch
from torch import nn

from bench.core.errors import UserError
from bench.core.predictor import Predictor
from bench.geometry.convexity import mixtures_stay


class Named(nn.Module):
    """Class 1 where a function of flat images is positive, class 0 elsewhere."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        value = self.function(images.flatten(1))
        return torch.stack([torch.zeros_like(value), value], dim=1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def stay(function, images, k, trials=300, batch_size=64):
    predict = Predictor(Named(function), batch_size)
    return mixtures_stay(predict, images, predict(images), k, trials, generator())


@pytest.mark.parametrize("k", [2, 5, 10])
def test_mixtures_of_a_half_space_stay_in_it(k):
    images = torch.randn(50, 1, 2, 3, generator=generator(1))
    stays = stay(lambda x: x.sum(dim=1), images, k)
    assert stays.all()
    assert len(stays) == 300


def test_mixtures_of_two_points_on_either_side_of_a_gap_stay_as_often_as_the_gap_is_narrow():
    # Points at ±1, gap of half width g: w uniform on [0, 1], |2w − 1| > g has probability 1 − g.
    gap, trials = 0.3, 4000
    images = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1)
    stays = stay(lambda x: x[:, 0].abs() - gap, images, 2, trials)
    assert abs(stays.float().mean() - (1 - gap)) < 4 * (gap * (1 - gap) / trials) ** 0.5


def test_weights_are_uniform_on_the_simplex():
    # Of three unit vectors, P[w_1 > ½] = ¼ under Dirichlet(1, 1, 1).
    images = torch.eye(3).view(3, 1, 1, 3)
    trials = 4000
    stays = stay(lambda x: 0.5 - x[:, 0] + (x[:, 0] == 1) * 2, images, 3, trials)
    assert abs(stays.float().mean() - 0.75) < 4 * (0.25 * 0.75 / trials) ** 0.5


def test_a_mixture_of_one_image_is_the_image():
    images = torch.randn(20, 1, 2, 2, generator=generator(2))
    assert stay(lambda x: x.sum(dim=1), images, 1).all()


def test_regions_with_too_few_images_take_no_part():
    images = torch.cat([torch.full((3, 1, 1, 1), -1.0), torch.full((8, 1, 1, 1), 1.0)])

    def gap(x):
        return x[:, 0]

    assert stay(gap, images, 8).all()
    assert len(stay(gap, images, 9)) == 0


def test_batch_size_changes_nothing():
    images = torch.randn(30, 1, 2, 2, generator=generator(3))

    def ring(x):
        return x.square().sum(dim=1) - 2

    assert torch.equal(stay(ring, images, 4, batch_size=500), stay(ring, images, 4, batch_size=7))


def test_mistakes_are_told():
    with pytest.raises(UserError, match="k=0"):
        stay(lambda x: x[:, 0], torch.ones(2, 1, 1, 1), 0)
