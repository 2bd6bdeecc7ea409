"""Jobs that are shared out among processes."""

import os
from functools import partial
from pathlib import Path

import pytest

from bench.core.errors import UserError
from leaderboards import build as building
from leaderboards import processes
from leaderboards.build import build
from leaderboards.processes import do_all, do_apart


def fail() -> None:
    raise UserError("a job that fails")


@pytest.mark.parametrize("many", [1, 1000])
def test_jobs_give_their_results_in_their_order_and_their_error(
    many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "MANY", many)
    monkeypatch.setattr(processes, "_processors", lambda: 3)
    assert do_all([partial(pow, number, 2) for number in range(50)]) == [number**2 for number in range(50)]
    with pytest.raises(UserError, match="a job that fails"):
        do_all([fail])
    if processes.is_shared_out(50):
        assert os.getpid() not in do_all([os.getpid] * 50)
    with pytest.raises(UserError, match="a job that fails"):
        do_apart(fail)
    assert do_apart(partial(pow, 7, 2)) == 49
    assert (do_apart(os.getpid) == os.getpid()) is not processes.is_shared_out(processes.MANY)


def test_a_site_does_not_depend_on_how_many_processes_read_and_drew_it(
    sample: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "bad" / "record.json"
    bad.parent.mkdir()
    bad.write_text(sample[0].read_text().replace('"unit"', '"units"', 1))
    built = []
    for many, out in ((1000, "alone"), (1, "shared")):
        monkeypatch.setattr(processes, "MANY", many)
        monkeypatch.setattr(processes, "_processors", lambda: 2)
        monkeypatch.setattr(building, "_LARGE", many)
        built.append(build([*sample, bad], tmp_path / out, strict=False))
        with pytest.raises(UserError, match=r"bad/record\.json is not a valid record"):
            build([*sample, bad], tmp_path / out)
    assert built[0].left_out == built[1].left_out != ()
    alone, shared = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "alone", tmp_path / "shared")
    )
    assert alone == shared
