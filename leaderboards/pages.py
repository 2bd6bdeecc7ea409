"""HTML pages from templates; everything that comes from a record is escaped."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from bench.charts.chart import Chart
from bench.charts.jinja import make_environment
from bench.charts.numbers import typeset
from bench.charts.svg.figure import figure
from bench.core.names import (
    HYPERVOLUME,
    ROBUST_ACCURACY,
    SUSPICIOUS,
    WORST_CASE,
    dataset_label,
)
from bench.core.values import is_link, printable
from leaderboards import text
from leaderboards.board import MOST_ON_PAGE, Board
from leaderboards.card import Card
from leaderboards.charts import past_chart
from leaderboards.citation import software
from leaderboards.columns import OF_TRAINING
from leaderboards.entry import Entry
from leaderboards.entry_data import entry_script
from leaderboards.exchange.robustbench import Published
from leaderboards.feed import as_xml, make_feed
from leaderboards.figure_files import ShownFigure
from leaderboards.geometry import GeometryBoard, gallery
from leaderboards.headline import headline
from leaderboards.markup import bar, board_rows, coded, command, cut, missing, name, place, score, score_rows
from leaderboards.paper import Paper, papers_of
from leaderboards.rank import Rank
from leaderboards.rows import facets
from leaderboards.scatter import geometry_charts, slope_words, trade_off_charts, trend
from leaderboards.studies import Study, headings, judged, our_value, studies_of

#: Scores that an entry page shows at once; the others are folded, by metric.
MAIN = (ROBUST_ACCURACY, SUSPICIOUS)
#: Most entries of a defense that the page of one of them links to.
MOST_ELSEWHERE = 21
#: Most settings of a front that the page of an entry lists.
MOST_OF_FRONT = 50


class Pages:
    """The templates, and the names of the files that pages link to.

    Args:
        links: record id → MLflow run, an address or an id.
        titles: score → title; any other score keeps its name, and comes after those with a title.
        cards: defense → what is known of it.
    """

    def __init__(
        self, links: Mapping[str, str], titles: Mapping[str, str], cards: Mapping[str, Card] | None = None
    ) -> None:
        self._links, self._titles, self._cards = dict(links), dict(titles), dict(cards or {})
        self.studies: list[Study] = []
        self.published: Sequence[Published] = ()
        self._elsewhere: dict[tuple[str, str], dict[str, str]] = {}
        self.families = {name: card.family for name, card in self._cards.items()}
        self._templates = _templates(tuple(self._titles.items()))

    def index(
        self,
        boards: Sequence[Board],
        geometry: Sequence[GeometryBoard] = (),
        left_out: Sequence[tuple[str, str]] = (),
    ) -> str:
        """The front page, with the files that no board shows, each with the reason."""
        ranked = [board for board in boards if board.ranked]
        return self._render(
            "index",
            root="",
            groups=_grouped(ranked),
            others=[board for board in boards if not board.ranked],
            geometry=geometry,
            studies=self.studies,
            left_out=left_out,
        )

    def feed(self, boards: Sequence[Board]) -> str:
        """The newest entries as an Atom feed; "" where no entry has a worst case.

        Its links are relative to it, as a site does not know where it will lie.
        """
        feed = make_feed(boards)
        return as_xml(self._render("feed.xml", **feed)) if feed else ""

    def left_out(self, left_out: Sequence[tuple[str, str]]) -> str:
        """The page of the files that no board shows, each with the reason."""
        about = "Records and figures that no board shows, each with the reason."
        return self._render("left_out", root="", left_out=left_out, about=about)

    def board(self, board: Board, geometry: str = "") -> str:
        """The page of a board; `geometry` is the page with the geometry of its networks."""
        return self._render(
            "board",
            root="../",
            board=board,
            geometry=geometry,
            facets=facets(board, self.families),
            papers=self.papers(board),
            summary=self._summary(board),
            citation=software(max(board.results, key=lambda each: (each.created, each.digest)).record),
            published=sorted(
                (each for each in self.published if each.fits(board)),
                key=lambda each: (-each.lowest, each.id),
            ),
            about=f"{board.title}: {text.count(len(board.entries), 'defense')} ranked by worst-case accuracy.",
            charts=[] if board.large else [figure(chart) for chart in trade_off_charts(board, self.families)],
        )

    def papers(self, board: Board) -> dict[str, Paper]:
        """Entry page → the paper of its method, where one is known."""
        return papers_of(board.entries, self._cards)

    def geometry(self, board: GeometryBoard, figures: Mapping[str, Sequence[ShownFigure]]) -> str:
        """The page of a geometry board.

        Args:
            figures: entry page → its figures.
        """
        fits = {column.metric: fit for column in board.columns if (fit := trend(board, column.metric))}
        return self._render(
            "geometry",
            root="../",
            board=board,
            about=f"Geometry of decision regions and worst case: {board.title}.",
            fits=fits,
            slope_words=slope_words,
            gallery=gallery(board, figures),
            charts={
                topic: [figure(chart) for chart in charts]
                for topic, charts in geometry_charts(board, self.families).items()
                if len(board.rows) <= MOST_ON_PAGE
            },
        )

    def study(self, study: Study, pages: Mapping[str, str]) -> str:
        """The page of a study.

        Args:
            pages: record id → page of its entry.
        """
        return self._render(
            "study_results",
            root="../",
            study=study,
            about=f"{text.cut(study.title)}: the paper’s numbers and ours.",
            charts=study.charts,
            headings=headings(study.results.columns, self._titles),
            with_titles=text.with_titles,
            our_value=our_value,
            judged=judged,
            pages_of=lambda records: [pages[record] for record in records if record in pages],
        )

    def compare(self, boards: Sequence[Board]) -> str:
        """The page that shows entries side by side."""
        return self._render("compare", root="", boards=boards)

    def entry_script(
        self,
        board: Board,
        entry: Entry,
        figures: Mapping[str, Sequence[ShownFigure]],
        charts: Sequence[Chart],
    ) -> str:
        """What that page needs of an entry: `figures` and `charts` are those of the entry's page."""
        return entry_script(board, entry, self._titles, figures, charts)

    def _summary(self, board: Board) -> Markup:
        template = self._templates.get_template("_headline.html.j2")
        return Markup(template.module.sentence(headline(board), board, "../") if board.ranked else "")  # type: ignore[attr-defined]

    def entry(
        self,
        board: Board,
        entry: Entry,
        figures: Mapping[str, Sequence[ShownFigure]] | None = None,
        geometry: str = "",
        charts: Sequence[Chart] = (),
    ) -> str:
        """The page of an entry without its live parts, with its figures by heading.

        Args:
            charts: what `entry_charts` draws of it.
            geometry: the page with the geometry of its network.
        """
        columns = [column.metric for column in board.main_columns + board.more_columns]
        known = [name for name in entry.scores if name in self._titles or name.startswith(MAIN)]
        first = [name for name in columns if name in entry.scores and name != HYPERVOLUME]
        first += [name for name in known if name not in columns]
        return self._render(
            "entry",
            root="../",
            board=board,
            entry=entry,
            sections=figures or {},
            metrics=first,
            families=self._families(name for name in entry.scores if name not in (*first, HYPERVOLUME)),
            charts=[figure(chart) for chart in charts],
            searches=entry.searches,
            geometry=geometry,
            studies=self._studies_of(entry),
            about=f"{text.cut(entry.defense.name)} on {text.cut(entry.model)}, {board.title}: scores and alarms.",
            card=self._cards.get(entry.defense.name),
            paper=paper if is_link(paper := entry.record.provenance.config.get("paper")) else "",
            history=figure(chart) if (chart := past_chart(entry)) else "",
            commands=list(
                dict.fromkeys(command for r in entry.results if (command := r.record.provenance.command))
            ),
            links=self._links_of(entry),
        )

    def around(self, entry: Entry) -> list[Any]:
        """What the page of an entry shows besides its records, as plain JSON; cards and titles are those of all."""
        studies = [[study.page, study.title] for study in self._studies_of(entry)]
        return [studies, self._links_of(entry)]

    @property
    def asked(self) -> list[Any]:
        """What pages show besides records and what all of them share."""
        return [sorted(self._links.items()), self.studies, list(self.published)]

    @property
    def shared(self) -> list[Any]:
        """What all pages show, as plain JSON."""
        return [self._titles, {name: asdict(card) for name, card in self._cards.items()}]

    def live(self, board: Board, entry: Entry, rank: Rank) -> dict[str, str]:
        """The parts of an entry's page that depend on other entries: its rank, and its defense elsewhere."""
        macros: Any = self._templates.get_template("_live.html.j2").module
        others = self._elsewhere.get((board.page, entry.defense.name))
        if others is None:
            same = board.by_defense[entry.defense.name][:MOST_ELSEWHERE]
            others = {each.page: macros.other(each, board.qualifiers[each.page]) for each in same}
            self._elsewhere[board.page, entry.defense.name] = others
        links = [link for page, link in others.items() if page != entry.page]
        return {
            "rank": macros.rank(rank, len(board.entries)),
            "elsewhere": "; ".join(links) or "no other entry of this board",
        }

    def _families(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Scores that are folded, by the title of the metric that their names begin with."""
        families: dict[str, list[str]] = {}
        for each in names:
            families.setdefault(text.titled(each.partition("/")[0], self._titles), []).append(each)
        return families

    def _studies_of(self, entry: Entry) -> list[Study]:
        return studies_of(self.studies, [result.record.id for result in entry.results])

    def _links_of(self, entry: Entry) -> dict[str, str]:
        ids = [result.record.id for result in entry.results]
        return {each: self._links[each] for each in ids if each in self._links}

    def _render(self, name: str, **context: Any) -> str:
        name = name if "." in name else f"{name}.html"
        return self._templates.get_template(f"{name}.j2").render(context)


@lru_cache(maxsize=8)
def _templates(titles: tuple[tuple[str, str], ...]) -> Environment:
    """The templates, kept between builds, since compiling them takes longer than filling them."""
    environment, title_of = make_environment("leaderboards"), dict(titles)
    environment.finalize = text.short_words
    helpers = (
        "beginning",
        "capital",
        "count",
        "cut",
        "duration",
        "interval",
        "memory",
        "number",
        "p_value",
        "plain",
    )
    environment.filters.update({name: getattr(text, name) for name in helpers})
    environment.filters.update(coded=coded, command=command, printable=printable, typeset=typeset)
    environment.filters["dictsort"] = _sorted_items
    environment.filters["metric_title"] = lambda metric: text.titled(metric, title_of)
    environment.filters["dataset_label"] = dataset_label
    environment.filters["pretty"] = lambda value: json.dumps(value, indent=2, sort_keys=True)
    environment.globals.update(
        quantity=text.quantity,
        interval=text.interval,
        unit_shown=text.unit_shown,
        worst_case=WORST_CASE,
        of_training=OF_TRAINING,
        most_on_page=MOST_ON_PAGE,
        most_of_front=MOST_OF_FRONT,
        headline=headline,
        **{each.__name__: each for each in (bar, board_rows, cut, missing, name, place, score)},
        score_rows=lambda entry, metrics: score_rows(
            entry, metrics, lambda name: text.titled(name, title_of)
        ),
    )
    return environment


def _sorted_items(value: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The items of a mapping by name; the filter of Jinja, which compares anything, takes several times as long."""
    return sorted(value.items(), key=lambda item: item[0].lower())


def _grouped(boards: Sequence[Board]) -> list[tuple[str, list[tuple[str, list[Board]]]]]:
    """Boards by data set, and below it by threat; those with the larger evaluation come first."""
    found: dict[str, dict[str, list[Board]]] = {}
    for board in sorted(boards, key=lambda b: (-b.n, b.dataset)):
        found.setdefault(board.dataset, {}).setdefault(board.threat, []).append(board)
    return [
        (
            dataset,
            sorted(threats.items(), key=lambda item: (-item[1][0].n, item[1][0].norm, item[1][0].radius)),
        )
        for dataset, threats in found.items()
    ]
