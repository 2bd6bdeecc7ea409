"""What a run folder keeps from an earlier process, looked at before it is believed."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.core import provenance
from bench.core.errors import UserError
from bench.core.files import read_json, set_aside, sha256, write_json
from bench.core.record import HISTORY, RECORD, RUN, Record, load_record
from bench.core.run_file import first_started
from bench.runs.job import Job
from bench.training.history import read_history, write_history


def finished_record(folder: Path, say: Callable[[str], None]) -> Record | None:
    """The record of a finished result; None where there is none, or where it was set aside.

    A record is set aside when it cannot be read, or when a file that it names has changed. Files that are gone may
    have been deleted to save space.

    Args:
        folder: of the result.
        say: told what is wrong.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        record = load_record(path)
        reason = ""
        for file in record.files.values():
            beside = folder / file.path
            if beside.exists() and sha256(beside) != file.sha256:
                reason = f"names {file.path}, which has changed"
    except UserError:
        reason = "is damaged"
    if reason:
        set_aside(path, f"{reason}, and the network is evaluated again", say)
    return None if reason else record


def keep_history(folder: Path, record: Record, say: Callable[[str], None]) -> None:
    """Write the history of a finished training again where its file is damaged; one that is gone stays so.

    Args:
        folder: of the training.
        record: of its result.
        say: told what is wrong.
    """
    path = folder / HISTORY
    try:
        same = not path.exists() or read_history(folder) == record.history
    except UserError:
        same = False
    if not same:
        set_aside(path, "is not the history of the record, from which it is written again", say)
        write_history(folder, record.history)


def write_run(job: Job, say: Callable[[str], None]) -> None:
    """Write `run.json`; one that is damaged or of another run is set aside first."""
    path = job.folder / RUN
    created = datetime.now(UTC).isoformat(timespec="seconds")
    if path.exists():
        if not (reason := _damage(path, job)):
            return
        created = first_started(path) or created
        set_aside(path, f"{reason}, and is written again", say)
    plan, dataset = job.plan, job.plan.dataset
    commit, _ = provenance.commit()
    about: dict[str, Any] = {
        "run": job.name,
        "identity": job.identity,
        "config": job.config.published(),
        "defense": plan.name,
        "model": plan.model,
        "dataset": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "train_size": len(dataset.train),
            "validation_size": len(dataset.validation),
            "test_size": len(dataset.test),
            "shape": list(dataset.shape),
            "classes": list(dataset.classes),
        },
        "threat": str(plan.threat),
        "commit": commit,
        "command": job.command or job.config.command(),
        "created": created,
    }
    write_json(path, about)


def _damage(path: Path, job: Job) -> str:
    """What is wrong with the `run.json` of a job; "" where nothing is."""
    try:
        about = read_json(path)
    except UserError:
        return "is damaged"
    # The earliest runs have no identity.
    same = isinstance(about, dict) and about.get("run") == job.name
    return "" if same and about.get("identity", job.identity) == job.identity else "is of another run"
