"""Leases: one holder, whatever dies and whatever the clocks say."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UserError
from bench.sweep import leases as leases_module
from bench.sweep.leases import MOST_DEATHS, DeadProcesses, Leases
from bench.version import __version__


def foreign(folder: Path, generation: int = 1, **changed: Any) -> Path:
    """A lease of a process on another machine."""
    path = folder / f"cell.{generation}.lease"
    content = {
        "host": "elsewhere",
        "pid": 1,
        "machine": "other",
        "version": "0",
        "state": "held",
        "deaths": 0,
    }
    path.write_text(json.dumps({**content, "version": __version__, **changed}))
    return path


def test_one_process_holds_a_cell_until_it_is_released(tmp_path: Path) -> None:
    leases = Leases(tmp_path / "made")
    lease = leases.take("cell")
    assert lease is not None
    assert leases.take("cell") is None
    assert str(os.getpid()) in leases.holder("cell")
    lease.release()
    assert leases.holder("cell") == ""
    again = leases.take("cell")
    assert again is not None
    again.release()
    assert leases.take("other") is not None


def test_a_link_whose_answer_was_lost_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS asks again then, and is told that the link exists."""
    link = os.link

    def repeated(source: Any, target: Any) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", repeated)
    assert Leases(tmp_path).take("cell") is not None
    assert Leases(tmp_path).take("cell") is None


def test_of_many_that_try_at_once_one_wins(tmp_path: Path) -> None:
    for generation in range(5):
        foreign(tmp_path, 2 * generation + 1, state="free")
        barrier = threading.Barrier(8)

        def take(_: int, barrier: threading.Barrier = barrier) -> Any:
            leases = Leases(tmp_path)
            barrier.wait()
            return leases.take("cell")

        with ThreadPoolExecutor(8) as threads:
            won = [lease for lease in threads.map(take, range(8)) if lease is not None]
        assert len(won) == 1
        won[0].release()


def test_a_process_of_this_machine_that_is_gone_loses_its_cell_at_once(tmp_path: Path) -> None:
    code = "import os, sys; from pathlib import Path; from bench.sweep.leases import Leases\n"
    code += "assert Leases(Path(sys.argv[1])).take('cell'); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9
    lease = Leases(tmp_path).take("cell")
    assert lease is not None
    lease.release()


def test_silence_of_another_machine_is_measured_by_our_own_clock(tmp_path: Path) -> None:
    path = foreign(tmp_path)
    os.utime(path, (4e9, 4e9))  # its clock is years ahead
    leases = Leases(tmp_path, patience=0.05)
    assert leases.take("cell") is None
    foreign(tmp_path, beats=1)
    time.sleep(0.06)
    assert leases.take("cell") is None, "it has changed since the first look"
    time.sleep(0.06)
    lease = leases.take("cell")
    assert lease is not None
    lease.release()


def test_the_earlier_holder_is_told_and_does_not_free_the_others_lease(tmp_path: Path) -> None:
    told = threading.Event()
    lease = Leases(tmp_path, patience=0.12).take("cell", told.set)
    assert lease is not None
    foreign(tmp_path, 2)
    assert told.wait(10)
    assert lease.lost
    lease.release()
    assert "elsewhere" in Leases(tmp_path).holder("cell")


def test_a_finished_cell_leaves_no_lease_and_an_earlier_holder_is_told(tmp_path: Path) -> None:
    told = threading.Event()
    slow = Leases(tmp_path, patience=0.12).take("cell", told.set)
    assert slow is not None
    foreign(tmp_path, 2, state="free")
    other = Leases(tmp_path).take("cell")
    assert other is not None
    other.release(over=True)
    assert told.wait(10)
    assert slow.lost
    slow.release(over=True)
    assert list(tmp_path.iterdir()) == []


def test_a_cell_that_processes_die_over_fails(tmp_path: Path) -> None:
    foreign(tmp_path, deaths=MOST_DEATHS - 1)
    leases = Leases(tmp_path, patience=0)
    assert leases.take("cell") is None
    time.sleep(0.01)
    with pytest.raises(DeadProcesses, match="elsewhere, process 1"):
        leases.take("cell")
    assert leases.holder("cell") == ""
    with pytest.raises(DeadProcesses):
        Leases(tmp_path).take("cell")
    leases.forgive("cell")
    lease = leases.take("cell")
    assert lease is not None
    lease.release()


def test_a_process_that_stood_still_between_its_look_and_its_take_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Leases(tmp_path)
    foreign(tmp_path, 2, state="free")
    original = leases_module._create

    def late(path: Path, content: dict[str, Any]) -> bool:
        foreign(tmp_path, 2).unlink()  # others took it three times meanwhile, which deletes what was before
        foreign(tmp_path, 5)
        return original(path, content)

    monkeypatch.setattr(leases_module, "_create", late)
    assert slow.take("cell") is None
    assert [path.name for path in tmp_path.iterdir()] == ["cell.5.lease"]


def test_a_file_system_without_hard_links_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(UserError, match=r"has no hard links .*choose another --out"):
        Leases(tmp_path).take("cell")
    assert list(tmp_path.iterdir()) == []


def test_another_version_is_refused(tmp_path: Path) -> None:
    foreign(tmp_path, version="0.0.1")
    leases = Leases(tmp_path)
    assert leases.take("cell") is None
    foreign(tmp_path, version="0.0.1", beats=1)
    with pytest.raises(UserError, match=r"elsewhere works on this folder with regionbench 0\.0\.1"):
        leases.take("cell")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"pid": "x"}', '{"deaths": "x"}'])
def test_a_damaged_lease_is_taken_over_after_silence(tmp_path: Path, content: str) -> None:
    (tmp_path / "cell.4.lease").write_text(content)
    leases = Leases(tmp_path, patience=0)
    leases.take("cell")
    time.sleep(0.01)
    lease = leases.take("cell")
    assert lease is not None
    lease.release()


def test_a_number_that_is_no_process_of_ours_is_silent(tmp_path: Path) -> None:
    foreign(tmp_path, pid=2**62, machine=leases_module._self()["machine"])
    assert Leases(tmp_path).take("cell") is None
