"""Trainings that processes of torchrun share: the weights of one process, whatever the defense couples."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.core.errors import UserError
from bench.core.torchrun import refuse_others
from bench.models import build
from bench.training.ranks import by_first, count, sharing, together

ROOT = Path(__file__).parents[2]
NORMALIZED = "tests.networks:normalized"
#: Defenses that couple images, take gradients by images, or by weights within the loss; one network has batch norm.
STEPS = [
    ("cnn6(width=0.25)", "jacobian"),
    pytest.param("cnn6(width=0.25)", "cure", marks=pytest.mark.long),
    pytest.param("resnet18(width=0.125)", "awp(at)", marks=pytest.mark.long),
]
#: Adam divides the gradient of a bias before batch norm, which is rounding, by its own size.
SGD = "paper,optimizer=sgd,lr=0.05"
#: One that couples images; averages along steps, and along epochs with batch norm estimated anew; the best epoch.
TRAININGS = [
    ("prs", "cnn6(width=0.25)", "paper"),
    pytest.param(("fast", NORMALIZED, f"{SGD},averaging=ema,ema_decay=0.8"), marks=pytest.mark.long),
    pytest.param(("standard", NORMALIZED, f"{SGD},averaging=swa"), marks=pytest.mark.long),
    pytest.param(("standard", NORMALIZED, f"{SGD},averaging=swa,weights=best"), marks=pytest.mark.long),
]


#: A network that is no one of ours: the nearest mean of the classes.
MEANS = """
import os
import torch
from torch import nn
from bench.data import load

def network():
    images, labels = load("digits").train.batch(slice(None))
    means = torch.stack([images[labels == label].mean(dim=0).flatten() for label in range(10)])
    linear = nn.Linear(64, 10)
    linear.weight.data, linear.bias.data = 2 * means, -means.square().sum(dim=1)
    return nn.Sequential(nn.Flatten(), linear)
"""


def start(*words: object, processes: int = 1) -> "subprocess.Popen[str]":
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, *(torchrun if processes == 2 else []), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
    )


def python(*words: object, processes: int = 1) -> subprocess.CompletedProcess[str]:
    process = start(*words, processes=processes)
    output, errors = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def train(folder: Path, training: tuple[str, str, str], processes: int, last: int = 3) -> None:
    defense, model, recipe = training
    script = ROOT / "tests" / "training" / "two_processes.py"
    done = python(script, folder, defense, model, last, f"{recipe},batch_size=17", processes=processes)
    assert done.returncode == 0, done.stderr


def test_one_process_shares_nothing() -> None:
    network = build("cnn6", input_shape=(1, 8, 8), num_classes=10, mean=None, std=None, seed=0)
    with together(), sharing(network):
        assert count() == 1
        assert "forward" not in vars(network.backbone)
    assert by_first(lambda: 3) == 3


def test_other_commands_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_others("sweep")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    refuse_others("run")
    refuse_others("evaluate")
    with pytest.raises(
        UserError, match="torchrun is for `bench run` and `bench evaluate`; give `bench sweep` without it"
    ):
        refuse_others("sweep")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("training", TRAININGS)
def test_two_processes_give_the_weights_of_one_and_either_resumes_the_other(
    training: tuple[str, str, str], tmp_path: Path
) -> None:
    train(tmp_path / "one", training, processes=1)
    for last, processes in ((1, 2), (2, 1), (3, 2)):
        train(tmp_path / "mixed", training, processes, last)
    one, mixed = (torch.load(tmp_path / each / "weights.pt") for each in ("one", "mixed"))
    assert mixed.keys() == one.keys()
    for name, value in mixed.items():
        torch.testing.assert_close(value, one[name], atol=2e-3, rtol=2e-3, msg=name)
    expected, rows = (
        [json.loads(line) for line in (tmp_path / each / "history.jsonl").read_text().splitlines()]
        for each in ("one", "mixed")
    )
    for key in ("validation_accuracy", "validation_robust_accuracy", "stage"):
        assert [row.get(key) for row in rows] == [row.get(key) for row in expected]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "defense"), STEPS)
def test_divided_steps_are_exact(model: str, defense: str) -> None:
    done = python(ROOT / "tests" / "training" / "two_steps.py", model, defense, processes=2)
    assert done.returncode == 0, done.stderr
    worst, moved = done.stdout.split()[2::2]
    assert float(worst) < 1e-7 < float(moved)


def attack(folder: Path, processes: int, *stop: int) -> subprocess.CompletedProcess[str]:
    script = ROOT / "tests" / "training" / "attacks_together.py"
    return python(script, folder / "found.pt", *stop, processes=processes)


@pytest.mark.slow
@pytest.mark.long
def test_divided_attacks_are_those_of_one_process_bit_for_bit_and_either_resumes_the_other(
    tmp_path: Path,
) -> None:
    one, mixed = tmp_path / "one", tmp_path / "mixed"
    assert attack(one, 1).returncode == 0
    for stopped_after, processes in ((2, 2), (1, 1)):
        assert attack(mixed, processes, stopped_after).returncode
        assert (mixed / "state" / "autoattack.pt").exists()
    done = attack(mixed, 2)
    assert done.returncode == 0, done.stderr
    expected, found = (torch.load(each / "found.pt") for each in (one, mixed))
    assert int(expected["pgd20"]["step"].gt(0).sum())
    assert found.pop("passes") == expected.pop("passes")
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        for key, value in values.items():
            same = torch.equal(value, found[name][key]) if isinstance(value, torch.Tensor) else None
            assert same or value == found[name][key], f"{name}: {key}"


@pytest.mark.slow
def test_an_error_is_one_line_of_all_processes(tmp_path: Path) -> None:
    done = python(
        "-m", "bench", "run", "--defense", "nothing", "--out", tmp_path, "--tracking", "none", processes=2
    )
    assert done.returncode
    ours = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert len(ours) == 1
    assert "unknown defense" in ours[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.long
def test_an_evaluation_goes_on_after_a_process_was_killed_and_is_that_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "means.py").write_text(MEANS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = ["-m", "bench", "evaluate", "--loader", "means:network", "--threat", "linf:0.08"]
    command += ["--battery", "standard", "--metrics", "clean_accuracy,robust_accuracy/autoattack"]
    command += ["--tracking", "none", "--out"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert python(*command, one).returncode == 0

    stopped = start(*command, two, processes=2)
    while not list(two.glob("*/seed-0/*/parts/autoattack.pt")):
        assert stopped.poll() is None
        time.sleep(0.05)
    os.kill(second_process_of(stopped.pid), signal.SIGKILL)
    _, errors = stopped.communicate(timeout=120)
    assert stopped.returncode
    assert errors.count("the same command goes on from here") == 1
    assert not list(two.glob("*/seed-0/*/record.json"))

    done = python(*command, two, processes=2)
    assert done.returncode == 0, done.stderr
    expected, found = (next(each.glob("*/seed-0/*/record.json")) for each in (one, two))
    assert found.relative_to(two) == expected.relative_to(one)
    outcomes, same = (np.load(path.with_name("arrays.npz")) for path in (expected, found))
    assert len(outcomes["labels"]) > 250, "more than one batch of AutoAttack"
    assert 0 < outcomes["robust_accuracy/autoattack"].mean() < outcomes["clean_accuracy"].mean()
    assert sorted(same.files) == sorted(outcomes.files)
    for name in outcomes.files:
        np.testing.assert_array_equal(same[name], outcomes[name], err_msg=name)
    metrics, as_one = (json.loads(path.read_text())["metrics"] for path in (found, expected))
    assert metrics == as_one


def second_process_of(torchrun: int) -> int:
    for child in Path(f"/proc/{torchrun}/task/{torchrun}/children").read_text().split():
        if b"RANK=1" in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise AssertionError("torchrun has no second process")


@pytest.mark.slow
@pytest.mark.long
def test_a_network_that_differs_between_processes_is_attacked_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank = 'int(os.environ["RANK"])'
    source = MEANS.replace("nn.Flatten(),", f"Off({rank}), nn.Flatten(),")
    off = "class Off(nn.Module):\n    def __init__(self, by):\n        super().__init__()\n        self.by = by\n"
    source += f"{off}    def forward(self, images):\n        return images.roll(self.by, 3)\n"
    for name, text in (("same.py", MEANS), ("differs.py", source)):
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    robust = []
    for name, processes in (("same", 1), ("differs", 2)):
        done = python(
            *("-m", "bench", "evaluate", "--loader", f"{name}:network", "--threat", "linf:0.08"),
            *("--battery", "standard", "--metrics", "robust_accuracy/autoattack"),
            *("--tracking", "none", "--out", tmp_path / name),
            processes=processes,
        )
        assert done.returncode == 0, done.stderr
        robust.append(
            np.load(next((tmp_path / name).glob("*/seed-0/*/arrays.npz")))["robust_accuracy/autoattack"]
        )
    np.testing.assert_array_equal(*robust)
