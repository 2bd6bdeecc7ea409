"""The entry of one record in MLflow."""

import json
import shlex
import textwrap
from pathlib import Path

from bench.core.errors import UserError
from bench.core.files import sha256
from bench.core.limits import file_beside
from bench.core.names import CLEAN_ACCURACY, WORST_CASE
from bench.core.record import RECORD, Record, Value, load_record
from bench.core.record_columns import choices, tags
from bench.core.standing import standing
from bench.tracking.entry import Data, Entry, milliseconds, source_tags, training_data
from bench.tracking.place import Place, place
from bench.tracking.short_scores import short_scores, tables

#: Letters in a line of the command, beside which MLflow's column of tags has room.
_LINE = 76
#: The tag with the names of a record's artifacts, as JSON: who fetches them need not ask for a list.
FILES = "bench.files"
#: The folder of figures beside a record, and among the artifacts of its run.
FIGURES = "figures"


def read_record(path: Path) -> Entry:
    """The entry of one record, with the files that lie beside it.

    Raises:
        UserError: when it is not a valid record.
    """
    record, digest = load_record(path), sha256(path)
    found = place(path, digest)
    artifacts, weights = _files(record, path), record.files.get("weights")
    return Entry(
        part=f"record {record.id}",
        name=f"{record.defense.name} seed {record.seed} {record.model}: {record.dataset.name} "
        f"{record.threat.norm}:{record.threat.eps} {record.battery.name}",
        status="FINISHED",
        started=milliseconds(record.provenance.created)
        - round(1000 * ((record.cost.train_seconds or 0) + record.cost.evaluate_seconds)),
        ended=milliseconds(record.provenance.created),
        tags={**_tags(record, found), "bench.record_sha256": digest, FILES: json.dumps(sorted(artifacts))},
        params=_params(record),
        scores=short_scores(found.record),
        data=_data(record),
        artifacts=artifacts,
        tables=tables(record),
        weights=weights.path if weights and weights.path in artifacts else "",
    )


def _tags(record: Record, found: Place) -> dict[str, str]:
    stands = standing(found.record)
    verdict = "in doubt" if stands.in_doubt else "answered" if stands.answer else ""
    alarms = ": ".join(filter(None, [verdict, ", ".join(stands.raised)]))
    page = {"bench.page": f"entries/{found.page}.html"} if found.page else {}
    board = {"board": found.board, "bench.board": found.title} if found.board else {}
    return {
        **tags(record),
        **board,
        **page,
        "ranked": f"no: {found.reason}" if found.reason else "in doubt" if stands.in_doubt else "yes",
        "interval_95": _interval(found.record),
        "alarms": alarms or "none",
        **source_tags(record.provenance.commit, record.provenance.command),
        "mlflow.note.content": _note(record, found),
    }


def _interval(record: Record) -> str:
    score = record.metrics.get(WORST_CASE)
    if score is None or score.low is None or score.high is None:
        return ""
    return f"{score.low:.3f}–{score.high:.3f}"


def _note(record: Record, found: Place) -> str:
    """A verdict in one sentence, the raised alarms, and the command that repeats the run."""
    worst, clean = (found.record.metrics.get(name) for name in (WORST_CASE, CLEAN_ACCURACY))
    facts = [
        f"{100 * score.value:.1f} % {words}"
        for score, words in ((worst, "in the worst case"), (clean, "clean"))
        if score is not None and score.value is not None
    ]
    lines = [f"**{', '.join(facts)}**; {standing(found.record)}." if facts else "No accuracy was measured."]
    lines += [f"No board ranks it: {found.reason}."] if found.reason else []
    lines += [f"- **{alarm.name}**: {alarm.message}" for alarm in record.alarms if alarm.raised]
    lines += ["", "All scores with intervals: `tables/scores.csv` among the artifacts."]
    command = record.provenance.command
    return "\n".join([*lines, "Repeat:", "```", *_in_lines(command), "```"] if command else lines)


def _in_lines(command: str) -> list[str]:
    """A command in lines that a shell joins: MLflow's page of a run is as wide as the longest."""
    try:
        words = shlex.split(command)
    except ValueError:  # an open quotation
        return [command]
    if not words or not command.isprintable():  # lines of its own are not to be mixed with ours
        return [command]
    options: list[list[str]] = [[]]
    for word in words:
        if word.startswith("--"):
            options.append([])
        options[-1].append(word)
    # Every option stays beside its value, and an argument is not broken.
    told = " ".join(shlex.join(option).replace(" ", "\0") for option in options)
    lines = textwrap.wrap(
        told, _LINE, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    return [line.replace("\0", " ") + " \\" for line in lines[:-1]] + [lines[-1].replace("\0", " ")]


def _params(record: Record) -> dict[str, Value]:
    """The choices that differ within a board; what its records share is in the tags.

    MLflow compares runs by the parameters that come first in the alphabet: defense and network.
    """
    shared = ("dataset", "threat", "battery", "model", "evaluated_size")
    ours = {name: value for name, value in choices(record).items() if name not in shared}
    theirs = {f"setting/{name}": value for name, value in record.defense.hyperparameters.items()}
    return {**ours, "network": record.model, **theirs}


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
    drawn = [*path.parent.glob(f"{FIGURES}/*.png"), *path.parent.glob(f"{FIGURES}/*.json")]
    names += [f"{FIGURES}/{figure.name}" for figure in sorted(drawn) if _is_file(figure)]
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
