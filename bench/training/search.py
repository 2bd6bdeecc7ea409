"""Hyper-parameter search with Optuna on the validation split; the paper's defaults are the first trial."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from bench.core.checks import out_of_memory
from bench.core.errors import UserError
from bench.core.files import read_json, write_json
from bench.core.foreign_code import plugin_behind, told
from bench.core.progress import Progress
from bench.core.randomness import derive_seed
from bench.core.record import SEARCH, TRIAL, Search, finite
from bench.training.folder import Plan, train_in_folder, trained_rows
from bench.training.history import HistoryRow, clean_accuracy, robust_accuracy
from bench.training.loop import Diverged, Stop
from bench.training.study import PRUNED, describe_again, open_study
from bench.training.validation import CLEAN_LOSS
from defenses.base import Defense
from defenses.space import Choice, LogUniform, Range

#: All trials train with this seed, so that only their hyper-parameters differ.
TRIAL_SEED = 0

OBJECTIVE = (
    "validation robust accuracy: images that survive PGD-20 and the C&W-margin attack at the threat's ε"
)
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
) -> SearchOutcome:
    """Search for hyper-parameters in `trials` trainings; an interrupted search resumes.

    The study is stored in `folder/search.db`, each trial in `folder/trials/NNNN`. An interrupted trial keeps its
    hyper-parameters and resumes from its checkpoint. The sampler's seed is derived from the number of the trial.

    Args:
        plan: the trainings' settings; hyper-parameters in `plan.fixed` are not searched.
        folder: of the search.
        trials: how many settings to try; 0, or a defense without search ranges, uses the defaults.
        clean_floor: validation clean accuracy that a setting must reach; None takes the first trial's minus
            0.10.
        progress: where the bars go.
        changed: called after every epoch and every trial.

    Raises:
        UserError: when no trial finished, or the study's database cannot be used.
    """
    try:
        return _search(plan, folder, trials, clean_floor, progress, changed)
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
        raise UserError(f"cannot use the search's database in {folder}: {_root(error)}") from error


def _root(error: BaseException) -> str:
    while (cause := error.__cause__) is not None:
        error = cause
    return str(error).partition("\n")[0]


def _search(
    plan: Plan,
    folder: Path,
    trials: int,
    clean_floor: float | None,
    progress: Progress,
    changed: Callable[[], None],
) -> SearchOutcome:
    space = {
        name: search_range for name, search_range in plan.defense.space().items() if name not in plan.fixed
    }
    if trials == 0 or not space:
        return SearchOutcome(plan.defense.make(plan.fixed), None, None)
    defaults = plan.defense.make(plan.fixed).hyperparameters()
    study = open_study(plan, folder, {name: defaults[name] for name in space}, space, progress)
    for ended in _ended(study):
        describe_again(plan, ended, _trial_folder(folder, ended.number), progress)
    with progress.task(f"search {plan.defense.name}", trials) as task:
        task.advance(len(_ended(study)))
        while (trial := _next_trial(study, trials)) is not None:
            _run_trial(plan, study, trial, space, _floor(study, clean_floor), folder, progress, changed)
            task.advance(1, _note(study, clean_floor, folder))
            changed()
    best = _best(study, clean_floor, folder)
    summary = _summary(study, best, space, _floor(study, clean_floor), folder, progress)
    write_json(folder / SEARCH, summary.model_dump(mode="json"))
    return SearchOutcome(
        plan.defense.make({**plan.fixed, **best.params}), summary, _trial_folder(folder, best.number)
    )


def _ended(study: optuna.Study) -> list[FrozenTrial]:
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def _next_trial(study: optuna.Study, trials: int) -> optuna.Trial | None:
    """The trial that the last process left unfinished, else a new one, else None."""
    unfinished = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    number = unfinished[0].number if unfinished else len(_ended(study))
    if not unfinished and number >= trials:
        return None
    # The sampler's state is not stored, so its seed must not depend on how often the search was interrupted.
    study.sampler = optuna.samplers.TPESampler(seed=derive_seed("sampler", number) % 2**32)
    return optuna.Trial(study, unfinished[0]._trial_id) if unfinished else study.ask()


def _run_trial(
    plan: Plan,
    study: optuna.Study,
    trial: optuna.Trial,
    space: dict[str, Range],
    floor: float,
    folder: Path,
    progress: Progress,
    changed: Callable[[], None],
) -> None:
    values = {name: _suggest(trial, name, search_range, plan.defense) for name, search_range in space.items()}
    defense = plan.defense.make({**plan.fixed, **values})
    here = _trial_folder(folder, trial.number)
    entry: dict[str, Any] = {
        "number": trial.number,
        "state": "RUNNING",
        "hyperparameters": defense.hyperparameters(),
        "value": None,
        "clean_accuracy": None,
        "message": "",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "ended": None,
    }
    write_json(here / TRIAL, entry)

    last: HistoryRow = {}

    def report(row: HistoryRow) -> None:
        nonlocal last
        last, step = row, int(row["epoch"] or 0)
        if step not in study.get_trials(deepcopy=False)[trial.number].intermediate_values:
            trial.report(robust_accuracy(row), step)
        changed()
        if trial.should_prune() and step < plan.epochs:
            raise Stop

    state, value, message = TrialState.COMPLETE, None, ""
    try:
        _, result = train_in_folder(plan, defense, TRIAL_SEED, here, progress, report)
        kept = result.history[result.epoch_of_weights - 1]
        value, clean = robust_accuracy(kept), clean_accuracy(kept)
    except Stop:
        state, message = TrialState.PRUNED, PRUNED
        clean = clean_accuracy(last)
    except BaseException as error:
        if not _fails_the_trial(error):
            raise
        state, clean = TrialState.FAIL, None
        message = str(error) if isinstance(error, UserError) else told(error)
        progress.say(f"trial {trial.number} failed: {message}")
    if clean is not None:
        trial.set_user_attr("clean_accuracy", clean)
        trial.set_constraint(FLOOR, floor - clean)
    study.tell(trial, value, state=state)
    entry |= {
        "state": state.name,
        "value": value,
        "clean_accuracy": clean,
        "message": message,
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(here / TRIAL, entry)


def _fails_the_trial(error: BaseException) -> bool:
    """Whether an error comes from the settings or the code under trial: the next trial may do better.

    A full disk, a database that is gone, too little memory and Ctrl-C end the search, which goes on from there.
    """
    if isinstance(error, Diverged) or plugin_behind(error):
        return not isinstance(error, KeyboardInterrupt)
    ours = (UserError, OSError, optuna.exceptions.StorageInternalError, SQLAlchemyError)
    return isinstance(error, Exception) and not isinstance(error, ours) and not out_of_memory(error)


def _suggest(trial: optuna.Trial, name: str, search_range: Range, defense: type[Defense]) -> Any:
    if isinstance(search_range, Choice):
        return trial.suggest_categorical(name, list(search_range.values))
    default = defense.make({}).hyperparameters()[name]
    if (
        not search_range.low
        <= (default if isinstance(default, int | float) else search_range.low)
        <= search_range.high
    ):
        raise UserError(
            f"defense {defense.name}: the default of {name} ({default}) lies outside its search range "
            f"{search_range.low:g} … {search_range.high:g}"
        )
    log = isinstance(search_range, LogUniform)
    if isinstance(default, int) and not isinstance(default, bool):
        return trial.suggest_int(name, int(search_range.low), int(search_range.high), log=log)
    return trial.suggest_float(name, search_range.low, search_range.high, log=log)


def _floor(study: optuna.Study, clean_floor: float | None) -> float:
    if clean_floor is not None:
        return clean_floor
    # Relative to the defaults; where training with those failed, to the highest clean accuracy of any trial.
    known = [
        float(trial.user_attrs["clean_accuracy"])
        for trial in _ended(study)
        if "clean_accuracy" in trial.user_attrs
    ]
    first = study.get_trials(deepcopy=False)[0].user_attrs.get("clean_accuracy", max(known, default=0.0))
    return max(0.0, float(first) - CLEAN_LOSS)


def _best(study: optuna.Study, clean_floor: float | None, folder: Path) -> FrozenTrial:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        first = read_json(_trial_folder(folder, 0) / TRIAL)["message"]
        raise UserError(
            f"no trial of the search could be finished; each {TRIAL} says why, the first: {first}"
        )
    floor = _floor(study, clean_floor)
    # Where all trials are below the floor, the closest one. The earlier trial wins ties, and so do the defaults.
    return max(
        complete,
        key=lambda trial: (
            min(trial.user_attrs["clean_accuracy"] - floor, 0.0),
            trial.value if trial.value is not None else 0.0,
            -trial.number,
        ),
    )


def _note(study: optuna.Study, clean_floor: float | None, folder: Path) -> str:
    try:
        best = _best(study, clean_floor, folder)
    except UserError:
        return "none finished yet"
    return f"best so far {best.value:.1%} robust (trial {best.number})"


def _summary(
    study: optuna.Study,
    best: FrozenTrial,
    space: dict[str, Range],
    floor: float,
    folder: Path,
    progress: Progress,
) -> Search:
    trials = study.get_trials(deepcopy=False)
    states = [trial.state for trial in trials]
    rows = [
        row for trial in trials for row in trained_rows(_trial_folder(folder, trial.number), progress.say)
    ]
    return Search(
        trials=len(trials),
        complete=states.count(TrialState.COMPLETE),
        pruned=states.count(TrialState.PRUNED),
        failed=states.count(TrialState.FAIL),
        objective=OBJECTIVE,
        clean_floor=floor,
        space={name: str(search_range) for name, search_range in space.items()},
        default_value=finite(trials[0].value) if trials[0].state == TrialState.COMPLETE else None,
        best_value=finite(best.value),
        best_trial=best.number,
        seconds=sum(float(row["seconds"] or 0) for row in rows),
    )


def _trial_folder(folder: Path, number: int) -> Path:
    return folder / "trials" / f"{number:04d}"
