"""Compositions: names, hyper-parameters, sums, and weights perturbed around another defense."""

import copy
import dataclasses
import re
from typing import Any

import optuna
import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.nn.functional import cross_entropy

from bench.cli import cli
from bench.cli.catalog import describe
from bench.core.errors import UserError
from bench.core.randomness import derive_seed
from bench.core.threat import Threat
from bench.testing import tiny_classifier, tiny_dataset
from bench.training.trials import suggest
from defenses import DEFENSES, Attacked, Objective, Training, get
from defenses.awp import WorstWeights
from defenses.sum import Total

THREAT = Threat("linf", "0.1")


def context(epochs: int = 4, seed: int = 0) -> Training:
    dataset = tiny_dataset()
    return Training(tiny_classifier().train(), dataset.train, THREAT, epochs, seed, 8)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return tiny_dataset().train.batch(slice(0, 8))


@pytest.mark.parametrize("name", ["at+jacobian", "jacobian+at", " jacobian + at "])
def test_a_sum_is_one_class_whatever_its_order(name: str) -> None:
    assert get(name) is get("jacobian+at")
    assert get(name).name == "jacobian+at"


def test_compositions_that_papers_report_are_registered() -> None:
    assert {"jacobian+at", "awp(at)", "awp(trades)"} <= set(DEFENSES.names())
    for name in DEFENSES.names():
        assert get(name).name == name


def test_hyperparameters_are_dotted_and_converted() -> None:
    defense = get("awp(jacobian+at)").make({"gamma": "0.02", "jacobian.c": "0.3", "at.steps": "3"})
    values = defense.hyperparameters()
    assert (values["gamma"], values["jacobian.c"], values["at.steps"]) == (0.02, 0.3, 3)
    assert defense.replace(**{"at.steps": 5}).hyperparameters() == {**values, "at.steps": 5}
    assert {"gamma", "jacobian.c", "at.eps_factor"} <= set(defense.space())
    assert defense == get("awp(at+jacobian)").make(values)


def test_awps_size_is_the_authors_for_the_inner_defense() -> None:
    gammas = {inner: get(f"awp({inner})").make({}).hyperparameters()["gamma"] for inner in ("at", "trades")}
    assert gammas == {"at": 0.01, "trades": 0.005}


def test_costs_add_up() -> None:
    assert get("jacobian+at").make({"at.steps": 7}).forward_units() == 6 + 17
    assert get("awp(at)").make({"at.steps": 10}).forward_units() == 23 + 3
    assert get("awp(trades)").make({"trades.steps": 10}).forward_units() == 27 + 6


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("at+at", r"adds a defense to itself"),
        ("jacobain+at", r"unknown defense 'jacobain'; did you mean jacobian"),
        ("awp(trade)", r"unknown defense 'trade'; did you mean trades"),
        ("swa(at)", r"unknown wrapper around a defense 'swa'; known: awp"),
        ("awp(awp(at))", r"perturbs twice; write awp\(at\)"),
        ("awp(standard)", r"standard attacks none; try awp\(at\)"),
        ("awp(prs+cure)", r"attacks none"),
        ("awp", r"awp wraps another defense; write awp\(trades\)"),
        ("awp(at)+jacobian", r"expected names joined by \+"),
        ("jacobian+", r"expected names joined by \+"),
        ("awp(at", r"expected names joined by \+"),
        ("()", r"expected names joined by \+"),
    ],
)
def test_a_name_that_means_nothing_is_refused_with_the_reason(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        get(name)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "jacobian+at",
            {"jacobian.cc": 1},
            r"unknown hyper-parameter of jacobian\+at 'jacobian.cc'; did you mean",
        ),
        ("awp(trades)", {"beta": 1}, r"did you mean trades.beta"),
        ("awp(trades)", {"trades.gamma": 1}, r"unknown hyper-parameter"),
        ("awp(trades)", {"gamma": 0}, r"awp\(trades\): gamma must be greater than 0; got 0"),
        ("jacobian+at", {"at.steps": 0}, r"at: steps must be greater than or equal to 1; got 0"),
    ],
)
def test_bad_hyperparameters_of_compositions(name: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        get(name).make(values)


def test_a_sum_is_the_sum_of_its_components_losses() -> None:
    whole = context()
    objective = get("jacobian+at").make({"at.steps": 2, "jacobian.c": 0.5}).objective(whole)
    expected = torch.zeros(())
    for name, values in (("jacobian", {"c": 0.5}), ("at", {"steps": 2})):
        part_context = dataclasses.replace(
            context(), seed=derive_seed(0, "part", name), classifier=copy.deepcopy(whole.classifier)
        )
        part = get(name).make(values).objective(part_context)
        part.begin_epoch(1)
        expected = expected + part.loss(part_context.classifier, *batch())
    objective.begin_epoch(1)
    torch.testing.assert_close(objective.loss(whole.classifier, *batch()), expected)


def test_a_component_with_stages_keeps_them_inside_a_sum() -> None:
    restarted: list[int] = []
    whole = dataclasses.replace(context(), restart_optimizer=lambda: restarted.append(1))
    objective = get("prs+at").make({"prs.warmup": 2, "prs.min_count": 0, "at.steps": 1}).objective(whole)
    assert isinstance(objective, Total)
    stages = []
    for epoch in (1, 2, 3):
        objective.begin_epoch(epoch)
        stages.append(objective.report()["prs.stage"])
    assert stages == ["warm-up", "warm-up", "region"]
    assert restarted == [1]
    assert not any(weight.requires_grad for weight in whole.classifier.head.parameters())
    fresh = get("prs+at").make({"prs.warmup": 2, "prs.min_count": 0}).objective(context())
    fresh.load_state_dict(objective.state_dict())
    assert fresh.report()["prs.stage"] == "region"


def test_a_stage_that_leaves_no_epoch_is_refused_inside_a_sum() -> None:
    with pytest.raises(UserError, match="prs: warmup=4 takes 4 of 4 epochs"):
        get("prs+at").make({"prs.warmup": 4}).objective(context())


def perturbed(name: str = "awp(at)", **values: Any) -> tuple[Training, WorstWeights]:
    whole = context()
    given = {"warmup": 0, "gamma": 0.1, "at.attack": "fgsm", **values}
    objective = get(name).make(given).objective(whole)
    assert isinstance(objective, WorstWeights)
    objective.begin_epoch(1)
    return whole, objective


def weights_of(classifier: nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in classifier.named_parameters() if weight.dim() > 1}


def test_awp_computes_loss_and_gradient_at_weights_moved_by_gamma_times_their_norm_along_the_gradient() -> (
    None
):
    whole, objective = perturbed()
    classifier, (images, labels) = whole.classifier, batch()
    attacked = objective.attack(classifier, images, labels)
    by_hand = copy.deepcopy(classifier)
    weights = weights_of(by_hand)
    loss = cross_entropy(copy.deepcopy(by_hand)(attacked), labels)
    # Gradients at w, on a copy so that batch norm's statistics stay.
    probe = copy.deepcopy(by_hand)
    gradients = torch.autograd.grad(cross_entropy(probe(attacked), labels), list(weights_of(probe).values()))
    with torch.no_grad():
        for weight, gradient in zip(weights.values(), gradients, strict=True):
            move = 0.1 * weight.norm() * gradient / gradient.norm()
            assert float(move.norm()) == pytest.approx(0.1 * float(weight.norm()), rel=1e-4)
            weight.add_(move)
    expected = cross_entropy(by_hand(attacked), labels)
    expected.backward()
    assert expected > loss

    found = objective.loss_on(classifier, images, attacked, labels)
    found.backward()
    torch.testing.assert_close(found, expected)
    for one, other in zip(classifier.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    for one, other in zip(classifier.buffers(), by_hand.buffers(), strict=True):
        torch.testing.assert_close(one, other)


def test_awp_leaves_the_weights_where_they_are() -> None:
    whole, objective = perturbed()
    before = copy.deepcopy(dict(whole.classifier.named_parameters()))
    objective.loss(whole.classifier, *batch()).backward()
    for name, weight in whole.classifier.named_parameters():
        assert torch.equal(weight, before[name])


def test_awp_is_the_inner_defense_while_it_warms_up() -> None:
    whole, objective = perturbed(warmup=2)
    plain_context = context()
    plain = get("at").make({"attack": "fgsm"}).objective(plain_context)
    plain.begin_epoch(1)
    losses = [
        each.loss(training.classifier, *batch())
        for each, training in ((objective, whole), (plain, plain_context))
    ]
    assert torch.equal(*losses)
    assert objective.report()["weight_perturbation"] == 0
    objective.begin_epoch(3)
    assert objective.report()["weight_perturbation"] == 1


@pytest.mark.parametrize(("warmup", "epochs"), [(10, 10), (10, 2), (0.9, 4)])
def test_a_budget_without_perturbation_is_refused(warmup: float, epochs: int) -> None:
    with pytest.raises(UserError, match="leaves none"):
        get("awp(at)").make({"warmup": warmup}).objective(context(epochs))


def test_a_network_with_nothing_to_perturb_is_refused() -> None:
    whole = context()
    for weight in whole.classifier.parameters():
        weight.requires_grad_(weight.dim() == 1)
    with pytest.raises(UserError, match="nothing to perturb"):
        get("awp(at)").make({}).objective(dataclasses.replace(whole, epochs=20))


def test_frozen_weights_are_not_perturbed() -> None:
    whole, objective = perturbed()
    whole.classifier.head.requires_grad_(False)
    images, labels = batch()
    attacked = objective.attack(whole.classifier, images, labels)
    seen: list[torch.Tensor] = []
    inner: Objective = objective.inner
    assert isinstance(inner, Attacked)
    original = inner.loss_on

    def spy(classifier: Any, *rest: Any) -> torch.Tensor:
        seen.append(classifier.head.weight.detach().clone())
        return original(classifier, *rest)

    inner.loss_on = spy  # type: ignore[method-assign]
    objective.loss_on(whole.classifier, images, attacked, labels)
    assert torch.equal(seen[0], seen[1])


def test_the_card_of_a_composition_shows_its_dotted_hyperparameters() -> None:
    found = CliRunner().invoke(cli, ["list", "defenses", "awp(trades)"], standalone_mode=False).output
    assert re.search(r"^    gamma = 0\.005 .* searched: 0\.001 … 0\.05 \(log\)$", found, re.MULTILINE)
    assert re.search(r"^    trades\.beta = 6\.0 .* searched: 1 … 10$", found, re.MULTILINE)
    assert re.search(r"^ *jacobian\+at ", describe("defenses"), re.MULTILINE)


def test_a_search_suggests_dotted_hyperparameters() -> None:
    kind = get("awp(jacobian+at)")
    chosen = {"gamma": 0.02, "jacobian.c": 0.3, "at.eps_factor": 1.2, "at.clean_weight": 0.1}
    trial = optuna.trial.FixedTrial(chosen)
    values = {name: suggest(trial, name, spread, kind) for name, spread in kind.space().items()}  # type: ignore[arg-type]
    assert kind.make(values).hyperparameters().items() >= chosen.items()
