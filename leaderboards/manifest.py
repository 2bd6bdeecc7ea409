"""What an earlier build of a site has that a new one can use again: admitted records, and the files of entries.

The site is its own cache. `manifest.json` says from what each entry's files were drawn, with their digests; a file
that is missing or differs is drawn again, and so is everything where the manifest itself is damaged or the code has
changed.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bench.charts
import bench.core
import leaderboards
from bench.core.errors import UserError
from bench.core.files import compact_json, read_bytes, sha256, write_json
from bench.core.limits import file_beside, is_beside
from bench.core.record import RECORD
from leaderboards.own_figures import Figure, find_figures
from leaderboards.result import Result

MANIFEST = "manifest.json"
FORMAT = "regionbench.manifest/2"
#: A larger manifest is not read.
MOST_BYTES = 2**30
#: What pages are drawn with, besides the code of these packages.
_PACKAGES = (leaderboards, bench.charts, bench.core)
_LIBRARIES = ("jinja2", "markupsafe", "matplotlib", "numpy", "pandas", "pydantic")
_SOURCES = (".py", ".j2", ".js", ".css", ".svg")
#: Of a record: its digest, path and digest of its arrays, whether they are there, name and digests of each figure.
State = list[Any]
#: Parts of a page that depend on other entries: filled in by every build.
_LIVE = re.compile(r"<!--live:([a-z]+)-->.*?<!--/live-->", re.DOTALL)


def fixed(page: str) -> str:
    """A page without its live parts."""
    return _LIVE.sub(r"<!--live:\1--><!--/live-->", page)


def filled(page: str, live: Mapping[str, str]) -> str:
    """A page with its live parts, by name."""
    return _LIVE.sub(lambda found: f"<!--live:{found[1]}-->{live[found[1]]}<!--/live-->", page)


def digest(content: bytes | str) -> str:
    """The SHA-256 of a content, as hex."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


@dataclass(frozen=True)
class Drawn:
    """The files of an entry.

    Attributes:
        key: digest of all that they depend on.
        files: their paths in the site.
        figures: the figures that the page shows, as plain JSON.
    """

    key: str
    files: list[str]
    figures: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Earlier:
    """An earlier build of a site.

    Attributes:
        site: its folder.
        key: digest of what it was asked for, besides records.
        admitted: the records that it admitted: source → the arrays that boards need.
        inputs: what `state` says of the records that it was made from.
        drawn: entry page → its files.
        files: path in the site → digest, of all files but the manifest.
        counts: how many boards, entries and records it shows.
    """

    site: Path
    key: str = ""
    admitted: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    inputs: Sequence[State] = ()
    drawn: Mapping[str, Drawn] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    def is_of(self, paths: Iterable[Path], key: str) -> bool:
        """Whether a new build of these records would give the same files, and they are there."""
        if not self.counts or key != self.key:
            return False
        known = {digest: arrays for digest, arrays, _, _ in self.inputs}
        try:
            found = [_state_again(path, known) for path in paths]
        except (UserError, OSError):
            return False
        asked, drawn = ({compact_json(each) for each in states} for states in (found, self.inputs))
        return asked == drawn and self._is_whole()

    def _is_whole(self) -> bool:
        found = {
            path.relative_to(self.site).as_posix(): path
            for folder, _, names in os.walk(self.site)
            for path in (Path(folder, name) for name in names)
        }
        found.pop(MANIFEST, None)
        return found.keys() == self.files.keys() and all(
            not path.is_symlink() and sha256(path) == self.files[name] for name, path in found.items()
        )

    def reuse(self, page: str, key: str, folder: Path) -> tuple[str, Drawn] | None:
        """Put the files of an entry into a new folder, but for the page itself.

        Returns:
            The page without its live parts and what to remember of it; None where the files were drawn from
            something else, or are not there as they were.
        """
        known = self.drawn.get(page)
        if known is None or known.key != key:
            return None
        if any(not is_beside(path) or (self.site / path).is_symlink() for path in known.files):
            return None
        try:
            contents = {path: (self.site / path).read_bytes() for path in known.files}
            main = fixed(contents[page_file(page)].decode())
            if any(digest(content) != self.files[path] for path, content in contents.items()):
                return None
        except (OSError, ValueError, KeyError):
            return None
        for path in contents:
            if path != page_file(page):
                _link(self.site / path, folder / path)
        return main, known


def state(result: Result) -> State:
    """What is drawn of a record: digests of its file and of its arrays and figures; see `State`."""
    arrays = result.record.files.get("arrays")
    named = [arrays.path, arrays.sha256] if arrays is not None else []
    return [result.digest, named, result.stored, _figures(result.figures)]


def _state_again(path: Path, known: Mapping[str, list[str]]) -> State:
    """What `state` says of a record that is known by its digest.

    Raises:
        UserError: when it is not known, or its arrays have changed.
    """
    if path.is_dir():
        path = path / RECORD
    content_digest = sha256(file_beside(path, path.name))
    arrays = known.get(content_digest)
    if arrays is None:
        raise UserError(f"{path} is new")
    file = file_beside(path, arrays[0]) if arrays else None
    stored = file is not None and file.is_file()
    if file is not None and stored and sha256(file) != arrays[1]:
        raise UserError(f"{file} has changed")
    return [content_digest, arrays, stored, _figures(find_figures(path.parent))]


def _figures(figures: Iterable[Figure]) -> list[list[str]]:
    return [
        [figure.name, *(sha256(path) if path else "" for path in (figure.picture, figure.chart))]
        for figure in figures
    ]


def page_file(page: str) -> str:
    """Where the page of an entry lies in a site."""
    return f"entries/{page}.html"


def read_manifest(site: Path, code: str) -> Earlier:
    """The earlier build in a folder; an empty one where it is of other code, missing or damaged."""
    try:
        content = json.loads(read_bytes(site / MANIFEST, MOST_BYTES))
        checksum = content.pop("sha256")
        if content["format"] != FORMAT or content["code"] != code or checksum != _checksum(content):
            return Earlier(site)
        return Earlier(
            site,
            key=content["key"],
            admitted=content["records"],
            inputs=content["inputs"],
            drawn={page: Drawn(**fields) for page, fields in content["entries"].items()},
            files=content["files"],
            counts=content["counts"],
        )
    except (UserError, AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return Earlier(site)


def write_manifest(folder: Path, code: str, made: Earlier) -> None:
    """Write the manifest of a new site, with its checksum.

    Args:
        folder: the new site.
        code: digest of the code that drew it.
        made: the build; digests of files that it does not name are added.
    """
    others = {
        path.relative_to(folder).as_posix()
        for place, _, names in os.walk(folder)
        for path in (Path(place, name) for name in names)
    } - made.files.keys()
    files = {**made.files, **{path: sha256(folder / path) for path in others}}
    content = {
        "format": FORMAT,
        "code": code,
        "key": made.key,
        "counts": made.counts,
        "records": made.admitted,
        "inputs": sorted(made.inputs),
        "entries": {page: vars(made.drawn[page]) for page in sorted(made.drawn)},
        "files": {path: files[path] for path in sorted(files)},
    }
    write_json(folder / MANIFEST, {**content, "sha256": _checksum(content)}, compact=True)


def _checksum(content: Mapping[str, Any]) -> str:
    return digest(json.dumps(content, sort_keys=True, separators=(",", ":")))


def code_digest(shared: Any) -> str:
    """A digest of the code that draws, of its libraries, and of what all pages share, as plain JSON."""
    return digest(json.dumps([_sources(), shared], sort_keys=True))


@cache
def _sources() -> str:
    found = hashlib.sha256()
    for package in _PACKAGES:
        top = Path(str(package.__file__)).parent
        for path in sorted(path for path in top.rglob("*") if path.suffix in _SOURCES):
            found.update(f"{path.relative_to(top)} {digest(read_bytes(path))}\n".encode())
    found.update(" ".join(f"{name} {version(name)}" for name in _LIBRARIES).encode())
    return found.hexdigest()


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
