"""Long computations cut short, for tests that are about something else."""

from typing import Any

import pytest


def shorten_autoattack(monkeypatch: pytest.MonkeyPatch, *, queries: int = 60, steps: int = 8) -> None:
    """Let AutoAttack run all of its attacks, with fewer queries and steps than its definition."""
    import pyautoattack as package

    set_version = package.AutoAttack._set_version

    def shorten(suite: Any, version: str = "standard") -> None:
        set_version(suite, version)
        suite.square.n_queries = queries
        for attack in (suite.apgd, suite.apgd_targeted, suite.fab):
            attack.n_iter = steps

    monkeypatch.setattr(package.AutoAttack, "_set_version", shorten)


def stop_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time no standard training beside a training: every pass of the clock takes one second by definition."""
    from bench.training.timing import StandardClock

    def one_second(clock: StandardClock) -> float:
        clock._used += 1.0
        return 1.0

    monkeypatch.setattr(StandardClock, "_pass", one_second)


def blank_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write an empty picture for every chart."""
    from matplotlib.figure import Figure

    from bench.charts.png import figure

    monkeypatch.setattr(figure, "make_figure", lambda chart: Figure(figsize=(0.2, 0.2)))


def extra_checks_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a raised alarm be answered only where a test asks for it."""
    from bench.evaluation import evaluate, extra_checks

    called_for = extra_checks.called_for
    for module in (evaluate, extra_checks):
        monkeypatch.setattr(
            module, "called_for", lambda alarms, scores, escalate: called_for(alarms, scores, bool(escalate))
        )
