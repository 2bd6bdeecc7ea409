"""Checkpoints that are written while the training goes on, as on a CUDA device."""

import copy
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.core.errors import UserError
from bench.core.progress import Progress
from bench.core.threat import Threat
from bench.data import load
from bench.models.weights import load_checkpoint, write_checkpoint
from bench.training import loop, resume
from bench.training.folder import CHECKPOINT, train_in_folder
from bench.training.history import HistoryRow, read_history
from bench.training.loop import Stop
from bench.training.plan import Plan
from bench.training.recipe import make_recipe
from bench.training.resume import Keeper
from defenses import get

pytestmark = pytest.mark.usefixtures("still_clock")
EPOCHS = 3


@pytest.fixture
def in_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "Keeper", lambda checkpoint, background: Keeper(checkpoint, background=True))


def run(folder: Path, on_epoch: Callable[[HistoryRow], None] = lambda row: None) -> dict[str, Any]:
    recipe = make_recipe("paper,batch_size=20,averaging=ema,weights=best")
    dataset, threat = load("digits", train_size=60, test_size=10), Threat("linf", "0.1")
    defense = get("standard")
    plan = Plan("standard", defense, {}, "cnn6(width=0.25)", dataset, threat, recipe, EPOCHS, "fp32")
    said: list[str] = []
    progress = Progress()
    progress.say = said.append  # type: ignore[method-assign]
    network, _ = train_in_folder(plan, defense.make({}), 0, folder, progress, on_epoch)
    assert said == []
    return network.state_dict()


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_state_is_that_of_the_moment_it_is_kept(tmp_path: Path) -> None:
    state = {"weight": torch.zeros(1000), "history": [{"epoch": 1}]}
    kept = copy.deepcopy(state)
    with Keeper(tmp_path / "c.pt", background=True) as keeper:
        keeper.keep(state)
        state["weight"] += 1  # type: ignore[operator]
        state["history"].append({"epoch": 2})  # type: ignore[union-attr]
    found = load_checkpoint(tmp_path / "c.pt")
    assert torch.equal(found["weight"], kept["weight"])  # type: ignore[arg-type]
    assert found["history"] == kept["history"]


@pytest.mark.usefixtures("in_background")
@pytest.mark.parametrize("killed", range(1, EPOCHS + 1))
def test_a_kill_during_the_writing_resumes_bit_for_bit(
    killed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, left, begun, end = tmp_path / "run", tmp_path / "left", threading.Event(), threading.Event()
    written = 0

    def slowly(path: Path, state: dict[str, Any]) -> None:
        nonlocal written
        written += 1
        if written == killed:
            begun.set()
            assert end.wait(60)
        write_checkpoint(path, state)

    def kill(row: HistoryRow) -> None:
        if row["epoch"] == killed:
            assert begun.wait(60)
            shutil.copytree(folder, left)
            end.set()

    monkeypatch.setattr(resume, "write_checkpoint", slowly)
    whole = run(folder, kill)
    checkpoint = left / CHECKPOINT
    assert load_checkpoint(checkpoint)["epoch"] == killed - 1 if killed > 1 else not checkpoint.exists()
    assert len(read_history(left)) == killed
    seen: list[int] = []
    assert same(run(left, lambda row: seen.append(row["epoch"])), whole)
    assert seen == [row["epoch"] for row in read_history(left)] == list(range(1, EPOCHS + 1))
    assert load_checkpoint(checkpoint)["epoch"] == EPOCHS


@pytest.mark.usefixtures("in_background")
def test_a_training_that_ends_early_has_written_its_last_state(tmp_path: Path) -> None:
    def stop(row: HistoryRow) -> None:
        if row["epoch"] == 2:
            raise Stop

    with pytest.raises(Stop):
        run(tmp_path / "stopped", stop)
    assert load_checkpoint(tmp_path / "stopped" / CHECKPOINT)["epoch"] == 2
    assert same(run(tmp_path / "stopped"), run(tmp_path / "whole"))


@pytest.mark.usefixtures("in_background")
@pytest.mark.parametrize("failing", range(1, EPOCHS + 1))
def test_a_state_that_cannot_be_written_ends_the_training(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0

    def full(path: Path, state: dict[str, Any]) -> None:
        nonlocal written
        written += 1
        if written == failing:
            raise UserError("cannot write c.pt: No space left on device")
        write_checkpoint(path, state)

    monkeypatch.setattr(resume, "write_checkpoint", full)
    with pytest.raises(UserError, match="No space left on device"):
        run(tmp_path)
    assert written == failing
