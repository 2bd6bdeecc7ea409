"""Examine this machine: the text of `bench doctor`."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from bench.core import provenance
from bench.core.errors import UserError
from bench.core.foreign_code import named
from bench.core.values import unwritable
from bench.data import DATASETS, load
from bench.training.precision import kept_trials
from bench.training.recipe import RECIPES
from bench.training.timing import StandardClock


def examine(data_dir: Path, tracking: str | None) -> Iterator[str]:
    """Yield one line per finding: "ok", "--" (missing, but not needed by default) or "!!" (to be repaired)."""
    yield from _versions()
    yield from _device()
    yield from _data(data_dir)
    yield from _tracking(tracking)
    yield from _disk()


def _versions() -> Iterator[str]:
    found = provenance.versions()
    yield f"ok  versions: {', '.join(f'{name} {version}' for name, version in found.items())}"
    for package in ("pyautoattack", "optuna", "mlflow"):
        if package not in found:
            needed = {
                "pyautoattack": "AutoAttack",
                "optuna": "searching",
                "mlflow": "tracking (--tracking none works)",
            }
            yield f"!!  {package} is missing; {needed[package]} needs it: pip install {package}"


def _device() -> Iterator[str]:
    about = provenance.hardware(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    yield f"ok  processor: {about['processor']}, {about['cores']} cores, {about['threads']} threads in use"
    if torch.cuda.is_available():
        yield f"ok  CUDA: {about['gpu']}, {float(about['gpu_memory_bytes'] or 0) / 2**30:.0f} GiB"
    else:
        yield "--  CUDA: no usable device; everything runs on the processor"
    from bench.models import build

    digits = load("digits")
    network = build("cnn6", input_shape=digits.shape, num_classes=digits.num_classes, seed=0)
    seconds = StandardClock(network, digits.train, RECIPES["paper"], 0, "fp32").epoch_seconds()
    yield f"ok  speed: a standard epoch of cnn6 on digits takes about {seconds:.2g} s on the processor"
    for line in kept_trials():
        yield f"ok  --precision auto: {line}"


def _data(data_dir: Path) -> Iterator[str]:
    for name in DATASETS.names():
        try:
            with named():
                dataset = load(name, data_dir=data_dir)
            train, test = len(dataset.train) + len(dataset.validation), len(dataset.test)
            yield f"ok  data {name}: {train} training and {test} test images"
        except UserError as error:
            yield f"--  data {name}: {error}"


def _tracking(uri: str | None) -> Iterator[str]:
    from bench.tracking import check_store, load_settings

    try:
        settings = load_settings(uri)
        if settings is None:
            yield "--  tracking: none"
            return
        if settings.database and (reason := _unwritable_file(settings.database)):
            yield f"!!  tracking: {settings.shown} cannot be written: {reason}; name another with --tracking"
            return
        yield f"ok  tracking: {check_store(settings)}"
    except UserError as error:
        yield f"!!  tracking: {error}"


def _unwritable_file(path: Path) -> str:
    """Why a file cannot be written, or made where it does not exist; "" where it can."""
    if not path.exists():
        return unwritable(path.parent)
    try:
        with path.open("r+b"):
            # A database makes files beside itself while it writes.
            return unwritable(path.parent)
    except OSError as error:
        return error.strerror or str(error)


def _disk() -> Iterator[str]:
    here = Path.cwd()
    free = shutil.disk_usage(here).free / 2**30
    if reason := unwritable(here):
        yield f"!!  the working folder cannot be written ({reason}); give --out FOLDER"
        return
    yield f"{'ok' if free > 1 else '!!'}  disk: {free:.0f} GiB free in the working folder"
