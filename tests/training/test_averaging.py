"""Weight averaging, patience and label smoothing: recipes that change what is kept."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.core.threat import Threat
from bench.data import Dataset, load
from bench.models import build
from bench.training.averaging import Average
from bench.training.history import HistoryRow
from bench.training.loop import Stop, train
from bench.training.recipe import Recipe, make_recipe
from defenses import get as get_defense

THREAT = Threat("linf", "0.1")
SMALL = "tests.networks:normalized"

pytestmark = pytest.mark.usefixtures("still_clock")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", train_size=90, test_size=10)


def run(
    dataset: Dataset, recipe: str, epochs: int, model: str = "cnn6(width=0.25)", **options: Any
) -> tuple[Any, list[HistoryRow]]:
    classifier = build(model, input_shape=dataset.shape, num_classes=10, seed=0)
    defense = get_defense("standard").make({})
    result = train(
        defense, classifier, dataset, make_recipe(recipe), THREAT, epochs=epochs, seed=0, **options
    )
    return classifier, result.history


def weights(network: torch.nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


@pytest.mark.slow
def test_swa_is_the_mean_of_the_last_quarters_epochs(digits: Dataset) -> None:
    trained: dict[int, list[Tensor]] = {}
    for epochs in (7, 8):  # the constant schedule makes the shorter run a beginning of the longer
        trained[epochs] = weights(run(digits, "paper", epochs=epochs)[0])
    averaged, _ = run(digits, "paper,averaging=swa", epochs=8)
    for got, seventh, eighth in zip(weights(averaged), trained[7], trained[8], strict=True):
        torch.testing.assert_close(got, (seventh + eighth) / 2)


def test_swa_estimates_batch_norm_anew(digits: Dataset) -> None:
    averaged, _ = run(digits, "paper,averaging=swa,batch_size=45", epochs=4, model=SMALL)
    twin = copy.deepcopy(averaged)
    norms = [layer for layer in twin.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean over batches
    twin.train()
    with torch.no_grad():
        for start in (0, 45):
            twin(digits.train.batch(slice(start, start + 45))[0])
    for (name, expected), got in zip(twin.state_dict().items(), averaged.state_dict().values(), strict=True):
        if "running" in name:
            torch.testing.assert_close(got, expected)


def test_ema_follows_its_recurrence() -> None:
    digits = load("digits", train_size=30, test_size=10)
    network = build("cnn6(width=0.25)", input_shape=digits.shape, num_classes=10, seed=0)
    average = Average(Recipe(averaging="ema", ema_decay=0.3), network)
    expected = network.head.weight.detach().clone()
    for step in range(6):
        with torch.no_grad():
            network.head.weight.add_(float(step + 1))
        average.after_step(network)
        decay = 0.0 if step == 0 else min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * network.head.weight.detach()
        torch.testing.assert_close(average.network.head.weight.detach(), expected)
    assert torch.equal(average.network.mean, network.mean)


@pytest.mark.parametrize("averaging", ["ema", "swa"])
def test_an_averaged_run_resumes_bit_for_bit(averaging: str, digits: Dataset, tmp_path: Path) -> None:
    recipe = f"paper,averaging={averaging},batch_size=45,weights=best"
    whole, history = run(digits, recipe, epochs=5, model=SMALL)

    def stop(row: HistoryRow) -> None:
        raise Stop

    for _ in range(4):
        with pytest.raises(Stop):
            run(digits, recipe, epochs=5, model=SMALL, checkpoint=tmp_path / "c.pt", on_epoch=stop)
    resumed, rows = run(digits, recipe, epochs=5, model=SMALL, checkpoint=tmp_path / "c.pt")
    assert all(torch.equal(*pair) for pair in zip(weights(whole), weights(resumed), strict=True))
    assert [row["validation_robust_accuracy"] for row in history] == [
        row["validation_robust_accuracy"] for row in rows
    ]


@pytest.mark.slow
def test_patience_stops_after_so_many_epochs_without_a_better_score(digits: Dataset) -> None:
    _, full = run(digits, "paper", epochs=12, model="cnn6")
    scores = [float(row["validation_robust_accuracy"] or 0) for row in full]
    _, stopped = run(digits, "paper,patience=2", epochs=12, model="cnn6")
    best, expected = 0, len(full)
    for epoch, score in enumerate(scores):
        if score > scores[best]:
            best = epoch
        if epoch - best >= 2:
            expected = epoch + 1
            break
    assert len(stopped) == expected


def test_label_smoothing_reaches_the_loss(digits: Dataset) -> None:
    _, plain = run(digits, "paper", epochs=1)
    _, smooth = run(digits, "paper,label_smoothing=0.5", epochs=1)
    assert plain[0]["train_loss"] != smooth[0]["train_loss"]


def test_the_best_epoch_of_a_staged_defense_is_not_of_its_warm_up(digits: Dataset) -> None:
    classifier = build("cnn6(width=0.25)", input_shape=digits.shape, num_classes=10, seed=0)
    defense = get_defense("prs").make({"min_count": 0, "warmup": 4})
    recipe = make_recipe("paper,weights=best,patience=1")
    result = train(defense, classifier, digits, recipe, THREAT, epochs=6, seed=0)
    assert result.best_epoch is not None
    assert result.best_epoch > 4
    assert result.epoch_of_weights == result.best_epoch
