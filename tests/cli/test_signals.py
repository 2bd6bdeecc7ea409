"""SIGTERM and SIGHUP end a command as Ctrl-C does."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from bench.cli.signals import SIGNALS, Stopped, exit_code, stopping


@pytest.fixture(autouse=True)
def hang_ups_end_a_process() -> Iterator[None]:
    """As where nobody ignores them: under nohup these tests, and the commands they start, would."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_raised_where_the_work_is(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as caught, stopping():
        os.kill(os.getpid(), number)
    assert exit_code(caught.value) == 128 + number
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_exit_code_is_found_behind_other_exceptions() -> None:
    abort = click.Abort()
    abort.__cause__ = Stopped(signal.SIGTERM)
    assert exit_code(abort) == 143
    assert exit_code(KeyboardInterrupt()) == 130
    own_cause = KeyboardInterrupt()
    own_cause.__cause__ = own_cause
    assert exit_code(own_cause) == 130


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_the_command_says_how_to_go_on(number: int, code: int) -> None:
    script = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import bench.cli.main; main = sys.modules['bench.cli.main']\n"
        f"main.cli = lambda **_: os.kill(os.getpid(), {int(number)})\n"
        "main.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == code
    assert "the same command goes on from here" in done.stderr
    assert "Traceback" not in done.stderr
