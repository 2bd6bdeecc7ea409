"""Tracking against a real SQLite store and a real MLflow server."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from bench.cli.main import cli
from bench.core.errors import UserError
from bench.core.files import sha256, write_json
from bench.core.keys import KEY_LENGTH, safe_key, safe_keys
from bench.core.record import (
    Alarm,
    Battery,
    Cost,
    Dataset,
    Defense,
    File,
    Provenance,
    Record,
    Score,
    Search,
    Threat,
    Training,
    load_record,
)
from bench.core.sqlite_files import sqlite_address
from bench.tracking import (
    NullTracker,
    Settings,
    check_store,
    fetch_records,
    load_settings,
    run_links,
    serve_ui,
    track_records,
    ui_command,
)
from bench.tracking.background import Tracker as Background
from bench.tracking.calls import calling
from bench.tracking.epoch_rows import read_rows
from bench.tracking.names import PARAM_LENGTH, TAG_LENGTH, shorten
from bench.tracking.run_entries import read_run_folder
from bench.tracking.store import Files, open_store
from bench.tracking.sync import is_behind
from bench.tracking.ui import APP
from leaderboards.build import build
from leaderboards.left_out import LeftOut
from leaderboards.own_figures import find_figures

ROOT = Path(__file__).resolve().parents[2]
MakeStore = Callable[..., Settings]
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


# Run folders by hand, as the runner writes them.


def make_run(
    folder: Path, *, name: str = "toy-mlp-prs-0123abcd", hyperparameters: dict[str, Any] | None = None
) -> Path:
    run = folder / name
    write_json(
        run / "run.json",
        {
            "run": run.name,
            "config": {"defense": "prs"},
            "defense": "prs",
            "model": "mlp",
            "dataset": {
                "name": "toy",
                "fingerprint": "f" * 64,
                "train_size": 80,
                "validation_size": 20,
                "test_size": 50,
                "shape": [1, 2, 2],
                "classes": ["a", "b"],
            },
            "threat": "linf:8/255",
            "commit": "c" * 40,
            "command": "bench run --defense prs",
            "created": START.isoformat(),
        },
    )
    add_trial(run, 0, "COMPLETE", epochs=3, value=0.5, hyperparameters=hyperparameters)
    return run


def add_trial(
    run: Path,
    number: int,
    state: str,
    *,
    epochs: int,
    value: float | None = None,
    message: str = "",
    hyperparameters: dict[str, Any] | None = None,
) -> None:
    folder = run / "trials" / f"{number:04d}"
    write_json(
        folder / "trial.json",
        {
            "number": number,
            "state": state,
            "hyperparameters": hyperparameters or {"lambda": 0.25, "warm_up": True},
            "value": value,
            "clean_accuracy": None if value is None else 0.9,
            "message": message,
            "started": (START + timedelta(minutes=number)).isoformat(),
            "ended": None if state == "RUNNING" else (START + timedelta(minutes=number + 1)).isoformat(),
        },
    )
    write_history(folder, epochs)


def write_history(folder: Path, epochs: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"epoch": n, "train_loss": 1 / n, "validation_accuracy": None, "seconds": 2.0}
        for n in range(1, epochs + 1)
    ]
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def add_search(run: Path) -> None:
    search = Search(
        trials=1,
        complete=1,
        pruned=0,
        failed=0,
        objective="validation robust accuracy",
        clean_floor=0.8,
        space={"lambda": "log 0.1 … 10"},
        default_value=None,
        best_value=0.5,
        best_trial=0,
        seconds=6.0,
    )
    write_json(run / "search.json", search.model_dump(mode="json"))


def add_result(run: Path, seed: int = 0, *, robust: float = 0.4, when: datetime = START) -> Path:
    write_history(run / f"seed-{seed}", 3)
    return make_record(run / f"seed-{seed}" / "standard-50", seed, robust=robust, when=when, run=run.name)


def make_record(
    folder: Path,
    seed: int = 0,
    *,
    robust: float = 0.4,
    when: datetime = START,
    run: str = "run",
    hyperparameters: dict[str, Any] | None = None,
    history: list[dict[str, Any]] | None = None,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "arrays.npz", clean_accuracy=np.arange(50) < 45)
    (folder / "weights.safetensors").write_bytes(b"weights")
    (folder / "figures").mkdir(exist_ok=True)
    for name in ("surface.png", "surface.json", "surface.csv", "plotly.min.js"):
        (folder / "figures" / name).write_bytes(b"figure")
    files = {"arrays": "arrays.npz", "weights": "weights.safetensors"}
    record = Record(
        id=f"{run}-{seed}",
        defense=Defense(name="prs", hyperparameters=hyperparameters or {"lambda": 0.25, "seed": 9}),
        model="mlp",
        parameters=42,
        feature_site="pre-activation",
        dataset=Dataset(
            name="toy",
            fingerprint="f" * 64,
            shape=(1, 2, 2),
            classes=["a", "b"],
            train_size=80,
            validation_size=20,
            test_size=50,
            evaluated_size=50,
            evaluated_fingerprint="e" * 64,
        ),
        threat=Threat(norm="linf", eps="8/255"),
        battery=Battery(name="standard", version="1"),
        seed=seed,
        training=Training(recipe={"optimizer": "sgd"}, precision="fp32", epochs=3, epoch_of_weights=2),
        metrics={
            "clean_accuracy": Score(
                value=0.9, low=0.8, high=0.95, n=50, unit="fraction", higher_is_better=True
            ),
            "robust_accuracy/pgd20": Score(value=robust, n=50, unit="fraction", higher_is_better=True),
            "detection_auc": Score(
                value=None, unit="AUC", higher_is_better=True, reason="no attack succeeded"
            ),
        },
        alarms=[
            Alarm(name="gradient_masking", raised=True, message="FGSM beats PGD", numbers={"gap": 0.1}),
            Alarm(name="few_steps", raised=None, message="PGD-100 was not run"),
        ],
        history=history or [{"epoch": 1, "train_loss": 0.5, "seconds": 2.0}],
        cost=Cost(train_seconds=6.0, evaluate_seconds=4.0, peak_memory_bytes=1000, forwards=10, backwards=5),
        provenance=Provenance(
            run=run,
            commit="c" * 40,
            command="bench run --defense prs",
            versions={},
            hardware={"device": "cpu"},
            created=when.isoformat(),
        ),
        files={kind: File(path=name, sha256=sha256(folder / name)) for kind, name in files.items()},
    )
    record.save(folder / "record.json")
    return folder / "record.json"


# What MLflow then holds.


def quiet(line: str) -> None:
    pytest.fail(f"tracking complained: {line}")


class Tracker(Background):
    """A tracker whose calls return when everything is logged."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        super().__init__(settings, say, patience=120)

    def sync(self, run_folder: Path, *, final: bool = False) -> None:
        super().sync(run_folder, final=final)
        self.wait()


def all_runs(settings: Settings) -> dict[str, Any]:
    with open_store(settings) as store:
        runs = store.find("")
    names = [run.info.run_name for run in runs]
    assert len(names) == len(set(names)), f"a run was logged twice: {names}"
    return {run.info.run_name: run for run in runs}


def curve(settings: Settings, run: Any, name: str) -> list[tuple[int, float]]:
    with open_store(settings) as store:
        return [(point.step, point.value) for point in store.client.get_metric_history(run.info.run_id, name)]


def artifacts(settings: Settings, run: Any, folder: str | None = None) -> list[str]:
    with open_store(settings) as store:
        return [file.path for file in store.client.list_artifacts(run.info.run_id, folder)]


@dataclass
class Server:
    """`bench ui` over a store of its own, in a process that Ctrl-C stops."""

    folder: Path
    port: int
    process: subprocess.Popen[str] | None = None

    @property
    def settings(self) -> Settings:
        return Settings(uri=f"http://127.0.0.1:{self.port}", experiment="served", interval=0, pause=3600)

    def start(self) -> str:
        code = (
            "import signal\n"
            # A test run in the background hands down an ignored Ctrl-C.
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "from bench.tracking import Settings, serve_ui\n"
            f"settings = Settings(uri='sqlite:///{self.folder}/mlflow.db', artifacts='{self.folder}/artifacts')\n"
            f"serve_ui(settings, '127.0.0.1', {self.port}, lambda line: print(line, flush=True))\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=self.folder, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        return self.process.stdout.readline() + self.process.stdout.readline()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=60)
        return self.process.returncode


def found(server: Server, run: str) -> dict[str, Any]:
    with open_store(server.settings) as store:
        return {each.info.run_name: each for each in store.find(f"tags.`bench.run` = '{run}'")}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def sqlite(empty_store: Path) -> MakeStore:
    def make(folder: Path, **values: Any) -> Settings:
        database = folder / "mlflow.db"
        if not database.exists():
            folder.mkdir(exist_ok=True)
            shutil.copyfile(empty_store, database)
        places = {"uri": f"sqlite:///{database}", "artifacts": str(folder / "artifacts")}
        return Settings(**{"interval": 0, **places, **values})

    return make


@dataclass
class Early:
    """A run that was tracked before its server was there, and what was said about it."""

    server: Server
    run: Path
    tracker: Tracker
    lines: list[str]


@pytest.fixture(scope="module")
def early(tmp_path_factory: pytest.TempPathFactory) -> Early:
    folder = tmp_path_factory.mktemp("server")
    server, lines, run = Server(folder, free_port()), [], make_run(folder, name="early")
    tracker = Tracker(server.settings, lines.append)
    tracker.sync(run)
    add_trial(run, 1, "COMPLETE", epochs=3, value=0.7)
    tracker.sync(run)
    tracker.sync(run, final=True)
    with pytest.raises(UserError, match="not reachable"):
        track_records([run], server.settings, quiet)
    with pytest.raises(UserError, match="not reachable"):
        check_store(server.settings)
    return Early(server, run, tracker, lines)


@pytest.fixture(scope="module")
def server(early: Early) -> Iterator[Server]:
    lines = early.server.start()
    assert lines.count(f"http://127.0.0.1:{early.server.port}") == 2
    yield early.server
    assert early.server.stop() == 0


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "REGIONBENCH_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


# Settings.


def test_the_shipped_file_shows_the_defaults() -> None:
    assert Settings(**yaml.safe_load((ROOT / "mlflow.yaml").read_text())) == Settings() == load_settings()


def test_option_beats_environment_beats_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlflow.yaml").write_text("uri: http://file:1\nexperiment: file\ntimeout: 7\n")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment:2")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "environment")
    settings = load_settings("http://option:3")
    assert settings is not None
    assert (settings.uri, settings.experiment, settings.timeout) == ("http://option:3", "environment", 7)
    settings = load_settings()
    assert settings is not None
    assert settings.uri == "http://environment:2"


def test_the_environment_can_name_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.yaml").write_text("tags: {lab: 3}\n")
    monkeypatch.setenv("REGIONBENCH_MLFLOW_YAML", str(tmp_path / "other.yaml"))
    settings = load_settings()
    assert settings is not None
    assert settings.tags == {"lab": "3"}
    monkeypatch.setenv("REGIONBENCH_MLFLOW_YAML", str(tmp_path / "absent.yaml"))
    with pytest.raises(UserError, match=r"absent\.yaml"):
        load_settings()


def test_none_switches_tracking_off_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings("none") is None
    (tmp_path / "mlflow.yaml").write_text("uri: none\n")
    assert load_settings() is None
    assert load_settings("sqlite:///x.db") is not None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert load_settings() is not None
    (tmp_path / "mlflow.yaml").write_text("timeout: soon\n")
    assert load_settings("None") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("uri: [", "not valid YAML"),
        ("- a list", "got list"),
        ("experimnt: x", "did you mean experiment"),
        ("timeout: soon", "timeout: expected a valid integer"),
        ("uri: ./mlruns", "expected a store such as sqlite:///mlflow.db"),
        ("uri: ftp://host/path", "no store has the scheme ftp://"),
        ("uri: 'sqlite://'", "a store in memory is gone"),
        ("uri: 'sqlite:///:memory:'", "a store in memory is gone"),
        ("uri: sqlite://mlflow.db", "expected sqlite:/// and a path"),
        ("uri: http://host:5000/#/experiments/1", "without \\? and #"),
        ("uri: mysql://host:99999/db", "a port from 1 to 65535"),
        ("artifacts: s3://key:S3cret-Pw_99@bucket/x", "expected no password"),
        ("artifacts: 'https://host/x?sig=S3cret-Pw_99'", "expected no password"),
        ("artifacts: gopher://host", "no place for artifacts has the scheme gopher://"),
        ("uri: postgresql+nothing://host/db", "no database has this driver"),
        ("uri: http://host:port", "with a port from 1 to 65535"),
    ],
)
def test_a_bad_file_is_told_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mlflow.yaml").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load_settings()
    assert "\n" not in str(caught.value)
    assert "S3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["mlflow.db", "a?b.db", "a%20b.db"])
def test_settings_can_be_read_again(tmp_path: Path, name: str) -> None:
    settings = Settings(uri=sqlite_address(tmp_path / name))
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
    assert settings.database == tmp_path / name


def test_places_of_artifacts_that_name_an_account_stay() -> None:
    for place in ("wasbs://container@account.net/x", "s3://bucket/x", "ftp://me:secret@host/x"):
        assert Settings(artifacts=place).artifacts == place


def test_relative_places_belong_to_the_working_folder(tmp_path: Path) -> None:
    settings = Settings(uri="sqlite:///a/b.db", artifacts="c")
    assert settings.database == tmp_path / "a" / "b.db"
    assert settings.artifact_location == str(tmp_path / "c")


def test_a_server_chooses_its_artifacts_unless_a_uri_is_named() -> None:
    assert Settings(uri="http://host:5000").artifact_location is None
    assert Settings(uri="http://host:5000", artifacts="s3://bucket/x").artifact_location == "s3://bucket/x"


def test_no_password_is_shown() -> None:
    settings = Settings(uri="postgresql://me:secret@host/db?password=secret")
    assert settings.shown == "postgresql://host/db"
    assert settings.address == ("host", 5432)
    assert Settings(uri="sqlite:////a/b.db").shown == "sqlite:////a/b.db"


@pytest.mark.parametrize(
    ("values", "package"),
    [
        ({"uri": "postgresql+psycopg2://me:secret@host/db"}, "psycopg2-binary"),
        ({"uri": "mysql+pymysql://me:secret@host/db"}, "pymysql"),
        ({"uri": "sqlite:///x.db", "artifacts": "s3://bucket/x"}, "boto3"),
        ({"uri": "http://host", "artifacts": "gs://bucket/x"}, "google-cloud-storage"),
    ],
)
def test_a_missing_driver_is_told_with_its_package(
    values: dict[str, str], package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("psycopg2", "pymysql", "boto3", "google.cloud.storage"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("bench.tracking.address.find_spec", lambda module: None)
    (tmp_path / "mlflow.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=f"not installed: pip install {package}") as caught:
        load_settings()
    assert "secret" not in str(caught.value)


# Names and values.


@hypothesis.settings(deadline=None)  # the first call imports MLflow
@given(st.text())
def test_any_name_becomes_a_key_that_mlflow_accepts(name: str) -> None:
    from mlflow.utils.validation import _validate_metric, _validate_param_name, _validate_tag

    key = safe_key(name)
    _validate_metric(key, 1.0, 0, 0)
    _validate_param_name(key)
    _validate_tag(key, "")
    assert ":" not in key


@given(st.dictionaries(st.text(alphabet="ab@#/.", max_size=4), st.integers()))
def test_no_value_is_lost_when_names_meet(values: dict[str, int]) -> None:
    assert list(safe_keys(values).values()) == list(values.values())


def test_good_names_stay() -> None:
    for name in ("robust_accuracy/pgd20", "clean_accuracy.low", "epoch/train_loss"):
        assert safe_key(name) == name


def test_long_keys_differ_where_the_names_do() -> None:
    keys = safe_keys({"x" * 300: 1, "x" * 301: 2})
    assert len(keys) == 2
    assert max(map(len, keys)) <= KEY_LENGTH


@given(st.text(max_size=200), st.integers(60, 100))
def test_shortening_is_visible_and_fits(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert len(short) <= limit
    assert (short == text) == (len(text) <= limit)
    if short != text:
        assert f"{len(text)} characters" in short


# What a run folder says.


def test_tracking_is_imported_without_mlflow() -> None:
    code = "import bench.tracking, sys; sys.exit('mlflow' in sys.modules or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_line_being_written_is_left_for_later(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with (run / "trials/0000/history.jsonl").open("a") as stream:
        stream.write('{"epoch": 4, "train_l')
    (trial,) = [entry for entry in read_run_folder(run, live=True) if entry.part == "trials/0000"]
    assert [row["epoch"] for row in trial.history] == [1, 2, 3]


def test_a_record_names_only_files_beside_itself(tmp_path: Path, sqlite: MakeStore) -> None:
    (tmp_path / "secret").write_text("secret")
    path = make_record(tmp_path / "run" / "seed-0" / "standard-50")
    content = json.loads(path.read_text())
    content["files"]["weights"]["path"] = "../../../secret"
    write_json(path, content)
    settings = sqlite(tmp_path)
    track_records([path], settings, lambda line: None)
    (run,) = all_runs(settings).values()
    assert artifacts(settings, run) == ["arrays.npz", "figures", "record.json", "tables"]


@pytest.mark.parametrize("name", ["weights", "arrays"])
def test_a_file_that_is_a_link_to_outside_is_not_uploaded(
    tmp_path: Path, name: str, sqlite: MakeStore
) -> None:
    (tmp_path / "secret").write_text("secret")
    path = make_record(tmp_path / "alone")
    linked = path.parent / json.loads(path.read_text())["files"][name]["path"]
    linked.unlink()
    linked.symlink_to(tmp_path / "secret")
    bad = make_record(tmp_path / "bad")
    bad.write_text("[" * 100_000)
    settings, lines = sqlite(tmp_path), list[str]()
    with pytest.raises(UserError, match="1 of 2 were not logged"):
        track_records([path, bad], settings, lines.append)
    assert "leads out of its folder" in lines[0]
    (run,) = all_runs(settings).values()
    assert linked.name not in artifacts(settings, run)


@pytest.mark.parametrize("name", ["run.json", "trials/0000/trial.json"])
def test_a_broken_file_is_told_once_and_ends_nothing(tmp_path: Path, name: str, sqlite: MakeStore) -> None:
    run = make_run(tmp_path)
    (run / name).write_text("{")
    lines: list[str] = []
    tracker = Tracker(sqlite(tmp_path), lines.append)
    tracker.sync(run)
    tracker.sync(run, final=True)
    assert len(lines) == 1
    assert name in lines[0]


# Sync.


def test_a_run_folder_becomes_a_search_with_its_children(tmp_path: Path, sqlite: MakeStore) -> None:
    run, settings = make_run(tmp_path), sqlite(tmp_path, tags={"team": "a"})
    add_search(run)
    add_result(run)
    Tracker(settings, quiet).sync(run, final=True)
    runs = all_runs(settings)
    search = runs[run.name]
    final = runs["prs seed 0 mlp: toy linf:8/255 standard"]
    assert set(runs) == {run.name, "trial 0000", "seed-0 training", final.info.run_name}
    assert {each.info.status for each in runs.values()} == {"FINISHED"}
    assert {each.data.tags["team"] for each in runs.values()} == {"a"}
    assert {each.data.tags.get("mlflow.parentRunId") for each in runs.values()} == {None, search.info.run_id}
    assert {each.data.tags["role"] for each in runs.values()} == {"search", "trial", "training", "final"}

    assert search.data.metrics["best_value"] == 0.5
    assert search.data.params["space/lambda"] == "log 0.1 … 10"
    assert search.data.tags["bench.run"] == run.name
    assert search.data.tags["dataset_fingerprint"] == "f" * 64
    assert search.data.tags["mlflow.source.git.commit"] == "c" * 40
    assert artifacts(settings, search) == ["run.json", "search.json"]

    trial = runs["trial 0000"]
    assert trial.data.params == {"lambda": "0.25", "warm_up": "True"}
    assert trial.data.metrics["value"] == 0.5
    assert curve(settings, trial, "epoch/train_loss") == [(1, 1.0), (2, 1 / 2), (3, 1 / 3)]
    assert "epoch/validation_accuracy" not in trial.data.metrics
    assert curve(settings, runs["seed-0 training"], "epoch/train_loss")[-1] == (3, 1 / 3)

    assert (final.data.metrics["pgd20"], final.data.metrics["clean"]) == (0.4, 0.9)
    assert not any("/" in name or name.endswith(".low") for name in final.data.metrics)
    assert "detection_auc" not in final.data.metrics
    assert final.data.params["recipe/optimizer"] == "sgd"
    assert (final.data.params["seed"], final.data.params["setting/seed"]) == ("0", "9")
    assert (final.data.params["defense"], final.data.params["network"]) == ("prs", "mlp")
    assert final.data.tags["ranked"] == "no: no worst case was measured"
    assert final.data.tags["alarms"] == "in doubt: gradient_masking"
    assert final.data.tags["alarms_not_checked"] == "few_steps"
    assert final.data.tags["undefined_scores"] == "detection_auc"
    inputs = {each.tags[0].value: each.dataset for each in final.inputs.dataset_inputs}
    assert {context: data.digest for context, data in inputs.items()} == {"train": "f" * 16, "test": "e" * 16}
    assert artifacts(settings, final) == [
        "arrays.npz",
        "figures",
        "record.json",
        "tables",
        "weights.safetensors",
    ]
    with open_store(settings) as store:
        store.files(final).copy("tables/scores.csv", tmp_path / "scores.csv")
        scores = (tmp_path / "scores.csv").read_text()
        (model,) = store.client.search_logged_models([store.experiment_id])
    assert "clean_accuracy,0.9,0.8,0.95,50,fraction" in scores.splitlines()
    assert model.tags["weights"] == f"runs:/{final.info.run_id}/weights.safetensors"
    assert (model.source_run_id, model.status) == (final.info.run_id, "READY")
    assert [output.model_id for output in final.outputs.model_outputs] == [model.model_id]
    assert artifacts(settings, final, "figures") == ["figures/surface.json", "figures/surface.png"]


def test_trial_states_become_run_states(tmp_path: Path, sqlite: MakeStore) -> None:
    run, settings = make_run(tmp_path), sqlite(tmp_path)
    add_trial(run, 1, "PRUNED", epochs=1, message="below the median")
    add_trial(run, 2, "FAIL", epochs=1, message="loss is not finite")
    add_trial(run, 3, "RUNNING", epochs=1)
    Tracker(settings, quiet).sync(run)
    runs = all_runs(settings)
    found = {name: (each.info.status, each.data.tags.get("trial_state")) for name, each in runs.items()}
    assert found == {
        run.name: ("RUNNING", None),
        "trial 0000": ("FINISHED", "COMPLETE"),
        "trial 0001": ("FINISHED", "PRUNED"),
        "trial 0002": ("FAILED", "FAIL"),
        "trial 0003": ("RUNNING", "RUNNING"),
    }
    assert runs["trial 0002"].data.tags["message"] == "loss is not finite"


@pytest.mark.parametrize("forget", [False, True])
def test_logging_again_changes_nothing(tmp_path: Path, forget: bool, sqlite: MakeStore) -> None:
    run, settings = make_run(tmp_path), sqlite(tmp_path)
    add_result(run)
    Tracker(settings, quiet).sync(run, final=True)
    before = all_runs(settings)
    if forget:
        (run / "tracking.json").unlink()
    Tracker(settings, quiet).sync(run, final=True)
    track_records([run], settings, lambda line: None)
    after = all_runs(settings)
    assert {name: each.to_dictionary() for name, each in after.items()} == {
        name: each.to_dictionary() for name, each in before.items()
    }
    assert len(curve(settings, after["trial 0000"], "epoch/train_loss")) == 3


def test_a_killed_run_is_taken_up_where_it_was(tmp_path: Path, sqlite: MakeStore) -> None:
    run, settings = make_run(tmp_path), sqlite(tmp_path)
    add_trial(run, 1, "RUNNING", epochs=1)
    Tracker(settings, quiet).sync(run)
    killed = all_runs(settings)
    assert killed["trial 0001"].info.status == "RUNNING"  # a killed process says nothing any more
    Tracker(settings, quiet).sync(run, final=True)
    assert {all_runs(settings)[name].info.status for name in (run.name, "trial 0001")} == {"KILLED"}

    add_trial(run, 1, "RUNNING", epochs=2)
    tracker = Tracker(settings, quiet)
    tracker.sync(run)
    assert {all_runs(settings)[name].info.status for name in (run.name, "trial 0001")} == {"RUNNING"}
    add_trial(run, 1, "COMPLETE", epochs=3, value=0.6)
    add_search(run)
    tracker.sync(run, final=True)
    resumed = all_runs(settings)
    assert {name: each.info.run_id for name, each in resumed.items()} == {
        name: each.info.run_id for name, each in killed.items()
    }
    assert {each.info.status for each in resumed.values()} == {"FINISHED"}
    assert curve(settings, resumed["trial 0001"], "epoch/train_loss") == [(1, 1.0), (2, 1 / 2), (3, 1 / 3)]


def test_a_training_without_its_record_is_not_finished(tmp_path: Path, sqlite: MakeStore) -> None:
    run, settings = make_run(tmp_path), sqlite(tmp_path)
    add_search(run)
    write_history(run / "seed-0", 2)
    tracker = Tracker(settings, quiet)
    tracker.sync(run)
    assert all_runs(settings)["seed-0 training"].info.status == "RUNNING"
    tracker.sync(run, final=True)
    assert {all_runs(settings)[name].info.status for name in (run.name, "seed-0 training")} == {"KILLED"}
    add_result(run)
    tracker.sync(run, final=True)
    assert {each.info.status for each in all_runs(settings).values()} == {"FINISHED"}


def test_what_a_killed_process_did_not_live_to_log_is_caught_up_with(
    tmp_path: Path, sqlite: MakeStore
) -> None:
    run, settings = make_run(tmp_path), sqlite(tmp_path)
    add_search(run)
    write_history(run / "seed-0", 2)
    Tracker(settings, quiet).sync(run)
    add_result(run)  # and it is killed here: nothing is left to do, but to log
    Tracker(settings, quiet).catch_up([run])
    after = all_runs(settings)
    assert {each.info.status for each in after.values()} == {"FINISHED"}
    assert [each.data.tags["role"] for each in after.values()].count("final") == 1
    assert not is_behind(run, settings)


def test_runs_that_are_gone_from_mlflow_are_logged_again(tmp_path: Path, sqlite: MakeStore) -> None:
    run, settings = make_run(tmp_path), sqlite(tmp_path)
    tracker = Tracker(settings, quiet)
    tracker.sync(run)
    before = all_runs(settings)
    with open_store(settings) as store:
        store.client.delete_run(before["trial 0000"].info.run_id)
    Tracker(settings, quiet).sync(run)
    after = all_runs(settings)
    assert after[run.name].info.run_id == before[run.name].info.run_id
    assert after["trial 0000"].info.run_id != before["trial 0000"].info.run_id
    assert len(curve(settings, after["trial 0000"], "epoch/train_loss")) == 3


def test_each_store_and_experiment_gets_everything(tmp_path: Path, sqlite: MakeStore) -> None:
    run = make_run(tmp_path)
    for settings in (sqlite(tmp_path), sqlite(tmp_path, experiment="other"), sqlite(tmp_path / "elsewhere")):
        Tracker(settings, quiet).sync(run)
        assert set(all_runs(settings)) == {run.name, "trial 0000"}


def test_epochs_wait_for_the_interval_and_states_do_not(tmp_path: Path, sqlite: MakeStore) -> None:
    run, settings = make_run(tmp_path), sqlite(tmp_path, interval=3600)
    add_trial(run, 1, "RUNNING", epochs=1)
    tracker = Tracker(settings, quiet)
    tracker.sync(run)
    write_history(run / "trials" / "0001", 2)
    tracker.sync(run)
    assert len(curve(settings, all_runs(settings)["trial 0001"], "epoch/train_loss")) == 1
    add_trial(run, 1, "COMPLETE", epochs=3, value=0.5)
    tracker.sync(run)
    trial = all_runs(settings)["trial 0001"]
    assert trial.info.status == "FINISHED"
    assert len(curve(settings, trial, "epoch/train_loss")) == 3


def test_long_values_and_odd_names_are_logged(tmp_path: Path, sqlite: MakeStore) -> None:
    odd = {"eps=8/255": 1, "acc@1": 2, "acc#1": 3, "../up": 4, "λ": 5, "n" * 300: 6, "long": "x" * 7000}
    run, settings = make_run(tmp_path, hyperparameters=odd), sqlite(tmp_path, tags={"note:1": "y" * 9000})
    add_trial(run, 1, "FAIL", epochs=0, message="z" * 9000)
    Tracker(settings, quiet).sync(run)
    runs = all_runs(settings)
    params, tags = runs["trial 0000"].data.params, runs["trial 0001"].data.tags
    assert sorted(params.values())[:6] == ["1", "2", "3", "4", "5", "6"]
    assert params["λ"] == "5"
    assert len(params["long"]) == PARAM_LENGTH
    assert params["long"].endswith("[cut, 7000 characters in all]")
    assert len(tags["message"]) == TAG_LENGTH
    assert tags["note_1"].endswith("[cut, 9000 characters in all]")


@pytest.mark.slow
def test_processes_may_make_a_fresh_store_together(tmp_path: Path) -> None:
    settings = Settings(uri="sqlite:///fresh/mlflow.db")
    code = (
        "import sys; from pathlib import Path; from bench.tracking import Settings, Tracker\n"
        "settings = Settings.model_validate_json(sys.argv[2])\n"
        "say = lambda line: 'another process is opening' in line or sys.exit(line)\n"
        "tracker = Tracker(settings, say, patience=120)\n"
        "tracker.sync(Path(sys.argv[1])); tracker.close()\n"
    )
    processes = []
    for name in ("a", "b"):
        run = make_run(tmp_path, name=name)
        argv = [sys.executable, "-W", "error", "-c", code, str(run), settings.model_dump_json()]
        processes.append(subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True))
    assert [(process.communicate()[1], process.returncode) for process in processes] == [("", 0)] * 2
    with open_store(settings) as store:
        assert sorted(run.info.run_name for run in store.find("tags.role = 'search'")) == ["a", "b"]


def test_trying_a_store_says_where_it_is(tmp_path: Path, sqlite: MakeStore) -> None:
    assert "made by the first run" in check_store(Settings())
    assert list(tmp_path.iterdir()) == []
    assert "'regionbench'" in check_store(sqlite(tmp_path))


def test_a_deleted_experiment_is_told_with_the_way_out(tmp_path: Path, sqlite: MakeStore) -> None:
    run, settings = make_run(tmp_path), sqlite(tmp_path)
    with open_store(settings) as store:
        store.client.delete_experiment(store.experiment_id)
    with pytest.raises(UserError, match="was deleted; restore it"):
        track_records([run], settings, quiet)


def test_the_environment_is_put_back(tmp_path: Path, sqlite: MakeStore) -> None:
    before = dict(os.environ)
    with open_store(sqlite(tmp_path)):
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert dict(os.environ) == before


def test_the_null_tracker_touches_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    NullTracker().sync(run, final=True)
    assert sorted(tmp_path.rglob("*")) == before


# Records there and back.


def test_no_sign_in_a_path_leads_artifacts_elsewhere(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "a%20b?c#d e"
    place.mkdir()
    monkeypatch.chdir(place)
    shutil.copyfile(empty_store, "mlflow.db")
    settings = Settings(uri="sqlite:///mlflow.db")
    run = make_run(place)
    path = add_result(run)
    track_records([run], settings, lambda line: None)
    assert [each.name for each in tmp_path.iterdir()] == [place.name]
    logged = [each for each in Path("mlartifacts").rglob("record.json") if each.is_file()]
    assert [each.read_bytes() for each in logged] == [path.read_bytes()]
    assert fetch_records(settings, place / "out").left_out == {}


def test_weights_trained_elsewhere_are_logged_without_a_search(tmp_path: Path, sqlite: MakeStore) -> None:
    settings = sqlite(tmp_path)
    make_record(tmp_path / "elsewhere" / "seed-0" / "standard-50", run="elsewhere")
    Tracker(settings, quiet).sync(tmp_path / "elsewhere", final=True)
    before = all_runs(settings)
    Tracker(settings, quiet).sync(tmp_path / "elsewhere", final=True)
    (run,) = all_runs(settings).values()
    assert run.data.tags["role"] == "final"
    assert "mlflow.parentRunId" not in run.data.tags
    assert [each.to_dictionary() for each in before.values()] == [run.to_dictionary()]


def test_a_run_folder_knows_the_runs_of_its_records(tmp_path: Path, sqlite: MakeStore) -> None:
    run, settings = make_run(tmp_path), sqlite(tmp_path)
    record = add_result(run)
    assert run_links([record], settings) == {}
    Tracker(settings, quiet).sync(run, final=True)
    final = all_runs(settings)["prs seed 0 mlp: toy linf:8/255 standard"]
    assert run_links([record], settings) == {load_record(record).id: final.info.run_id}
    assert run_links([record], sqlite(tmp_path, experiment="other")) == {}


def test_a_site_from_the_folder_equals_one_from_mlflow_byte_for_byte(
    tmp_path: Path, sqlite: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, settings = make_run(tmp_path / "runs"), sqlite(tmp_path)
    add_result(run)
    Tracker(settings, quiet).sync(run, final=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.uri)
    for out, source in (("folder", ("--records", "runs")), ("store", ("--tracking", settings.uri))):
        done = CliRunner().invoke(cli, ["leaderboard", "build", *source, "--out", out])
        assert done.exit_code == 0, done.output
    final = all_runs(settings)["prs seed 0 mlp: toy linf:8/255 standard"]
    (entry,) = Path("folder/entries").glob("*.html")
    assert final.info.run_id in entry.read_text()
    folder, store = (
        {p.relative_to(out): p.read_bytes() for p in Path(out).rglob("*") if p.is_file()}
        for out in ("folder", "store")
    )
    assert folder == store
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://")
    done = CliRunner().invoke(cli, ["leaderboard", "build", "--records", "runs", "--out", "other"])
    assert done.exit_code == 0, done.output


def test_a_lone_record_is_logged_once_and_joined_by_its_folder(tmp_path: Path, sqlite: MakeStore) -> None:
    run, settings, lines = make_run(tmp_path), sqlite(tmp_path), []
    copy = tmp_path / "copies" / "mine.json"
    copy.parent.mkdir()
    copy.write_bytes(add_result(run).read_bytes())
    track_records([copy], settings, lines.append)
    track_records([copy.parent / "mine.json"], settings, lines.append)
    (lone,) = all_runs(settings).values()
    assert len(lines) == 2
    assert all(lone.info.run_id in line for line in lines)
    assert lone.data.tags["role"] == "final"
    assert "mlflow.parentRunId" not in lone.data.tags
    assert artifacts(settings, lone) == ["record.json", "tables"]

    track_records([run / "seed-0"], settings, lines.append)
    joined = all_runs(settings)[lone.info.run_name]
    assert joined.info.run_id == lone.info.run_id
    assert joined.data.tags["mlflow.parentRunId"] == all_runs(settings)[run.name].info.run_id
    assert "weights.safetensors" in artifacts(settings, joined)


def test_a_folder_of_run_folders_and_records_is_searched(tmp_path: Path, sqlite: MakeStore) -> None:
    settings, lines = sqlite(tmp_path), []
    add_result(make_run(tmp_path / "all" / "runs"))
    make_record(tmp_path / "all" / "lone", run="other")
    track_records([tmp_path / "all"], settings, lines.append)
    assert len(lines) == 2
    with open_store(settings) as store:
        assert len(store.find("tags.role = 'final'")) == 2


def test_a_path_without_records_is_a_users_mistake(tmp_path: Path, sqlite: MakeStore) -> None:
    with pytest.raises(UserError, match="found none at"):
        track_records([tmp_path], sqlite(tmp_path), quiet)


def test_a_record_measured_again_is_another_run_and_the_newest_counts(
    tmp_path: Path, sqlite: MakeStore
) -> None:
    run, settings = make_run(tmp_path), sqlite(tmp_path)
    add_result(run, robust=0.4)
    Tracker(settings, quiet).sync(run, final=True)
    add_result(run, robust=0.3, when=START + timedelta(days=1))
    Tracker(settings, quiet).sync(run, final=True)
    with open_store(settings) as store:
        assert len(store.find("tags.role = 'final'")) == 2
    (path,) = fetch_records(settings, tmp_path / "out").paths
    assert load_record(path).metrics["robust_accuracy/pgd20"].value == 0.3


def test_no_name_of_a_record_leads_out_of_the_folder(tmp_path: Path, sqlite: MakeStore) -> None:
    settings, ids = sqlite(tmp_path), ["..", ".", "a/b", "a_b", "x" * 300]
    for number, name in enumerate(ids):
        path = make_record(tmp_path / "records" / str(number))
        load_record(path).model_copy(update={"id": name}).save(path)
    track_records([tmp_path / "records"], settings, lambda line: None)
    place = tmp_path / "place" / "out"
    fetched = fetch_records(settings, place)
    assert fetched.left_out == {}
    assert sorted(load_record(path).id for path in fetched.paths) == sorted(ids)
    assert [path.name for path in place.parent.iterdir()] == ["out"]
    assert {path.parent.parent for path in fetched.paths} == {place}


@pytest.mark.parametrize("told", ["[", "7", '["record.json", "a/../../x", "figures/../../x"]'])
def test_a_tag_that_does_not_name_the_artifacts_is_no_hindrance(
    tmp_path: Path, sqlite: MakeStore, told: str
) -> None:
    run, settings = make_run(tmp_path), sqlite(tmp_path)
    add_result(run)
    track_records([run], settings, lambda line: None)
    (final,) = (each for each in all_runs(settings).values() if each.data.tags["role"] == "final")
    with open_store(settings) as store:
        store.client.set_tag(final.info.run_id, "bench.files", told)
    (path,) = fetch_records(settings, tmp_path / "out").paths
    names = {"record.json", ".complete"} | ({"arrays.npz", "figures"} if told[:2] != '["' else set())
    assert {each.name for each in path.parent.iterdir()} == names


def test_fetching_from_nowhere_creates_nothing(tmp_path: Path, sqlite: MakeStore) -> None:
    with pytest.raises(UserError, match="no MLflow store at"):
        fetch_records(Settings(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    with open_store(sqlite(tmp_path, experiment="robustness")):
        pass
    with pytest.raises(UserError, match="did you mean robustness"):
        fetch_records(sqlite(tmp_path, experiment="robustnes"), tmp_path / "out")


# A server.


@pytest.mark.slow
def test_records_make_the_round_trip_through_a_server(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path)
    originals = [add_result(run, seed) for seed in (0, 1)]
    Tracker(server.settings, quiet).sync(run, final=True)
    fetched_records = fetch_records(server.settings, tmp_path / "out")
    paths, runs = fetched_records.paths, fetched_records.links
    fetched = {load_record(path).id: path for path in paths if load_record(path).provenance.run == run.name}
    assert len(fetched) == 2
    for original in originals:
        record = load_record(original)
        path = fetched[record.id]
        assert path.read_bytes() == original.read_bytes()
        assert sha256(path.parent / "arrays.npz") == record.files["arrays"].sha256
        with open_store(server.settings) as store:
            page = runs[record.id]
            assert page.startswith(f"{server.settings.uri}/#/experiments/{store.experiment_id}/runs/")
            assert page.endswith("?workflowType=machine_learning")
            run_id = page.rpartition("/")[2].partition("?")[0]
            assert store.client.get_run(run_id).data.tags["bench.record"] == record.id
    (paths[0].parent / "arrays.npz").write_bytes(b"damaged")
    fetch_records(server.settings, tmp_path / "out")
    assert sha256(paths[0].parent / "arrays.npz") == load_record(paths[0]).files["arrays"].sha256
    assert "experiment" in check_store(server.settings)

    def refuse(*_: Any) -> None:
        raise AssertionError("what was copied before is asked for again")

    monkeypatch.setattr(Files, "copy", refuse)
    assert fetch_records(server.settings, tmp_path / "out").paths == paths


@pytest.mark.slow
def test_large_and_strange_numbers_pass_the_server(tmp_path: Path, server: Server) -> None:
    history = [{"epoch": n, "train_loss": 1 / n, "seconds": 1.0} for n in range(1, 1500)]
    many = {f"h{n}": n for n in range(250)}
    path = make_record(tmp_path / "big", run="big", hyperparameters=many, history=history)
    lines: list[str] = []
    track_records([path], server.settings, lines.append)
    (run,) = found(server, "big").values()
    assert {name: run.data.params[f"setting/{name}"] for name in many} == {
        name: str(value) for name, value in many.items()
    }
    with open_store(server.settings) as store:
        store.files(run).copy("tables/epochs.csv", tmp_path / "epochs.csv")
        epochs = (tmp_path / "epochs.csv").read_text()
    assert len(epochs.splitlines()) == 1500
    folder = make_run(tmp_path, name="diverged")
    row = {"epoch": 1, "train_loss": float("nan"), "largest_weight": float("inf"), "seconds": 1.0}
    (folder / "trials/0000/history.jsonl").write_text(json.dumps(row) + "\n")
    Tracker(server.settings, quiet).sync(folder, final=True)
    assert np.isnan(found(server, "diverged")["trial 0000"].data.metrics["epoch/train_loss"])


@pytest.mark.slow
def test_a_server_that_was_down_costs_one_line_and_nothing_else(early: Early, server: Server) -> None:
    assert len(early.lines) == 1
    assert f"bench track {early.run}" in early.lines[0]
    early.tracker.sync(early.run)
    assert not found(server, "early"), "the tracker should still be resting"
    early.tracker.sync(early.run, final=True)
    assert set(found(server, "early")) == {"early", "trial 0000", "trial 0001"}
    trial = found(server, "early")["trial 0001"]
    assert curve(server.settings, trial, "epoch/train_loss") == [(1, 1.0), (2, 1 / 2), (3, 1 / 3)]
    assert len(early.lines) == 1


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    run, lines = make_run(tmp_path), []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = Settings(uri=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=1)
        Tracker(settings, lines.append).sync(run, final=True)
    assert len(lines) == 1
    assert "\n" not in lines[0]


@pytest.mark.slow
def test_the_pages_show_the_store(server: Server) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/") as page:
        assert b"<title>MLflow</title>" in page.read()
    # The layout is the browser's choice, which this page makes; an installation made before has no such page.
    if entry_points(group="mlflow.app", name=APP):
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/results") as page:
            text = page.read().decode()
        assert "machine_learning" in text
        assert "viewStateShareKey=" in text


@pytest.mark.slow
def test_a_taken_port_is_told_with_the_way_out(tmp_path: Path, server: Server, sqlite: MakeStore) -> None:
    with pytest.raises(UserError, match="choose another with --port"):
        serve_ui(sqlite(tmp_path), "127.0.0.1", server.port, quiet)


def test_an_unknown_host_is_told_with_the_way_out(tmp_path: Path, sqlite: MakeStore) -> None:
    for host in ("a..b", "1.2.3.4.5", "x" * 70):
        with pytest.raises(UserError, match=r"IPv4 address of this machine.*--host"):
            serve_ui(sqlite(tmp_path), host, 5000, quiet)


@pytest.mark.slow
def test_for_a_server_the_address_is_enough(server: Server) -> None:
    lines: list[str] = []
    serve_ui(server.settings, "127.0.0.1", 1, lines.append)
    assert lines == [f"MLflow: {server.settings.uri}"]


def test_the_server_is_small_and_keeps_passwords_out_of_the_process_list() -> None:
    argv, environment = ui_command(Settings(uri="postgresql://me:secret@host/db"), "0.0.0.0", 5050)
    assert argv[argv.index("--workers") + 1] == "1"
    assert not any("secret" in word for word in argv)
    assert environment["MLFLOW_BACKEND_STORE_URI"] == "postgresql://me:secret@host/db"
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    name = socket.gethostname()
    assert f"{name}:5050" in environment["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert f"http://{name}:5050" in environment["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"].split(",")
    assert "MLFLOW_SERVER_ALLOWED_HOSTS" not in ui_command(Settings(), "127.0.0.1", 5050)[1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_a_killed_ui_leaves_no_server_behind(tmp_path: Path, number: int) -> None:
    server = Server(tmp_path, free_port())
    server.start()
    assert server.process is not None
    server.process.send_signal(number)
    server.process.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_server(("127.0.0.1", server.port)).close()
            return
        time.sleep(0.2)
    pytest.fail("the server still listens")


def test_tags_and_parameters_hold_no_secret(tmp_path: Path, sqlite: MakeStore) -> None:
    uri = "postgresql://me:S3cret-Pw_99@host/db"
    run = make_run(tmp_path, hyperparameters={"source": uri})
    settings = sqlite(tmp_path, tags={"from": uri})
    Tracker(settings, quiet).sync(run)
    text = str([each.to_dictionary() for each in all_runs(settings).values()])
    assert "S3cret" not in text
    assert "***@host/db" in text


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            ModuleNotFoundError("No module named 'boto3'", name="boto3"),
            "No module named 'boto3'; pip install boto3",
        ),
        (KeyError("experiment"), "KeyError: 'experiment'"),
        (ValueError("no JSON at http://me:secret@host\nmore"), r"ValueError: no JSON at http://\*\*\*@host$"),
    ],
)
def test_whatever_a_server_answers_is_one_line(error: Exception, line: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = Settings(uri=f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(UserError, match=line) as caught, calling(settings):
            raise error
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)


#: A ledger whose types are wrong.
UNHASHABLE = '{"a": {"search": {"run_id": [[]], "started": 1, "status": "FINISHED"}}}'


@pytest.mark.parametrize(
    "content", ["", "[]", '{"a": 3}', '{"a": {"search": {"run": 1}}}', UNHASHABLE, "folder", None]
)
def test_a_damaged_ledger_is_written_again_and_nothing_is_logged_twice(
    tmp_path: Path, content: str | None, sqlite: MakeStore
) -> None:
    run, settings = make_run(tmp_path), sqlite(tmp_path)
    track_records([run], settings, lambda line: None)
    before = {name: each.info.run_id for name, each in all_runs(settings).items()}
    ledger = run / "tracking.json"
    if content == "folder":
        ledger.unlink()
        ledger.mkdir()
    else:
        ledger.write_text(ledger.read_text()[:-20] if content is None else content)
    lines: list[str] = []
    track_records([run], settings, lines.append)
    assert any("tracking.json.broken" in line for line in lines)
    assert {name: each.info.run_id for name, each in all_runs(settings).items()} == before
    assert all(isinstance(section, dict) for section in json.loads(ledger.read_text()).values())


def test_one_damaged_trial_is_left_out_alone(tmp_path: Path, sqlite: MakeStore) -> None:
    run, settings = make_run(tmp_path), sqlite(tmp_path)
    track_records([run], settings, lambda line: None)
    whole = set(all_runs(settings))
    other = sqlite(tmp_path, experiment="other")
    (run / "trials" / "0000" / "trial.json").write_text("{")
    with pytest.raises(UserError, match=r"1 of 1 were not logged: .*0000/trial\.json is not valid JSON"):
        track_records([run], other, lambda line: None)
    assert set(all_runs(other)) == whole - {"trial 0000"}


@pytest.mark.parametrize(
    "row",
    [
        "[]",
        '{"epoch": 2, "seconds": "x"}',
        '{"epoch": 2, "seconds": 1e999}',
        '{"epoch": 2, "n": 1%s}' % ("0" * 400),
    ],
)
def test_rows_that_no_store_can_hold_end_a_history(tmp_path: Path, row: str) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(f'{{"epoch": 1, "seconds": 2.0}}\n{row}\n{{"epoch": 3}}\n')
    assert read_rows(path) == [{"epoch": 1, "seconds": 2.0}]


def test_a_damaged_run_file_is_made_up_for_by_a_record(tmp_path: Path, sqlite: MakeStore) -> None:
    run, settings = make_run(tmp_path), sqlite(tmp_path)
    add_result(run)
    other = make_run(tmp_path / "others")
    whole = sqlite(tmp_path, experiment="whole")
    track_records([run], whole, lambda line: None)
    before = {name: each.info.run_id for name, each in all_runs(whole).items()}
    (run / "run.json").write_bytes((run / "run.json").read_bytes()[:-40])
    lines: list[str] = []
    track_records([run, other], settings, lines.append)
    assert any("run.json" in line and "until the same `bench run` writes it again" in line for line in lines)
    assert all_runs(settings)[run.name].data.tags["defense"] == all_runs(whole)[run.name].data.tags["defense"]
    # Nothing is logged twice where it was logged before.
    track_records([run], whole, lambda line: None)
    assert {name: each.info.run_id for name, each in all_runs(whole).items()} == before


def test_what_cannot_be_made_up_for_keeps_back_no_other_folder(tmp_path: Path, sqlite: MakeStore) -> None:
    run, settings = make_run(tmp_path), sqlite(tmp_path)
    other = make_run(tmp_path / "others", name="other")
    (run / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"1 of 2 were not logged: .*run\.json .*the same `bench run` writes"):
        track_records([run, other], settings, lambda line: None)
    assert "other" in all_runs(settings)


def test_a_record_that_mlflow_has_damaged_is_left_out_alone(tmp_path: Path, sqlite: MakeStore) -> None:
    run, settings = make_run(tmp_path), sqlite(tmp_path)
    for seed in range(4):
        add_result(run, seed)
    track_records([run], settings, lambda line: None)
    damaged, lost, wrong, _ = sorted(
        (each for each in all_runs(settings).values() if each.data.tags["role"] == "final"),
        key=lambda each: each.data.tags["bench.record"],
    )
    folders = [Path(each.info.artifact_uri.removeprefix("file://")) for each in (damaged, lost, wrong)]
    (folders[0] / "record.json").write_text("{}")
    (folders[1] / "record.json").unlink()
    (folders[2] / "arrays.npz").write_bytes(b"damaged")
    fetched = fetch_records(settings, tmp_path / "out")
    assert len(fetched.paths) == 1
    assert [figure.name for figure in find_figures(fetched.paths[0].parent)] == ["surface"]
    for run, file, why in (
        (damaged, "record.json", "has changed since it was logged"),
        (lost, "record.json", "cannot be fetched: "),
        (wrong, "arrays.npz", "has changed since it was logged"),
    ):
        expected = f"{file} of MLflow run {run.info.run_id} {why}"
        assert any(reason.startswith(expected) for reason in fetched.left_out.values())
    site = build(
        fetched.paths, tmp_path / "site", left_out=[LeftOut(*each) for each in fetched.left_out.items()]
    )
    assert sum(left.path.name == "record.json" for left in site.left_out) == 3
    assert (tmp_path / "site/index.html").read_text().count("MLflow run") == 3
