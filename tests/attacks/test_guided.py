"""Guided attacks and HopSkipJump on a linear network: what they break is known exactly."""

import pytest
import torch
from torch import Tensor, nn

from bench.attacks.answers import Answers
from bench.attacks.guided import Guided
from bench.attacks.hop_skip_jump import HopSkipJump
from bench.core.threat import Threat
from tests.attacks.linear import Linear, classifier, distances, some_images

THREATS = (Threat("linf", "0.05"), Threat("l2", "0.2"))


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_a_guided_attack_breaks_what_lies_within_the_threat(threat: Threat) -> None:
    images, labels = some_images()
    network, far = classifier(Linear()), distances(images, threat) / threat.radius
    judge = Answers(network).wrong
    found = Guided(steps=20, losses=("margin",))(network, judge, images, labels, threat, torch.Generator())
    assert found.broken[far < 0.98].all()
    assert not found.broken[far > 1.02].any()
    assert threat.allows(found.adversarial, images).all()
    assert torch.equal(judge(found.adversarial, labels), found.broken)


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_hop_skip_jump_needs_the_predicted_class_alone(threat: Threat) -> None:
    images, labels = some_images()
    network, far = classifier(Linear()), distances(images, threat) / threat.radius
    judge = Answers(network).wrong
    found = HopSkipJump()(judge, images, labels, threat, torch.Generator().manual_seed(0), images)
    assert found.broken[far < 0.8].float().mean() > 0.95
    assert not found.broken[far > 1.02].any()
    assert threat.allows(found.adversarial, images).all()
    assert judge(found.adversarial, labels)[found.broken].all()


class Sometimes(nn.Module):
    """The linear network, which errs in a third of its passes."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Linear()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        errs = torch.rand(len(images), 1) < 1 / 3
        return torch.where(errs, -logits, logits)


def test_most_passes_decide_what_a_stochastic_network_answers() -> None:
    images, labels = some_images()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = classifier(Sometimes())
        assert Answers(network).wrong(images, labels).float().mean() > 0.15
        assert Answers(network, votes=101).wrong(images, labels).float().mean() < 0.05


class Neighbors(nn.Module):
    """Every image but the first of a batch is answered as the first one."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Linear()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits[:1].expand(len(logits), -1) + 0 * logits


def test_a_network_that_depends_on_the_batch_is_asked_for_each_image_alone() -> None:
    images, labels = some_images()
    network = classifier(Neighbors())
    assert not Answers(network, alone=True).wrong(images, labels).any()
    alone = Answers(network, alone=True).guide()(images)
    torch.testing.assert_close(alone, Linear()(images))


def test_an_attack_goes_on_until_the_judge_is_sure() -> None:
    images, labels = some_images()
    degrees, seen = [0.2, 0.5, 0.1, 1.0, 2.0], []

    def judge(points: Tensor, classes: Tensor) -> Tensor:
        seen.append(points)
        return torch.full((len(points),), degrees[len(seen) - 1])

    task = (images, labels, THREATS[0], torch.Generator())
    found = Guided(steps=3, losses=("margin",), every=1)(Linear(), judge, *task)
    assert found.broken.all()
    assert not found.sure.any()
    assert torch.equal(found.adversarial, seen[1])
    seen.clear()
    found = Guided(steps=5, losses=("margin",), every=1)(Linear(), judge, *task)
    assert found.sure.all()
    assert torch.equal(found.adversarial, seen[3])
    assert len(seen) == 4


def test_a_vote_is_sure_where_chance_does_not_explain_it() -> None:
    images, labels = some_images()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = classifier(Sometimes())
        degree = Answers(network, votes=301).degree(images, 1 - labels)  # wrong in two thirds of the passes
        assert (degree > 1).float().mean() > 0.9
        assert (Answers(network, votes=5).degree(images, 1 - labels) < 1.2).all()
        assert (Answers(network, votes=101).degree(images, labels) < 0).all()
    one = Answers(classifier(Linear()))
    assert (one.degree(images, 1 - labels) == 1).all()
    assert (one.degree(images, labels) == 0).all()
