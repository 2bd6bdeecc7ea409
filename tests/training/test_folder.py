"""A training's folder: damaged files are made again or set aside, and the weights stay the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.core.progress import Progress
from bench.core.threat import Threat
from bench.data import load
from bench.models.weights import previous_checkpoint
from bench.training.folder import CHECKPOINT, train_in_folder, trained_rows
from bench.training.history import read_history
from bench.training.loop import Stop
from bench.training.plan import Plan
from bench.training.recipe import make_recipe
from defenses import get as get_defense

pytestmark = pytest.mark.usefixtures("still_clock")
EPOCHS = 3


class Listener(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def train(folder: Path, seed: int = 0, stop: int = EPOCHS) -> tuple[Any, list[int], str]:
    """The weights, the epochs that were reported, and what was said; stops where `stop` was reported."""
    dataset = load("digits", train_size=60, test_size=10)
    defense = get_defense("standard")
    plan = Plan(
        "standard",
        defense,
        {},
        "cnn6(width=0.25)",
        dataset,
        Threat("linf", "0.1"),
        make_recipe("paper"),
        EPOCHS,
        "fp32",
    )
    seen: list[int] = []
    listener = Listener()

    def report(row: Any) -> None:
        seen.append(row["epoch"])
        if row["epoch"] == stop < EPOCHS:
            raise KeyboardInterrupt

    try:
        classifier, _ = train_in_folder(plan, defense.make({}), seed, folder, listener, report)
    except (KeyboardInterrupt, Stop):
        return None, seen, "\n".join(listener.lines)
    return classifier.state_dict(), seen, "\n".join(listener.lines)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return train(tmp_path_factory.mktemp("whole"))[0]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace_by_weights(path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, path)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [cut, flip, replace_by_weights, replace_by_folder])
def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(
    tmp_path: Path, whole: Any, spoil: Callable[[Path], None]
) -> None:
    train(tmp_path, stop=2)
    spoil(tmp_path / CHECKPOINT)
    weights, seen, said = train(tmp_path)
    assert seen == [1, 2, 3]
    assert "set aside as checkpoint.pt.broken" in said
    assert all(torch.equal(weights[name], whole[name]) for name in whole)
    assert not previous_checkpoint(tmp_path / CHECKPOINT).exists()
    assert (tmp_path / "checkpoint.pt.broken").exists()


def test_without_any_checkpoint_the_training_starts_again(tmp_path: Path, whole: Any) -> None:
    train(tmp_path, stop=2)
    cut(tmp_path / CHECKPOINT)
    flip(previous_checkpoint(tmp_path / CHECKPOINT))
    weights, seen, said = train(tmp_path)
    assert seen == [1, 2, 3]
    assert "the one before it is used" in said
    assert "the training starts again" in said
    assert all(torch.equal(weights[name], whole[name]) for name in whole)


def test_a_checkpoint_of_another_training_is_not_continued(tmp_path: Path, whole: Any) -> None:
    train(tmp_path / "other", seed=1, stop=2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "other" / CHECKPOINT).rename(tmp_path / "mine" / CHECKPOINT)
    weights, _, said = train(tmp_path / "mine")
    assert "it belongs to another training" in said
    assert all(torch.equal(weights[name], whole[name]) for name in whole)


def test_a_kill_between_two_renames_loses_one_epoch_at_most(tmp_path: Path, whole: Any) -> None:
    train(tmp_path, stop=2)
    (tmp_path / CHECKPOINT).unlink()
    weights, seen, said = train(tmp_path)
    assert (seen, said) == ([1, 2, 3], "")
    assert all(torch.equal(weights[name], whole[name]) for name in whole)


@pytest.mark.parametrize("content", ["", "{", "[]\n", '{"epoch": 7, "seconds": 1}\n', "\x00"])
def test_a_damaged_history_is_written_again(tmp_path: Path, content: str) -> None:
    train(tmp_path)
    before = read_history(tmp_path)
    path = tmp_path / "history.jsonl"
    said: list[str] = []
    path.write_text(content)
    assert trained_rows(tmp_path, said.append) == before
    assert read_history(tmp_path) == before
    assert said == ([f"{path} is damaged; written again from the checkpoint"] if content else [])
    (tmp_path / CHECKPOINT).unlink()
    path.write_text("{")
    assert trained_rows(tmp_path, said.append) == []
    assert "set aside as history.jsonl.broken" in said[-1]
