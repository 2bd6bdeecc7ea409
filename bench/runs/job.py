"""A run, resolved: names turned into objects that fit together, and the folder to work in."""

import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.core.classifier import NO_HEAD, Classifier, WrappedClassifier
from bench.core.errors import UserError
from bench.core.foreign import try_training
from bench.core.values import shown
from bench.data import Dataset
from bench.evaluation.battery import Battery, make_battery
from bench.runs.config import RunConfig
from bench.runs.identity import find_earlier_run, run_name, training_identity
from bench.runs.plan import count_trials, make_plan
from bench.training.compiled import COMPILED, CompiledPasses
from bench.training.objectives import check_objective
from bench.training.plan import Plan
from bench.training.precision import choose, worth_a_trial
from bench.training.storage import check_storage
from defenses.base import Objective, Training

#: The environment's way to give `--storage`, which keeps a password out of the list of processes.
STORAGE_VARIABLE = "REGIONBENCH_STORAGE"


@dataclass(frozen=True)
class Job:
    """A run, resolved: the plan, and what surrounds it.

    Attributes:
        trials: settings that the search tries.
        identity: what decides the weights and the probes; the run's name ends in a hash of it.
        name: of the run, and of its folder.
        command: what gives the run again, where that is not `bench run` with the config's words.
    """

    config: RunConfig
    plan: Plan
    battery: Battery
    trials: int
    identity: dict[str, Any]
    name: str
    folder: Path
    command: str = ""

    @property
    def storage(self) -> str | None:
        """Where processes share the search; None where one process searches."""
        return storage_of(self.config) if self.trials else None


def resolve(
    config: RunConfig, dataset: Dataset | None = None, battery: Battery | None = None, command: str = ""
) -> Job:
    """Turn names into objects and check that they fit together; nothing is written.

    Args:
        config: the settings of the run.
        dataset: the config's data, where it is loaded already.
        battery: None takes the config's.
        command: what gives the run again; "" is `bench run` with the config's words.

    Raises:
        UserError: for an unknown name, a bad value, missing data, or a combination that cannot work.
    """
    plan = make_plan(config, dataset)
    check_objective(config.objective, plan.defense, plan.fixed, count_trials(config, plan))
    classifier = plan.classifier(config.seeds[0])
    # Only for its checks: a stage that does not fit the number of epochs is refused before any training.
    objective = plan.defense.make(plan.fixed).objective(
        Training(
            classifier, plan.dataset.train, plan.threat, plan.epochs, config.seeds[0], plan.recipe.batch_size
        )
    )
    if not isinstance(objective, Objective):
        raise UserError(
            f"defense {plan.name!r}: objective() must return an Objective, got {shown(objective)}"
        )
    if isinstance(classifier, WrappedClassifier):
        try_training(classifier.module, plan.dataset.shape, plan.dataset.num_classes)
    battery = battery or make_battery(config.battery, config.metrics)
    battery.check(classifier, plan.dataset)
    if classifier.site == "none":
        _check_head(config, battery)
    if config.precision == COMPILED:
        CompiledPasses(classifier)  # refuses a network that it cannot compile
    folder = _folder(config, plan)
    if config.precision == "auto" and worth_a_trial(len(plan.dataset.train), plan.recipe, plan.epochs):
        if not folder.exists():
            plan = _with_precision(config, plan, classifier)
            folder = _folder(config, plan)
        # Another machine may choose otherwise, so the command says it.
        config = config.model_copy(update={"precision": plan.precision})
    identity = training_identity(config, plan)
    # One of the environment may be for other runs; one that was given is checked though nothing is searched.
    if (storage := storage_of(config)) and (config.storage or count_trials(config, plan)):
        check_storage(storage)
    return Job(config, plan, battery, count_trials(config, plan), identity, folder.name, folder, command)


def storage_of(config: RunConfig) -> str | None:
    """The storage of a run's search, from its settings or from the environment."""
    return config.storage or os.environ.get(STORAGE_VARIABLE) or None


def _folder(config: RunConfig, plan: Plan) -> Path:
    folder = config.out / run_name(plan, training_identity(config, plan))
    return folder if folder.exists() else find_earlier_run(config, plan) or folder


def _with_precision(config: RunConfig, plan: Plan, classifier: Classifier) -> Plan:
    """The plan in the precision of its run where one has begun, else in that which a trial finds faster."""
    for precision in ("bf16", COMPILED):
        begun = replace(plan, precision=precision)
        if _folder(config, begun).exists():
            return begun
    defense = plan.defense.make(plan.fixed)
    choice = choose(
        defense, classifier, plan.dataset.train, plan.recipe, plan.threat, plan.epochs, plan.model
    )
    return replace(plan, precision=choice.precision, step_seconds=choice.step_seconds)


def _check_head(config: RunConfig, battery: Battery) -> None:
    """For a network without a linear head, refuse what was asked for and cannot be measured; warn of the rest."""
    if config.probe_every is not None:
        raise UserError(f"--probe-every reads decision regions: {NO_HEAD}")
    unmeasurable = [metric.name for metric in battery.metrics if metric.needs_head]
    if unmeasurable and config.metrics:
        raise UserError(f"--metrics {','.join(unmeasurable)}: {NO_HEAD}")
    if unmeasurable:
        warnings.warn(f"{', '.join(unmeasurable)} will be left out: {NO_HEAD}", stacklevel=2)


def result_name(battery: Battery, test_size: int) -> str:
    """The folder of one evaluation: battery, attacked images and test images."""
    return f"{battery.name}-{min(test_size, battery.images or test_size)}of{test_size}"
