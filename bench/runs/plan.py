"""The data and the training plan that a run's settings ask for."""

import torch

from bench.core.errors import UserError
from bench.core.threat import Threat
from bench.core.values import device
from bench.data import Dataset, defaults_of, load
from bench.evaluation.inputs import check_data
from bench.runs.config import RunConfig
from bench.training.plan import Plan
from bench.training.recipe import make_recipe
from defenses import get as get_defense


def make_plan(config: RunConfig, dataset: Dataset | None = None) -> Plan:
    """What every training of a run has in common.

    Args:
        dataset: the config's data, where it is loaded already.

    Raises:
        UserError: for an unknown name, a bad value or missing data.
    """
    defense = get_defense(config.defense)
    chosen = defense.make(config.set).hyperparameters()
    usual = defaults_of(config.dataset)
    threat = Threat.parse(config.threat or usual.threat)
    recipe = make_recipe(config.recipe)
    if dataset is None:
        device = pick_device(config.device)
        dataset = load_data(config).to(device)
    return Plan(
        name=config.defense if ":" in config.defense else defense.name,
        defense=defense,
        fixed={name: chosen[name] for name in config.set},
        model=config.model,
        dataset=dataset,
        threat=threat,
        recipe=recipe,
        epochs=config.epochs or usual.epochs,
        precision="fp32" if config.precision == "auto" else config.precision,
    )


def count_trials(config: RunConfig, plan: Plan) -> int:
    """How many settings the search tries; 0 where every hyper-parameter is fixed."""
    if not set(plan.defense.space()) - set(plan.fixed):
        return 0
    return defaults_of(config.dataset).trials if config.trials is None else config.trials


def load_data(config: RunConfig) -> Dataset:
    """Load the data set of a config, on the CPU.

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
        class_order=config.class_order,
    )
    check_data(dataset)
    return dataset


def pick_device(name: str) -> torch.device:
    """Choose the device: "auto" (CUDA where there is one), "cpu", "cuda" or, for one of several, "cuda:N".

    It becomes torch's current CUDA device, on which graphs are captured and random states are kept.

    Raises:
        UserError: for another name, or when a CUDA device is asked for and not there.
    """
    try:
        name = device(name)
    except ValueError as error:
        raise UserError(f"unknown device: {error}") from None
    usable = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name.startswith("cuda") and not usable:
        raise UserError(
            f"--device {name}: no CUDA device is usable here; try --device cpu, and see `bench doctor`"
        )
    number = int(name.partition(":")[2] or 0)
    if number and number >= usable:
        raise UserError(f"--device {name}: of {usable} usable CUDA devices, the last is cuda:{usable - 1}")
    if name == "cpu" or not usable:
        return torch.device("cpu")
    if ":" in name:
        torch.cuda.set_device(number)
    return torch.device(name if ":" in name else "cuda")
