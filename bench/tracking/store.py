"""One MLflow experiment, reached by ids alone: no active run, no global state."""

import json
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError, unknown_name
from bench.core.keys import safe_keys
from bench.core.locks import waiting
from bench.core.secrets import hide
from bench.core.temporary import scratch_folder
from bench.tracking.calls import calling, time_limits
from bench.tracking.create import prepare_database
from bench.tracking.entry import Data, Entry
from bench.tracking.logged_model import link_weights
from bench.tracking.names import PARAM_LENGTH, TAG_LENGTH, shorten
from bench.tracking.settings import Settings
from bench.tracking.short_scores import EPOCH
from bench.tracking.versions import compare_versions
from bench.tracking.views import KIND, NOTE, refresh, results_page

if TYPE_CHECKING:
    from mlflow.entities import Run

PARENT = "mlflow.parentRunId"
#: The tag with the path of an entry's page below a site.
PAGE = "bench.page"
#: Longest wait for another process that makes a store, or logs the same folder.
LOCKED_SECONDS = 120


@dataclass
class Logged:
    """The state of an entry in MLflow: run, start, last epoch, status, fingerprint, and the experiment's id."""

    run_id: str
    started: int
    status: str
    epoch: int = 0
    fingerprint: str = ""
    experiment: str = ""


@contextmanager
def open_store(settings: Settings, *, create: bool = True) -> Iterator["Store"]:
    """The experiment of the settings, while our time limits hold for MLflow's calls.

    Args:
        settings: where it is.
        create: make the database and the experiment when they are missing.

    Raises:
        UserError: when the store cannot be reached, or answers with an error, in one line.
    """
    database = settings.database
    if database and not create and not database.is_file():
        raise UserError(f"no MLflow store at {database}; log something first, or name it with --tracking")
    with calling(settings):
        yield Store(settings, create=create)


def check_store(settings: Settings) -> str:
    """Connect to the store and describe it in a few words.

    Raises:
        UserError: when it cannot be reached or written, its schema is out of date, or a server has another version.
    """
    if settings.database and not settings.database.is_file():
        return f"{settings.shown}, made by the first run"
    with open_store(settings):
        return f"{settings.shown}, experiment {settings.experiment!r}{compare_versions(settings)}"


class Store:
    """Read and write the runs of one experiment; use it inside `open_store`.

    Args:
        settings: where it is.
        create: make the database and the experiment when they are missing.
        say: told when another process keeps us waiting.
    """

    def __init__(
        self, settings: Settings, *, create: bool, say: Callable[[str], None] = warnings.warn
    ) -> None:
        from mlflow import MlflowClient

        self.settings = settings
        self._uploaded: set[tuple[str, str, int, int]] = set()
        with _alone(settings.database, say):
            if settings.database and create:
                prepare_database(settings.database, settings.artifact_root)
            self.client: MlflowClient = MlflowClient(settings.uri)
            self.experiment_id = self._experiment(create)

    def _experiment(self, create: bool) -> str:
        from mlflow.exceptions import MlflowException

        name = self.settings.experiment
        found = self.client.get_experiment_by_name(name)
        if found is None and not create:
            known = [experiment.name for experiment in self.client.search_experiments()]
            raise unknown_name(f"experiment at {self.settings.shown}:", name, known)
        if found is None:
            try:
                return self.client.create_experiment(name, self.settings.artifact_location, KIND)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = self.client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            raise UserError(
                f"the experiment {name!r} at {self.settings.shown} was deleted; restore it with "
                f"`mlflow experiments restore`, or choose another name in mlflow.yaml"
            )
        return str(found.experiment_id)

    def find(self, query: str) -> list["Run"]:
        """Every run of the experiment, not deleted, that matches an MLflow filter; the newest first."""
        return list(self.each(query))

    def each(self, query: str) -> Iterator["Run"]:
        """As `find`, while the store still looks for more."""
        token = None
        while True:
            page = self.client.search_runs([self.experiment_id], query, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def write(self, entry: Entry, logged: Logged | None, parent: str | None) -> Logged:
        """Log what is new of an entry; logging the same again changes nothing.

        Args:
            entry: what the run folder holds now.
            logged: what MLflow holds already; None makes a new run.
            parent: the MLflow run of the search, if the entry belongs to one.
        """
        tags = {**self.settings.tags, **entry.tags, **({PARENT: parent} if parent else {})}
        if self.settings.site and PAGE in tags:
            tags["entry"] = f"{self.settings.site.rstrip('/')}/{tags[PAGE]}"
            tags[NOTE] += f"\n\n[Its entry on the leaderboard]({tags['entry']})"
        tags = {key: shorten(hide(str(value)), TAG_LENGTH) for key, value in safe_keys(tags).items()}
        if logged is None:
            run = self.client.create_run(self.experiment_id, entry.started, tags, entry.name)
            logged = Logged(run.info.run_id, run.info.start_time, run.info.status)
        self._values(entry, logged, tags)
        if not logged.fingerprint:
            self.client.log_inputs(logged.run_id, [_dataset_input(data) for data in entry.data])
        for name, path in entry.artifacts.items():
            self._upload(logged.run_id, name, path)
        with time_limits(self.settings.upload_timeout):
            for name, text in entry.tables.items():
                self.client.log_text(logged.run_id, hide(text), name)
        if entry.weights and not logged.fingerprint:
            link_weights(self.client, self.experiment_id, logged.run_id, entry)
        if entry.status != logged.status and entry.status == "RUNNING":
            self.client.update_run(logged.run_id, "RUNNING")
        elif entry.status != logged.status:
            self.client.set_terminated(logged.run_id, entry.status, entry.ended)
        epoch = max([logged.epoch, *(row["epoch"] for row in entry.history)])
        return Logged(
            logged.run_id, logged.started, entry.status, epoch, entry.fingerprint(), self.experiment_id
        )

    def _values(self, entry: Entry, logged: Logged, tags: dict[str, str]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        scores = safe_keys(entry.scores).items()
        metrics = [(key, value, logged.started, 0) for key, value in scores]
        # Times follow from the start of the MLflow run, so that a row logged twice is one point, not two.
        moment = logged.started
        for row in entry.history:
            moment += round(1000 * (row.get("seconds") or 0))
            if row["epoch"] > logged.epoch:
                values = {f"epoch/{name}": row[name] for name in EPOCH if name in row}
                metrics += [(key, value, moment, row["epoch"]) for key, value in safe_keys(values).items()]
        params = safe_keys(entry.params).items()
        self.client.log_batch(
            logged.run_id,
            [Metric(*metric) for metric in metrics if isinstance(metric[1], int | float)],
            [Param(key, shorten(hide(str(value)), PARAM_LENGTH)) for key, value in params],
            [RunTag(key, value) for key, value in tags.items()],
            synchronous=True,
        )

    def show(self, entries: Iterable[Entry]) -> None:
        """Bring the saved views of MLflow's pages up to what was written."""
        boards = {
            entry.tags["board"]: (entry.tags["bench.board"], entry.data[-1].profile["evaluated_size"])
            for entry in entries
            if "board" in entry.tags
        }
        if boards:
            refresh(self.client, self.experiment_id, boards)

    def results_page(self) -> str:
        """The part of an address that opens MLflow's pages on the results."""
        refresh(self.client, self.experiment_id, {})
        return results_page(self.client, self.experiment_id)

    def _upload(self, run_id: str, name: str, path: Path) -> None:
        about = path.stat()
        upload = (run_id, name, about.st_mtime_ns, about.st_size)
        if upload in self._uploaded:
            return
        folder, _, file = name.rpartition("/")
        with time_limits(self.settings.upload_timeout), ExitStack() as stack:
            if path.name != file:
                path = shutil.copyfile(path, stack.enter_context(scratch_folder()) / file)
            self.client.log_artifact(run_id, str(path), folder or None)
        self._uploaded.add(upload)

    def files(self, run: "Run") -> "Files":
        """The artifacts of a run that was found."""
        return Files(run.info.artifact_uri, self.settings.uri)


class Files:
    """The artifacts of one run, read where they are.

    MLflow's client asks for the run, and for what kind of artifact it is, before it copies a file.

    Args:
        place: of the artifacts, as the run names it.
        store: the address of the store.
    """

    def __init__(self, place: str, store: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        self._repository = get_artifact_repository(place, tracking_uri=store)

    def names(self, folder: str) -> list[str]:
        """Of the files at the top, and of those in one folder there."""
        held = self._repository.list_artifacts()
        if any(each.is_dir and each.path == folder for each in held):
            held += self._repository.list_artifacts(folder)
        return [each.path for each in held if not each.is_dir]

    def copy(self, name: str, path: Path) -> None:
        """Copy a file, to a place whose folder exists."""
        self._repository._download_file(name, str(path))


def _dataset_input(data: Data) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    # MLflow identifies a data set by its name and a digest of at most 36 characters.
    dataset = Dataset(
        name=data.name,
        digest=data.fingerprint[:16],
        source_type="regionbench",
        source=json.dumps({"name": data.name, "fingerprint": data.fingerprint}),
        profile=json.dumps(data.profile),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", data.context)])


def _alone(database: Path | None, say: Callable[[str], None]) -> Any:
    """A lock around the first use of a SQLite file: processes that create its tables together crash."""
    if database is None:
        return nullcontext()
    database.parent.mkdir(parents=True, exist_ok=True)
    lock = database.with_name(f"{database.name}.lock")
    return waiting(lock, LOCKED_SECONDS, f"another process is opening {database}", say)
