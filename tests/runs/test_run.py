"""The main job: end to end, killed, given again."""

import importlib
import json
import linecache
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.errors import UserError
from bench.core.locks import seed_lock
from bench.core.progress import Progress
from bench.core.record import Alarm, load_record
from bench.runs.config import RunConfig
from bench.runs.job import resolve
from bench.runs.outcome import summary
from bench.runs.run import run
from bench.tracking import NullTracker
from tests.records import make_record
from tests.shortened import blank_pictures

SMALL: dict[str, Any] = {"train_size": 60, "test_size": 12, "epochs": 2, "tracking": "none"}
FEW: dict[str, Any] = {
    **SMALL,
    "trials": 0,
    "metrics": ("clean_accuracy", "robust_accuracy/fgsm", "robust_accuracy/worst_case"),
}


def small(tmp_path: Path, **changes: Any) -> RunConfig:
    return RunConfig.make({"defense": "standard", "out": tmp_path, **SMALL, **changes})


def few(tmp_path: Path, **changes: Any) -> RunConfig:
    """Train once, and measure few metrics."""
    return small(tmp_path, **{**FEW, **changes})


def go(config: RunConfig) -> list[Path]:
    return run(config, NullTracker(), Progress())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of the run `few`, which nothing may change."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        blank_pictures(patch)
        go(few(folder))
    return folder


@pytest.fixture
def again(finished: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return shutil.copytree(finished, tmp_path / "again")


def times(folder: Path) -> dict[Path, int]:
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and "site" not in path.parts and path.suffix != ".lock"
    }


@pytest.mark.parametrize("storage", ["sqlite:///{}/study.db", "{}/study.journal"])
def test_one_process_searches_on_a_storage(tmp_path: Path, storage: str) -> None:
    address = storage.format(tmp_path)
    (path,) = go(few(tmp_path / "runs", defense="jacobian", trials=2, storage=address))
    search = load_record(path).defense.search
    assert search is not None
    assert search.trials == 2


def test_the_summary_of_a_result_always_says_something() -> None:
    assert summary(make_record()).startswith("prs seed 0: clean 80.0%, PGD-20 50.0%, AutoAttack 45.0%")
    quiet: dict[str, Any] = {"name": "a", "raised": False, "message": "m"}
    unknown = {**quiet, "raised": None}
    number = {"value": 0.25, "unit": "fraction"}
    chosen = {
        "prs_ratio": number,
        "b": {**number, "value": None, "reason": "r"},
        "c": number,
        "d": number,
        "e": number,
    }
    record = make_record(arrays={"test_index": np.arange(5)}, metrics=chosen, alarms=[unknown])
    assert summary(record) == "prs seed 0: prs_ratio 0.25, c 0.25, d 0.25; no alarm could be checked"
    record = record.model_copy(update={"metrics": {}, "alarms": [Alarm(**quiet), Alarm(**unknown)]})
    assert summary(record) == "prs seed 0: no score has a value; no alarm raised"


@pytest.mark.slow
@pytest.mark.usefixtures("short_autoattack", "still_clock")
def test_a_run_searches_trains_each_seed_and_draws_pages(tmp_path: Path) -> None:
    config = small(tmp_path, defense="prs", trials=2, seeds=(0, 1), set={"min_count": 0})
    paths = go(config)
    records = [load_record(path, check_files=True) for path in paths]
    assert [record.seed for record in records] == [0, 1]
    for record in records:
        search = record.defense.search
        assert search is not None
        assert search.trials == 2
        assert record.defense.hyperparameters["min_count"] == 0
        assert record.defense.defaults["min_count"] == 50
        assert len(record.history) == 2
        assert record.training is not None
        assert record.provenance.command == (
            "bench run --defense prs --model cnn6 --set min_count=0 --epochs 2 --trials 2 --seeds 0,1 "
            "--train-size 60 --test-size 12"
        )
    assert records[0].metrics["robust_accuracy/worst_case"].n == 12
    assert (tmp_path / "site" / "index.html").exists()


def test_the_same_command_again_does_nothing_twice(again: Path) -> None:
    before = times(again)
    (path,) = go(few(again))
    assert path in before
    assert times(again) == before


@pytest.mark.slow
@pytest.mark.usefixtures("blank_pictures")
def test_another_battery_or_more_seeds_train_nothing_again(again: Path) -> None:
    (first,) = go(few(again))
    checkpoint = first.parent.parent / "checkpoint.pt"
    before = checkpoint.stat().st_mtime_ns
    more = go(few(again, seeds=(0, 1)))
    fewer_images = go(few(again, test_size=8))
    assert more[0] == first
    assert fewer_images[0].parent.parent == first.parent.parent
    assert checkpoint.stat().st_mtime_ns == before
    assert load_record(fewer_images[0]).dataset.test_size == 8


@pytest.mark.slow
@pytest.mark.usefixtures("blank_pictures")
def test_the_best_trial_is_taken_over_not_trained_again(tmp_path: Path) -> None:
    (path,) = go(few(tmp_path, defense="jacobian", trials=1))
    home = path.parent.parent
    trial = home.parent / "trials" / "0000"
    assert (home / "history.jsonl").read_text() == (trial / "history.jsonl").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("blank_pictures")
def test_a_search_in_which_no_trial_is_robust_raises_no_signal(tmp_path: Path) -> None:
    (path,) = go(few(tmp_path, defense="jacobian", trials=1, threat="linf:1"))
    record = load_record(path)
    (alarm,) = (alarm for alarm in record.alarms if alarm.name == "no signal")
    assert alarm.raised
    assert "no trial of the search was robust" in alarm.message
    assert "no signal" in summary(record)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"defense": "prss"}, "did you mean prs"),
        ({"model": "resnet"}, "did you mean resnet18"),
        ({"dataset": "digit"}, "did you mean digits"),
        ({"threat": "linf:two"}, "8/255"),
        ({"threat": "linf:-0.1"}, "between 0 and 1"),
        ({"threat": "linf:0"}, "above 0"),
        ({"threat": "linf:1.5"}, "between 0 and 1"),
        ({"threat": "l3:0.5"}, "unknown norm"),
        ({"recipe": "strongg"}, "did you mean strong"),
        ({"set": {"c": 1}}, "unknown hyper-parameter"),
        ({"defense": "prs", "set": {"warmup": 2}}, "leaves none"),
        ({"dataset": "mnist", "data_dir": "nowhere"}, "train-images"),
        ({"train_size": 10_000}, "10"),
        (
            {"metrics": "prs_by_layer(layers=('conv9',))"},
            "unknown layer 'conv9'.*this network has backbone.0",
        ),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        go(small(tmp_path / "out", **change))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="cannot write below"):
        go(small(blocked, trials=0))


def test_two_processes_cannot_work_on_one_run(tmp_path: Path) -> None:
    from filelock import FileLock

    config = small(tmp_path, trials=0)
    folder = resolve(config).folder
    folder.mkdir(parents=True)
    with FileLock(folder / seed_lock(0)), pytest.raises(UserError, match="another process"):
        go(config)


class Listener(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def heard(config: RunConfig) -> tuple[list[Path], str]:
    listener = Listener()
    return run(config, NullTracker(), listener), "\n".join(listener.lines)


@pytest.mark.usefixtures("blank_pictures")
@pytest.mark.parametrize("name", ["record.json", "weights.safetensors"])
def test_a_corrupt_result_is_named_set_aside_and_made_again(again: Path, name: str) -> None:
    (path,) = again.glob("*/seed-0/*/record.json")
    before = load_record(path)
    spoiled = path.with_name(name)
    spoiled.write_bytes(spoiled.read_bytes()[:200])
    paths, said = heard(few(again))
    assert paths == [path]
    assert f"{path} " in said
    assert "set aside as record.json.broken" in said
    after = load_record(path, check_files=True)
    assert after.files["weights"] == before.files["weights"]
    assert after.metrics == before.metrics
    assert path.with_name("record.json.broken").exists()


@pytest.mark.parametrize("content", [b"", b"\xee{"])
def test_a_damaged_history_of_a_finished_training_is_written_again(again: Path, content: bytes) -> None:
    (path,) = again.glob("*/seed-0/history.jsonl")
    before = path.read_text()
    path.write_bytes(content)
    _, said = heard(few(again))
    assert "history.jsonl.broken" in said
    assert path.read_text() == before


@pytest.mark.parametrize("content", ["", '{"run": "x"}', None])
def test_a_damaged_run_file_is_written_again_with_its_time(again: Path, content: str | None) -> None:
    (path,) = again.glob("*/run.json")
    before = path.read_text()
    (again / path.parent.name / "tracking.json").write_text(
        json.dumps({"store": {"search": {"started": 1_600_000_000_000}}})
    )
    path.write_text(before[:-2] if content is None else content)
    _, said = heard(few(again))
    assert "set aside as run.json.broken" in said
    expected = json.loads(before)
    if content is not None:
        expected["created"] = "2020-09-13T12:26:40+00:00"
    assert json.loads(path.read_text()) | {"commit": None} == expected | {"commit": None}


def test_damage_elsewhere_fails_no_finished_run(again: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **named: Any) -> None:
        raise KeyError("another run's file")

    monkeypatch.setattr("bench.runs.run.build_site", fail)
    paths, said = heard(few(again))
    assert [path.name for path in paths] == ["record.json"]
    assert 'pages not drawn: KeyError: "another run\'s file"; `bench leaderboard build' in said


def test_a_lock_of_the_pages_held_elsewhere_fails_no_finished_run(
    again: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filelock import FileLock

    monkeypatch.setattr("leaderboards.replace.WAIT", 0.01)
    with FileLock(again / ".site.lock"):
        paths, said = heard(few(again))
    assert [path.name for path in paths] == ["record.json"]
    assert "pages not drawn: another process is building" in said


def test_leftovers_of_kills_are_swept(again: Path) -> None:
    (home,) = again.glob("*/seed-0")
    left = [
        home / ".checkpoint.pt.part",
        home.parent / ".run.json.abcdefgh.part",
        again / ".site.abcdefgh" / "new",
        again / ".site.hgfedcba.part" / "new",
    ]
    for path in left[:2]:
        path.touch()
    for path in left[2:]:
        path.mkdir(parents=True)
    go(few(again))
    assert not [path for path in left if path.exists()]
    assert [path.name for path in again.iterdir() if path.name.startswith(".site")] == []


def command(out: Path, *words: str) -> list[str]:
    small_words = [
        "--train-size",
        "60",
        "--test-size",
        "12",
        "--epochs",
        "3",
        "--trials",
        "2",
        "--tracking",
        "none",
    ]
    start = [sys.executable, "-c", "from bench.cli import main; main()", "run"]
    return [*start, "--defense", "jacobian", *small_words, "--out", str(out), "--quiet", *words]


def kill_when(out: Path, pattern: str, timeout: float = 120) -> bool:
    """Start the run, kill -9 it once a file matches; False when it ended before."""
    process = subprocess.Popen(command(out), env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + timeout
    try:
        while time.monotonic() < deadline:
            if next(out.glob(pattern), None) is not None:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return True
            if process.poll() is not None:
                assert process.returncode == 0
                return False
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    raise AssertionError(f"nothing matched {pattern}")


def finish(out: Path) -> Any:
    done = subprocess.run(
        command(out, "--json"),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    (path,) = json.loads(done.stdout)
    return load_record(Path(path), check_files=True)


@pytest.mark.slow
@pytest.mark.long
def test_killed_at_any_moment_the_same_command_gives_the_same_result(tmp_path: Path) -> None:
    whole = finish(tmp_path / "whole")
    killed = 0
    for pattern in (
        "*/search.db",
        "*/trials/0000/checkpoint.pt",
        "*/trials/0001/history.jsonl",
        "*/seed-0/checkpoint.pt",
        "*/seed-0/*/parts/robust_accuracy.pgd20.npz",
        "*/seed-0/*/parts/autoattack.pt",
    ):
        killed += kill_when(tmp_path / "pieces", pattern)
    assert killed >= 4
    pieces = finish(tmp_path / "pieces")
    assert pieces.files["weights"].sha256 == whole.files["weights"].sha256
    assert pieces.defense.hyperparameters == whole.defense.hyperparameters
    timed = {"time_per_epoch", "time_per_epoch_ratio"}
    for name in whole.metrics.keys() - timed:
        assert pieces.metrics[name] == whole.metrics[name], name
    assert pieces.alarms == whole.alarms


def write_plugin(folder: Path, factor: float) -> None:
    (folder / "loud_defense.py").write_text(
        "from dataclasses import dataclass\n"
        "from defenses.standard import CrossEntropy, Standard\n\n"
        "class Loud(CrossEntropy):\n"
        "    def loss(self, classifier, images, labels):\n"
        f"        return {factor} * super().loss(classifier, images, labels)\n\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Mine(Standard):\n"
        "    def objective(self, training):\n"
        "        return Loud(training)\n"
    )


def test_a_plugin_keeps_its_own_name_and_editing_it_makes_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    config = small(tmp_path / "runs", defense="loud_defense:Mine", trials=0)
    names = []
    for factor in (1.0, 0.5):
        write_plugin(tmp_path, factor)
        monkeypatch.delitem(sys.modules, "loud_defense", raising=False)
        importlib.invalidate_caches()
        linecache.clearcache()
        job = resolve(config)
        names.append(job.name)
        assert job.plan.name == "loud_defense:Mine"
    assert names[0] != names[1]


def test_nothing_to_search_makes_the_number_of_trials_irrelevant(tmp_path: Path) -> None:
    assert resolve(small(tmp_path, trials=0)).name == resolve(small(tmp_path, trials=7)).name


def test_a_storage_that_is_given_is_checked_though_nothing_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="expected postgresql"):
        resolve(small(tmp_path, trials=0, storage="oracle://host/name"))
    monkeypatch.setenv("REGIONBENCH_STORAGE", "oracle://host/name")
    assert resolve(small(tmp_path, trials=0)).trials == 0
    with pytest.raises(UserError, match="expected postgresql"):
        resolve(small(tmp_path, defense="jacobian", trials=2))


@pytest.mark.usefixtures("blank_pictures")
def test_a_smaller_test_set_gets_a_folder_and_an_id_of_its_own(again: Path) -> None:
    (whole,) = go(few(again))
    (part,) = go(few(again, test_size=10))
    records = [load_record(path) for path in (whole, part)]
    assert records[0].id != records[1].id
    assert [record.metrics["clean_accuracy"].n for record in records] == [12, 10]
