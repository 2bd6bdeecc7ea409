"""Pages of shipped records, of none, and their server."""

import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import leaderboard as commands
from bench.cli.main import cli
from bench.cli.serve import make_server
from bench.core.errors import UserError
from bench.core.record import Record
from leaderboards.build import build
from leaderboards.check import check
from tests.records import make_arrays, make_scores


def test_a_folder_is_served_to_this_machine_alone(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("hello")
    with make_server(tmp_path, 0) as server:
        host, port = server.server_address[:2]
        assert host == "127.0.0.1"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
            assert answer.read() == b"hello"
        with pytest.raises(UserError, match="is taken; give another one with --port"):
            make_server(tmp_path, int(port))
        server.shutdown()


def test_without_a_record_the_page_says_how_to_make_one(tmp_path: Path) -> None:
    site = build([], tmp_path / "site", empty=True)
    assert site.records == 0
    text = (tmp_path / "site" / "index.html").read_text()
    assert "No results yet" in text
    assert "bench run --defense prs" in text


def test_the_shipped_records_are_admitted_and_name_no_machine() -> None:
    paths = sorted(commands.SHIPPED.rglob("record.json"))
    assert len(paths) >= 12
    for path in paths:
        text = path.read_text()
        assert "/home/" not in text
        assert "/tmp/" not in text
        assert [
            problem
            for problem in check(path)
            if "missing" not in problem and "cannot be ranked" not in problem
        ] == []


def test_records_come_from_a_folder_or_from_mlflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["leaderboard", "build", "--tracking", "sqlite:///m.db", "--records", "x"]
    answer = CliRunner().invoke(cli, words)
    assert isinstance(answer.exception, UserError)
    assert "give one of" in str(answer.exception)
    assert not (tmp_path / "site").exists()


def test_rows_of_ones_own_stand_beside_shipped_ones(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    make_record: Callable[..., Record],
    write_record: Callable[..., Path],
) -> None:
    monkeypatch.chdir(tmp_path)
    arrays = make_arrays({"robust_accuracy/autoattack": 0.4})
    for folder, name in (("package", "theirs"), ("runs", "ours")):
        scores = make_scores(arrays)
        record = make_record(arrays, id=f"{name}-seed-0", defense={"name": name}, metrics=scores)
        write_record(tmp_path / folder / name, record, arrays)
    monkeypatch.setattr(commands, "SHIPPED", tmp_path / "package")
    for options, count in {"--shipped": 1, "--records runs": 1, "--shipped --records runs": 2}.items():
        words = ["leaderboard", "table", "--format", "csv", *options.split()]
        answer = CliRunner().invoke(cli, words)
        assert len(answer.output.splitlines()) == 1 + count, answer.output
        out = tmp_path / f"site{options}"
        words = ["leaderboard", "build", "--quiet", "--out", str(out), *options.split()]
        assert CliRunner().invoke(cli, words).exit_code == 0
        assert len(list(out.glob("boards/*.html"))) == 1
        assert len(list(out.glob("entries/*.html"))) == count
    (tmp_path / "nothing").mkdir()
    for command in ("build", "table", "export --format sarif"):
        words = ["leaderboard", *command.split(), "--shipped", "--records", "nothing"]
        answer = CliRunner().invoke(cli, words)
        assert isinstance(answer.exception, UserError), answer.output
        assert "no records in nothing" in str(answer.exception)
