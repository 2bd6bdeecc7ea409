"""`bench leaderboard build`: its exit code, and what it says of records that are left out."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.cli.main import cli
from bench.results.verification.check import Check
from bench.results.verify import Verification
from tests.records import make_arrays, make_record, write_record


@pytest.mark.parametrize("strict", [True, False])
def test_strict_draws_all_pages_and_exits_with_one_when_a_record_was_left_out(
    tmp_path: Path, strict: bool
) -> None:
    records, site = tmp_path / "records", tmp_path / "site"
    write_record(records / "good", make_record())
    words = ["leaderboard", "build", "--records", str(records), "--out", str(site)]
    words += ["--strict"] if strict else []
    done = CliRunner().invoke(cli, words)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "Left out" not in (site / "index.html").read_text(encoding="utf-8")
    (records / "bad").mkdir()
    (records / "bad" / "record.json").write_text("{")
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == (1 if strict else 0)
    assert done.stdout == f"{site / 'index.html'}\n"
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("left out: ")]
    assert "bad/record.json" in line
    page = (site / "index.html").read_text(encoding="utf-8")
    assert "Left out" in page
    assert "bad/record.json" in page
    assert len(list((site / "entries").glob("*.html"))) == 1


@pytest.mark.parametrize(
    ("outcomes", "code", "word"),
    [
        ({"clean_accuracy": "match", "attacks": "not checked"}, 0, "match"),
        (
            {"clean_accuracy": "not checked", "attacks": "not checked"},
            3,
            "partly; not checked: clean_accuracy",
        ),
        ({"clean_accuracy": "match", "robust_accuracy/fgsm": "mismatch"}, 1, "MISMATCH"),
    ],
)
def test_reverify_says_whether_the_stored_images_hold(
    outcomes: dict[str, Any], code: int, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = tuple(Check(name, outcome, "m") for name, outcome in outcomes.items())
    monkeypatch.setattr("bench.results.verify.verify", lambda *_, **__: Verification("r", checks))
    arrays = make_arrays()
    write_record(tmp_path, make_record(arrays), arrays)
    done = CliRunner().invoke(cli, ["leaderboard", "check", str(tmp_path), "--reverify"])
    assert (done.exit_code, word in done.stdout.splitlines()[-1]) == (code, True), done.output
    alone = CliRunner().invoke(cli, ["leaderboard", "check", str(tmp_path), "--trust"], standalone_mode=False)
    assert "--reverify" in str(alone.exception)


@pytest.mark.parametrize("form", ["robustbench", "sarif"])
def test_export_prints_the_files_that_it_wrote(form: str, tmp_path: Path) -> None:
    arrays = make_arrays()
    write_record(tmp_path / "records", make_record(arrays), arrays)
    words = ["--records", str(tmp_path / "records"), "--out", str(tmp_path / "out"), "--format", form]
    done = CliRunner().invoke(cli, ["leaderboard", "export", *words])
    assert done.exit_code == 0, done.output
    assert all(Path(line).is_file() for line in done.stdout.splitlines())
    assert done.stdout
