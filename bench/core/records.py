"""Several records at once."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import UserError
from bench.core.record import Record, find_records, load_record
from bench.core.record_columns import frame
from bench.core.remote import local_copy
from bench.core.values import is_url

if TYPE_CHECKING:
    import pandas


class Records(list[Record]):
    """Records, as a list that can also be shown as a table."""

    def to_frame(self) -> "pandas.DataFrame":
        """One row for each record, in columns grouped as those of `mlflow.search_runs`.

        `metrics.NAME` is a score, `metrics.NAME.low` and `metrics.NAME.high` its interval; `params.…` are choices
        and hyper-parameters; `tags.…` say what it is about, `tags.alarms` which alarms were raised. The index is
        the record's id. Names are those of the record; in MLflow they are shorter.
        """
        return frame(self)

    def _repr_html_(self) -> str:
        return "".join(record._repr_html_() for record in self)


def load_records(folder: Path | str) -> Records:
    """Load every record below a folder, such as `runs`; a warning names those that are not admitted.

    Args:
        folder: it, or the file of a single record, or the URL of either, such as "s3://bucket/runs".

    Raises:
        UserError: when there is no such folder, or no record in it that is admitted.
    """
    place = local_copy(folder) if is_url(folder) else Path(folder).expanduser()
    records, refused = Records(), []
    for path in find_records(place):
        try:
            records.append(load_record(path))
        except UserError as error:
            refused.append(str(error))
    if not records:
        raise UserError(refused[0] if refused else f"expected records below {folder}, found none")
    if refused:
        more = f"; and {len(refused) - 1} more" if len(refused) > 1 else ""
        warnings.warn(f"left out: {refused[0]}{more}", stacklevel=2)
    return records
