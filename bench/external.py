"""Someone else's weights through the same battery."""

import shlex
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.battery import make_battery
from bench.checkpoint import fill, load_weights
from bench.config import RunConfig, identity
from bench.core.attacks.state import evaluating
from bench.core.classifier import AnyClassifier, WrappedClassifier
from bench.core.data import Dataset, defaults_of, fingerprint
from bench.core.errors import UserError
from bench.core.models import build
from bench.core.plugins import load_object
from bench.core.progress import Progress
from bench.core.threat import Threat
from bench.describe import Trained
from bench.estimate import estimate
from bench.evaluation import RECORD, evaluate_to_folder
from bench.run import Tracker, build_pages, load_data, pick_device, result_name, safe_name, summary
from bench.version import __version__


def evaluate_checkpoint(
    config: RunConfig, checkpoint: Path | None, loader: str | None, tracker: Tracker, progress: Progress
) -> Path:
    """Evaluate a checkpoint and return the path of its record.

    Args:
        config: `defense` is what the board calls the training; `seeds` holds the one seed of the evaluation.
        checkpoint: weights for the network `config.model`, or for the one the loader makes.
        loader: `module:function`, called without arguments.

    Raises:
        UserError: for a checkpoint that cannot be read or does not fit, or neither checkpoint nor loader.
    """
    weights = load_weights(checkpoint) if checkpoint else None
    battery = make_battery(config.battery, config.metrics)
    threat = Threat.parse(config.threat or defaults_of(config.dataset).threat)
    data = load_data(config).to(pick_device(config.device))
    classifier = make_network(config.model, loader, data)
    if weights is not None:
        target = classifier.module if isinstance(classifier, WrappedClassifier) else classifier
        fill(target, weights, checkpoint or "")
    classifier.to(data.test.images.device).requires_grad_(False)
    digits = identity(
        {
            "weights": fingerprint(*classifier.state_dict().values()),
            "network": [str(classifier), loader],
            "data": data.fingerprint,
            "threat": [threat.norm, str(threat.exact)],
            "battery": battery.version,
            "version": __version__,
        }
    )
    (seed,) = config.seeds
    run = "-".join(map(safe_name, (data.name, config.model, config.defense, digits)))
    folder = config.out / run / f"seed-{seed}" / result_name(battery, len(data.test))
    if (folder / RECORD).exists():
        return folder / RECORD
    images = min(len(data.test), battery.images or len(data.test))
    with evaluating(classifier):
        progress.say(estimate(images, classifier, data, battery))
        record = evaluate_to_folder(
            classifier,
            data,
            threat,
            battery,
            model=config.model,
            trained=Trained.elsewhere(config.defense),
            run=run,
            seed=seed,
            folder=folder,
            command=_command(config, checkpoint, loader),
            config={**config.published(), "loader": loader},
            progress=progress,
        )
    progress.say(summary(record))
    tracker.sync(folder.parent.parent, final=True)
    build_pages(config.out, tracker, progress)
    return folder / RECORD


def make_network(model: str, loader: str | None, data: Dataset) -> AnyClassifier:
    """The network `model` of ours, or the one that a loader makes, fresh and on the CPU.

    Raises:
        UserError: for an unknown name, or a loader that fails or makes no network for this data.
    """
    if loader is None:
        return build(
            model, input_shape=data.shape, num_classes=data.num_classes, mean=data.mean, std=data.std, seed=0
        )
    make: Any = load_object(loader, "loader")
    if not callable(make):
        raise UserError(f"--loader {loader}: expected a function that returns a torch.nn.Module")
    try:
        module = make()
    except Exception as error:
        raise UserError(f"--loader {loader} failed: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise UserError(f"--loader {loader}: expected a torch.nn.Module, got {type(module).__name__}")
    return WrappedClassifier(module.to(torch.float32), data.shape, data.num_classes)


def _command(config: RunConfig, checkpoint: Path | None, loader: str | None) -> str:
    words = ["bench", "evaluate"]
    if checkpoint:
        words += ["--checkpoint", checkpoint.name]
    if loader:
        words += ["--loader", loader]
    # An evaluation has one seed, and its own word for it.
    return shlex.join([*words, *("--seed" if word == "--seeds" else word for word in config.words())])
