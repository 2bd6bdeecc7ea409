"""`bench leaderboard build`: its exit code, and what it says of records that are left out."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.main import cli
from tests.records import make_record, write_record


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
