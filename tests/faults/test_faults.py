"""A sample of each class of fault from outside; `python -m benchmarks.faults` provokes all of them."""

import signal
import subprocess
import sys
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


WAITING = """
import runpy, sys, time
from benchmarks.faults import CLASSES
from benchmarks.faults.trial import FaultClass

def provoke(*_):
    try:
        print("server started", flush=True)
        time.sleep(60)
        yield
    finally:
        print("server ended", flush=True)

CLASSES["waiting"] = FaultClass("waiting", "", 1, 1, provoke)
sys.argv = ["faults", "waiting"]
runpy.run_module("benchmarks.faults.__main__", run_name="__main__")
"""


@pytest.mark.slow
def test_a_measurement_that_is_asked_to_end_takes_its_servers_along() -> None:
    process = subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "server started\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[0] == "server ended\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long if name.split("-")[0] in LONG else ()) for name in CLASSES],
)
def test_nothing_from_outside_does_damage(name: str) -> None:
    result = provoke(Bench(), CLASSES[name], CLASSES[name].sample, seed=0)
    assert result["tries"] > 0
    assert result["seen"] == []
