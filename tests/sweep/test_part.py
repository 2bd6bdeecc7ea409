"""Parts of a sweep, and the environment of its processes."""

import pytest

from bench.core.errors import UserError
from bench.sweep import local
from bench.sweep.local import environment
from bench.sweep.part import find_part


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (0, 1)),
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "4"}, (2, 4)),
        ({"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "2"}, (0, 2)),
        ({"LSB_JOBINDEX": "2", "LSB_JOBINDEX_END": "5"}, (1, 5)),
        ({"LSB_JOBINDEX": "0", "LSB_JOBINDEX_END": "0"}, (0, 1)),
    ],
)
def test_job_arrays_are_recognized(variables: dict[str, str], expected: tuple[int, int]) -> None:
    assert find_part(None, None, variables) == expected


def test_what_is_given_counts() -> None:
    assert find_part(1, 3, {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "2"}) == (1, 3)
    assert find_part(None, 3, {"PBS_ARRAY_INDEX": "2"}) == (2, 3)


@pytest.mark.parametrize(
    ("index", "count", "variables", "message"),
    [
        (3, 3, {}, "--index 3 is beyond --count 3"),
        (-1, 3, {}, "beyond"),
        (0, None, {}, "--count is missing"),
        (None, 3, {}, "--index is missing"),
        (None, None, {"PBS_ARRAY_INDEX": "2"}, "--count is missing"),
        (None, None, {"SLURM_ARRAY_TASK_ID": "x"}, "SLURM_ARRAY_TASK_ID: not a valid integer"),
    ],
)
def test_half_a_part_is_refused(
    index: int | None, count: int | None, variables: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        find_part(index, count, variables)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(1.0, ["4", "5", "6", "4"]), (0.5, ["4", "4", "5", "5"]), (2.0, ["4,5", "6,4", "5,6", "4,5"])],
)
def test_devices_are_dealt_out(share: float, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    found = [environment(number, 4, share)["CUDA_VISIBLE_DEVICES"] for number in range(4)]
    assert found == expected


def test_threads_are_divided_unless_they_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local.os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr(local, "visible_devices", list)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert environment(0, 3, 1.0) == {"OMP_NUM_THREADS": "5"}
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert environment(0, 3, 1.0) == {}
