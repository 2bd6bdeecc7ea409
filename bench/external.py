"""Someone else's weights through the same battery."""

import shlex
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.battery import make_battery
from bench.checkpoint import fill, load_weights
from bench.config import identity
from bench.core.attacks.state import evaluating
from bench.core.classifier import AnyClassifier, WrappedClassifier
from bench.core.data import Dataset, defaults_of, load
from bench.core.errors import UserError
from bench.core.files import sha256
from bench.core.models import build
from bench.core.plugins import load_object
from bench.core.progress import Progress
from bench.core.threat import Threat
from bench.describe import Trained
from bench.estimate import estimate
from bench.evaluation import RECORD, evaluate_to_folder
from bench.run import Tracker, build_pages, pick_device, summary


def evaluate_checkpoint(
    *,
    checkpoint: Path | None,
    loader: str | None,
    defense: str,
    seed: int,
    model: str | None,
    dataset: str | None,
    data_dir: Path | None,
    download: bool | None,
    image_size: int | None,
    train_size: int | None,
    test_size: int | None,
    threat: str | None,
    battery: str | None,
    device: str | None,
    out: Path | None,
    tracker: Tracker,
    progress: Progress,
) -> Path:
    """Evaluate a checkpoint and return the path of its record.

    Raises:
        UserError: for a checkpoint that cannot be read or does not fit, or neither checkpoint nor loader.
    """
    if checkpoint is None and loader is None:
        raise UserError("give --checkpoint FILE with --model NAME, or --loader module:function")
    if loader is None and model is None:
        raise UserError(
            "--checkpoint needs --model NAME (see `bench list models`) or --loader module:function"
        )
    weights = load_weights(checkpoint) if checkpoint else None
    chosen = make_battery(battery or "quick")
    name = dataset or "digits"
    radius = Threat.parse(threat or defaults_of(name).threat)
    data = load(
        name,
        data_dir=data_dir,
        download=bool(download),
        train_size=train_size,
        test_size=test_size,
        image_size=image_size,
    ).to(pick_device(device or "auto"))
    classifier, label = _network(model, loader, data)
    if weights is not None:
        target = classifier.module if isinstance(classifier, WrappedClassifier) else classifier
        fill(target, weights, checkpoint or "")
    classifier.to(data.test.images.device).requires_grad_(False)
    digits = identity(
        {
            "weights": sha256(checkpoint) if checkpoint else loader,
            "data": data.fingerprint,
            "threat": [radius.norm, str(radius.exact)],
            "label": [label, defense],
        }
    )
    run = "-".join(_safe(word) for word in (data.name, label, defense, digits))
    images = min(len(data.test), chosen.images or len(data.test))
    folder = (out or Path("runs")) / run / f"seed-{seed}" / f"{chosen.name}-{images}"
    if (folder / RECORD).exists():
        return folder / RECORD
    progress.say(estimate(images, classifier, data, chosen))
    with evaluating(classifier):
        record = evaluate_to_folder(
            classifier,
            data,
            radius,
            chosen,
            model=label,
            trained=Trained.elsewhere(defense),
            run=run,
            seed=seed,
            folder=folder,
            command=_command(
                checkpoint, loader, model, defense, name, radius, chosen.name, train_size, test_size
            ),
            config={},
            progress=progress,
        )
    progress.say(summary(record))
    tracker.sync(folder.parent.parent, final=True)
    build_pages(out or Path("runs"), tracker, progress)
    return folder / RECORD


def _network(model: str | None, loader: str | None, data: Dataset) -> tuple[AnyClassifier, str]:
    if loader is None:
        assert model is not None
        built = build(
            model, input_shape=data.shape, num_classes=data.num_classes, mean=data.mean, std=data.std, seed=0
        )
        return built, model
    make: Any = load_object(loader, "loader")
    if not callable(make):
        raise UserError(f"--loader {loader}: expected a function that returns a torch.nn.Module")
    try:
        module = make()
    except Exception as error:
        raise UserError(f"--loader {loader} failed: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise UserError(f"--loader {loader}: expected a torch.nn.Module, got {type(module).__name__}")
    return WrappedClassifier(module.to(torch.float32), data.shape, data.num_classes), model or type(
        module
    ).__name__


def _command(
    checkpoint: Path | None,
    loader: str | None,
    model: str | None,
    defense: str,
    dataset: str,
    threat: Threat,
    battery: str,
    train_size: int | None,
    test_size: int | None,
) -> str:
    words: dict[str, object] = {
        "--checkpoint": checkpoint.name if checkpoint else None,
        "--loader": loader,
        "--model": model,
        "--defense": defense,
        "--dataset": dataset,
        "--threat": threat,
        "--battery": battery,
        "--train-size": train_size,
        "--test-size": test_size,
    }
    given = [word for flag, value in words.items() if value is not None for word in (flag, str(value))]
    return shlex.join(["bench", "evaluate", *given])


def _safe(word: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in word)
