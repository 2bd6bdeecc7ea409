"""Broken networks: sound while they train, and broken in evaluation as their name says."""

from typing import get_args

import pytest
import torch

from bench.models import build
from bench.models.broken import Way

IMAGES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def network(way, evaluation=True):
    name = f"bench.models.broken:broken(by={way},width=0.1)"
    return build(name, input_shape=(1, 8, 8), num_classes=3, seed=0).train(not evaluation)


def gradient(classifier, at=IMAGES):
    points = at.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(classifier(points), torch.arange(4) % 3)
    return torch.autograd.grad(loss, points)[0]


@pytest.mark.parametrize("way", get_args(Way))
def test_every_way_trains_with_a_gradient_and_starts_from_one_network(way):
    training = network(way, evaluation=False)
    assert gradient(training).abs().max() > 0
    if way != "binarized":
        plain = build("cnn6(width=0.1)", input_shape=(1, 8, 8), num_classes=3, seed=0).train()
        assert torch.equal(training(IMAGES), plain(IMAGES))


@pytest.mark.parametrize("way", ["quantized", "vanishing", "binarized"])
def test_these_have_no_gradient(way):
    assert not gradient(network(way)).any()


def test_a_saturated_network_keeps_its_features_and_scales_its_logits():
    plain = build("cnn6(width=0.1)", input_shape=(1, 8, 8), num_classes=3, seed=0).eval()
    broken = network("saturated")
    torch.testing.assert_close(broken.features(IMAGES), plain.features(IMAGES))
    bias = plain.head.bias
    torch.testing.assert_close(broken(IMAGES) - bias, 1e4 * (plain(IMAGES) - bias), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("way", ["noisy", "dropped"])
def test_these_give_other_logits_each_time(way):
    broken = network(way)
    assert not torch.equal(broken(IMAGES), broken(IMAGES))


def test_a_turned_gradient_is_the_true_one_with_the_other_sign():
    torch.testing.assert_close(gradient(network("turned")), -gradient(network("turned", evaluation=False)))


def test_a_ripple_changes_the_gradient_more_than_the_logits():
    plain, broken = network("shattered", evaluation=False).requires_grad_(False), network("shattered")
    assert gradient(broken).abs().mean() > 3 * gradient(plain).abs().mean()
    assert (broken(IMAGES) - plain(IMAGES)).abs().max() < (
        gradient(broken) - gradient(plain)
    ).abs().max() * 10
