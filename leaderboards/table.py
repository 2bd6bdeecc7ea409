"""A board as a table for a paper: which cells it has, before they become LaTeX, Markdown or CSV."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.core.names import (
    AUTOATTACK,
    CLEAN_ACCURACY,
    DETECTION_AUC,
    PGD20,
    PRS_RATIO,
    ROBUST_ACCURACY,
    TIME_PER_EPOCH_RATIO,
)
from bench.core.names import WORST_CASE as WORST
from bench.core.standing import VERDICT
from bench.core.values import printable
from leaderboards.board import Board
from leaderboards.entry import Entry, Summary
from leaderboards.rank import Rank
from leaderboards.text import count, interval, quantity, unit_shown

#: The columns of a table that asks for none, and their titles.
COLUMNS = {
    CLEAN_ACCURACY: "clean",
    PGD20: "PGD-20",
    AUTOATTACK: "AutoAttack",
    WORST: "worst case",
    PRS_RATIO: "PRS ratio",
    DETECTION_AUC: "detection AUC",
    TIME_PER_EPOCH_RATIO: "time",
}

MARKS = (
    "Bold: the best of a column. †: not separated from it: worst case by the paired test of the ranks (p ≥ 0.05), "
    "other scores by overlapping 95 % intervals, which is the stricter demand. In parentheses: in doubt, as "
    "a raised alarm has no answer; it has no place."
)


@dataclass(frozen=True)
class Cell:
    """A score as a reader sees it.

    Attributes:
        value, between: the number, and its interval or ""; "—" for no value.
        best: whether it is the best of its column; no score of an entry whose alarms speak against it.
        tied: whether it is not the best, nor separated from it.
    """

    value: str
    between: str = ""
    best: bool = False
    tied: bool = False


@dataclass(frozen=True)
class Row:
    """An entry as a reader sees it.

    Attributes:
        network: with what tells the entry from others of its defense and network.
        cells: one for each score.
        alarms: those that were raised, and whether they are answered.
    """

    place: str
    defense: str
    network: str
    cells: tuple[Cell, ...]
    alarms: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A board's title, the titles of its scores, and its rows, best first."""

    title: str
    scores: tuple[str, ...]
    rows: tuple[Row, ...]


def make_table(board: Board, metrics: Sequence[str] = ()) -> Table:
    """Make the table of a board.

    Args:
        board: whose entries are the rows.
        metrics: the scores that are shown, in this order; by default those of `COLUMNS` that an entry has, then the
            board's own.
    """
    shown = list(metrics) or [*filter(board.has, COLUMNS), *board.own_metrics]
    columns = [_column(board, metric) for metric in shown]
    rows = [
        _row(entry, board.qualifiers[entry.page], rank, tuple(column[at] for column in columns))
        for at, (entry, rank) in enumerate(zip(board.entries, board.ranks, strict=True))
    ]
    title = (
        f"{board.dataset}, {board.threat}; battery {board.battery} {board.version}, "
        f"{count(board.n, 'test image')} under attack"
    )
    return Table(printable(title), tuple(_heading(board, metric) for metric in shown), tuple(rows))


def _heading(board: Board, metric: str) -> str:
    unit = next((entry.scores[metric].unit for entry in board.entries if metric in entry.scores), "")
    shown = unit_shown(metric, unit)
    return f"{COLUMNS.get(metric, metric)}{' %' if shown == '%' else ''}"


def _row(entry: Entry, qualifier: str, rank: Rank, cells: tuple[Cell, ...]) -> Row:
    place = f"{rank.place}{'=' if rank.shared else ''}" if rank.place else "—"
    alarms = tuple(alarm.label for alarm in entry.raised if alarm.name != VERDICT)
    if entry.answers:
        alarms += ("in doubt" if entry.in_doubt else "answered",)
    network = ", ".join(filter(None, (entry.model, qualifier)))
    return Row(place, entry.defense.name, network, cells, alarms)


def _column(board: Board, metric: str) -> list[Cell]:
    """The cells of a score, one for each entry."""
    scores = [entry.scores.get(metric) for entry in board.entries]
    counting = [counts(entry, metric) for entry in board.entries]
    best = _best([score if counted else None for score, counted in zip(scores, counting, strict=True)])
    return [
        _parenthesized(cell) if metric == WORST and entry.in_doubt else cell
        for entry, score, counted, rank in zip(board.entries, scores, counting, board.ranks, strict=True)
        for cell in [
            _cell(score, metric, counted and score == best, counted and _tied(score, best, metric, rank))
        ]
    ]


def counts(entry: Entry, metric: str) -> bool:
    """Whether a score may be the best of its column: not where alarms say that it overstates robustness."""
    if metric not in entry.scores or not metric.startswith(ROBUST_ACCURACY):
        return metric in entry.scores
    # Nothing answers the alarms of an entry whose worst case is zero; its other accuracies are not to be believed.
    refuted = any(alarm.name == VERDICT for alarm in entry.raised)
    overstated = metric != WORST and (refuted or (bool(entry.raised) and not entry.answers))
    return not (entry.in_doubt or overstated)


def _parenthesized(cell: Cell) -> Cell:
    return replace(cell, value=f"({cell.value})")


def _best(scores: Sequence[Summary | None]) -> Summary | None:
    """The best score, where there are several and one direction is better."""
    known = [score for score in scores if score is not None and score.mean is not None]
    if len(known) < 2 or known[0].higher_is_better is None:
        return None
    sign = 1 if known[0].higher_is_better else -1
    return max(known, key=lambda score: sign * (score.mean or 0.0))


def _tied(score: Summary | None, best: Summary | None, metric: str, rank: Rank) -> bool:
    if score is None or score.mean is None or best is None or score == best:
        return False
    if metric == WORST:
        return rank.place == 1
    if score.unit == "ratio":  # whose interval, of epochs, is not shown
        return False
    if score.low is None or score.high is None or best.low is None or best.high is None:
        return False
    return score.low <= best.high and best.low <= score.high


def _cell(score: Summary | None, metric: str, best: bool, tied: bool) -> Cell:
    if score is None or score.mean is None:
        return Cell("—")
    value = quantity(score.mean, metric, score.unit)
    between = "" if score.unit == "ratio" else interval(score.low, score.high, metric, score.unit)
    return Cell(value, between, best, tied)
