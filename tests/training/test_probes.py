"""Probes measure a network in training and leave no trace in it."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from bench.core.classifier import Classifier
from bench.core.progress import Progress
from bench.core.record import load_record
from bench.core.threat import Threat
from bench.data import Dataset, Split, load
from bench.geometry.cosines import COSINES, cosine_matrix, from_upper_triangle
from bench.models import build
from bench.runs.config import RunConfig
from bench.runs.job import resolve
from bench.runs.run import run
from bench.tracking import NullTracker
from bench.training.history import HistoryRow
from bench.training.loop import Stop, train
from bench.training.probes import QUANTITIES, make_probe, probe_network
from bench.training.recipe import make_recipe
from defenses import get as get_defense

THREAT = Threat("linf", "0.1")
TIMED = {"seconds", "standard_seconds"}
NORMALIZED = "tests.networks:normalized"

pytestmark = pytest.mark.usefixtures("still_clock")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", train_size=110, test_size=20)


def fit(
    dataset: Dataset,
    every: int | None,
    *,
    model: str = "cnn6(width=0.25)",
    defense: str = "standard",
    **options: Any,
) -> tuple[Any, list[HistoryRow]]:
    classifier = build(model, input_shape=dataset.shape, num_classes=dataset.num_classes, seed=0)
    probe = every and make_probe(dataset, THREAT, every=every, images=10, epochs=4, seed=3)
    recipe = make_recipe("strong,batch_size=50,lr=0.01" if model == NORMALIZED else "paper,batch_size=50")
    chosen = get_defense(defense).make({"steps": 1} if defense == "at" else {})
    result = train(
        chosen, classifier, dataset, recipe, THREAT, epochs=4, seed=3, probe=probe or None, **options
    )
    return classifier, result.history


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def untimed(rows: list[HistoryRow]) -> list[HistoryRow]:
    return [{key: value for key, value in row.items() if key not in TIMED} for row in rows]


@pytest.mark.parametrize(
    ("model", "defense"),
    [
        pytest.param("cnn6(width=0.25)", "standard", marks=pytest.mark.slow),
        (NORMALIZED, "at"),
        (NORMALIZED, "standard"),
    ],
)
def test_weights_and_history_are_the_same_with_and_without_probes(
    model: str, defense: str, digits: Dataset
) -> None:
    plain, rows = fit(digits, None, model=model, defense=defense)
    probed, more = fit(digits, 1, model=model, defense=defense)
    assert same_weights(plain, probed)
    added = {*QUANTITIES, "probe_attacked", COSINES}
    assert untimed(rows) == [{k: v for k, v in row.items() if k not in added} for row in untimed(more)]
    assert all(added <= row.keys() for row in more)


def test_every_kth_epoch_and_the_last_one_are_probed(digits: Dataset) -> None:
    _, rows = fit(digits, 3)
    assert [row["epoch"] for row in rows if "probe_accuracy" in row] == [3, 4]


@pytest.mark.slow
def test_a_resumed_run_has_the_probes_of_an_uninterrupted_one(digits: Dataset, tmp_path: Path) -> None:
    def stop(row: HistoryRow) -> None:
        if row["epoch"] == 2:
            raise Stop

    whole, rows = fit(digits, 2)
    with pytest.raises(Stop):
        fit(digits, 2, checkpoint=tmp_path / "c.pt", on_epoch=stop)
    resumed, again = fit(digits, 2, checkpoint=tmp_path / "c.pt")
    assert same_weights(whole, resumed)
    assert untimed(rows) == untimed(again)


def test_a_probe_leaves_modes_gradients_and_random_state_unchanged(digits: Dataset) -> None:
    classifier = build("cnn6(width=0.25)", input_shape=digits.shape, num_classes=10, seed=0)
    classifier.train()
    parameter = next(classifier.parameters())
    parameter.grad = torch.ones_like(parameter)
    before, state = copy.deepcopy(classifier), torch.get_rng_state()
    probe = make_probe(digits, THREAT, every=1, images=10, epochs=1, seed=0)
    train(
        get_defense("standard").make({}),
        copy.deepcopy(classifier),
        digits,
        make_recipe("paper,batch_size=50"),
        THREAT,
        epochs=1,
        seed=0,
        probe=probe,
    )
    probe_network(classifier.eval(), digits, THREAT, images=10, seed=0)
    assert same_weights(before, classifier)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(parameter.grad, torch.ones_like(parameter))
    assert all(each.requires_grad for each in classifier.parameters())
    assert not classifier._forward_hooks
    assert not any(module._forward_hooks for module in classifier.modules())


class Quadrants(nn.Module):
    """A backbone that passes a 1x1x2 image's two pixels on, centered: the region is the quadrant."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :2] - 0.5


def test_quantities_of_a_network_that_can_be_worked_out_by_hand() -> None:
    # Train: three of the four quadrants; test: one of them, and the empty one. Gray levels 0 and 255.
    train_images = torch.tensor([[0, 0], [0, 0], [255, 255], [255, 0]], dtype=torch.uint8).view(4, 1, 1, 2)
    test_images = torch.tensor([[255, 255], [0, 255]], dtype=torch.uint8).view(2, 1, 1, 2)
    head = nn.Linear(2, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
        head.bias.zero_()
    classifier = Classifier(
        Quadrants(), head, activation=nn.ReLU(), site="pre-activation", input_shape=(1, 1, 2)
    ).eval()
    dataset = Dataset(
        "toy",
        ("a", "b"),
        Split(train_images, torch.tensor([0, 0, 1, 0])),
        Split(train_images[:1], torch.tensor([0])),
        Split(test_images, torch.tensor([1, 0])),
    )
    row = probe_network(classifier, dataset, Threat("linf", "0.01"), images=5, seed=0)
    assert row["prs_ratio"] == 3 / 4
    assert row["inclusion_ratio"] == 1 / 2
    assert row["final_layer_cosine"] == pytest.approx(np.sqrt(0.5))
    assert row[COSINES] == [0.707]
    # After the ReLU: (0,0), (0,0), (½,½), (½,0): five of eight are zero.
    assert row["sparsity"] == 5 / 8
    # (½,½): logits ½ and 1; (−½,½): logits 0 and ½, so the second is wrong; ε = 0.01 turns neither.
    assert row["probe_accuracy"] == 1 / 2
    assert row["probe_robust_accuracy"] == 1 / 2
    assert row["probe_attacked"] == 2


def config(out: Path, **changes: Any) -> RunConfig:
    return RunConfig.make(
        {
            "defense": "standard",
            "train_size": 60,
            "test_size": 12,
            "epochs": 2,
            "trials": 0,
            "metrics": ["clean_accuracy"],
            "tracking": "none",
            "out": out,
            **changes,
        }
    )


@pytest.mark.slow
def test_a_run_keeps_probes_in_the_record_and_in_the_command(tmp_path: Path) -> None:
    (path,) = run(config(tmp_path, probe_every=1, probe_images=6), NullTracker(), Progress())
    record = load_record(path)
    assert [set(QUANTITIES) <= row.keys() for row in record.history] == [True, True]
    assert record.history[0]["probe_attacked"] == 6
    matrix = from_upper_triangle(record.history[1][COSINES])
    assert matrix is not None
    assert matrix.shape == (10, 10)
    weight = load_file(path.parent / "weights.safetensors")["head.weight"]
    assert np.allclose(matrix, cosine_matrix(weight), atol=5.1e-4)
    assert (path.parent / "figures" / "regions-course-cosines.png").is_file()
    assert "--probe-every 1 --probe-images 6" in record.provenance.command


def test_a_finished_run_without_probes_is_not_taken_for_a_probed_one(tmp_path: Path) -> None:
    names = [
        resolve(config(tmp_path, **changes)).name
        for changes in (
            {},
            {"probe_every": 1},
            {"probe_every": 2},
            {"probe_every": 1, "probe_images": 7},
            {"probe_every": 1, "test_size": 11},
        )
    ]
    assert len(set(names)) == len(names)
    # Without probes neither their number nor the test images matter to the training.
    assert resolve(config(tmp_path, probe_images=7, test_size=11)).name == names[0]


@pytest.mark.usefixtures("blank_pictures")
def test_the_best_trial_is_not_taken_over_when_it_has_no_probes(tmp_path: Path) -> None:
    (path,) = run(config(tmp_path, defense="jacobian", trials=1, probe_every=1), NullTracker(), Progress())
    record = load_record(path)
    assert all("probe_accuracy" in row for row in record.history)
    trial = path.parent.parent.parent / "trials" / "0000" / "history.jsonl"
    assert "probe_accuracy" not in trial.read_text()
