"""Temporary files: made beside their place, locked by their process, swept when it is gone."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from bench.core import temporary
from bench.core.errors import UserError
from bench.core.files import creating, replacing, set_aside, write_text
from bench.core.temporary import sweep, temporary_file, temporary_folder


def _die_while_writing(place: Path) -> None:
    with temporary_folder(place / "site") as folder, temporary_file(place / "a.json") as file:
        (folder / "new").mkdir()
        file.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def leftovers(tmp_path: Path) -> Path:
    process = multiprocessing.get_context("fork").Process(target=_die_while_writing, args=(tmp_path,))
    process.start()
    process.join()
    assert len(list(tmp_path.iterdir())) == 2
    temporary._swept.discard(tmp_path)
    return tmp_path


def test_what_a_killed_process_left_is_swept_by_the_next_write(leftovers: Path) -> None:
    write_text(leftovers / "b.txt", "whole")
    with temporary_folder(leftovers / "site"):
        pass
    assert [path.name for path in leftovers.iterdir()] == ["b.txt"]


def test_what_is_still_written_stays(tmp_path: Path) -> None:
    with temporary_folder(tmp_path / "site") as folder, temporary_file(tmp_path / "a.json") as file:
        sweep(tmp_path)
        with temporary_folder(tmp_path / "site") as other:
            assert other != folder
        assert file.exists()
        assert folder.exists()
    assert list(tmp_path.iterdir()) == []


def test_names_of_others_stay(tmp_path: Path) -> None:
    names = [".film.part", "film.abcdefgh.part", ".site.abcdefgh", ".site.notes", ".other.abcdefgh.part"]
    for name in names[:2]:
        (tmp_path / name).touch()
    (tmp_path / names[2]).mkdir()
    (tmp_path / names[2] / "mine.txt").touch()
    for name in names[3:]:
        (tmp_path / name).mkdir()
    sweep(tmp_path)
    with temporary_folder(tmp_path / "site"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_leftovers_of_earlier_versions_go(tmp_path: Path) -> None:
    for name in (".checkpoint.pt.part", ".search.db.abcd_012.part", ".search.db.abcd_012.part-journal"):
        (tmp_path / name).touch()
    (tmp_path / ".site.abcd_012" / "old").mkdir(parents=True)
    sweep(tmp_path)
    with temporary_folder(tmp_path / "site"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.db", "a [1] *?.db"])
def test_what_a_library_creates_takes_its_place_alone(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    with creating(place) as path:
        assert path.name == name
        assert not path.exists()
        path.write_text("database")
        path.with_name(f"{name}-journal").write_text("journal")
        assert not place.exists()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "database")]


def test_a_creation_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(write: Callable[[Path], AbstractContextManager[Path]]) -> None:
        with write(tmp_path / "a.db") as path:
            path.write_text("half")
            raise OSError(28, "No space left on device")

    for write in (creating, replacing):
        with pytest.raises(UserError, match="No space left"):
            fail(write)
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_was_set_aside_is_lost(tmp_path: Path) -> None:
    said: list[str] = []
    for content in ("first", "second"):
        (tmp_path / "run.json").write_text(content)
        set_aside(tmp_path / "run.json", "is cut short", said.append)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "run.json.broken": "first",
        "run.json.broken2": "second",
    }
    assert said[0] == f"{tmp_path / 'run.json'} is cut short; set aside as run.json.broken"
