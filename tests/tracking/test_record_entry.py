"""The note of a record's run: its command in lines that a shell joins."""

import shlex
import subprocess
from pathlib import Path

import pytest

import leaderboards
from bench.core.record import load_record
from bench.tracking.record_entry import read_record

RECORD = Path(leaderboards.__file__).parent / "results" / "quick" / "cnn6-at-0" / "record.json"


def commanded(path: Path, command: str, place: Path) -> str:
    """The command as the note of a record shows it."""
    record = load_record(path)
    record = record.model_copy(
        update={"provenance": record.provenance.model_copy(update={"command": command}), "files": {}}
    )
    record.save(place / "record.json")
    note = str(read_record(place / "record.json").tags["mlflow.note.content"])
    return note.partition("```\n")[2].partition("\n```")[0]


def test_a_command_is_shown_in_short_lines_that_a_shell_joins(tmp_path: Path) -> None:
    command = (
        "bench run --defense jacobian+at --model 'cnn6(width=0.25)' --dataset 'a folder' --threat linf:0.2"
        " --set at.warmup=0.5 --recipe paper,batch_size=32 --class-order 'a cat' 'a dog'"
    )
    shown = commanded(RECORD, command, tmp_path)
    joined = subprocess.run(
        ["sh", "-c", shown.replace("bench", "printf '%s|'", 1)], capture_output=True, text=True, check=True
    )
    assert joined.stdout.split("|")[:-1] == shlex.split(command)[1:]
    assert len(shown.splitlines()) == 3
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("command", ["bench run --model 'cnn6", "bench run 'a\nb'", " "])
def test_a_command_that_no_shell_can_join_is_shown_as_it_is(command: str, tmp_path: Path) -> None:
    assert commanded(RECORD, command, tmp_path) == command
