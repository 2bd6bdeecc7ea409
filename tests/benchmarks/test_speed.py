"""The table of speed: turns, busy machines, counted work, and ways that must compute the same."""

from dataclasses import replace
from io import StringIO

import pytest
import torch
from rich.console import Console

from bench.training.precision import Choice
from benchmarks.speed import overhead, rows, training
from benchmarks.speed.floor import Work
from benchmarks.speed.rows import Row, in_turn, table

ROW = Row("work", "peer", "equal", 2.0, 2.0, 3.0, 3.0, [1.4, 1.5, 1.7], [1.0, 1.05, 0.99], floor=1.0)


def test_ours_runs_before_and_after_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, taken = list[str](), {"ours": iter([2.0, 4.0, 1.0, 1.0]), "peer": iter([6.0, 5.0])}
    monkeypatch.setattr(rows, "timed", lambda call: (next(taken[call()]), 0.0))

    def turn(name: str) -> str:
        calls.append(name)
        return name

    row = in_turn("w", "p", "c", lambda: turn("ours"), lambda: turn("peer"), 2, warm=True)
    assert calls == ["ours", "peer", "ours"] * 2
    assert (row.ratios, row.itself) == ([2.0, 5.0], [2.0, 1.0])
    assert (row.seconds, row.peer_seconds, row.ratio, row.busy) == (1.5, 5.5, 3.5, True)


def test_the_table_names_busy_rows_alone() -> None:
    console = Console(width=200, file=StringIO(), record=True)
    console.print(table([ROW]))
    quiet = console.export_text()
    assert "1.50 (1.40 to 1.70)" in quiet
    assert "50%" in quiet
    assert "busy" not in quiet
    console.print(table([replace(ROW, itself=[1.3])]))
    assert "busy" in console.export_text()


def test_work_counts_products_and_moved_bytes() -> None:
    left, right = torch.rand(3, 5), torch.rand(5, 7)
    with Work() as work:
        product = left @ right
    assert (work.operations, work.bytes) == (2 * 3 * 5 * 7, 0)
    with Work() as work:
        product + product
    assert (work.operations, work.bytes) == (0, 3 * 4 * product.numel())


@pytest.mark.parametrize("steps", [0, 10])
def test_every_loop_has_the_same_first_loss(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "BATCH", 4)
    monkeypatch.setattr(training, "floor", lambda step, precision: 1.0)
    monkeypatch.setattr(training, "choose", lambda *args: Choice("fp32", {}))
    found = list(training.rows_of("cnn6", steps, 1))
    assert len(found) == 3
    with pytest.raises(SystemExit, match=r"differs by 0\.5"):
        training.check(1.5, 1.0, 0.02)


@pytest.mark.slow
def test_the_bare_loop_trains_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "EPOCHS", 2)
    assert [row.peer for row in overhead.rows(1)] == ["bare loop", "bare loop that validates"]
