"""A board as CSV and JSON."""

import csv
import io
from typing import Any

from leaderboards.board import Board
from leaderboards.columns import COLUMNS
from leaderboards.entry import Entry
from leaderboards.rank import Rank


def board_json(board: Board) -> dict[str, Any]:
    """A board as plain JSON: what its entries share, and each entry with every score."""
    return {
        "format": "regionbench.board/1",
        **board.identity,
        "n": board.n,
        "eps_written": board.eps,
        "entries": [_entry(*pair) for pair in zip(board.entries, board.ranks, strict=True)],
    }


def board_csv(board: Board) -> str:
    """A board as CSV: one row an entry, five columns a metric, empty where there is no value."""
    metrics = _metrics(board)
    rows = []
    for entry, rank in zip(board.entries, board.ranks, strict=True):
        row: dict[str, Any] = {
            "rank": rank.place,
            "rank_shared": int(rank.shared),
            "defense": _cell(entry.defense.name),
            "model": _cell(entry.model),
            "hyperparameters": entry.tuning,
            "seeds": len(entry.results),
        }
        for metric in metrics:
            score = entry.scores.get(metric)
            name = _cell(metric)
            row[name] = score.mean if score else None
            row[f"{name}:low"], row[f"{name}:high"] = (score.low, score.high) if score else (None, None)
            row[f"{name}:std"], row[f"{name}:n"] = (score.std, score.n) if score else (None, None)
        row["alarms"] = _cell("; ".join(alarm.label for alarm in entry.raised))
        row["alarms_unchecked"] = _cell("; ".join(alarm.label for alarm in entry.unchecked))
        row["entry"] = entry.page
        rows.append(row)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _metrics(board: Board) -> list[str]:
    found = {metric for entry in board.entries for metric in entry.scores}
    known = [column.metric for column in COLUMNS if column.metric in found]
    return known + sorted(found - set(known))


def _entry(entry: Entry, rank: Rank) -> dict[str, Any]:
    return {
        "rank": rank.place,
        "rank_shared": rank.shared,
        "rank_method": rank.method,
        "rank_p_value": rank.p_value,
        "defense": entry.defense.name,
        "hyperparameters": entry.defense.hyperparameters,
        "model": entry.model,
        "seeds": list(entry.seeds),
        "records": [result.record.id for result in entry.results],
        "page": f"../entries/{entry.page}.html",
        "scores": {
            metric: {
                "value": score.mean,
                "std": score.std,
                "low": score.low,
                "high": score.high,
                "n": score.n,
                "unit": score.unit,
                "seeds": score.seeds,
                "reason": score.reason,
            }
            for metric, score in entry.scores.items()
        },
        "alarms": {
            alarm.name: {"raised": alarm.raised, "checked": alarm.checked, "seeds": alarm.seeds}
            for alarm in entry.alarms
        },
    }


def _cell(text: str) -> str:
    # A spreadsheet would run a cell that starts like a formula.
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
