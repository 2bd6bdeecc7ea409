"""Folders of records on object stores, reached through fsspec: copied here to be read, and written to.

Reading goes through a copy that stays on this machine, of which only what has changed is fetched again. Credentials
come from the environment or the store's own files, as its driver reads them; a URL that holds one is refused.
"""

import importlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.core.archives import MOST_BYTES as MOST_OF_ARRAYS
from bench.core.errors import UserError
from bench.core.files import MOST_BYTES, cache_folder, read_json, write_json
from bench.core.locks import locked
from bench.core.record import ARRAYS, RECORD
from bench.core.secrets import hide
from bench.core.values import printable, shown

#: Schemes, and the package that has the driver.
DRIVERS = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "hf": "huggingface_hub",
    "sftp": "paramiko",
    "memory": "fsspec",
}
#: A store that does not answer is given up after seconds and not after minutes.
_OPTIONS = {
    "s3fs": {"config_kwargs": {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 1}}}
}
#: Files that are copied at once; those that an interrupted call has copied are not copied again.
_AT_ONCE = 2_000
_INDEX = ".index.json"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Store:
    """A folder on an object store, or one file.

    Attributes:
        url: as given.
        files: the driver, an `fsspec.AbstractFileSystem`.
        root: the folder's path, as the driver writes it.
    """

    url: str
    files: Any
    root: str

    def list(self) -> dict[str, dict[str, Any]]:
        """What the driver says of each file, by its path below the folder; one flat listing.

        Raises:
            UserError: when there is no such folder, or the store cannot be reached.
        """
        with reaching(self.url):
            self.files.info(self.root)  # a listing of what is not there is empty
            found = self.files.find(self.root, detail=True)
        start = len(self.root.rstrip("/")) + 1
        return {path[start:]: about for path, about in found.items()}

    def is_file(self) -> bool:
        """Whether it is one file.

        Raises:
            UserError: as for `list`.
        """
        with reaching(self.url):
            return bool(self.files.info(self.root)["type"] == "file")

    def path(self, name: str) -> str:
        """The driver's path of a file below the folder."""
        return f"{self.root.rstrip('/')}/{name}"


def open_store(url: str) -> Store:
    """The store that a URL names; nothing is asked of it yet.

    Raises:
        UserError: for a URL without a driver, or with a password in it.
    """
    scheme, _, rest = url.partition("://")
    login = rest.partition("/")[0].rpartition("@")[0]
    if ":" in login:
        raise UserError(f"{scheme}://: expected a URL without a password; give it in the environment")
    package = DRIVERS.get(scheme.lower())
    if package is None:
        raise UserError(
            f"no folder of records has the scheme {scheme}://; expected s3://BUCKET/FOLDER or gs://…"
        )
    if not rest.strip("/") or "::" in url:
        raise UserError(f"expected {scheme}://BUCKET/FOLDER, got {shown(url)}")
    try:
        importlib.import_module(package)
        from fsspec.core import url_to_fs

        with reaching(url):
            files, root = url_to_fs(url, use_listings_cache=False, **_OPTIONS.get(package, {}))
    except ImportError as error:
        extra = "regionbench[remote]" if package in ("s3fs", "gcsfs") else package
        raise UserError(f"{scheme}:// needs {package} ({error}); pip install '{extra}'") from None
    return Store(url, files, root.rstrip("/"))


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Say in one line what went wrong at a store; its driver has no common class for that."""
    try:
        yield
    except (UserError, ImportError):
        raise
    except FileNotFoundError as error:
        raise UserError(
            f"no such folder of records: {url} ({_words(error)}); is the bucket's name right?"
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.filename and os.path.isabs(error.filename):
            raise  # of this machine's disk
        raise UserError(
            f"{url} cannot be used ({_words(error)}); are the store's address and credentials in the environment?"
        ) from error


def _words(error: Exception) -> str:
    return printable(hide(" ".join(str(error).split()) or type(error).__name__))[:300]


def local_copy(place: Path | str, say: Say = lambda _: None, also: Sequence[str] = ()) -> Path:
    """A folder of this machine with the records of a folder, and what lies beside them; a path stays as it is.

    Args:
        place: a path, or the URL of a folder or of one file.
        say: told one line of what was fetched, and one of each file that is left out.
        also: patterns of further files, by their path below the folder.

    Returns:
        The folder of the copy, or the file in it, below the user's cache: the records, their arrays and figures. A
        later call fetches only what has changed, and deletes what is gone.

    Raises:
        UserError: when the store cannot be reached or there is no such folder.
    """
    if isinstance(place, Path):
        return place
    store = open_store(place)
    name = ""
    if store.is_file():
        above, _, name = store.root.rpartition("/")
        store = Store(store.url, store.files, above)
    copy = _folder(store)
    with locked(copy.with_name(f"{copy.name}.lock"), f"another process copies {place}", wait=lambda: None):
        _refresh(store, copy, name, say, also)
    return copy / name


def _folder(store: Store) -> Path:
    digest = sha256(f"{type(store.files).__name__} {store.root}".encode()).hexdigest()[:12]
    readable = re.sub(r"[^A-Za-z0-9]+", "-", store.root).strip("-")[-60:]
    return cache_folder() / "records" / f"{readable}-{digest}"


def _refresh(store: Store, copy: Path, name: str, say: Say, also: Sequence[str]) -> None:
    listed = {path: about for path, about in store.list().items() if _is_safe(path)}
    index = copy / _INDEX
    known: dict[str, str] = {}
    with suppress(UserError, AttributeError):
        known = {path: mark for path, mark in read_json(index).items() if (copy / path).is_file()}
    fetch = _Fetch(store, copy, known, index)
    records = [path for path in listed if Path(path).name == RECORD and name in ("", path)]
    fetched = fetch({path: listed[path] for path in records}, MOST_BYTES, say)
    wanted = set(records) | ({name} & listed.keys())
    for path in records:
        folder = path.removesuffix(RECORD)
        arrays = ARRAYS
        with suppress(UserError, KeyError, TypeError, AttributeError):
            arrays = read_json(copy / path)["files"]["arrays"]["path"]
        wanted.add(f"{folder}{arrays}")
    for path in listed:
        head, _, file = path.rpartition("/")
        drawn = head.rpartition("/")[2] == "figures" and file.endswith((".png", ".json"))
        beside = f"{head.removesuffix('figures')}{RECORD}" in wanted
        if (drawn and beside) or any(fnmatchcase(path, pattern) for pattern in also):
            wanted.add(path)
    fetch(
        {path: listed[path] for path in sorted(wanted - set(records)) if path in listed}, MOST_OF_ARRAYS, say
    )
    for gone in known.keys() - wanted:
        (copy / gone).unlink(missing_ok=True)
        del known[gone]
    write_json(index, known, compact=True)
    say(f"{store.url}: {len(records)} records, {fetched} of them fetched to {copy}")


@dataclass(frozen=True)
class _Fetch:
    """Copy files that are not here yet, or have changed; `known` says which version of each is here."""

    store: Store
    copy: Path
    known: dict[str, str]
    index: Path

    def __call__(self, files: Mapping[str, Mapping[str, Any]], most: int, say: Say) -> int:
        """The number of files that were copied; those that are larger than `most` bytes are left out."""
        wanted = {}
        for path, about in files.items():
            if (about.get("size") or 0) > most:
                say(f"left out: {self.store.url}: {printable(path)}: it is larger than {most / 2**20:g} MiB")
            elif self.known.get(path) != (mark := _mark(about)):
                wanted[path] = mark
        for some in _parts(list(wanted)):
            for path in some:
                (self.copy / path).parent.mkdir(parents=True, exist_ok=True)
                self.known.pop(path, None)
            with reaching(self.store.url):
                self.store.files.get(
                    [self.store.path(path) for path in some], [str(self.copy / path) for path in some]
                )
            self.known.update((path, wanted[path]) for path in some)
            write_json(self.index, self.known, compact=True)
        return len(wanted)


def _parts(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    return (paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE))


def _mark(about: Mapping[str, Any]) -> str:
    """Differs where a file has changed; what drivers tell of a file differs between them."""
    return sha256(repr(sorted((key, str(value)) for key, value in about.items())).encode()).hexdigest()[:16]


def _is_safe(path: str) -> bool:
    """Whether a key of an object store may be the path of a file here, below the copy's folder."""
    parts = path.split("/")
    return (
        RECORD not in parts[:-1]
        and all(part not in ("", ".", "..") and len(part.encode()) <= 255 for part in parts)
        and printable(path) == path
    )


def upload(store: Store, folder: Path, files: Iterable[str]) -> None:
    """Copy files below a folder to a store, records last, so that whoever sees a record finds what it names.

    Raises:
        UserError: when the store cannot be written.
    """
    paths = list(files)
    records = [path for path in paths if Path(path).name == RECORD]
    for kind in ([path for path in paths if Path(path).name != RECORD], records):
        for some in _parts(kind):
            with reaching(store.url):
                store.files.put([str(folder / path) for path in some], [store.path(path) for path in some])
