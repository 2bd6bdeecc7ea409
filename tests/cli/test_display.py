"""Progress: bars that appear by themselves, lines that do not flood, times people can read."""

import io

import pytest
from rich.console import Console

from bench.cli import display
from bench.cli.display import Bars, Lines, make_progress
from bench.core.progress import readable


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1 h 30 min"), (36_000, "10 h")],
)
def test_times_are_readable(seconds: float, text: str) -> None:
    assert readable(seconds) == text


def test_nothing_is_said_when_quiet_and_lines_when_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (True, False):
        progress = make_progress(quiet)
        with progress.task("work", 2) as task:
            task.advance()
        progress.say("news")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "news\n")


def test_lines_come_at_most_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(display.time, "monotonic", lambda: now)
    with Lines().task("work", 100) as task:
        for _ in range(100):
            now += 1
            task.advance(1, "note")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "work: 15/100, about 85 s left (note)"
    assert lines[-1] == "work: done in 2 min (note)"
    assert len(lines) == 7, lines


def test_a_bar_appears_without_a_step_and_leaves_when_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "PATIENCE_SECONDS", 0.0)
    bars = Bars()
    screen = io.StringIO()
    bars._rich.live.console = Console(file=screen, force_terminal=True, width=120)
    with bars.task("outer", 2) as outer, bars.task("inner", 5) as inner:
        for timer in display.threading.enumerate():
            if isinstance(timer, display.threading.Timer):
                timer.join(5)
        assert all(task.visible for task in bars._rich.tasks)
        inner.advance(3, "some note")
        outer.advance()
        bars._rich.refresh()
    assert bars._rich.tasks == []
    assert "some note" in screen.getvalue()
    assert "3/5" in screen.getvalue()
