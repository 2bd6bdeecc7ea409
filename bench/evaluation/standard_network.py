"""Find a standardly trained network, from which adversarial images are transferred to others."""

from pathlib import Path

from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError
from bench.core.files import sha256
from bench.core.limits import file_beside
from bench.core.record import RECORD, Record, find_records, load_record
from bench.data import Dataset
from bench.models.loaders import make_network, names_code
from bench.models.weights import load_weights, set_weights


def find_standard(folder: Path, dataset: Dataset) -> AnyClassifier | None:
    """Load the newest network below a folder of results that had standard training on the same data.

    Args:
        folder: searched for records; it need not exist.
        dataset: the data it must have been trained and measured on; the network is moved to its device.

    Returns:
        The network in eval mode; None where there is none that can be loaded without running code.
    """
    if not folder.exists():
        return None
    found: list[tuple[str, Path, Record]] = []
    for path in find_records(folder):
        try:
            record = load_record(path)
        except UserError:
            continue
        same = record.dataset.fingerprint == dataset.fingerprint
        if same and record.defense.name == "standard" and "weights" in record.files:
            found.append((record.provenance.created, path, record))
    for _, path, record in sorted(found, key=lambda item: item[:2], reverse=True):
        network = _network_of(record, path.parent, dataset)
        if network is not None:
            return network.to(dataset.test.images.device).requires_grad_(False).eval()
    return None


def _network_of(record: Record, folder: Path, dataset: Dataset) -> AnyClassifier | None:
    """The network of a record; None where its weights are missing, changed, or need code to be run."""
    file = record.files["weights"]
    try:
        source = file_beside(folder / RECORD, file.path)
        if not source.is_file() or sha256(source) != file.sha256:
            return None
        loader = record.provenance.config.get("loader")
        if names_code(loader or record.model):
            return None
        network = make_network(record.model, loader, dataset)
        set_weights(network, load_weights(source), source)
    except UserError:
        return None
    return network
