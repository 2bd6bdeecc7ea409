"""ce-gradient, full-jacobian, CURE, LLR and GradAlign on a linear network with two classes.

There ℓ(x) = softplus(−m) with the margin m = s·x, so ∇ℓ = −σ(−m)·s.
"""

from fractions import Fraction

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from bench.core.threat import Threat
from defenses import Attacked, get
from defenses.ascent import surrogate_step_length
from defenses.cure import unit_sign
from defenses.gradalign import cosine
from tests.defenses.toys import EPS, SLOPE, batch, linear, margins, training


def loss_of(name: str, **values: object) -> Tensor:
    classifier = linear()
    objective = get(name).make(values).objective(training(classifier))
    objective.begin_epoch(1)
    return objective.loss(classifier, *batch())


def clean() -> Tensor:
    return softplus(-margins(batch()[0])).mean()


def test_ce_gradient_in_the_batch_convention() -> None:
    images, _ = batch()
    doubt = torch.sigmoid(-margins(images))
    penalty = (doubt.square() * SLOPE.square().sum()).sum() / len(images) ** 2
    torch.testing.assert_close(loss_of("ce-gradient", c=7.0), clean() + 7 * penalty)


def test_ce_gradient_per_sample_is_larger_by_the_batch() -> None:
    together = loss_of("ce-gradient", c=1.0) - clean()
    apart = loss_of("ce-gradient", c=1.0, reduce="per_sample") - clean()
    torch.testing.assert_close(apart, 6 * together)


@pytest.mark.parametrize("projections", [1, 3])
def test_full_jacobian_is_exact_where_the_rows_are_orthogonal_and_equally_long(projections: int) -> None:
    # W·Wᵀ = s²·I makes every projection ‖v·W‖² = s², so that the estimate K·s² is ‖W‖_F² without any noise.
    weight = 1.7 * torch.eye(4)[:3]
    classifier = linear(weight)
    images, labels = batch()
    objective = (
        get("full-jacobian").make({"weight": 2.0, "projections": projections}).objective(training(classifier))
    )
    expected = torch.nn.functional.cross_entropy(classifier(images), labels) + weight.square().sum()
    torch.testing.assert_close(objective.loss(classifier, images, labels), expected)


def test_full_jacobian_estimates_the_frobenius_norm() -> None:
    classifier = linear()
    images, labels = batch(1)
    objective = (
        get("full-jacobian").make({"weight": 2.0, "projections": 1000}).objective(training(classifier))
    )
    penalty = objective.loss(classifier, images, labels) - torch.nn.functional.cross_entropy(
        classifier(images), labels
    )
    assert penalty.item() == pytest.approx(classifier.head.weight.square().sum().item(), rel=0.1)


def test_cure_measures_how_far_the_gradient_turns_along_its_sign() -> None:
    images, _ = batch()
    step = -SLOPE.sign() / 2  # ‖sign‖₂ = √4
    margin = margins(images)
    beyond = margin + 1.5 * step @ SLOPE
    bend = (torch.sigmoid(-beyond) - torch.sigmoid(-margin)).square() * SLOPE.square().sum()
    torch.testing.assert_close(loss_of("cure", weight=4.0, h=1.5, warmup=0), clean() + 4 * bend.mean())


def test_cure_begins_after_its_warmup() -> None:
    torch.testing.assert_close(loss_of("cure", weight=4.0, warmup=1), clean())
    classifier = linear()
    objective = get("cure").make({"weight": 4.0, "warmup": 1}).objective(training(classifier))
    objective.begin_epoch(2)
    assert objective.settled()
    assert objective.loss(classifier, *batch()) > clean() + 1e-3


def test_a_step_of_cure_has_length_one_and_is_zero_without_a_gradient() -> None:
    gradient = torch.tensor([[1.0, -3.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0]]).view(2, 1, 2, 2)
    lengths = unit_sign(gradient).flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, torch.tensor([1.0, 0.0]))


def test_llr_adds_deviation_and_slope_at_the_point_found() -> None:
    classifier = linear()
    objective = get("llr").make({"weight": 4.0, "slope": 3.0}).objective(training(classifier))
    assert isinstance(objective, Attacked)
    images, labels = batch()
    moved = images + 0.05 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    rise = softplus(-margins(moved)) - softplus(-margins(images))
    slope = -torch.sigmoid(-margins(images)) * (margins(moved) - margins(images))
    expected = clean() + (4 * (rise - slope).abs() + 3 * slope.abs()).mean()
    torch.testing.assert_close(objective.loss_on(classifier, images, moved, labels), expected)


def test_llr_finds_the_corner_where_a_convex_loss_leaves_its_tangent_most() -> None:
    classifier = linear()
    objective = get("llr").make({}).objective(training(classifier))
    assert isinstance(objective, Attacked)
    images, labels = batch()
    found = objective.attack(classifier, images, labels)
    reach = (margins(found) - margins(images)).abs()
    torch.testing.assert_close(reach, torch.full((6,), float(EPS * SLOPE.abs().sum())))


def test_gradalign_costs_nothing_where_gradients_do_not_turn() -> None:
    images, _ = batch()
    attacked = softplus(-(margins(images) - EPS * SLOPE.abs().sum())).mean()
    torch.testing.assert_close(loss_of("gradalign", weight=100.0), attacked, rtol=1e-4, atol=1e-4)


def test_the_cosine_of_parallel_opposite_orthogonal_and_absent_gradients() -> None:
    first = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]).view(4, 1, 1, 2)
    second = torch.tensor([[2.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [1.0, 0.0]]).view(4, 1, 1, 2)
    torch.testing.assert_close(cosine(first, second), torch.tensor([1.0, -1.0, 0.0, 0.0]))


def test_the_authors_step_at_the_authors_threat() -> None:
    assert surrogate_step_length("auto", 10, Threat("linf", "8/255")) == pytest.approx(0.007)
    assert surrogate_step_length("auto", 20, Threat("linf", str(Fraction(16, 255)))) == pytest.approx(0.007)
    assert surrogate_step_length(0.01, 20, Threat("linf", "8/255")) == 0.01
