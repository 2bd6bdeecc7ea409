"""Find or train a standard network, from which adversarial images are transferred to others."""

import time
from pathlib import Path

import torch
from torch.nn import functional as F

from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError
from bench.core.files import sha256
from bench.core.guards import random_state_kept
from bench.core.limits import file_beside
from bench.core.progress import Progress, readable
from bench.core.randomness import make_generator
from bench.core.record import RECORD, Record, find_records, load_record
from bench.data import Dataset
from bench.models import MODELS, build
from bench.models.loaders import make_network, names_code
from bench.models.weights import load_weights, set_weights

#: The network that is trained where none is found: the smallest one.
TRAINED = "lenet"
#: Epochs of its training, at most, and the steps that are enough.
EPOCHS, STEPS = 30, 3000
#: No training is started that would take longer, in seconds.
MOST_SECONDS = 600.0
BATCH = 128


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
        if same and _is_standard(record) and "weights" in record.files:
            found.append((record.provenance.created, path, record))
    for _, path, record in sorted(found, key=lambda item: item[:2], reverse=True):
        network = _network_of(record, path.parent, dataset)
        if network is not None:
            return _ready(network, dataset)
    return None


def _is_standard(record: Record) -> bool:
    """Whether a network was trained without a defense: here, or elsewhere by those who publish it as such."""
    source, _, name = str(record.provenance.config.get("loader") or "").partition(":")
    published = source == "timm" or (source == "robustbench" and name.endswith("Standard"))
    return record.defense.name == "standard" or (record.defense.name == "external" and published)


def standard_from(source: Path, dataset: Dataset) -> AnyClassifier:
    """The network of a record, or of a checkpoint of one of our networks, to transfer adversarial images from.

    Args:
        source: a record or its folder, or a file of weights.
        dataset: the data it must fit.

    Raises:
        UserError: when neither can be loaded from it without running code.
    """
    if source.is_dir() and not (source / RECORD).is_file():
        raise UserError(
            f"{source}: expected a file of weights or the folder of one record, it holds no {RECORD}; "
            "give the folder that `bench run` printed"
        )
    if source.is_dir() or source.name == RECORD:
        folder = source if source.is_dir() else source.parent
        network = _network_of(load_record(folder), folder, dataset)
        if network is not None:
            return _ready(network, dataset)
        raise UserError(
            f"{source}: expected a record with the weights of a network of ours on {dataset.name}; give another"
        )
    weights = load_weights(source)
    for name in MODELS.names():
        try:
            network = make_network(name, None, dataset)
            set_weights(network, weights, source)
        except UserError:
            continue
        return _ready(network, dataset)
    raise UserError(
        f"{source}: expected weights of {', '.join(MODELS.names())} for {dataset.name}, they fit none; "
        "give the record of a network, or from Python the network itself"
    )


def train_standard(dataset: Dataset, progress: Progress) -> AnyClassifier | None:
    """Train a small network without defense, for transfer alone.

    Args:
        dataset: its training images are used.
        progress: gets a bar, or the reason why nothing was trained.

    Returns:
        The network in eval mode; None where there are too few training images, they are too small, or ten minutes
        would not suffice.
    """
    count, device = len(dataset.train), dataset.test.images.device
    if count < BATCH:
        return None
    try:
        network = build(
            TRAINED,
            input_shape=dataset.shape,
            num_classes=dataset.num_classes,
            mean=dataset.mean,
            std=dataset.std,
            seed=0,
        ).to(device)
    except UserError:
        return None
    optimizer, generator = torch.optim.Adam(network.parameters(), 1e-3), make_generator(0, "transfer")
    each = count // BATCH
    steps = min(EPOCHS * each, max(STEPS, each))
    with (
        random_state_kept(0),
        torch.enable_grad(),
        progress.task("standard network for transfer", steps) as task,
    ):
        started = 0.0
        for step in range(steps):
            if step % each == 0:
                order = torch.randperm(count, generator=generator).to(device)
            images, labels = dataset.train.batch(order[step % each * BATCH :][:BATCH])
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()
            task.advance()
            if step == 0:  # the first step also loads kernels
                started = time.perf_counter()
            elif step == 5 and (needed := (time.perf_counter() - started) / 5 * steps) > MOST_SECONDS:
                progress.say(
                    f"no network was trained for transfer: {readable(needed)} would be needed; "
                    "give a standard one with --transfer-from"
                )
                return None
    return _ready(network, dataset)


def _ready(network: AnyClassifier, dataset: Dataset) -> AnyClassifier:
    """The network on the data's device, in eval mode."""
    return network.to(dataset.test.images.device).requires_grad_(False).eval()


def _network_of(record: Record, folder: Path, dataset: Dataset) -> AnyClassifier | None:
    """The network of a record; None where its weights are missing, changed, or need code to be run."""
    file = record.files.get("weights")
    if file is None:
        return None
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
