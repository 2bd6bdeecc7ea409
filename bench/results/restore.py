"""A result back to life: network, data and threat of a record, checked against what the record says of them."""

from dataclasses import dataclass
from pathlib import Path

from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError
from bench.core.files import sha256
from bench.core.record import Record, load_record
from bench.core.threat import Threat
from bench.data import Dataset, fingerprint
from bench.models import MODELS
from bench.models.loaders import names_code
from bench.models.weights import load_weights, set_weights
from bench.runs.config import RunConfig
from bench.runs.external import make_network
from bench.runs.job import load_data, pick_device

#: What of a record's settings says which data it was measured on.
DATA_SETTINGS = ("dataset", "image_size", "train_size", "test_size")


@dataclass(frozen=True)
class Restored:
    """What a record was measured on.

    Attributes:
        record: as it was read.
        folder: where it lies, with whatever lies beside it.
        classifier: with the record's weights, in eval mode and without gradients for them, on the device.
        dataset: on the device; the same pixels and labels as the record's.
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
    """Load the weights beside a record and the data it names, and check that both are the record's.

    Args:
        path: the record, or the folder that holds `record.json`.
        data_dir: where the data set's files are; records never say where they were.
        weights: the checkpoint, when it does not lie beside the record.
        loader: `module:function` that makes the network, when it is none of ours; the record's own by default.
        device: "auto", "cpu" or "cuda".
        trust: import and call what the record names as `module:function`; not for a stranger's record.

    Raises:
        UserError: when record, weights or data are missing, or are not those that were measured; without `trust`,
            when the record names code.
    """
    record = load_record(path)
    folder = path if path.is_dir() else path.parent
    config = record.provenance.config
    if not trust:
        _refuse_code(record, loader)
    dataset = _dataset(record, data_dir).to(pick_device(device))
    network = loader or config.get("loader")
    if network is None and not names_code(record.model) and record.model not in MODELS.names():
        raise UserError(
            f"the network {record.model!r} of record {record.id} is none of ours; give --loader module:function, "
            f"which makes it"
        )
    classifier = make_network(record.model, network, dataset)
    source = _weights(record, folder, weights)
    set_weights(classifier, load_weights(source), source)
    classifier.to(dataset.test.images.device).requires_grad_(False)
    return Restored(record, folder, classifier.eval(), dataset, Threat(record.threat.norm, record.threat.eps))


def _refuse_code(record: Record, loader: str | None) -> None:
    config = record.provenance.config
    network = config.get("loader") or record.model
    words = [*([] if loader else [network]), config.get("dataset")]
    code = [word for word in words if names_code(word)]
    if code:
        raise UserError(
            f"record {record.id} would run code: {', '.join(map(str, code))}; read it, then give --trust"
        )


def _dataset(record: Record, data_dir: Path | None) -> Dataset:
    known = {key: value for key, value in record.provenance.config.items() if key in DATA_SETTINGS}
    if not known:
        raise UserError(
            f"record {record.id} does not say how its data were loaded (it was made from Python); "
            f"restore it there, with the same data"
        )
    kind, colon, name = str(known.get("dataset", record.dataset.name)).partition(":")
    if colon and kind == "imagefolder":
        known["dataset"] = f"imagefolder:{(data_dir or Path('data')) / Path(name).name}"
    dataset = load_data(RunConfig.make({"defense": record.defense.name, **known, "data_dir": data_dir}))
    if dataset.fingerprint != record.dataset.fingerprint:
        raise UserError(
            f"the data differ from those of record {record.id}: {dataset.name} here has fingerprint "
            f"{dataset.fingerprint[:12]}, the record {record.dataset.fingerprint[:12]}; is it another version of "
            f"the files, or another --data-dir?"
        )
    images, labels = dataset.test.batch(slice(0, record.dataset.evaluated_size))
    if fingerprint(images, labels) != record.dataset.evaluated_fingerprint:
        raise UserError(f"the test images differ from those that record {record.id} was measured on")
    return dataset


def _weights(record: Record, folder: Path, given: Path | None) -> Path:
    file = record.files.get("weights")
    source = given or (folder / file.path if file else None)
    if source is None or not source.is_file():
        raise UserError(
            f"the weights of record {record.id} are not at {source or folder}; give them with --checkpoint FILE"
        )
    if file is not None and given is None and sha256(source) != file.sha256:
        raise UserError(f"{source} has changed since the record was written; its scores are not this file's")
    return source
