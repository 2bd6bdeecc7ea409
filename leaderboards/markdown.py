"""A board as a Markdown table, for a README or an issue."""

from bench.core.names import (
    AUTOATTACK,
    CLEAN_ACCURACY,
    DETECTION_AUC,
    PGD20,
    PRS_RATIO,
    TIME_PER_EPOCH_RATIO,
    WORST_CASE,
)
from bench.core.values import printable
from leaderboards.board import Board
from leaderboards.entry import Entry, Summary
from leaderboards.rank import Rank
from leaderboards.text import count, interval, quantity

COLUMNS = {
    "clean": CLEAN_ACCURACY,
    "PGD-20": PGD20,
    "AutoAttack": AUTOATTACK,
    "worst case": WORST_CASE,
    "PRS ratio": PRS_RATIO,
    "detection AUC": DETECTION_AUC,
    "time": TIME_PER_EPOCH_RATIO,
}


def board_markdown(board: Board) -> str:
    """The main columns of a board, best entry first, with 95 % intervals; time is relative to standard training."""
    title = (
        f"{_safe(board.dataset)}, {_safe(board.threat)}; battery {_safe(board.battery)} {_safe(board.version)}, "
        f"{count(board.n, 'test image')} under attack"
    )
    head = ["rank", "defense", "network", *COLUMNS, "alarms"]
    rows = [_row(entry, rank) for entry, rank in zip(board.entries, board.ranks, strict=True)]
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join([f"**{title}**", "", *lines]) + "\n"


def _row(entry: Entry, rank: Rank) -> list[str]:
    place = f"{rank.place}{'=' if rank.shared else ''}" if rank.place else "—"
    alarms = "<br>".join(_safe(alarm.label) for alarm in entry.raised) or "none"
    scores = [_score(entry.scores.get(metric), metric) for metric in COLUMNS.values()]
    return [place, f"`{_safe(entry.defense.name)}`", _safe(entry.model), *scores, alarms]


def _score(score: Summary | None, metric: str) -> str:
    if score is None or score.mean is None:
        return "—"
    value = quantity(score.mean, metric, score.unit)
    between = interval(score.low, score.high, metric, score.unit)
    return f"{value} ({between})" if between and score.unit != "ratio" else value


def _safe(text: str) -> str:
    """Text that cannot end a cell or become markup."""
    one_line = printable(" ".join(text.split()))
    return "".join("\\" + c if c in "\\|<>[]*_`" else c for c in one_line)
