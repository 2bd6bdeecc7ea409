"""Records on object stores: in memory here, and on a local S3 server in a slow test."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest
from click.testing import CliRunner

from bench import load_records
from bench.cli.main import cli
from bench.core import remote
from bench.core.errors import UserError
from bench.core.remote import local_copy
from bench.results.upload import upload_records
from benchmarks.faults.local_servers import free_port
from tests.records import make_arrays, make_record, write_record


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two records with arrays and a figure, and a checkpoint and a trial that nobody asks for."""
    for seed in range(2):
        home = tmp_path / "runs" / "run" / f"seed-{seed}" / "standard"
        record = make_record(id=f"run-{seed}", seed=seed)
        write_record(home, record, make_arrays())
        (home / "figures").mkdir()
        (home / "figures" / "own.json").write_text("{}")
    (tmp_path / "runs" / "run" / "run.json").write_text("{}")
    (tmp_path / "runs" / "run" / "checkpoint.pt").write_bytes(b"x")
    (tmp_path / "runs" / "run" / "trials" / "0000").mkdir(parents=True)
    return tmp_path / "runs"


def memory() -> str:
    """The URL of an empty folder; the store is one for the whole process."""
    return f"memory://{uuid4().hex}/runs"


def names(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    )


def test_what_is_uploaded_is_read_again_and_only_changes_are_fetched(runs: Path) -> None:
    url, said = memory(), []
    assert upload_records(runs, url, said.append) == 2
    assert upload_records(runs, url, said.append) == 0
    copy = local_copy(url, said.append)
    assert names(copy) == [name for name in names(runs) if "seed" in name]
    assert [record.id for record in load_records(url)] == ["run-0", "run-1"]
    (again,) = [copy / name for name in names(copy) if name.endswith("seed-1/standard/record.json")]
    before = again.stat().st_mtime_ns
    write_record(runs / "run/seed-0/standard", make_record(id="changed"), make_arrays())
    assert upload_records(runs, url, said.append) == 1
    assert [record.id for record in load_records(url)] == ["changed", "run-1"]
    assert again.stat().st_mtime_ns == before
    fsspec.filesystem("memory").rm(f"{url.removeprefix('memory:/')}/run/seed-0", recursive=True)
    assert [record.id for record in load_records(url)] == ["run-1"]
    assert not (copy / "run/seed-0/standard/arrays.npz").exists()
    single = load_records(f"{url}/run/seed-1/standard/record.json")
    assert [record.id for record in single] == ["run-1"]


def test_boards_and_comparisons_are_those_of_the_folder(runs: Path, tmp_path: Path) -> None:
    url = memory()
    upload_records(runs, url, lambda line: None)
    run = CliRunner().invoke
    here, there = (run(cli, ["leaderboard", "table", "--records", place]) for place in (str(runs), url))
    assert here.exit_code == there.exit_code == 0
    assert here.stdout == there.stdout != ""
    records = [f"run/seed-{seed}/standard/record.json" for seed in range(2)]
    here, there = (
        run(cli, ["compare", *(f"{place}/{record}" for record in records), "--json"]) for place in (runs, url)
    )
    assert json.loads(here.stdout) == json.loads(there.stdout)


def test_keys_that_lead_elsewhere_and_records_that_are_too_large_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, said = memory(), []
    store = fsspec.filesystem("memory")
    root = url.removeprefix("memory:/")
    # The store in memory makes a path of a key, unlike S3.
    for key in ("a/../../b/record.json", "c/record.json/d", "e\n/record.json", f"{'f' * 300}/record.json"):
        store.store[f"{root}/{key}"] = fsspec.implementations.memory.MemoryFile(store, f"{root}/{key}", b"{}")
    monkeypatch.setattr(remote, "MOST_BYTES", 10)
    store.pipe({f"{root}/large/record.json": b"[" + b" " * 10 + b"]", f"{root}/fine/record.json": b"{}"})
    copy = local_copy(url, said.append)
    assert names(copy.parent) == [f"{copy.name}.lock", f"{copy.name}/fine/record.json"]
    assert any("large/record.json: it is larger than" in line for line in said)
    for line in list(store.store):
        if line.startswith(root):
            del store.store[line]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("foo://bucket/runs", "has the scheme foo://"),
        ("https://host/runs", "has the scheme https://"),
        ("s3://", "expected s3://BUCKET/FOLDER"),
        ("s3://key:secret@bucket/runs", "without a password; give it in the environment"),
        ("memory://nobody/has/this", "no such folder of records: memory://nobody/has/this"),
    ],
)
def test_what_no_store_has_is_refused(url: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        load_records(url)
    assert "secret" not in str(refused.value)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UserError, match=r"s3:// needs s3fs .*pip install 'regionbench\[remote\]'"):
        load_records("s3://bucket/runs")


@pytest.mark.parametrize("words", [["run", "--out"], ["leaderboard", "build", "--out"], ["track"]])
def test_a_url_is_refused_where_files_are_locked_and_renamed(words: list[str]) -> None:
    refused = CliRunner().invoke(cli, [*words, "s3://bucket/runs"])
    assert refused.exit_code == 2
    assert "need locks and renames, which object stores lack" in refused.output


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a bucket on an S3 server of the test's own."""
    pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    port = free_port()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "Testing-Secret-1234")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(120):
                try:
                    s3fs.S3FileSystem(skip_instance_cache=True).mkdir("bench-records")
                    break
                except Exception:
                    time.sleep(0.5)
            yield "s3://bench-records/runs"
        finally:
            server.terminate()


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the driver's own threads and sockets
def test_records_on_s3(bucket: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bench(*words: str | Path) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "bench", *map(str, words)]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )

    assert bench("upload", runs, bucket).stderr == f"{bucket}: 2 records copied, 0 there before\n"
    assert bench("upload", runs, bucket).stderr == f"{bucket}: 0 records copied, 2 there before\n"
    site = tmp_path / "site"
    built = bench("leaderboard", "build", "--records", bucket, "--out", site)
    assert built.returncode == 0, built.stderr
    assert "2 records, 2 of them fetched" in built.stderr
    assert "2 records, 0 of them fetched" in bench("leaderboard", "table", "--records", bucket).stderr
    assert len(load_records(bucket)) == 2
    refused = bench("leaderboard", "table", "--records", "s3://nobody-has-this/runs")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "is the bucket's name right?" in refused.stderr
    refused = bench("upload", runs, "s3://nobody-has-this/runs")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    for changed in ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, {"AWS_SECRET_ACCESS_KEY": ""}):
        for name, value in changed.items():
            monkeypatch.setenv(name, value)
        refused = bench("leaderboard", "table", "--records", bucket)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
        assert "Testing-Secret-1234" not in refused.stderr
