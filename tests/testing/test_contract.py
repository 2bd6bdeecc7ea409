"""`bench check`: the suite without pytest, for each kind of part, with an exit code."""

import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from bench.cli.check import check
from bench.core.errors import UserError
from bench.data import Dataset, Split
from bench.testing import (
    images_differ,
    loading_twice_gives_the_same,
    no_test_image_is_a_training_image,
    the_splits_hold_every_class,
    tiny_dataset,
)
from bench.testing.contract import find, run_checks

PARTS = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from bench.data import RawData
from bench.models import Network
from defenses import Defense, Objective
from metrics import Metric


@dataclass(frozen=True, kw_only=True)
class Raises(Defense):
    \"\"\"A defense whose loss fails.\"\"\"

    name: ClassVar[str] = "raises"
    family: ClassVar[str] = "none"

    def objective(self, training):
        return Failing(training)


class Failing(Objective):
    def loss(self, classifier, images, labels):
        raise KeyError("gone")


class Mean(Metric):
    \"\"\"Mean pixel.\"\"\"

    name = "mean_pixel"

    def measure(self, evaluation):
        return {"mean": evaluation.images.mean().numpy()[None] + self.shift}

    def reduce(self, arrays):
        return {self.name: self.score(float(arrays["mean"].mean()))}


class Honest(Mean):
    shift = 0.0


class OutOfBounds(Mean):
    shift = 1.0


def network(shape, classes):
    return Network(nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], 4)), nn.Linear(4, classes))


def whole():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))


def noise(data_dir, download):
    images = torch.randint(256, (40, 1, 8, 8), dtype=torch.uint8)
    labels = torch.arange(40) % 2
    return RawData(("a", "b"), images[:30], labels[:30], images[30:], labels[30:])


class Other:
    pass
"""


@pytest.fixture
def _parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parts_to_check.py").write_text(PARTS)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("_parts")
@pytest.mark.parametrize(
    ("name", "kind", "code", "words"),
    [
        ("Raises", "defense", 1, "KeyError: 'gone' (parts_to_check.py, line"),
        ("Honest", "metric", 0, "3 of 3 are kept"),
        ("OutOfBounds", "metric", 1, "lies outside 0.0 … 1.0"),
        ("network", "network", 0, "4 of 4 are kept"),
        ("whole", "network", 0, "4 of 4 are kept"),
        ("noise", "data set", 1, "draw random numbers from a generator with a fixed seed"),
    ],
)
def test_each_kind_is_recognized_and_checked(name: str, kind: str, code: int, words: str) -> None:
    done = CliRunner().invoke(check, [f"parts_to_check:{name}"])
    assert done.exit_code == code, done.output
    assert done.output.startswith(f"parts_to_check:{name} is a {kind}; ")
    assert words in done.output
    assert ("BROKEN" in done.output) is bool(code)


@pytest.mark.usefixtures("_parts")
@pytest.mark.parametrize("name", ["parts_to_check:Other", "parts_to_check:absent", "nothing", "prs_rati"])
def test_what_is_no_part_is_a_mistake(name: str) -> None:
    with pytest.raises(UserError):
        find(name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("awp(at)", "defense"), ("prs_ratio", "metric"), ("cnn6", "network"), ("digits", "data set")],
)
def test_registered_names_are_found(name: str, kind: str) -> None:
    assert find(name).kind == kind


def changed(dataset: Dataset, **splits: Split) -> Dataset:
    parts = {name: getattr(dataset, name) for name in ("train", "validation", "test")} | splits
    return Dataset(dataset.name, dataset.classes, **parts)


def test_data_sets_that_break_the_contract_are_told() -> None:
    whole = tiny_dataset()
    only = whole.train.labels == 0
    one_class = Split(whole.train.images[only], whole.train.labels[only])
    with pytest.raises(AssertionError, match="train has no image of class 1, class 2"):
        the_splits_hold_every_class(lambda: changed(whole, train=one_class))
    dark = Split((whole.train.images > 100).byte(), whole.train.labels)
    with pytest.raises(AssertionError, match="the largest pixel is 1 of 255"):
        images_differ(lambda: changed(whole, train=dark))
    with pytest.raises(AssertionError, match="24 of 24 test images"):
        no_test_image_is_a_training_image(lambda: changed(whole, test=whole.train))
    with pytest.raises(AssertionError, match="loaded twice"):
        loading_twice_gives_the_same(lambda: tiny_dataset(seed=int(torch.randint(1 << 30, ()))))
    for each in (the_splits_hold_every_class, images_differ, no_test_image_is_a_training_image):
        each(lambda: whole)


@pytest.mark.parametrize(
    ("folder", "name", "kind"),
    [
        ("networks", "lazy:make_network", "network"),
        ("networks", "cosine_head:CosineNetwork", "network"),
        ("data", "torch_dataset:Squares", "data set"),
        ("data", "tensors:load", "data set"),
    ],
)
def test_any_network_and_any_data_keep_the_contract(
    folder: str, name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2] / "examples" / folder)
    monkeypatch.delitem(sys.modules, name.partition(":")[0], raising=False)  # a copy of another test
    subject = find(name)
    assert subject.kind == kind
    assert [outcome.problem for outcome in run_checks(subject) if outcome.problem] == []
