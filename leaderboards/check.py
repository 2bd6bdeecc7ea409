"""Check a submitted record: what a board would say of it, and what a submission needs besides."""

from collections.abc import Collection, Iterator
from pathlib import Path

from bench.charts import load_chart
from bench.core.errors import UserError
from bench.core.names import CLEAN_ACCURACY, WORST_CASE
from bench.core.record import RECORD, Record, load_record, read_arrays
from leaderboards.contradictions import contradictions, other_settings
from leaderboards.own_figures import find_figures
from leaderboards.result import exact_eps


def check(path: Path, *, elsewhere: Collection[str] = ()) -> list[str]:
    """Check a record against its schema, the files beside it and itself.

    What a board leaves out has a problem here too. A submission must also have every file that its record names and
    the accuracies that it is ranked by, and agree with its own settings.

    Args:
        path: the record's JSON file, or the folder that holds `record.json`.
        elsewhere: kinds of files that need not lie beside the record, such as "weights".

    Returns:
        One line for each problem; empty when there is none.
    """
    if path.is_dir():
        path = path / RECORD
    try:
        record = load_record(path, check_files=True, elsewhere=elsewhere)
        exact_eps(path, record)
        arrays = read_arrays(path, record)
    except UserError as error:
        return [str(error)]
    return [*contradictions(record, arrays), *other_settings(record), *_unranked(record), *_figures(path)]


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
