"""The PRS regularizer: known answers of its terms, and its stages."""

import pytest
import torch
from torch import nn

from bench.core.classifier import Classifier
from bench.core.errors import UserError
from bench.core.threat import Threat
from bench.data import Split
from defenses import Training
from defenses.mr import MR
from defenses.prs import PRS, RegionObjective, hamming_loss, mrv_loss
from defenses.warmup import warmup_epochs


def test_mrv_loss_sums_or_averages_over_features() -> None:
    features, target = torch.zeros(3, 4), torch.ones(3, 4)
    assert mrv_loss(features, target, "sum") == 4
    assert mrv_loss(features, target, "mean") == 1


def test_one_of_four_signs_flipped_is_a_quarter() -> None:
    features = torch.tensor([[1.0, -2.0, 3.0, 0.5]])
    target = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    assert hamming_loss(features, target, "literal") == 0.25
    assert hamming_loss(features, target, "ste") == pytest.approx(0.25)


def test_zero_counts_as_the_negative_side() -> None:
    zeros = torch.zeros(1, 2)
    assert hamming_loss(zeros, torch.tensor([[-1.0, 0.0]]), "literal") == 0
    assert hamming_loss(zeros, torch.ones(1, 2), "literal") == 1


def test_the_literal_loss_has_no_gradient_and_ste_borrows_tanhs() -> None:
    target = torch.tensor([[1.0, -1.0, 1.0]])
    gradients = {}
    for surrogate in ("literal", "ste", "tanh", "hinge"):
        features = torch.tensor([[0.3, 0.2, -0.4]], requires_grad=True)
        loss = hamming_loss(features, target, surrogate) + 0 * features.sum()  # type: ignore[arg-type]
        (gradients[surrogate],) = torch.autograd.grad(loss, features)
    assert torch.equal(gradients["literal"], torch.zeros(1, 3))
    torch.testing.assert_close(gradients["ste"], gradients["tanh"])
    assert (gradients["hinge"] * target <= 0).all()


def test_tanh_approaches_the_literal_value_as_tau_shrinks() -> None:
    features = torch.tensor([[1.0, -2.0, 3.0, 0.5]])
    target = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    assert hamming_loss(features, target, "tanh", tau=1e-3) == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize("surrogate", ["tanh", "hinge"])
def test_pulling_features_to_the_target_signs_lowers_the_loss(surrogate: str) -> None:
    generator = torch.Generator().manual_seed(0)
    features, target = torch.randn(5, 6, generator=generator), torch.randn(5, 6, generator=generator)
    pulled = features + 0.1 * torch.where(target > 0, 1.0, -1.0)
    assert hamming_loss(pulled, target, surrogate) < hamming_loss(features, target, surrogate)  # type: ignore[arg-type]


def training(epochs: int = 4, restarted: list[int] | None = None) -> Training:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (12, 1, 2, 2), generator=generator, dtype=torch.uint8)
    classifier = Classifier(
        nn.Sequential(nn.Flatten(), nn.Linear(4, 5)),
        nn.Linear(5, 3),
        activation=nn.ReLU(),
        site="pre-activation",
        input_shape=(1, 2, 2),
    )
    return Training(
        classifier,
        Split(images, torch.arange(12) % 3),
        Threat("linf", "0.1"),
        epochs,
        0,
        4,
        lambda: restarted.append(1) if restarted is not None else None,
    )


@pytest.mark.parametrize(
    ("warmup", "epochs", "expected"), [(0.5, 100, 50), (50, 100, 50), (0.5, 20, 10), (0.01, 4, 1)]
)
def test_warmup_is_a_share_or_a_number_of_epochs(warmup: float, epochs: int, expected: int) -> None:
    assert warmup_epochs("prs", warmup, epochs, "regularizer") == expected


@pytest.mark.parametrize(("warmup", "epochs"), [(0.5, 1), (50, 50), (20, 5), (0.9, 2)])
def test_a_budget_without_a_second_stage_is_refused(warmup: float, epochs: int) -> None:
    with pytest.raises(UserError, match="leaves none"):
        PRS(warmup=warmup).objective(training(epochs))


def test_the_second_stage_builds_means_freezes_the_head_and_restarts_the_optimizer_once() -> None:
    restarted: list[int] = []
    context = training(restarted=restarted)
    objective = PRS(min_count=0).objective(context)
    assert isinstance(objective, RegionObjective)
    for epoch in (1, 2):
        objective.begin_epoch(epoch)
        assert objective.mrv is None
        assert not restarted
    objective.begin_epoch(3)
    assert objective.mrv is not None
    assert objective.mrv.shape == (3, 5)
    assert restarted == [1]
    assert not any(parameter.requires_grad for parameter in context.classifier.head.parameters())
    objective.begin_epoch(4)
    assert restarted == [1]


def test_means_are_rebuilt_every_k_epochs_when_asked() -> None:
    context = training(epochs=6)
    once, every = PRS(warmup=1).objective(context), PRS(warmup=1, mrv_update=2).objective(context)
    means: dict[str, list[torch.Tensor]] = {"once": [], "every": []}
    for epoch in range(1, 6):
        for name, objective in (("once", once), ("every", every)):
            assert isinstance(objective, RegionObjective)
            objective.begin_epoch(epoch)
            if objective.mrv is not None:
                means[name].append(objective.mrv.clone())
        with torch.no_grad():
            context.classifier.backbone[1].weight.add_(0.3)  # type: ignore[index,operator,union-attr]
    assert all(torch.equal(means["once"][0], later) for later in means["once"])
    assert torch.equal(means["every"][0], means["every"][1])
    assert not torch.equal(means["every"][1], means["every"][2])


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    context = training()
    objective = PRS(ce=0.2, mrv=0.8, ham=1.5, min_count=0).objective(context)
    assert isinstance(objective, RegionObjective)
    objective.begin_epoch(3)
    images, labels = context.train.batch(slice(0, 6))
    logits, features = context.classifier.forward_with_features(images)
    assert objective.mrv is not None
    target = objective.mrv[labels]
    expected = (
        0.2 * nn.functional.cross_entropy(logits, labels)
        + 0.8 * mrv_loss(features, target)
        + 1.5 * hamming_loss(features, target)
    )
    torch.testing.assert_close(objective.loss(context.classifier, images, labels), expected)


def test_literal_prs_has_the_gradient_of_mr() -> None:
    gradients = []
    for defense in (PRS(surrogate="literal", min_count=0), MR(min_count=0)):
        torch.manual_seed(0)
        context = training()
        objective = defense.objective(context)
        objective.begin_epoch(3)
        images, labels = context.train.batch(slice(None))
        weights = [p for p in context.classifier.parameters() if p.requires_grad]
        gradients.append(torch.autograd.grad(objective.loss(context.classifier, images, labels), weights))
    for first, second in zip(*gradients, strict=True):
        assert torch.equal(first, second)
