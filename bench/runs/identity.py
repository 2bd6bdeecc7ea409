"""The identity of a training, the run name made from it, and run folders named by an earlier rule."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from bench.core.errors import UserError
from bench.core.files import read_json
from bench.core.names import identity, safe_name
from bench.core.record import RUN
from bench.core.source import source_digest
from bench.data import Dataset, fingerprint
from bench.models import MODELS
from bench.runs.config import RunConfig
from bench.runs.plan import count_trials, load_data, make_plan
from bench.training.folder import CHECKPOINT
from bench.training.plan import Plan
from bench.version import __version__

#: The version whose first runs have no `identity` in `run.json`: their names hash source text, prose included.
VERSION_WITHOUT_IDENTITY = "0.1.0"


def training_identity(config: RunConfig, plan: Plan) -> dict[str, Any]:
    """All values that decide the weights and probes of a run, except the seeds, as plain JSON values."""
    train, validation = plan.dataset.train, plan.dataset.validation
    trials = count_trials(config, plan)
    values = {
        "version": __version__,
        "defense": plan.name,
        "hyperparameters": plan.defense.make(plan.fixed).hyperparameters(),
        "space": {
            name: str(spread) for name, spread in plan.defense.space().items() if name not in plan.fixed
        },
        "source": [source_digest(plan.defense), source_digest(MODELS.get(plan.model))],
        "model": plan.model,
        "data": fingerprint(train.images, train.labels, validation.images, validation.labels),
        "threat": [plan.threat.norm, str(plan.threat.exact)],
        "recipe": plan.recipe.model_dump(exclude={"name"}),
        "epochs": plan.epochs,
        "trials": trials,
        "clean_floor": config.clean_floor if trials else None,
        **({"objective": config.objective} if trials and config.objective != "robust" else {}),
        "precision": plan.precision,
        "device": _device(plan),
        "probes": _probes(config, plan.dataset),
    }
    return json.loads(json.dumps(values, default=str))


def run_name(plan: Plan, decisive: dict[str, Any]) -> str:
    """A name for the run: readable, and ending in a hash of its `training_identity`."""
    return f"{_readable(plan)}-{identity(decisive)}"


def _readable(plan: Plan) -> str:
    return safe_name("-".join((plan.dataset.name, plan.model, plan.name)))


def _device(plan: Plan) -> str:
    return plan.dataset.train.images.device.type


def _probes(config: RunConfig, dataset: Dataset) -> dict[str, Any] | None:
    """The settings of the probes: a finished run without probes must not count as one that has them."""
    if config.probe_every is None:
        return None
    test = fingerprint(dataset.test.images, dataset.test.labels)
    return {"every": config.probe_every, "images": config.probe_images, "test": test}


class _Data(BaseModel):
    fingerprint: str
    test_size: int


class _RunWithoutIdentity(BaseModel):
    """`run.json` as the first runs wrote it."""

    model_config = ConfigDict(extra="ignore")

    config: dict[str, Any]
    dataset: _Data
    created: datetime
    identity: None = None


def find_earlier_run(config: RunConfig, plan: Plan) -> Path | None:
    """Find the newest folder of the same training that was named by the earlier rule, to continue it; or None.

    That rule renamed a run when a docstring was edited, so settings and data in `run.json` are compared instead.
    """
    if __version__ != VERSION_WITHOUT_IDENTITY:
        return None
    decisive = training_identity(config, plan)
    same = [
        (about.created, folder)
        for folder, about in _runs_without_identity(config.out, _readable(plan))
        if _decides_the_same(about, config, plan, decisive) and _trained_on(folder) in ("", _device(plan))
    ]
    return max(same)[1] if same else None


def _runs_without_identity(out: Path, readable: str) -> Iterator[tuple[Path, _RunWithoutIdentity]]:
    for path in out.glob(f"{readable}-*/{RUN}"):
        if re.fullmatch(r"[0-9a-f]{8}", path.parent.name.removeprefix(f"{readable}-")):
            try:
                yield path.parent, _RunWithoutIdentity.model_validate(read_json(path))
            except (UserError, ValidationError):
                continue


def _decides_the_same(
    about: _RunWithoutIdentity, config: RunConfig, plan: Plan, decisive: dict[str, Any]
) -> bool:
    try:
        if about.config.get("dataset") != config.published()["dataset"]:
            return False
        earlier = RunConfig.make({**about.config, "dataset": config.dataset})
        if training_identity(earlier, make_plan(earlier, plan.dataset)) != decisive:
            return False
        dataset = plan.dataset
        if config.probe_every is None and about.dataset.test_size != len(dataset.test):
            # Without probes, training never sees the test images: there may be more or fewer of them now.
            dataset = load_data(config.model_copy(update={"test_size": about.dataset.test_size}))
        return dataset.fingerprint == about.dataset.fingerprint
    except UserError:
        return False


def _trained_on(folder: Path) -> str:
    """The device type in the checkpoints of a run, which `run.json` does not hold; "" without checkpoints."""
    kinds: set[str] = set()

    def note(storage: Any, location: str) -> Any:
        kinds.add(location.partition(":")[0])
        return storage

    for path in folder.rglob(CHECKPOINT):
        with suppress(Exception):  # one that is damaged says nothing
            torch.load(path, map_location=note, weights_only=True)
    return ",".join(sorted(kinds))
