"""HTML pages from templates; everything that comes from a record is escaped."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.charts.jinja import make_environment
from bench.charts.svg.figure import figure
from bench.core.names import ROBUST_ACCURACY, SUSPICIOUS, WORST_CASE, dataset_label, slug
from bench.core.values import printable
from leaderboards import text
from leaderboards.board import Board
from leaderboards.charts import battery_charts, history_charts, trade_off_charts
from leaderboards.entry import Entry
from leaderboards.figure_files import ShownFigure
from leaderboards.rank import Rank
from leaderboards.result import Result

#: Scores that an entry page shows at once; the others are folded, by metric.
MAIN = (ROBUST_ACCURACY, SUSPICIOUS)


class Pages:
    """The templates, and the names of the files that pages link to.

    Args:
        links: record id → MLflow run id.
        titles: score → title; any other score keeps its name, and comes after those with a title.
    """

    def __init__(self, links: Mapping[str, str], titles: Mapping[str, str]) -> None:
        self._links, self._titles = dict(links), dict(titles)
        self._templates = make_environment("leaderboards")
        self._templates.finalize = text.short_words
        helpers = (
            "breakable",
            "count",
            "duration",
            "interval",
            "memory",
            "number",
            "plain",
        )
        self._templates.filters.update({name: getattr(text, name) for name in helpers})
        self._templates.filters["printable"] = printable
        self._templates.filters["metric_title"] = lambda metric: self._titles.get(metric, metric)
        self._templates.filters["dataset_label"] = dataset_label
        self._templates.filters["pretty"] = lambda value: json.dumps(value, indent=2, sort_keys=True)
        self._templates.globals.update(
            quantity=text.quantity,
            interval=text.interval,
            unit_shown=text.unit_shown,
            record_file=record_file,
            worst_case=WORST_CASE,
        )

    def index(self, boards: Sequence[Board], left_out: Sequence[tuple[str, str]] = ()) -> str:
        """The front page, with the files that no board shows, each with the reason."""
        return self._render("index", root="", boards=boards, left_out=left_out)

    def board(self, board: Board) -> str:
        """The page of a board."""
        return self._render(
            "board", root="../", board=board, charts=[figure(chart) for chart in trade_off_charts(board)]
        )

    def entry(
        self,
        board: Board,
        entry: Entry,
        rank: Rank,
        figures: Mapping[str, Sequence[ShownFigure]] | None = None,
    ) -> str:
        """The page of an entry, with its figures by heading."""
        columns = [column.metric for column in board.columns]
        known = [name for name in entry.scores if name in self._titles or name.startswith(MAIN)]
        first = [name for name in columns if name in entry.scores]
        first += [name for name in known if name not in columns]
        return self._render(
            "entry",
            root="../",
            board=board,
            entry=entry,
            rank=rank,
            sections=figures or {},
            metrics=first,
            families=_families(name for name in entry.scores if name not in first),
            charts=[figure(chart) for chart in battery_charts(entry) + history_charts(entry)],
            searches=_searches(entry),
            commands=list(
                dict.fromkeys(command for r in entry.results if (command := r.record.provenance.command))
            ),
            links={
                r.record.id: self._links[r.record.id] for r in entry.results if r.record.id in self._links
            },
        )

    def _render(self, name: str, **context: Any) -> str:
        return self._templates.get_template(f"{name}.html.j2").render(context)


def record_file(result: Result) -> str:
    """File name of a record's copy in the site."""
    return f"{slug(result.record.id)}-{result.digest[:12]}.json"


def _families(names: Iterable[str]) -> dict[str, list[str]]:
    """Scores that no board shows, by the first part of their names."""
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(name.partition("/")[0].replace("_", " "), []).append(name)
    return families


def _searches(entry: Entry) -> list[tuple[Any, list[int]]]:
    """The different searches behind an entry, each with the seeds that used it."""
    found: list[tuple[Any, list[int]]] = []
    for result in entry.results:
        search = result.record.defense.search
        same = next((seeds for other, seeds in found if other == search), None)
        if same is not None:
            same.append(result.record.seed)
        elif search is not None:
            found.append((search, [result.record.seed]))
    return found
