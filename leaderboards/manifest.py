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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bench.charts
import bench.core
import leaderboards
from bench.core.errors import UserError
from bench.core.files import read_bytes
from bench.core.limits import is_beside
from leaderboards.result import Result

MANIFEST = "manifest.json"
FORMAT = "regionbench.manifest/1"
#: A larger manifest is not read.
MOST_BYTES = 2**30
#: What pages are drawn with, besides the code of these packages.
_PACKAGES = (leaderboards, bench.charts, bench.core)
_LIBRARIES = ("jinja2", "markupsafe", "matplotlib", "numpy", "pandas", "pydantic")
_SOURCES = (".py", ".j2", ".js", ".css", ".svg")
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
        files: path in the site → digest; of the page without its live parts.
        figures: the figures that the page shows, as plain JSON.
    """

    key: str
    files: Mapping[str, str]
    figures: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Earlier:
    """An earlier build of a site.

    Attributes:
        site: its folder.
        admitted: the records that it admitted: source → the arrays that boards need.
        drawn: entry page → its files.
    """

    site: Path
    admitted: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    drawn: Mapping[str, Drawn] = field(default_factory=dict)

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
        except (OSError, ValueError, KeyError):
            return None
        found = {path: digest(content) for path, content in contents.items()}
        if {**found, page_file(page): digest(main)} != known.files:
            return None
        for path in found:
            if path != page_file(page):
                _link(self.site / path, folder / path)
        return main, known


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
        drawn = {page: Drawn(**fields) for page, fields in content["entries"].items()}
        return Earlier(site, content["records"], drawn)
    except (UserError, AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return Earlier(site)


def manifest(code: str, results: Iterable[Result], drawn: Mapping[str, Drawn]) -> dict[str, Any]:
    """The manifest of a build, with its checksum."""
    content = {
        "format": FORMAT,
        "code": code,
        "records": {each.source: each.arrays for each in results if each.arrays is not None},
        "entries": {page: vars(drawn[page]) for page in sorted(drawn)},
    }
    return {**content, "sha256": _checksum(content)}


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
