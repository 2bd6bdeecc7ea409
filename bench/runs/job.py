"""A run, resolved: names turned into things that fit together, and a name that says what decides its weights."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.core.errors import UserError
from bench.core.names import identity, safe_name
from bench.core.threat import Threat
from bench.data import Dataset, defaults_of, fingerprint, load
from bench.evaluation.battery import Battery, make_battery
from bench.evaluation.inputs import check_data
from bench.models import MODELS
from bench.runs.config import RunConfig
from bench.training.folder import Plan
from bench.training.recipe import make_recipe
from bench.version import __version__
from defenses import get as get_defense
from defenses.base import Training


@dataclass(frozen=True)
class Job:
    """A run, resolved: the plan, and what surrounds it.

    Attributes:
        command: what gives the run again, where that is not `bench run` with the config's words.
    """

    config: RunConfig
    plan: Plan
    battery: Battery
    trials: int
    name: str
    folder: Path
    command: str = ""


def resolve(config: RunConfig) -> Job:
    """Turn names into things and check that they fit together; nothing is written.

    Raises:
        UserError: for an unknown name, a bad value, missing data, or a combination that cannot work.
    """
    defense = get_defense(config.defense)
    chosen = defense.make(config.set)
    threat = Threat.parse(config.threat) if config.threat else None
    recipe = make_recipe(config.recipe)
    device = pick_device(config.device)
    dataset = load_data(config).to(device)
    usual = defaults_of(config.dataset)
    plan = Plan(
        name=config.defense if ":" in config.defense else defense.name,
        defense=defense,
        fixed={name: chosen.hyperparameters()[name] for name in config.set},
        model=config.model,
        dataset=dataset,
        threat=threat or Threat.parse(usual.threat),
        recipe=recipe,
        epochs=config.epochs or usual.epochs,
        precision="fp32" if config.precision == "auto" else config.precision,
    )
    classifier = plan.classifier(config.seeds[0])
    # Made once for its checks alone: a stage that does not fit the epochs is refused before any training.
    chosen.objective(
        Training(classifier, dataset.train, plan.threat, plan.epochs, config.seeds[0], recipe.batch_size)
    )
    battery = make_battery(config.battery, config.metrics)
    battery.check(classifier, dataset)
    searched = set(defense.space()) - set(config.set)
    trials = (usual.trials if config.trials is None else config.trials) if searched else 0
    name = run_name(plan, trials, config.clean_floor if trials else None, device, _probes(config, dataset))
    return Job(config, plan, battery, trials, name, config.out / name)


def load_data(config: RunConfig) -> Dataset:
    """The data set a config asks for, on the CPU.

    Raises:
        UserError: when it cannot be had, or is not what a data set must be.
    """
    dataset = load(
        config.dataset,
        data_dir=config.data_dir,
        download=config.download,
        train_size=config.train_size,
        test_size=config.test_size,
        image_size=config.image_size,
    )
    check_data(dataset)
    return dataset


def run_name(
    plan: Plan,
    trials: int,
    clean_floor: float | None,
    device: torch.device,
    probes: Mapping[str, Any] | None = None,
) -> str:
    """A name for the training: readable, and ending in a hash of everything that decides its weights and probes."""
    train, validation = plan.dataset.train, plan.dataset.validation
    digits = identity(
        {
            "version": __version__,
            "defense": plan.name,
            "hyperparameters": plan.defense.make(plan.fixed).hyperparameters(),
            "space": {
                name: str(spread) for name, spread in plan.defense.space().items() if name not in plan.fixed
            },
            "source": [source_of(plan.defense), source_of(MODELS.get(plan.model))],
            "model": plan.model,
            "data": fingerprint(train.images, train.labels, validation.images, validation.labels),
            "threat": [plan.threat.norm, str(plan.threat.exact)],
            "recipe": plan.recipe.model_dump(exclude={"name"}),
            "epochs": plan.epochs,
            "trials": trials,
            "clean_floor": clean_floor,
            "precision": plan.precision,
            "device": device.type,
            # Without probes the name is that of every run before there were any.
            **({"probes": probes} if probes else {}),
        }
    )
    return "-".join(map(safe_name, (plan.dataset.name, plan.model, plan.name, digits)))


def _probes(config: RunConfig, dataset: Dataset) -> dict[str, Any] | None:
    """What decides the probes: a finished run whose history lacks them must not pass for one that has them."""
    if config.probe_every is None:
        return None
    test = fingerprint(dataset.test.images, dataset.test.labels)
    return {"every": config.probe_every, "images": config.probe_images, "test": test}


def source_of(part: object) -> str:
    """The source text of the module a plug-in comes from, so that editing it makes another run; "" if unknown."""
    try:
        module = inspect.getmodule(part)
        return inspect.getsource(module) if module else ""
    except (OSError, TypeError):
        return ""


def pick_device(name: str) -> torch.device:
    """The device called "auto" (CUDA where there is one), "cpu" or "cuda".

    Raises:
        UserError: when CUDA is asked for and not there.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda: no CUDA device is usable here; try --device cpu, and see `bench doctor`"
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def result_name(battery: Battery, test_size: int) -> str:
    """The folder of one evaluation: battery, attacked images and test images."""
    return f"{battery.name}-{min(test_size, battery.images or test_size)}of{test_size}"
