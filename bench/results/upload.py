"""Copy finished records to a folder on an object store, with what they vouch for and their figures."""

from collections.abc import Callable
from pathlib import Path

from bench.core.errors import UserError
from bench.core.limits import file_beside
from bench.core.record import Record, find_records, load_record
from bench.core.remote import open_store, reaching, upload


def upload_records(folder: Path, url: str, say: Callable[[str], None]) -> int:
    """Copy every record below a folder that the store does not have yet, with the same paths.

    Args:
        folder: of runs, or a record; checkpoints, trials and folders without a record stay here.
        url: of a folder on an object store, such as "s3://bucket/runs".
        say: told one line of each record that is not admitted, and one at the end.

    Returns:
        How many records were copied.

    Raises:
        UserError: when there is no record that is admitted, or the store cannot be written.
    """
    store = open_store(url)
    paths = find_records(folder)
    top = folder.parent if folder.is_file() else folder
    files: dict[Path, list[str]] = {}
    for path in paths:
        try:
            files[path] = [name.relative_to(top).as_posix() for name in _files(path, load_record(path))]
        except UserError as error:
            say(f"left out: {error}")
    if not files:
        raise UserError(f"no record to copy in {folder}; `bench run` makes them")
    with reaching(url):
        there = store.files.find(store.root, detail=True)
        places = {path: store.path(path.relative_to(top).as_posix()) for path in files}
        same_size = {
            path: place
            for path, place in places.items()
            if there.get(place, {}).get("size") == path.stat().st_size
        }
        contents = store.files.cat(list(same_size.values())) if same_size else {}
    # A record is the last of its files to arrive and holds the hashes of the others.
    new = [path for path in files if contents.get(same_size.get(path, "")) != path.read_bytes()]
    upload(store, top, [name for path in new for name in files[path]])
    say(f"{url}: {len(new)} records copied, {len(files) - len(new)} there before")
    return len(new)


def _files(path: Path, record: Record) -> list[Path]:
    """A record, the files that it vouches for and its figures."""
    vouched = [file_beside(path, file.path) for file in record.files.values()]
    figures = path.parent / "figures"
    drawn = [*figures.glob("*.png"), *figures.glob("*.json")] if not figures.is_symlink() else []
    beside = [each for each in (*vouched, *drawn) if each is not None and each.is_file()]
    return [*sorted(each for each in set(beside) if not each.is_symlink()), path]
