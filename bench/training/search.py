"""Hyper-parameter search with Optuna on the validation split; the paper's defaults are the first trial."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from bench.core.errors import UserError, out_of_memory
from bench.core.files import read_json, write_json
from bench.core.foreign_code import plugin_behind, told
from bench.core.locks import SEARCH_LOCK, locked, search_worker
from bench.core.progress import Progress
from bench.core.record import SEARCH, TRIAL, Search, finite
from bench.core.values import SearchObjective
from bench.training.choice import CLEAN, choose, find_floor, robust
from bench.training.folder import train_in_folder, trained_rows
from bench.training.history import HistoryRow, clean_accuracy, robust_accuracy
from bench.training.loop import Diverged, Stop
from bench.training.objectives import DIRECTIONS, WORDS, make_front, values_with_outcomes
from bench.training.plan import Plan
from bench.training.storage import is_of_storage, is_shared, open_storage, root
from bench.training.study import PRUNED, describe_again, join_study, open_study
from bench.training.trials import PRUNER, SAMPLER, SharedTrials, Trials, make_sampler, number_of, suggest
from defenses.base import Defense
from defenses.space import Range

#: All trials train with this seed, so that only their hyper-parameters differ.
TRIAL_SEED = 0
#: Attribute of a trial: the seconds of its training.
SECONDS = "seconds"
#: Attribute of a trial with several objectives: the epochs that were trained.
EPOCH = "epoch"

FLOOR = "clean accuracy"


@dataclass(frozen=True)
class SearchOutcome:
    """The outcome of a search.

    Attributes:
        defense: with the hyper-parameters to use.
        search: its summary for the record; None when nothing was searched.
        folder: of the best trial, whose training can be reused; None when nothing was searched.
    """

    defense: Defense
    search: Search | None
    folder: Path | None


def search(
    plan: Plan,
    folder: Path,
    trials: int,
    clean_floor: float | None,
    progress: Progress,
    changed: Callable[[], None] = lambda: None,
    storage: str | None = None,
    objective: SearchObjective = "robust",
) -> SearchOutcome:
    """Search for hyper-parameters in `trials` trainings; an interrupted search resumes.

    The study is stored in `folder/search.db`, or in a storage that several processes share, each trial in
    `folder/trials/NNNN`. An interrupted trial keeps its hyper-parameters and resumes from its checkpoint. The
    sampler's seed is derived from the number of the trial.

    Args:
        plan: the trainings' settings; hyper-parameters in `plan.fixed` are not searched.
        folder: of the search; its name is that of the study in a storage.
        trials: how many settings to try, by all processes together; 0, or a defense without search ranges, uses
            the defaults.
        clean_floor: validation clean accuracy that a setting must reach; None takes the first trial's minus
            0.10.
        progress: where the bars go.
        changed: called after every epoch and every trial.
        storage: as for `bench.training.storage.open_storage`; None keeps the study in the folder.
        objective: but for "robust", no trial is pruned.

    Raises:
        UserError: when no trial finished, or the study's database cannot be used.
    """
    space = {
        name: search_range for name, search_range in plan.defense.space().items() if name not in plan.fixed
    }
    if trials == 0 or not space:
        return SearchOutcome(plan.defense.make(plan.fixed), None, None)
    try:
        with _open(plan, folder, trials, space, storage, progress, objective) as study:
            return _Searcher(plan, study, space, clean_floor, folder, progress, changed, objective).search()
    except Exception as error:
        if not is_of_storage(error):
            raise
        where = f"database in {folder}" if storage is None else "storage"
        raise UserError(f"cannot use the search's {where}: {root(error)}") from error


@contextmanager
def _open(
    plan: Plan,
    folder: Path,
    count: int,
    space: dict[str, Range],
    storage: str | None,
    progress: Progress,
    objective: SearchObjective,
) -> Iterator[Trials]:
    defaults = plan.defense.make(plan.fixed).hyperparameters()
    first = {name: defaults[name] for name in space}
    if storage is None:
        yield Trials(open_study(plan, folder, first, space, progress, objective), count, make_sampler)
        return
    with open_storage(storage) as opened, search_worker(folder):
        study = join_study(opened, plan, folder.name, space, objective)
        trials = SharedTrials(study, count, make_sampler, storage=opened, first=first)
        # All at once would each enqueue all, which counts once and yet fills the storage; one alone has the lock.
        with locked(folder / SEARCH_LOCK, "", wait=lambda: None) if is_shared(storage) else nullcontext():
            trials.enqueue_all()
        yield trials


@dataclass(frozen=True)
class _Searcher:
    """What the parts of a search have in common; the attributes are the arguments of `search`."""

    plan: Plan
    trials: Trials
    space: dict[str, Range]
    clean_floor: float | None
    folder: Path
    progress: Progress
    changed: Callable[[], None]
    objective: SearchObjective

    def search(self) -> SearchOutcome:
        plan, trials = self.plan, self.trials
        if not isinstance(trials, SharedTrials):  # others may be about to write theirs
            self._describe_again()
        with self.progress.task(f"search {plan.defense.name}", trials.count) as task:
            done = len(trials.ended())
            task.advance(done)
            while (trial := trials.take(self.progress.say)) is not None:
                try:
                    with trials.held(trial):
                        self._run(trial)
                except UpdateFinishedTrialError:
                    self.progress.say(f"trial {number_of(trial)} was taken over by another process")
                before, done = done, len(trials.ended())
                task.advance(done - before, self._note())
                self.changed()
        best = choose(trials.ended(), self.clean_floor)
        if best is None:
            home = self._home(number_of(trials.ended()[0]))
            said = read_json(home / TRIAL)["message"] if (home / TRIAL).exists() else "see its process"
            raise UserError(
                f"no trial of the search could be finished; each {TRIAL} says why, the first: {said}"
            )
        number = number_of(best)
        summary = self._summary(number, best.values)
        write_json(self.folder / SEARCH, summary.model_dump(mode="json"))
        return SearchOutcome(plan.defense.make({**plan.fixed, **best.params}), summary, self._home(number))

    def _home(self, number: int) -> Path:
        return self.folder / "trials" / f"{number:04d}"

    def _describe_again(self) -> None:
        for trial in self.trials.ended():
            describe_again(self.plan, trial, self._home(number_of(trial)), self.progress)

    def _note(self) -> str:
        best = choose(self.trials.ended(), self.clean_floor)
        if best is None:
            return "none finished yet"
        return f"best so far {robust(best):.1%} robust (trial {number_of(best)})"

    def _run(self, trial: optuna.Trial) -> None:
        plan, here = self.plan, self._home(number_of(trial))
        values = {
            name: suggest(trial, name, search_range, plan.defense)
            for name, search_range in self.space.items()
        }
        defense = plan.defense.make({**plan.fixed, **values})
        entry: dict[str, Any] = {
            "number": number_of(trial),
            "state": "RUNNING",
            "hyperparameters": defense.hyperparameters(),
            "value": None,
            "clean_accuracy": None,
            "message": "",
            "started": (trial.datetime_start or datetime.now()).astimezone(UTC).isoformat(timespec="seconds"),
            "ended": None,
        }
        write_json(here / TRIAL, entry)
        state, reached, clean, message = self._train(trial, defense, here)
        if clean is not None:
            trial.set_user_attr(CLEAN, clean)
            if len(DIRECTIONS[self.objective]) == 1:
                trial.set_constraint(FLOOR, find_floor(self.trials.ended(), self.clean_floor) - clean)
        trial.set_user_attr(SECONDS, self._seconds(here))
        ended = self.trials.study.tell(trial, reached, state=state).datetime_complete or datetime.now()
        entry |= {
            "state": state.name,
            "value": reached[0] if reached else None,
            "clean_accuracy": clean,
            "message": message,
            "ended": ended.astimezone(UTC).isoformat(timespec="seconds"),
        }
        write_json(here / TRIAL, entry)

    def _train(
        self, trial: optuna.Trial, defense: Defense, here: Path
    ) -> tuple[TrialState, list[float] | None, float | None, str]:
        """Train a setting; returns how it ended, its values, its clean accuracy, and a message."""
        last: HistoryRow = {}

        def report(row: HistoryRow) -> None:
            nonlocal last
            last, step = row, int(row["epoch"] or 0)
            # Optuna prunes by one value alone, and an epoch is not screened.
            if self.objective != "robust":
                trial.set_user_attr(EPOCH, step)  # raises where another process has taken the trial over
                self.changed()
                return
            if step not in self.trials.study.get_trials(deepcopy=False)[trial.number].intermediate_values:
                trial.report(robust_accuracy(row), step)
            self.changed()
            if trial.should_prune() and step < self.plan.epochs:
                raise Stop

        try:
            network, result = train_in_folder(
                self.plan, defense, TRIAL_SEED, here, self.progress, report, thorough=True
            )
        except Stop:
            return TrialState.PRUNED, None, clean_accuracy(last), PRUNED
        except BaseException as error:
            if not _fails_the_trial(error):
                raise
            message = str(error) if isinstance(error, UserError) else told(error)
            self.progress.say(f"trial {number_of(trial)} failed: {message}")
            return TrialState.FAIL, None, None, message
        kept = result.history[result.epoch_of_weights - 1]
        values = [robust_accuracy(kept)]
        if self.objective != "robust":
            values = values_with_outcomes(trial, self.plan, defense, network, TRIAL_SEED, self.objective)
        return TrialState.COMPLETE, values, values[1] if values[1:] else clean_accuracy(kept), ""

    def _seconds(self, here: Path) -> float:
        return sum(float(row["seconds"] or 0) for row in trained_rows(here, self.progress.say))

    def _summary(self, number: int, values: list[float]) -> Search:
        trials = self.trials.ended()
        states = [trial.state for trial in trials]
        return Search(
            trials=len(trials),
            complete=states.count(TrialState.COMPLETE),
            pruned=states.count(TrialState.PRUNED),
            failed=states.count(TrialState.FAIL),
            objective=WORDS[self.objective],
            clean_floor=find_floor(trials, self.clean_floor),
            space={name: str(search_range) for name, search_range in self.space.items()},
            default_value=finite(robust(trials[0])) if trials[0].state == TrialState.COMPLETE else None,
            best_value=finite(values[0]),
            best_trial=number,
            seconds=sum(
                trial.user_attrs[SECONDS]
                if SECONDS in trial.user_attrs
                else self._seconds(self._home(number_of(trial)))
                for trial in trials
            ),
            sampler={"name": "TPESampler", "seed": "from the trial's number", **SAMPLER},
            pruner={"name": "MedianPruner", **PRUNER} if self.objective == "robust" else {},
            optuna=optuna.__version__,
            front=make_front(trials) if len(DIRECTIONS[self.objective]) > 1 else None,
        )


def _fails_the_trial(error: BaseException) -> bool:
    """Whether an error comes from the settings or the code under trial: the next trial may do better.

    A full disk, a database that is gone, too little memory and Ctrl-C end the search, which goes on from there.
    """
    if isinstance(error, Diverged) or plugin_behind(error):
        return not isinstance(error, KeyboardInterrupt)
    ours = isinstance(error, UserError | OSError) or is_of_storage(error)
    return isinstance(error, Exception) and not ours and not out_of_memory(error)
