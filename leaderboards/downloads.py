"""A board as CSV and JSON."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bench.core.files import compact_json, csv_text, spreadsheet_text
from bench.core.names import WORST_CASE, is_accuracy
from leaderboards.board import Board
from leaderboards.columns import COLUMNS
from leaderboards.entry import Entry, Summary
from leaderboards.geometry import GeometryBoard
from leaderboards.rank import Rank

#: Formats of the JSON files, with their versions.
BOARD_FORMAT, ENTRY_FORMAT = "regionbench.board/2", "regionbench.entry/1"


def board_json(board: Board) -> str:
    """A board as JSON: what its entries share, and each entry with its accuracies and the scores of columns.

    The other scores are in the files of the entries, `entry_json`. A field of a score without a value is left out.
    """
    columns = {column.metric for column in (*board.main_columns, *board.more_columns)}
    shared = {"format": BOARD_FORMAT, **board.identity, "n": board.n, "eps_written": board.eps}
    # As one value, the entries of a large board would take several times the memory of their text.
    entries = (
        compact_json(
            {
                "rank": rank.place,
                "rank_shared": rank.shared,
                "rank_method": rank.method,
                "rank_p_value": rank.p_value,
                **_about(entry),
                "page": f"../entries/{entry.page}.html",
                "all_scores": f"../entries/{entry.page}.json",
                "scores": _scores(entry, lambda metric: metric in columns or is_accuracy(metric)),
                **_alarms(entry),
            }
        )
        for entry, rank in zip(board.entries, board.ranks, strict=True)
    )
    return f'{compact_json(shared)[:-1]},"entries":[{",".join(entries)}]}}\n'


def entry_json(board: Board, entry: Entry) -> dict[str, Any]:
    """An entry as plain JSON, with every score; nothing in it depends on other entries."""
    return {
        "format": ENTRY_FORMAT,
        "board": {**board.identity, "page": f"../boards/{board.page}.html"},
        **_about(entry),
        "files": [f"../records/{result.file}" for result in entry.results],
        "scores": _scores(entry),
        **_alarms(entry),
    }


def board_csv(board: Board) -> str:
    """A board as CSV: one row for each entry, five columns for each metric, empty where there is no value."""
    metrics = {metric: spreadsheet_text(metric) for metric in _metrics(board)}
    ends = [f"{name}{end}" for name in metrics.values() for end in ("", ":low", ":high", ":std", ":n")]
    first = ["rank", "rank_shared", "defense", "model", "hyperparameters", "seeds"]
    last = ["alarms", "alarms_unchecked", "in_doubt", "alarms_answered", "entry"]
    pairs = zip(board.entries, board.ranks, strict=True)
    return csv_text([*first, *ends, *last], (_row(entry, rank, metrics) for entry, rank in pairs))


def _row(entry: Entry, rank: Rank, metrics: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "rank": rank.place,
        "rank_shared": int(rank.shared),
        "defense": spreadsheet_text(entry.defense.name),
        "model": spreadsheet_text(entry.model),
        "hyperparameters": entry.tuning,
        "seeds": len(entry.results),
    }
    for metric, name in metrics.items():
        score = entry.scores.get(metric)
        if score is not None:
            row[name] = score.mean
            row[f"{name}:low"], row[f"{name}:high"] = score.low, score.high
            row[f"{name}:std"], row[f"{name}:n"] = score.std, score.n
    row["alarms"] = spreadsheet_text("; ".join(alarm.label for alarm in entry.raised))
    row["alarms_unchecked"] = spreadsheet_text("; ".join(alarm.label for alarm in entry.unchecked))
    row["in_doubt"] = int(entry.in_doubt)
    row["alarms_answered"] = spreadsheet_text("; ".join(entry.answers))
    row["entry"] = entry.page
    return row


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
                "hyperparameters": entry.tuning,
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


def _about(entry: Entry) -> dict[str, Any]:
    return {
        "defense": entry.defense.name,
        "hyperparameters": entry.defense.hyperparameters,
        "model": entry.model,
        "seeds": list(entry.seeds),
        "records": [result.record.id for result in entry.results],
    }


def _scores(entry: Entry, wanted: Callable[[str], bool] = lambda metric: True) -> dict[str, Any]:
    return {metric: _score(score) for metric, score in entry.scores.items() if wanted(metric)}


def _score(score: Summary) -> dict[str, Any]:
    found = {
        "value": score.mean,
        "std": score.std,
        "low": score.low,
        "high": score.high,
        "n": score.n,
        "unit": score.unit,
        "seeds": score.seeds,
        "reason": score.reason or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _alarms(entry: Entry) -> dict[str, Any]:
    return {
        "alarms": {
            alarm.name: {"raised": alarm.raised, "checked": alarm.checked, "seeds": alarm.seeds}
            for alarm in entry.alarms
        },
        "in_doubt": entry.in_doubt,
        "answers": list(entry.answers),
    }
