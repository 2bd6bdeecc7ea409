"""Write the files of entries, or take them from an earlier build where nothing that they show has changed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.core.files import compact_json, sha256
from bench.core.secrets import hide
from leaderboards.board import Board
from leaderboards.charts import entry_charts
from leaderboards.downloads import entry_json
from leaderboards.entry import Entry
from leaderboards.figure_files import Picture, ShownFigure, write_figures
from leaderboards.left_out import LeftOut
from leaderboards.manifest import Drawn, Earlier, State, digest, filled, page_file, state
from leaderboards.pages import Pages
from leaderboards.rank import Rank


@dataclass(frozen=True)
class Written:
    """What was written for an entry.

    Attributes:
        page: of the entry.
        drawn: what the next build may use again; None where a figure was left out.
        shown, left_out: its figures, and those that are not shown.
        inputs: the states of its results, with those that are superseded.
        files: path in the site → digest.
    """

    page: str
    drawn: Drawn | None
    shown: list[ShownFigure]
    left_out: list[LeftOut]
    inputs: list[State]
    files: dict[str, str]


class EntryFiles:
    """The pages of entries with their data, records and figures."""

    def __init__(self, pages: Pages, earlier: Earlier, folder: Path) -> None:
        """Prepare.

        Args:
            folder: the new site.
        """
        self._pages, self._earlier, self._folder = pages, earlier, folder
        for name in ("entries", "records"):
            (folder / name).mkdir(exist_ok=True)

    def write(self, board: Board, entry: Entry, rank: Rank, geometry: str) -> Written:
        """Write the files of an entry.

        Args:
            geometry: the page with the geometry of its network.
        """
        results, superseded = ([state(each) for each in some] for some in (entry.results, entry.superseded))
        key = self._key(board, entry, geometry, results)
        again = self._earlier.reuse(entry.page, key, self._folder)
        if again is not None:
            page, drawn = again
            files = {path: self._earlier.files[path] for path in drawn.files}
            shown = [_figure(plain) for plain in drawn.figures]
            written = Written(entry.page, drawn, shown, [], [*results, *superseded], files)
        else:
            page, written = self._draw(board, entry, geometry, key)
            written.inputs.extend([*results, *superseded])
        path = page_file(entry.page)
        written.files[path] = self._put(path, filled(page, self._pages.live(board, entry, rank)))
        return written

    def _draw(self, board: Board, entry: Entry, geometry: str, key: str) -> tuple[str, Written]:
        published = {result.file: result.published() for result in entry.results + entry.superseded}
        entry = _whole(entry, published)
        figures = write_figures(entry, self._folder)
        shown = [figure for some in figures.sections.values() for figure in some]
        charts = entry_charts(entry)
        page = hide(self._pages.entry(board, entry, figures.sections, geometry, charts), only_certain=True)
        script = self._pages.entry_script(board, entry, figures.sections, charts)
        stem = page_file(entry.page).removesuffix(".html")
        files = {
            f"{stem}.data.js": self._put(f"{stem}.data.js", script),
            f"{stem}.json": self._put(f"{stem}.json", compact_json(entry_json(board, entry))),
        }
        for name, content in published.items():
            (self._folder / "records" / name).write_bytes(content)
            files[f"records/{name}"] = digest(content)
        for result in entry.results:
            for path in sorted((self._folder / "figures" / result.digest[:12]).glob("*")):
                files[path.relative_to(self._folder).as_posix()] = sha256(path)
        plain = [asdict(figure) for figure in shown]
        drawn = None if figures.left_out else Drawn(key, [page_file(entry.page), *files], plain)
        return page, Written(entry.page, drawn, shown, figures.left_out, [], files)

    def _put(self, path: str, text: str) -> str:
        """Write a file of the new site; gives its digest."""
        content = hide(text, only_certain=True).encode()
        (self._folder / path).write_bytes(content)
        return digest(content)

    def _key(self, board: Board, entry: Entry, geometry: str, results: list[State]) -> str:
        """A digest of all that the files of an entry depend on, but for the code and what all pages share."""
        about: dict[str, Any] = {
            "board": [board.page, board.title, board.n],
            "columns": [column.metric for column in (*board.main_columns, *board.more_columns)],
            "geometry": geometry,
            "around": self._pages.around(entry),
            "results": results,
            "superseded": [result.source for result in entry.superseded],
        }
        return digest(compact_json(about))


def _whole(entry: Entry, published: Mapping[str, bytes]) -> Entry:
    """An entry with all that its records hold, which a board leaves out; see `Result`.

    Args:
        published: file of a result → its content, as `Result.published` gives it.
    """
    whole = replace(entry, results=tuple(each.whole(published[each.file]) for each in entry.results))
    # These do not follow from what was left out.
    vars(whole).update(
        {name: vars(entry)[name] for name in ("page", "scores", "alarms") if name in vars(entry)}
    )
    return whole


def _figure(plain: Mapping[str, Any]) -> ShownFigure:
    pictures: Sequence[Mapping[str, Any]] = plain["pictures"]
    return ShownFigure(**{**plain, "pictures": tuple(Picture(**picture) for picture in pictures)})
