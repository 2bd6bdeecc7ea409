"""What the page that compares entries needs of one, as a script that sets it."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.charts import Chart, Line, Points
from leaderboards.board import Board
from leaderboards.entry import Entry
from leaderboards.figure_files import ShownFigure
from leaderboards.rows import as_script, digits
from leaderboards.settings import settings_of
from leaderboards.table import counts
from leaderboards.text import duration, interval, plain, quantity, unit_shown

#: Scripts find the data of entries under this name, by their digits.
VARIABLE = "regionbench_entries"
#: Longer texts are cut.
LONGEST = 300


def entry_script(
    board: Board,
    entry: Entry,
    titles: Mapping[str, str],
    figures: Mapping[str, Sequence[ShownFigure]],
    charts: Sequence[Chart],
) -> str:
    """The script of an entry: scores, curves, settings and figures.

    Args:
        titles: score → title.
        figures, charts: those of its page, the figures by heading.
    """
    columns = [column.metric for column in board.main_columns + board.more_columns]
    names = [name for name in columns if name in entry.scores]
    names += [name for name in titles if name in entry.scores and name not in columns]
    data = {
        "scores": [_score(entry, name, titles.get(name, name)) for name in names],
        "curves": _curves(charts),
        "settings": _settings(entry),
        "figures": {
            figure.name[:LONGEST]: {
                "title": figure.title[:LONGEST],
                "path": figure.pictures[0].shown,
                "page": figure.pictures[0].page,
            }
            for shown in figures.values()
            for figure in shown
        },
    }
    return f'(window.{VARIABLE} ??= {{}})["{digits(entry)}"] = {as_script(data)};\n'


def _score(entry: Entry, name: str, title: str) -> dict[str, Any]:
    score = entry.scores[name]
    # Without a direction the page marks no best value in the row.
    better = score.higher_is_better if counts(entry, name) else None
    unit = unit_shown(name, score.unit)
    return {
        "name": name[:LONGEST],
        "title": f"{title[:LONGEST]}, {unit[:40]}" if unit == "%" else title[:LONGEST],
        "value": score.mean,
        "text": "—"
        if score.mean is None
        else quantity(score.mean, name, score.unit, (score.low, score.high)),
        "between": interval(score.low, score.high, name, score.unit),
        "better": better,
    }


def _curves(charts: Sequence[Chart]) -> dict[str, Any]:
    """The lines of charts with one panel by chart and line; one list of points for each seed."""
    found: dict[str, Any] = {}
    for chart in charts:
        panel = chart.panels[0]
        if any(isinstance(mark, Points) for mark in panel.marks):
            continue  # of a search: nothing runs along its line
        for line in panel.marks:
            if not isinstance(line, Line) or not line.x:
                continue
            what = "" if line.name.startswith("seed ") else f": {line.name}"
            title = f"{chart.title}{what}"[:LONGEST]
            own = found.setdefault(
                title, {"title": title, "x": panel.x.label, "y": panel.y.label, "seeds": []}
            )
            own["seeds"].append(_points(line))
    return found


def _points(line: Line) -> list[list[float | None]]:
    none: list[float | None] = [None] * len(line.x)
    ends = zip(line.low or none, line.high or none, strict=True)
    return [
        [_short(x), _short(y), _short(low), _short(high)]
        for x, y, (low, high) in zip(line.x, line.y, ends, strict=True)
        if y is not None
    ]


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _settings(entry: Entry) -> dict[str, str]:
    cost = entry.record.cost
    own = {name[:LONGEST]: text[:LONGEST] for name, text in settings_of(entry).items()}
    own |= {"tuning": entry.tuning or "nothing to tune", "seeds": plain(list(entry.seeds))[:LONGEST]}
    if cost.train_seconds is not None:
        own["training took"] = duration(cost.train_seconds)
    return {**own, "evaluation took": duration(cost.evaluate_seconds)}
