"""at, fast, TRADES and MART: their attacks and their losses."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus

from bench.core.classifier import Classifier
from bench.core.errors import UserError
from bench.core.threat import Threat
from bench.data import Split
from defenses import Attacked, Training, get
from defenses.mart import runner_up
from defenses.single_step import PROBE_IMAGES, overfitted
from defenses.trades import kl_divergence
from tests.defenses.toys import EPS, SLOPE, batch, linear, margins, training


def objective_of(name: str, classifier: Classifier, **values: object) -> Attacked:
    objective = get(name).make(values).objective(training(classifier))
    assert isinstance(objective, Attacked)
    objective.begin_epoch(1)
    return objective


WORST = float(EPS * SLOPE.abs().sum())


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 20},
        {"steps": 26, "step_size": "paper"},
        {"steps": 7},
        {"steps": 10},
        {"attack": "fgsm"},
        {"attack": "bim", "steps": 10},
        {"attack": "cw", "steps": 10},
    ],
    ids=["P1's PGD-20", "steps of 2/255", "Madry's PGD-7", "PGD-10", "FGSM", "BIM", "C&W margin"],
)
def test_every_attack_of_the_papers_reaches_the_worst_corner_of_a_linear_network(
    values: dict[str, object],
) -> None:
    classifier = linear()
    images, labels = batch()
    objective = objective_of("at", classifier, **values)
    attacked = objective.attack(classifier, images, labels)
    torch.testing.assert_close(margins(attacked), margins(images) - WORST)
    loss = objective.loss_on(classifier, images, attacked, labels)
    torch.testing.assert_close(loss, softplus(WORST - margins(images)).mean())


def test_the_clean_weight_mixes_both_losses() -> None:
    classifier = linear()
    images, labels = batch()
    objective = objective_of("at", classifier, attack="fgsm", clean_weight=0.25)
    attacked, clean = softplus(WORST - margins(images)).mean(), softplus(-margins(images)).mean()
    torch.testing.assert_close(objective.loss(classifier, images, labels), 0.75 * attacked + 0.25 * clean)


def test_a_warmup_increases_eps_in_equal_steps_and_is_over_at_full_eps() -> None:
    classifier = linear()
    images, labels = batch()
    objective = objective_of("at", classifier, attack="fgsm", warmup=2)
    seen = []
    for epoch in (1, 2, 3, 4):
        objective.begin_epoch(epoch)
        moved = (objective.attack(classifier, images, labels) - images).abs().amax()
        seen.append((float(moved), objective.settled()))
    expected = [EPS / 3, 2 * EPS / 3, EPS, EPS]
    assert [moved for moved, _ in seen] == pytest.approx(expected, abs=1e-6)
    assert [settled for _, settled in seen] == [False, False, True, True]


def test_a_warmup_that_leaves_no_epoch_for_full_eps_is_refused() -> None:
    with pytest.raises(UserError, match="at: warmup=4 takes 4 of 4 epochs and leaves none for the full ε"):
        get("at").make({"warmup": 4}).objective(training(linear()))


def test_fast_steps_one_and_a_quarter_eps_from_a_random_start() -> None:
    classifier = linear()
    images, labels = batch(200)
    moved = (objective_of("fast", classifier).attack(classifier, images, labels) - images).flatten(1)
    along = -moved * SLOPE.sign()
    # From η in [−ε, ε], η + 1.25·ε cut at ε: at least ε/4 everywhere, and ε wherever η ≥ −ε/4.
    assert along.min() >= EPS / 4 - 1e-6
    assert along.max() <= EPS + 1e-6
    at_the_edge = float((along > EPS - 1e-6).float().mean())
    assert at_the_edge == pytest.approx(5 / 8, abs=5 * math.sqrt(5 / 8 * 3 / 8 / along.numel()))


class Trap(nn.Module):
    """A score that is positive at an image and at the edge of its ball, and negative in between.

    With u the largest pixel's distance from 1/2 in units of ε: 1 − 4·u·(1 − u)·1.5, positive for u = 0 and u = 1.
    """

    def forward(self, images: Tensor) -> Tensor:
        u = (images.flatten(1)[:, :1] - 0.5).abs() / EPS
        score = 1 - 6 * u * (1 - u)
        return torch.cat([score, -score], dim=1)


def trapped() -> Training:
    head = nn.Linear(2, 2, bias=False)
    classifier = Classifier(
        Trap(), head, activation=nn.Identity(), site="pooled", input_shape=(1, 2, 2), mean=[0.0], std=[1.0]
    )
    with torch.no_grad():
        head.weight.copy_(torch.eye(2))
    images = torch.full((20, 1, 2, 2), 128, dtype=torch.uint8)
    return Training(
        classifier, Split(images, torch.zeros(20, dtype=torch.int64)), Threat("linf", str(EPS)), 4, 0, 4
    )


def test_overfitting_is_reported_of_a_network_that_survives_one_step_alone() -> None:
    # FGSM from the image jumps over the trap to the edge of the ball; PGD-10 walks into it.
    report = get("gradalign").make({}).objective(trapped()).report()
    assert report["probe_single_step_accuracy"] == 1.0
    assert float(report["probe_pgd10_accuracy"] or 0) < 0.2
    assert report["catastrophic_overfitting"] == 1


def test_overfitting_is_not_reported_of_a_linear_network_whatever_was_drawn() -> None:
    objective = objective_of("fast", linear())
    before = objective.report()
    assert before["catastrophic_overfitting"] == 0
    objective.generator.manual_seed(99)
    assert objective.report() == before
    assert PROBE_IMAGES >= 100


@pytest.mark.parametrize(
    ("single", "iterated", "alarm"),
    [
        (0.9, 0.0, True),
        (0.9, 0.44, True),
        (0.9, 0.46, False),
        (0.15, 0.0, False),
        (0.5, 0.4, False),
        (0, 0, False),
    ],
)
def test_overfitting_needs_half_of_the_images_and_a_fifth_of_all(
    single: float, iterated: float, alarm: bool
) -> None:
    assert overfitted(single, iterated) is alarm


def test_the_kl_divergence_is_that_of_the_probabilities() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(5, 4, generator=generator), torch.randn(5, 4, generator=generator)
    p, q = first.softmax(dim=1), second.softmax(dim=1)
    torch.testing.assert_close(kl_divergence(first, second), (p * (p / q).log()).sum(dim=1))
    torch.testing.assert_close(kl_divergence(first, first + 3), torch.zeros(5))


def test_trades_attacks_the_kl_divergence_and_weights_it() -> None:
    classifier = linear()
    images, labels = batch()
    objective = objective_of("trades", classifier, beta=6.0)
    attacked = objective.attack(classifier, images, labels)
    # Up or down the margin, whichever way the start fell; always as far as the ball goes.
    torch.testing.assert_close((margins(attacked) - margins(images)).abs(), torch.full((6,), WORST))
    before, after = classifier(images), classifier(attacked)
    p, q = before.softmax(dim=1), after.softmax(dim=1)
    expected = cross_entropy(before, labels) + 6 * (p * (p / q).log()).sum(dim=1).mean()
    torch.testing.assert_close(objective.loss_on(classifier, images, attacked, labels), expected)


def test_marts_runner_up_is_minus_log_of_one_minus_the_strongest_other_probability() -> None:
    logits = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(8) % 4
    p = logits.softmax(dim=1)
    other = p.scatter(1, labels.unsqueeze(1), 0).amax(dim=1)
    torch.testing.assert_close(runner_up(logits, labels), -(1 - other).log())


def test_marts_runner_up_stays_finite_where_a_probability_rounds_to_one() -> None:
    logits = torch.tensor([[0.0, 200.0, -5.0]], requires_grad=True)
    value = runner_up(logits, torch.tensor([0]))
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert value.item() == pytest.approx(200, rel=1e-3)
    assert torch.isfinite(gradient).all()


def test_mart_is_boosted_cross_entropy_and_a_kl_divergence_weighted_by_error_probability() -> None:
    classifier = linear()
    images, labels = batch()
    objective = objective_of("mart", classifier, beta=5.0)
    attacked = objective.attack(classifier, images, labels)
    torch.testing.assert_close(margins(attacked), margins(images) - WORST)
    p, q = classifier(images).softmax(dim=1), classifier(attacked).softmax(dim=1)
    boosted = -q[:, 0].log() - (1 - q[:, 1]).log()
    expected = boosted + 5 * (p * (p / q).log()).sum(dim=1) * (1 - p[:, 0])
    torch.testing.assert_close(objective.loss_on(classifier, images, attacked, labels), expected.mean())


@pytest.mark.parametrize(
    "name", ["standard", "at", "fast", "jacobian", "trades", "mart", "cure", "llr", "gradalign"]
)
def test_label_smoothing_reaches_the_cross_entropy(name: str) -> None:
    losses = []
    for smoothing in (0.0, 0.2):
        classifier = linear()
        objective = get(name).make({}).objective(training(classifier, smoothing=smoothing))
        objective.begin_epoch(1)
        losses.append(objective.loss(classifier, *batch()))
    assert not torch.isclose(*losses)


def test_ham_without_mrv_is_refused_with_the_reason() -> None:
    with pytest.raises(UserError, match=r"prs: mrv must be above 0; got 0.*L_ham compares"):
        get("prs").make({"mrv": 0, "ham": 1})
