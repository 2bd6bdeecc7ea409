"""The main job: search, train, evaluate, record, track, draw the pages."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from torch import nn

from bench.core import record as schema
from bench.core.errors import UserError
from bench.core.files import replacing
from bench.core.locks import SEARCH_LOCK, held, locked, seed_lock
from bench.core.progress import Progress, readable
from bench.core.record import RECORD, RUN, Record, find_records
from bench.core.temporary import sweep_all
from bench.data import fingerprint
from bench.evaluation.alarms.signal import WHAT_TO_CHANGE, tied_at_zero
from bench.evaluation.describe import Trained, code_of_data, code_of_defense
from bench.evaluation.estimate import estimate
from bench.evaluation.evaluate import evaluate_to_folder
from bench.evaluation.extra_checks import unanswered
from bench.models import MODELS
from bench.runs.cards import defense_cards
from bench.runs.config import RunConfig
from bench.runs.job import Job, resolve, result_name
from bench.runs.kept import finished_record, keep_history, write_run
from bench.runs.outcome import say_result, transfer_source
from bench.training.folder import CHECKPOINT, train_in_folder
from bench.training.loop import Diverged
from bench.training.plan import Plan
from bench.training.probes import Probe, make_probe
from bench.training.search import TRIAL_SEED, SearchOutcome, search
from bench.training.storage import is_shared
from bench.training.timing import StandardClock
from leaderboards.build import build as build_site
from leaderboards.replace import alone
from leaderboards.studies import find_studies
from metrics import titles


class Tracker(Protocol):
    """Log results to a tracking store; `bench.tracking` has the implementation and a null tracker."""

    def sync(self, run_folder: Path, *, final: bool = False) -> None:
        """Log what is new in a run folder; returns at once, and a server that is down raises no error."""

    def catch_up(self, run_folders: Iterable[Path]) -> None:
        """Log what earlier processes did not live to log of run folders; as `sync`."""

    def links(self, records: Sequence[Path]) -> dict[str, str]:
        """Record id → run id in the tracking store, for those that were logged."""


class TrainingFailed(UserError):
    """A training diverged; the message gives seed, epoch and cause."""


def run(config: RunConfig, tracker: Tracker, progress: Progress) -> list[Path]:
    """Do what is left of a run, draw the pages, and return the paths of its records, one per seed.

    Raises:
        UserError: for a setting that cannot work, before anything is written.
    """
    paths = run_job(resolve(config), tracker, progress)
    build_pages(config.out, tracker, progress)
    return paths


def run_job(job: Job, tracker: Tracker, progress: Progress) -> list[Path]:
    """Do what is left of a resolved run and return the paths of its records; no pages are drawn.

    Other processes may work on other seeds of the run: the first of them searches, and the others wait for it. With
    a storage that is shared, all of them search, and divide the seeds among themselves.

    Raises:
        TrainingFailed: when a training diverges.
        UserError: when another process works on one of the seeds, or the folder cannot be written.
    """
    seeds = job.config.seeds
    transfer = transfer_source(job.config, job.plan.dataset)
    if is_shared(job.storage):
        found = _find(job, tracker, progress)
        for seed in sorted(seeds, key=lambda seed: held(job.folder / seed_lock(seed))):
            with _at_work(job, [seed], tracker, progress.say):
                _train_and_evaluate(job, found, seed, progress, tracker, transfer)
        return [result_folder(job, seed) / RECORD for seed in seeds]
    with _at_work(job, seeds, tracker):
        found = _find(job, tracker, progress)
        paths = []
        for seed in seeds:
            paths.append(_train_and_evaluate(job, found, seed, progress, tracker, transfer))
            tracker.sync(job.folder)
    return paths


def _find(job: Job, tracker: Tracker, progress: Progress) -> SearchOutcome:
    """The outcome of the search, said to the user where it means nothing."""
    if not all(finished_result(job, seed, progress) for seed in job.config.seeds):
        _announce(job, progress)
    found = run_search(job, tracker, progress)
    if tied_at_zero(found.search):
        progress.say(f"no trial of the search was robust, so its choice means nothing: try {WHAT_TO_CHANGE}")
    return found


def run_search(job: Job, tracker: Tracker, progress: Progress) -> SearchOutcome:
    """Do what is left of the search of a resolved run.

    It waits while another process searches; with a storage that is shared, both search.

    Raises:
        UserError: when no trial finished, or the folder cannot be written.
    """

    def wait() -> None:
        progress.say(f"waiting for another process, which works on the search in {job.folder}")

    def changed() -> None:
        tracker.sync(job.folder)

    with locked(job.folder / SEARCH_LOCK, "", wait=wait):
        if job.storage is None:
            sweep_all(job.folder)
        write_run(job, progress.say)
        tracker.sync(job.folder)
        if not is_shared(job.storage):
            return _search(job, progress, changed)
    return _search(job, progress, changed)


def _search(job: Job, progress: Progress, changed: Callable[[], None]) -> SearchOutcome:
    config = job.config
    return search(
        job.plan,
        job.folder,
        job.trials,
        config.clean_floor,
        progress,
        changed,
        storage=job.storage,
        objective=config.objective,
    )


@contextmanager
def _at_work(
    job: Job, seeds: Sequence[int], tracker: Tracker, say: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the locks of the seeds while the block runs, and have the last word on them tracked.

    Args:
        say: told what is waited for, where another process holds a lock; None does not wait.
    """
    try:
        with ExitStack() as locks:
            for seed in sorted(seeds):
                busy = f"another process is working on seed {seed} in {job.folder}"
                wait = partial(say, f"{busy}; waiting for it") if say else None
                locks.enter_context(locked(job.folder / seed_lock(seed), busy, wait=wait))
            yield
    finally:
        if (job.folder / RUN).exists():
            tracker.sync(job.folder, final=True)


def result_folder(job: Job, seed: int) -> Path:
    """The folder of the result of a seed."""
    return job.folder / f"seed-{seed}" / result_name(job.battery, len(job.plan.dataset.test))


def finished_result(job: Job, seed: int, progress: Progress) -> Record | None:
    """The finished record of a seed, if it fits the battery and the test images."""
    record = finished_record(result_folder(job, seed), progress.say)
    if record is None:
        return None
    images, labels = job.plan.dataset.test.batch(slice(0, job.battery.images))
    same = (
        record.battery.version == job.battery.version
        and record.dataset.evaluated_fingerprint == fingerprint(images, labels)
        and record.dataset.test_size == len(job.plan.dataset.test)
        and not unanswered(record, job.config.escalate)
    )
    return record if same else None


def _train_and_evaluate(
    job: Job,
    found: SearchOutcome,
    seed: int,
    progress: Progress,
    tracker: Tracker,
    transfer: nn.Module | Path,
) -> Path:
    folder, home = result_folder(job, seed), job.folder / f"seed-{seed}"
    if record := finished_result(job, seed, progress):
        keep_history(home, record, progress.say)
        return folder / RECORD
    plan = job.plan
    # Trials have no probes, since the search must not see test images; a probed run trains again.
    if found.folder is not None and seed == TRIAL_SEED and job.config.probe_every is None:
        _take_over(found.folder, home)
    try:
        classifier, result = train_in_folder(
            plan, found.defense, seed, home, progress, lambda row: tracker.sync(job.folder), _probe(job, seed)
        )
    except Diverged as error:
        raise TrainingFailed(f"training with seed {seed} failed: {error}") from error
    images = min(len(plan.dataset.test), job.battery.images or len(plan.dataset.test))
    progress.say(f"seed {seed}: {estimate(images, classifier, plan.dataset, job.battery)}")
    record = evaluate_to_folder(
        classifier,
        plan.dataset,
        plan.threat,
        job.battery,
        model=plan.model,
        trained=Trained(
            defense=schema.Defense(
                name=plan.name,
                hyperparameters=found.defense.hyperparameters(),
                defaults=plan.defense.make({}).hyperparameters(),
                search=found.search,
            ),
            recipe=plan.recipe,
            precision=plan.precision,
            step_seconds=plan.step_seconds,
            epochs=plan.epochs,
            epoch_of_weights=result.epoch_of_weights,
            best_epoch=result.best_epoch,
            history=result.history,
        ),
        run=job.name,
        seed=seed,
        folder=folder,
        command=job.command or job.config.command(),
        config=job.config.published(),
        progress=progress,
        escalate=job.config.escalate,
        transfer_from=transfer,
        parts=[
            *code_of_defense(plan.defense),
            ("network", MODELS.get(plan.model)),
            *code_of_data(job.config.dataset),
        ],
    )
    say_result(record, progress)
    return folder / RECORD


def _probe(job: Job, seed: int) -> Probe | None:
    every, plan = job.config.probe_every, job.plan
    if every is None:
        return None
    return make_probe(
        plan.dataset,
        plan.threat,
        every=every,
        images=job.config.probe_images,
        epochs=plan.epochs,
        seed=seed,
    )


def _take_over(trial: Path, home: Path) -> None:
    """Continue from the last epoch of the best trial, which had this seed and these settings."""
    if not (home / CHECKPOINT).exists() and (trial / CHECKPOINT).is_file():
        with replacing(home / CHECKPOINT) as temporary:
            shutil.copyfile(trial / CHECKPOINT, temporary)


def _announce(job: Job, progress: Progress) -> None:
    """Announce the run and estimate its time from a measured epoch of standard training."""
    plan = job.plan
    epoch = epoch_seconds(plan)
    trials = job.trials
    trainings = trials + len(job.config.seeds) - (1 if trials and TRIAL_SEED in job.config.seeds else 0)
    progress.say(
        f"{job.name}: {plan.name} on {len(plan.dataset.train)} images of {plan.dataset.name}, {plan.threat}"
    )
    progress.say(
        f"{trials} trials and {len(job.config.seeds)} seeds of {plan.epochs} epochs: about "
        f"{readable(trainings * plan.epochs * epoch)} of training ({epoch:.2g} s an epoch) if no trial is pruned"
    )


def epoch_seconds(plan: Plan) -> float:
    """Estimate the seconds of an epoch from a measured one of standard training and the defense's passes."""
    clock = StandardClock(plan.classifier(0), plan.dataset.train, plan.recipe, 0, plan.precision)
    return clock.epoch_seconds() * plan.defense.make(plan.fixed).forward_units() / 3


def build_pages(out: Path, tracker: Tracker, progress: Progress) -> Path | None:
    """Draw all records below `out` into `out/site`; give the front page.

    Whatever goes wrong is said, and fails no run: the page is None then.
    """
    site = out / "site"
    try:
        with alone(site):
            records = find_records(out)
            build_site(
                records,
                site,
                links=tracker.links(records),
                titles=titles(),
                cards=defense_cards(),
                studies=find_studies(out),
                strict=False,
            )
    except Exception as error:  # the results are kept, and other runs' files may be damaged in any way
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        progress.say(
            f"pages not drawn: {' '.join(reason.split())}; `bench leaderboard build --records {out} --out {site}` "
            f"draws them later"
        )
        return None
    return site / "index.html"
