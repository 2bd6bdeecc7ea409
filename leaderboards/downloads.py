"""A board as CSV and JSON."""

from collections.abc import Iterable, Sequence
from typing import Any

from bench.core.files import csv_text, spreadsheet_text
from bench.core.names import WORST_CASE
from leaderboards.board import Board
from leaderboards.columns import COLUMNS
from leaderboards.entry import Entry
from leaderboards.geometry import GeometryBoard
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
    """A board as CSV: one row for each entry, five columns for each metric, empty where there is no value."""
    metrics = _metrics(board)
    rows = []
    for entry, rank in zip(board.entries, board.ranks, strict=True):
        row: dict[str, Any] = {
            "rank": rank.place,
            "rank_shared": int(rank.shared),
            "defense": spreadsheet_text(entry.defense.name),
            "model": spreadsheet_text(entry.model),
            "hyperparameters": entry.tuning,
            "seeds": len(entry.results),
        }
        for metric in metrics:
            score = entry.scores.get(metric)
            name = spreadsheet_text(metric)
            row[name] = score.mean if score else None
            row[f"{name}:low"], row[f"{name}:high"] = (score.low, score.high) if score else (None, None)
            row[f"{name}:std"], row[f"{name}:n"] = (score.std, score.n) if score else (None, None)
        row["alarms"] = spreadsheet_text("; ".join(alarm.label for alarm in entry.raised))
        row["alarms_unchecked"] = spreadsheet_text("; ".join(alarm.label for alarm in entry.unchecked))
        row["in_doubt"] = int(entry.in_doubt)
        row["alarms_answered"] = spreadsheet_text("; ".join(entry.answers))
        row["entry"] = entry.page
        rows.append(row)
    return csv_text(list(rows[0]), rows)


def boards_csv(boards: Iterable[Board], metrics: Sequence[str] = ()) -> str:
    """All boards as one CSV: a row for each entry with its board, and value and interval of each score.

    Args:
        boards: whose entries are the rows.
        metrics: the scores; by default all that an entry has.
    """
    boards = list(boards)
    wanted = list(metrics) or list(dict.fromkeys(metric for board in boards for metric in _metrics(board)))
    rows = []
    for board in boards:
        for entry, rank in zip(board.entries, board.ranks, strict=True):
            row: dict[str, Any] = {
                "dataset": spreadsheet_text(board.dataset),
                "threat": f"{board.norm}:{board.eps}",
                "battery": f"{board.battery} {board.version}",
                "images": board.n,
                "rank": rank.place,
                "rank_shared": int(rank.shared),
                "rank_p_value": rank.p_value,
                "defense": spreadsheet_text(entry.defense.name),
                "model": spreadsheet_text(entry.model),
                "seeds": len(entry.results),
            }
            for metric in wanted:
                score, name = entry.scores.get(metric), spreadsheet_text(metric)
                ends = (score.mean, score.low, score.high) if score else (None, None, None)
                row |= dict(zip((name, f"{name}:low", f"{name}:high"), ends, strict=True))
            row["alarms"] = spreadsheet_text("; ".join(alarm.label for alarm in entry.raised))
            row["in_doubt"] = int(entry.in_doubt)
            row["alarms_answered"] = spreadsheet_text("; ".join(entry.answers))
            rows.append(row)
    return csv_text(list(rows[0]), rows)


def geometry_csv(board: GeometryBoard) -> str:
    """A geometry board as CSV: one row for each row, four columns for each quantity and for the worst case."""
    rows = []
    names = [WORST_CASE, *(column.metric for column in board.columns)]
    for each in board.rows:
        row: dict[str, Any] = {
            "defense": spreadsheet_text(each.entry.defense.name),
            "model": spreadsheet_text(each.entry.model),
            "seeds": len(each.networks),
        }
        for name in names:
            score = each.scores.get(name)
            row[name], row[f"{name}:unit"] = (
                (score.mean, spreadsheet_text(score.unit)) if score else (None, None)
            )
            row[f"{name}:low"], row[f"{name}:high"] = (score.low, score.high) if score else (None, None)
        row["entry"] = each.entry.page
        rows.append(row)
    return csv_text(list(rows[0]), rows)


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
        "in_doubt": entry.in_doubt,
        "answers": list(entry.answers),
    }
