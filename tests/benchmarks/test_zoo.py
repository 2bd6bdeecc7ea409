"""The zoo of networks that the alarms are measured on: its size, its truth, its numbers, and a sample of it."""

from pathlib import Path

import pytest
import torch

from bench.core.progress import Progress
from bench.core.statistics import wilson
from bench.core.threat import Threat
from benchmarks.alarms import measure, networks
from benchmarks.alarms.__main__ import every
from benchmarks.alarms.disguises.inside import Around
from benchmarks.alarms.disguises.logits import one_hot
from benchmarks.alarms.measure import Row
from benchmarks.alarms.report import markdown, summary
from benchmarks.alarms.truth import true_accuracy
from tests.attacks.linear import Linear, distances, some_images


def test_the_zoo_is_as_large_as_it_says() -> None:
    names = [case.name for case in every()]
    assert len(set(names)) == len(names)
    assert sum(not case.honest for case in every()) >= 40
    assert sum(case.honest for case in every()) >= 20


@pytest.mark.parametrize("hidden", [False, True])
def test_the_truth_of_a_linear_network_is_its_distance(hidden: bool) -> None:
    images, labels = some_images()
    threat = Threat("linf", "0.03")
    network = Around(Linear(), None, one_hot if hidden else None).eval()
    right = true_accuracy(network, [], images, labels, threat)
    assert (right == (distances(images, threat) > threat.radius)).all()


def test_rates_and_gaps_come_from_the_rows() -> None:
    rows = [
        Row("a", False, raised=["zero gradients"], before=0.9, after=0.1, truth=0.1),
        Row("b", False, before=0.5, after=0.5, truth=0.3),
        Row("c", False, refused="NaN"),
        Row("d", True, raised=["loss still moving"], before=0.4, after=0.4, truth=0.4),
        Row("e", True, before=0.4, after=0.4, truth=0.39),
    ]
    found = summary(rows)
    low, high = wilson(2, 3)
    assert found["alarms"][""]["hidden"] == {"raised": 2, "of": 3, "low": low, "high": high}
    assert found["alarms"]["loss still moving"]["honest"]["raised"] == 1
    assert found["alarms"][""]["overstated"]["of"] == 3
    assert found["gaps"]["hidden"]["over_before"] == ["a", "b"]
    assert found["gaps"]["hidden"]["over_after"] == ["b"]
    assert found["gaps"]["hidden"]["largest_after"] == pytest.approx(0.2)
    assert "| b | 0.0 | 50.0 | 50.0 | 30.0 | none |" in markdown(rows)


LONG = ("5 gray levels", "one-hot", "centered on the batch", "mlp adversarial digits 0")
SAMPLE = ("wide standard digits 0", *(pytest.param(name, marks=pytest.mark.long) for name in LONG))


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_of_the_zoo(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "CACHE", tmp_path)
    monkeypatch.setattr(measure, "CACHE", tmp_path)
    torch.set_num_threads(1)
    (case,) = (case for case in every() if case.name == name)
    row = measure.measure(case, Progress())
    assert bool(row.raised) != case.honest
    assert row.after - row.truth <= 0.05
    assert measure.measure(case, Progress()) == row
