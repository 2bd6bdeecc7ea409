"""The entry of one record in MLflow."""

from pathlib import Path

from bench.core.errors import UserError
from bench.core.files import sha256
from bench.core.limits import file_beside
from bench.core.record import RECORD, Record, load_record
from bench.core.record_columns import params, scores, tags
from bench.tracking.entry import Data, Entry, milliseconds, source_tags, training_data


def read_record(path: Path) -> Entry:
    """The entry of one record, with the files that lie beside it.

    Raises:
        UserError: when it is not a valid record.
    """
    record = load_record(path)
    return Entry(
        part=f"record {record.id}",
        name=f"{record.defense.name} seed {record.seed}: {record.model} {record.dataset.name} "
        f"{record.threat.norm}:{record.threat.eps} {record.battery.name}",
        status="FINISHED",
        started=milliseconds(record.provenance.created)
        - round(1000 * ((record.cost.train_seconds or 0) + record.cost.evaluate_seconds)),
        ended=milliseconds(record.provenance.created),
        tags=_tags(record, path),
        params=params(record),
        scores=scores(record),
        history=record.history,
        data=_data(record),
        artifacts=_files(record, path),
    )


def _tags(record: Record, path: Path) -> dict[str, str]:
    warnings = [f"- **{alarm.name}**: {alarm.message}" for alarm in record.alarms if alarm.raised]
    return {
        **tags(record),
        "bench.record_sha256": sha256(path),
        **source_tags(record.provenance.commit, record.provenance.command),
        "mlflow.note.content": "\n".join(["```", record.provenance.command, "```", *warnings]),
    }


def _data(record: Record) -> list[Data]:
    data = record.dataset
    profile = {"evaluated_size": data.evaluated_size, "test_size": data.test_size}
    return [
        training_data(data.name, data.fingerprint, data.train_size, data.validation_size),
        Data(data.name, "test", data.evaluated_fingerprint, profile),
    ]


def _files(record: Record, path: Path) -> dict[str, Path]:
    # A record from elsewhere must not make us publish files of other folders.
    outside = outside_files(record, path)
    names = [file.path for file in record.files.values() if file.path not in outside]
    names = [name for name in names if (path.parent / name).is_file()]
    drawn = [*path.parent.glob("figures/*.png"), *path.parent.glob("figures/*.json")]
    names += [f"figures/{figure.name}" for figure in sorted(drawn) if _is_file(figure)]
    return {RECORD: path, **{name: path.parent / name for name in names}}


def outside_files(record: Record, path: Path) -> list[str]:
    """Files that a record names and that are not its own, as they lead out of its folder by words or by a link."""
    found = []
    for file in record.files.values():
        try:
            file_beside(path, file.path)
        except UserError:
            found.append(file.path)
    return found


def _is_file(figure: Path) -> bool:
    linked = figure.is_symlink() or figure.parent.is_symlink()
    return not linked and figure.is_file()
