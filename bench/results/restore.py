"""Reload the network, data and threat of a record, and verify that they are the ones it was measured on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError
from bench.core.files import sha256
from bench.core.limits import file_beside
from bench.core.names import FOLDER_PREFIX, is_local_path
from bench.core.progress import Progress
from bench.core.record import RECORD, Record, load_record
from bench.core.threat import Threat
from bench.data import DATA_DIR, Dataset, Split, as_floats, fingerprint
from bench.data.image_files import AS_TEXT
from bench.models import MODELS
from bench.models.loaders import make_network, names_code
from bench.models.variants import without_options
from bench.models.weights import load_weights, set_weights
from bench.runs.config import RunConfig
from bench.runs.plan import load_data, pick_device
from metrics.evaluation import Arrays, Evaluation

#: The settings of a run that determine its data.
DATA_SETTINGS = ("dataset", "image_size", "class_order", "train_size", "test_size")


@dataclass(frozen=True)
class Restored:
    """A record with the network and data that it was measured on.

    Attributes:
        record: as stored.
        folder: the record's folder.
        classifier: with the record's weights, in eval mode, frozen, on the device.
        dataset: on the device, with the pixels and labels of the record.
        threat: the record's.
    """

    record: Record
    folder: Path
    classifier: AnyClassifier
    dataset: Dataset
    threat: Threat


def restore(
    path: Path,
    *,
    data_dir: Path | None = None,
    weights: Path | None = None,
    loader: str | None = None,
    device: str = "auto",
    trust: bool = False,
) -> Restored:
    """Load the weights and the data of a record, and verify that both are the record's.

    Args:
        path: the record, or its folder.
        data_dir: folder of the data set's files, which a record does not store.
        weights: the weights, when they are not in the record's folder.
        loader: `module:function` that makes a network not in `MODELS`; the record's own by default.
        device: "auto", "cpu", "cuda" or "cuda:N".
        trust: allow importing and calling the code that the record names as `module:function`. Do not set it for
            a record from an unknown source.

    Raises:
        UserError: when record, weights or data are missing or differ from those that were measured, or when the
            record names code and `trust` is not set.
    """
    record = load_record(path, check_values=False)
    folder = path if path.is_dir() else path.parent
    if not trust:
        _refuse_code(record, loader)
    with naming_copies(record, folder):
        return _restore(record, folder, data_dir, weights, loader, device)


@contextmanager
def naming_copies(record: Record, folder: Path) -> Iterator[None]:
    """Where a plug-in is not found, say which copies of its code lie beside the record."""
    try:
        yield
    except UserError as error:
        files = [folder / file.path for kind, file in record.files.items() if kind.startswith("source/")]
        copies = [str(file) for file in files if file.is_file()]
        if not copies or not isinstance(error.__cause__, ModuleNotFoundError):
            raise
        raise UserError(f"{error} The record has a copy: {', '.join(copies)}") from error


def _restore(
    record: Record,
    folder: Path,
    data_dir: Path | None,
    weights: Path | None,
    loader: str | None,
    device: str,
) -> Restored:
    dataset = load_record_data(record, data_dir).to(pick_device(device))
    loader = loader or record.provenance.config.get("loader")
    known = names_code(record.model) or without_options(record.model) in MODELS.names()
    if loader is None and not known:
        raise UserError(
            f"unknown network {record.model!r} of record {record.id}; name the function that makes it with "
            f"--loader module:function"
        )
    classifier = make_network(record.model, loader, dataset)
    source = _find_weights(record, folder, weights)
    set_weights(classifier, load_weights(source), source)
    classifier.to(dataset.test.images.device).requires_grad_(False)
    return Restored(record, folder, classifier.eval(), dataset, Threat(record.threat.norm, record.threat.eps))


def load_network(
    path: Path | str,
    *,
    checkpoint: Path | str | None = None,
    loader: str | None = None,
    data_dir: Path | str | None = None,
    device: str = "auto",
    trust: bool = False,
) -> AnyClassifier:
    """Load the network of a record, as it was measured.

    Args:
        path: the record, or its folder.
        checkpoint: the weights, when they are not in the record's folder.
        loader, device, trust: as in `restore`.
        data_dir: folder of the data set's files, which give the shape of the network's input.

    Returns:
        A module from float32 images [B, C, H, W] in [0, 1] to logits [B, K], in eval mode, its weights frozen.

    Raises:
        UserError: as `restore`.
    """
    restored = restore(
        Path(path),
        data_dir=Path(data_dir) if data_dir is not None else None,
        weights=Path(checkpoint) if checkpoint is not None else None,
        loader=loader,
        device=device,
        trust=trust,
    )
    return restored.classifier


def evaluation_of(
    restored: Restored, progress: Progress, measured: Mapping[str, Arrays] | None = None
) -> Evaluation:
    """The evaluation that a record was measured in, ready for more metrics.

    Args:
        progress: shows the progress of the metrics.
        measured: arrays that metrics have measured already, by metric.
    """
    images, labels = restored.dataset.test.batch(slice(0, restored.record.dataset.evaluated_size))
    return Evaluation(
        classifier=restored.classifier,
        dataset=restored.dataset,
        threat=restored.threat,
        images=images,
        labels=labels,
        test_index=torch.arange(len(labels)),
        seed=restored.record.seed,
        progress=progress,
        measured=dict(measured or {}),
        history=restored.record.history,
    )


def _refuse_code(record: Record, loader: str | None) -> None:
    config = record.provenance.config
    network = config.get("loader") or record.model
    names = [*([] if loader else [network]), config.get("dataset")]
    code = [name for name in names if names_code(name)]
    if code:
        raise UserError(
            f"record {record.id} would run code: {', '.join(map(str, code))}; read it, then give --trust"
        )


def load_record_data(record: Record, data_dir: Path | None) -> Dataset:
    """Load the data of a record, on the CPU.

    Raises:
        UserError: when they cannot be had, or are not those that were measured.
    """
    settings = {key: value for key, value in record.provenance.config.items() if key in DATA_SETTINGS}
    if not settings:
        raise UserError(
            f"record {record.id} does not say how its data were loaded (it was made from Python); "
            f"restore it from Python, with the same data"
        )
    name = str(settings.get("dataset", record.dataset.name))
    if is_local_path(name):
        kind, _, path = name.partition(":")
        settings["dataset"] = f"{kind}:{(data_dir or DATA_DIR) / Path(path).name}"
    if name.startswith(FOLDER_PREFIX):
        # Earlier versions had one order, and no setting for it.
        settings.setdefault("class_order", [AS_TEXT])
    dataset = load_data(RunConfig.make({"defense": record.defense.name, **settings, "data_dir": data_dir}))
    if dataset.fingerprint != record.dataset.fingerprint:
        raise UserError(
            f"the data differ from those of record {record.id}: {dataset.name} here has fingerprint "
            f"{dataset.fingerprint[:12]}, the record {record.dataset.fingerprint[:12]}; is this another version "
            f"of the files, or another --data-dir?"
        )
    if not _were_measured(dataset.test.take(record.dataset.evaluated_size), record):
        raise UserError(f"the test images differ from those that record {record.id} was measured on")
    return dataset


def _were_measured(split: Split, record: Record) -> bool:
    """Whether these are the images of a record, or what version 0.1.0 first made of them on a CUDA device.

    There it multiplied by 1/255, which differs from the quotient by one rounding.
    """
    rounded = split.images.float() * torch.tensor(1 / 255)
    found = (fingerprint(images, split.labels) for images in (as_floats(split.images), rounded))
    return record.dataset.evaluated_fingerprint in found


def _find_weights(record: Record, folder: Path, given: Path | None) -> Path:
    file = record.files.get("weights")
    source = given or (file_beside(folder / RECORD, file.path) if file else None)
    if source is None or not source.is_file():
        raise UserError(
            f"the weights of record {record.id} are not at {source or folder}; give them with --checkpoint FILE"
        )
    if file is not None and given is None and sha256(source) != file.sha256:
        raise UserError(
            f"{source} has changed since the record was written; the scores are not those of this file"
        )
    return source
