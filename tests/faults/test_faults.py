"""A sample of each class of fault from outside; `python -m benchmarks.faults` provokes all of them."""

from pathlib import Path

import pytest

from benchmarks.faults import CLASSES
from benchmarks.faults.__main__ import provoke
from benchmarks.faults.bad_input import Inputs, commands, good
from benchmarks.faults.command import Bench

#: Classes whose sample takes 20 seconds or more, since each try starts processes.
LONG = ("servers", "signals", "records", "resume", "secrets", "sites", "sweep")


def test_every_command_is_given_bad_input(tmp_path: Path) -> None:
    assert good(Inputs(tmp_path)).keys() == commands().keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long if name.split("-")[0] in LONG else ()) for name in CLASSES],
)
def test_nothing_from_outside_does_damage(name: str) -> None:
    result = provoke(Bench(), CLASSES[name], CLASSES[name].sample, seed=0)
    assert result["tries"] > 0
    assert result["seen"] == []
