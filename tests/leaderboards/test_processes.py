"""Jobs that are shared out among processes."""

import os
from functools import partial

import pytest

from bench.core.errors import UserError
from leaderboards import processes
from leaderboards.processes import do_all


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
