"""Folders that take each other's place: a whole one is there at every moment."""

import threading
from pathlib import Path

import pytest
from filelock import FileLock

from bench.core.errors import UserError
from leaderboards import replace
from leaderboards.replace import alone, replacing_folder


def _write(out: Path, text: str, *others: str) -> None:
    with replacing_folder(out, "index.html") as folder:
        (folder / "pages").mkdir()
        for name in ("index.html", "pages/a.html", *others):
            (folder / name).write_text(text)


def _contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("exchange", [True, False], ids=["exchanged", "file by file"])
def test_there_is_a_whole_folder_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    out, stop, missing = tmp_path / "site", threading.Event(), []
    if not exchange:
        monkeypatch.setattr(replace, "_exchange", lambda one, other: False)
    _write(out, "first", "old.html")

    def look() -> None:
        while not stop.is_set():
            try:
                (out / "index.html").read_text()
            except FileNotFoundError:
                missing.append(1)

    looking = threading.Thread(target=look)
    looking.start()
    for number in range(200):
        _write(out, str(number), *(["odd.html"] if number % 2 else []))
    stop.set()
    looking.join()
    assert not missing
    assert _contents(out) == dict.fromkeys(["index.html", "pages/a.html", "odd.html"], "199")
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_one_process_builds_at_a_time(tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / ".site.lock"),
        pytest.raises(UserError, match="another process is building"),
        alone(tmp_path / "site", wait=0),
    ):
        pass
    with alone(tmp_path / "site"), alone(tmp_path / "site"):
        assert (tmp_path / ".site.lock").exists()
    assert list(tmp_path.iterdir()) == []
