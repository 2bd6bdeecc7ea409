"""Check a submitted record: what a board would say of it, and what a submission needs besides."""

from collections.abc import Iterator
from pathlib import Path

from bench.charts import load_chart
from bench.core.errors import UserError
from bench.core.limits import file_beside
from bench.core.names import CLEAN_ACCURACY, WORST_CASE
from bench.core.record import RECORD, Record, load_record, read_arrays
from leaderboards.contradictions import contradictions, other_settings
from leaderboards.own_figures import find_figures
from leaderboards.result import exact_eps

#: Kinds of files beside a record → what lacks without them.
FILES = {
    "arrays": "ranks compare intervals instead of images",
    "examples": "--reverify has no adversarial images to try",
    "weights": "--reverify needs --checkpoint",
    "source": "nobody can read the plug-in behind it",
}


def check(path: Path) -> list[str]:
    """Check a record against its schema, the files beside it and itself.

    What a board leaves out has a problem here too. A submission must also have the accuracies that it is ranked by,
    and agree with its own settings. Files that its record names need not be there; see `absent`.

    Args:
        path: the record's JSON file, or the folder that holds `record.json`.

    Returns:
        One line for each problem; empty when there is none.
    """
    if path.is_dir():
        path = path / RECORD
    try:
        record = load_record(path, check_files=True, elsewhere=FILES)
        exact_eps(path, record)
        arrays = read_arrays(path, record)
    except UserError as error:
        return [str(error)]
    return [*contradictions(record, arrays), *other_settings(record), *_unranked(record), *_figures(path)]


def absent(path: Path) -> list[str]:
    """What cannot be done with a record, as files that it names are not beside it: one line for each."""
    record = load_record(path)
    return [
        f"{file.path} is not beside it: {FILES.get(kind.partition('/')[0], 'it cannot be checked')}"
        for kind, file in record.files.items()
        if not file_beside(path, file.path).is_file()
    ]


def _unranked(record: Record) -> Iterator[str]:
    for name in (CLEAN_ACCURACY, WORST_CASE):
        if name not in record.metrics or record.metrics[name].value is None:
            yield f"{name} has no value, so the record cannot be ranked"


def _figures(record: Path) -> Iterator[str]:
    for figure in find_figures(record.parent):
        try:
            if figure.chart is not None:
                load_chart(figure.chart)
        except UserError as error:
            yield str(error)
