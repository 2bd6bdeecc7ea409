"""The study of a search on disk, and the files of its trials."""

import logging
from datetime import UTC
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from bench.core.errors import UserError
from bench.core.files import creating, read_json, set_aside, write_json
from bench.core.names import identity
from bench.core.progress import Progress
from bench.core.record import TRIAL, finite
from bench.core.sqlite_files import damage, sqlite_address
from bench.core.values import SearchObjective
from bench.data import fingerprint
from bench.training.objectives import DIRECTIONS
from bench.training.plan import Plan
from bench.training.trials import make_pruner, number_of
from defenses.space import Range

STUDY = "search"
#: The message of a trial that was stopped early.
PRUNED = "below the median of earlier trials"
#: The attribute of a study that says which search it is.
DIGEST = "search"
#: Tables that every study of Optuna has.
TABLES = ("studies", "trials", "trial_params", "trial_values", "study_user_attributes")
_MOMENTS = {"started", "ended"}


def open_study(
    plan: Plan,
    folder: Path,
    first: dict[str, Any],
    space: dict[str, Range],
    progress: Progress,
    objective: SearchObjective = "robust",
) -> optuna.Study:
    """Open the study of a search, or make it; one that is damaged or of another search is set aside.

    A new study beside trials that were trained goes through them again: each takes its checkpoint, and nothing is
    trained twice.

    Args:
        plan: the trainings' settings.
        folder: of the search; the study is its `search.db`.
        first: values of the first trial.
        space: hyper-parameter → its range.
        progress: told what is wrong with a study.
        objective: of the search.
    """
    digest = _digest(plan, space, objective)
    optuna.logging.set_verbosity(logging.WARNING)
    path = folder / "search.db"
    if path.exists() and (
        reason := damage(path, TABLES, thorough=True) or _foreign(path, first, digest, objective)
    ):
        set_aside(path, f"{reason}, and the search goes through its trainings again", progress.say)
    if not path.exists():
        # A database with some of its tables missing could not be opened again.
        with creating(path) as temporary:
            storage = optuna.storages.RDBStorage(sqlite_address(temporary))
            study = optuna.create_study(storage=storage, study_name=STUDY, directions=DIRECTIONS[objective])
            study.set_user_attr(DIGEST, digest)
            study.enqueue_trial(first)
            storage.remove_session()
            storage.engine.dispose()
    return optuna.load_study(storage=sqlite_address(path), study_name=STUDY, pruner=make_pruner())


def join_study(
    storage: BaseStorage,
    plan: Plan,
    name: str,
    space: dict[str, Range],
    objective: SearchObjective = "robust",
) -> optuna.Study:
    """Open the study of a search in a storage that processes share, or make it.

    Args:
        storage: that holds it.
        plan: the trainings' settings.
        name: of the study.
        space: hyper-parameter → its range.
        objective: of the search.

    Raises:
        UserError: when the study is of another search, or of one with other objectives.
    """
    optuna.logging.set_verbosity(logging.WARNING)
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        directions=DIRECTIONS[objective],
        pruner=make_pruner(),
        load_if_exists=True,
    )
    digest = _digest(plan, space, objective)
    if not _has_directions(study, objective):
        raise UserError(
            f"the storage has a study {name} with {len(study.directions)} objectives, and --objective {objective} "
            f"has {len(DIRECTIONS[objective])}; give another --storage or --out"
        )
    if study.user_attrs.get(DIGEST, digest) != digest:
        raise UserError(f"the storage has a study {name} of another search; give another --storage or --out")
    study.set_user_attr(DIGEST, digest)
    return study


def _has_directions(study: optuna.Study, objective: SearchObjective) -> bool:
    return [each.name.lower() for each in study.directions] == DIRECTIONS[objective]


def _foreign(path: Path, first: dict[str, Any], digest: str, objective: SearchObjective) -> str:
    """Why a database holds another search than the one with these first values and this digest; else ""."""
    try:
        study = optuna.load_study(storage=sqlite_address(path), study_name=STUDY)
        trials = study.get_trials(deepcopy=False)
    except (KeyError, ValueError, RuntimeError):
        return "holds no search of ours"
    # Those of earlier versions do not say what they belong to.
    same = study.user_attrs.get(DIGEST, digest) == digest and _has_directions(study, objective)
    return (
        ""
        if same and all(trial.params.keys() <= first.keys() for trial in trials)
        else "is of another search"
    )


def _digest(plan: Plan, space: dict[str, Range], objective: SearchObjective) -> str:
    train, validation = plan.dataset.train, plan.dataset.validation
    return identity(
        {
            "defense": [plan.name, plan.defense.make(plan.fixed).hyperparameters()],
            "space": {name: str(search_range) for name, search_range in space.items()},
            "data": fingerprint(train.images, train.labels, validation.images, validation.labels),
            "recipe": plan.recipe.model_dump(exclude={"name"}),
            "rest": [plan.model, plan.threat.norm, str(plan.threat.exact), plan.epochs, plan.precision],
            **({"objective": objective} if objective != "robust" else {}),
        }
    )


def describe_again(plan: Plan, trial: FrozenTrial, folder: Path, progress: Progress) -> None:
    """Write `trial.json` of a trial that has ended from the study, where it is missing, damaged or out of date."""
    path = folder / TRIAL
    try:
        about = read_json(path)
    except UserError:
        about = None
    hyperparameters = plan.defense.make({**plan.fixed, **trial.params}).hyperparameters()
    known = {"number": number_of(trial), "state": trial.state.name, "hyperparameters": hyperparameters}
    if isinstance(about, dict) and known.items() <= about.items() and about.keys() >= _MOMENTS:
        return
    if path.exists() and not path.is_file():
        set_aside(path, "is no file", progress.say)
    progress.say(f"{path} is written again from the search's database")
    started, ended = (
        moment and moment.astimezone(UTC) for moment in (trial.datetime_start, trial.datetime_complete)
    )
    write_json(
        path,
        {
            **known,
            "value": finite(trial.values[0]) if trial.values else None,
            "clean_accuracy": trial.user_attrs.get("clean_accuracy"),
            "message": PRUNED if trial.state == TrialState.PRUNED else "",
            "started": started and started.isoformat(timespec="seconds"),
            "ended": ended and ended.isoformat(timespec="seconds"),
        },
    )
