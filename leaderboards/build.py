"""Build the static site from result records; the same records give the same bytes."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.charts.plotly.page import write_assets
from bench.core.errors import UserError
from bench.core.files import read_json, write_json, write_text
from bench.core.temporary import sweep_folders
from bench.version import __version__
from leaderboards.assets import write_static
from leaderboards.board import Board, make_boards
from leaderboards.card import Card
from leaderboards.columns import column_rules
from leaderboards.downloads import board_csv, board_json, geometry_csv
from leaderboards.entry_files import EntryFiles, Written
from leaderboards.exchange.robustbench import Published
from leaderboards.figure_files import ShownFigure
from leaderboards.geometry import GeometryBoard, geometry_boards
from leaderboards.left_out import LeftOut
from leaderboards.manifest import Earlier, code_digest, digest, read_manifest, write_manifest
from leaderboards.pages import Pages
from leaderboards.processes import do_all, do_apart
from leaderboards.ranked import read_ranked
from leaderboards.replace import alone, replacing_folder
from leaderboards.result import Result
from leaderboards.rows import board_script
from leaderboards.schemas import schemas
from leaderboards.studies import read_studies

GENERATOR, SITE_FORMAT = "regionbench", "regionbench.site/1"
INDEX = "index.html"
#: Entries of a site whose boards are drawn by processes of their own.
_LARGE = 1000


@dataclass(frozen=True)
class Site:
    """The outcome of a build.

    Attributes:
        folder: where `index.html` lies.
        boards, entries, records: how many the site shows; `records` counts superseded ones too.
        left_out: each record, and each figure of one, that is not shown, with the reason.
    """

    folder: Path
    boards: int
    entries: int
    records: int
    left_out: tuple[LeftOut, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each record or figure that was left out."""
        return tuple(map(str, self.left_out))


def build(
    records: Iterable[Path],
    out: Path,
    *,
    links: Mapping[str, str] | None = None,
    titles: Mapping[str, str] | None = None,
    cards: Mapping[str, Card] | None = None,
    columns: tuple[str, ...] = (),
    strict: bool = True,
    left_out: Sequence[LeftOut] = (),
    studies: Iterable[Path] = (),
    published: Sequence[Published] = (),
    empty: bool = False,
) -> Site:
    """Draw the leaderboards of a set of records, and put them in the place of an older site.

    Args:
        records: `record.json` files; arrays and figures beside them are used where they exist.
        out: the folder of the site; written whole or left as it was.
        links: record id → MLflow run, an address or an id, shown on the entry's page.
        titles: score → title, as `metrics.titles()` gives them; any other score keeps its name.
        cards: defense → what is known of it, as `bench.runs.cards.defense_cards()` gives them.
        columns: scores that get a column on the boards beside the usual ones.
        strict: raise for a record that is not admitted; otherwise leave it out, and list it on the front page.
        left_out: records that could not be read at all, to be listed beside the others.
        studies: results of studies, as `find_studies` finds them.
        published: results of RobustBench, for the boards of the same data and threat.
        empty: draw a front page that says how to make a record where there is none.

    Raises:
        UserError: for no records, with `strict` for one that is not admitted, for an `out` that holds something
            else than a site, or one that another process builds. The old site stays as it was.
    """
    paths = list(records)
    with alone(out):
        _check_place(out, paths)
        pages = Pages(links or {}, titles or {}, cards)
        code = code_digest([pages.shared, columns])
        pages.published = published
        pages.studies, unread = read_studies(studies)
        key = digest(repr([pages.asked, empty]))
        earlier = read_manifest(out, code)
        if not (left_out or unread) and earlier.is_of(paths, key):
            sweep_folders(out.resolve())
            counts = earlier.counts
            return Site(out, counts["boards"], counts["entries"], counts["records"])
        results, refused = read_ranked(paths, strict=strict, admitted=earlier.admitted)
        refused = [*left_out, *refused, *unread]
        if not results and not empty:
            why = f"; left out: {refused[0]}" if refused else ""
            raise UserError(f"expected at least one record to build a leaderboard from, got none{why}")
        boards = make_boards(results, columns)
        geometry = geometry_boards(boards)
        with replacing_folder(out, INDEX) as folder:
            write_static(folder / "static")
            files = EntryFiles(pages, earlier, folder)
            written = _write(folder, boards, geometry, pages, files)
            refused += [each for one in written for each in one.left_out]
            shared = shared_folder([*paths, *(each.path for each in (*left_out, *unread))])
            listed = [(relative(each.path, shared), each.reason) for each in refused]
            if listed:
                write_text(folder / "left-out.html", pages.left_out(listed))
            if feed := pages.feed(boards):
                write_text(folder / "feed.xml", feed)
            write_text(folder / INDEX, pages.index(boards, geometry, listed))
            site = Site(out, len(boards), len(written), len(results), tuple(refused))
            write_manifest(folder, code, _to_remember(site, key, results, written))
    return site


def _to_remember(site: Site, key: str, results: Iterable[Result], written: Iterable[Written]) -> Earlier:
    """What the next build may use again: the whole, or where something was left out, the parts."""
    counts = {"boards": site.boards, "entries": site.entries, "records": site.records}
    return Earlier(
        site.folder,
        key=key,
        admitted={each.source: each.arrays for each in results if each.arrays is not None},
        inputs=[state for each in written for state in each.inputs],
        drawn={each.page: each.drawn for each in written if each.drawn is not None},
        files={path: digest for each in written for path, digest in each.files.items()},
        counts={} if site.left_out else counts,
    )


def shared_folder(paths: Iterable[Path]) -> Path:
    """The innermost folder that holds all records."""
    folders = [os.path.abspath(path.parent) for path in paths]
    return Path(os.path.commonpath(folders) if folders else os.curdir)


def relative(path: Path, folder: Path) -> str:
    """A path as a page shows it: below the folder of all records, without that folder's own place."""
    return Path(os.path.relpath(os.path.abspath(path), folder)).as_posix()


def _write(
    folder: Path, boards: list[Board], geometry: list[GeometryBoard], pages: Pages, files: EntryFiles
) -> list[Written]:
    """Write all but the front page; gives what was written for each entry."""
    measured = {entry.page: each.page for each in geometry for row in each.rows for entry in row.entries}
    own = [column for board in boards for column in board.more_columns if column.part == "own"]
    write_text(folder / "static" / "columns.css", column_rules(own))
    write_text(folder / "compare.html", pages.compare(boards))
    for name, schema in schemas().items():
        write_json(folder / "schema" / f"{name}.schema.json", schema)
    jobs: list[Callable[[], Written | None]] = [
        partial(files.write, board, entry, rank, measured.get(entry.page, ""))
        for board in boards
        for entry, rank in zip(board.entries, board.ranks, strict=True)
    ]
    of_boards: list[Callable[[], Written | None]] = [
        partial(_write_board, folder, board, pages, measured.get(board.entries[0].page, ""))
        for board in boards
    ]
    # A page of geometry that shows figures has to wait for them.
    waiting = [each for each in geometry if _figures(each)]
    of_boards += [
        partial(_write_geometry, folder, each, pages, {}) for each in geometry if not _figures(each)
    ]
    if len(jobs) >= _LARGE:  # a process that draws a large board has a copy of all of its records at the end
        of_boards = [partial(do_apart, job) for job in of_boards]
    # Those of boards take longest, so they begin first.
    written = [each for each in do_all([*of_boards, *jobs]) if each is not None]
    shown = {each.page: each.shown for each in written}
    if any(picture.page for some in shown.values() for figure in some for picture in figure.pictures):
        write_assets(folder / "static")
    by_record = {
        r.record.id: entry.page for board in boards for entry in board.entries for r in entry.results
    }
    for study in pages.studies:
        write_text(folder / "studies" / f"{study.page}.html", pages.study(study, by_record))
    for each in waiting:
        _write_geometry(folder, each, pages, shown)
    write_json(folder / "site.json", _listing(boards))
    return written


def _write_board(folder: Path, board: Board, pages: Pages, geometry: str) -> None:
    """Write the page of a board and its data; `geometry` is the page with the geometry of its networks."""
    stem = folder / "boards" / board.page
    write_text(stem.with_name(f"{board.page}.html"), pages.board(board, geometry))
    write_text(stem.with_name(f"{board.page}.csv"), board_csv(board))
    write_text(stem.with_name(f"{board.page}.json"), board_json(board))
    write_text(
        stem.with_name(f"{board.page}.data.js"), board_script(board, pages.families, pages.papers(board))
    )


def _figures(board: GeometryBoard) -> bool:
    """Whether figures lie beside a record of a geometry board."""
    entries = (entry for row in board.rows for entry in row.entries)
    return any(result.figures for entry in entries for result in entry.results)


def _write_geometry(
    folder: Path, board: GeometryBoard, pages: Pages, shown: Mapping[str, Sequence[ShownFigure]]
) -> None:
    """Write the page of a geometry board and its table; `shown` are the figures of each entry's page."""
    write_text(folder / "geometry" / f"{board.page}.html", pages.geometry(board, shown))
    write_text(folder / "geometry" / f"{board.page}.csv", geometry_csv(board))


def _listing(boards: Iterable[Board]) -> dict[str, Any]:
    """What a site holds, as plain JSON."""
    listing = [
        {
            "title": board.title,
            **board.identity,
            "page": f"boards/{board.page}",
            "entries": len(board.entries),
            "newest": board.newest,
        }
        for board in boards
    ]
    about = {"format": SITE_FORMAT, "generator": GENERATOR, "version": __version__}
    return {**about, "boards": listing}


def _check_place(out: Path, paths: Iterable[Path]) -> None:
    if out.exists() and not _is_site(out) and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not a leaderboard site; give a new or an empty folder")
    for path in paths:
        if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(out)):
            raise UserError(
                f"{path} lies inside {out}, which the new site would replace; give another folder"
            )


def _is_site(folder: Path) -> bool:
    try:
        site = read_json(folder / "site.json")
    except UserError:
        return False
    return isinstance(site, dict) and site.get("generator") == GENERATOR
