"""The battery over a classifier: metrics, alarms, and the record they make."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench import provenance
from bench.alarms import read_alarms
from bench.battery import Battery, make_battery
from bench.checkpoint import save_weights
from bench.config import identity
from bench.core import record as schema
from bench.core.attacks.state import check_finite, check_inputs, check_logits, evaluating, random_state_kept
from bench.core.classifier import AnyClassifier, Classifier, WrappedClassifier
from bench.core.data import Dataset, Split, fingerprint, load
from bench.core.errors import UserError
from bench.core.examples import KEPT
from bench.core.files import sha256
from bench.core.progress import Progress
from bench.core.record import Alarm, Curve, Record, Score
from bench.core.threat import NORMS, Threat
from bench.describe import Trained, describe_battery, describe_dataset, describe_provenance, describe_training
from bench.figures import draw_all
from bench.parts import Part, Parts, save_arrays
from bench.suspicious import extra_checks, find_standard, verdict
from bench.version import __version__
from metrics.base import Arrays, Evaluation, Metric, NotMeasurable

RECORD, ARRAYS, WEIGHTS = "record.json", "arrays.npz", "weights.safetensors"
EXAMPLES = "examples.npz"

#: Test images that a network is tried on before an evaluation begins.
LOOKED_AT = 100

#: Adversarial images that a result keeps, over all attacks.
MOST_EXAMPLES = 50
#: What an attack metric calls them among its arrays; they lie in a file of their own.
EXAMPLE_ARRAYS = ("example_index", "examples")


@dataclass
class Measured:
    """What a battery gave: scores by name, arrays by metric, curves, alarms, and what it took."""

    scores: dict[str, Score] = field(default_factory=dict)
    arrays: dict[str, Arrays] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    alarms: list[Alarm] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    forwards: int = 0
    backwards: int = 0


def evaluate(
    model: nn.Module,
    data: Dataset | str,
    threat: Threat | str,
    battery: Battery | str = "quick",
    *,
    name: str | None = None,
    defense: str = "external",
    seed: int = 0,
    out: Path | str | None = None,
    command: str = "",
    progress: Progress | None = None,
    suspicious: bool = False,
    transfer_from: nn.Module | Path | str | None = None,
) -> Record:
    """Measure any network with a battery; needs neither MLflow nor Optuna.

    Args:
        model: maps float32 images [B, C, H, W] in [0, 1] to logits [B, K]. It stays on its device, and its modes
            and gradients stay as they are.
        data: a data set, or the name of one.
        threat: norm and ε, or text such as "linf:8/255"; with ε = 0 every attack gives the clean accuracy.
        battery: "quick", "standard", "full", or one of your own.
        name: what the record calls the network; its class name by default.
        defense: what the record calls the training.
        seed: base of every random draw.
        out: folder for record, arrays and weights; None writes nothing.
        command: what reproduces the result, for the record.
        progress: where bars go; silent by default.
        suspicious: answer a raised alarm with further checks (`bench.suspicious`); no score of the battery moves.
        transfer_from: a network trained without defense on the same data, for one of those checks, or a folder of
            results to look for one in; `out` by default.

    Raises:
        UserError: when an argument is something else, the network does not fit the data, or the logits are not
            finite.
    """
    if not isinstance(model, nn.Module):
        raise UserError(
            f"expected the network as a torch.nn.Module, got {_kind(model)}; wrap a function in one"
        )
    dataset = load(data) if isinstance(data, str) else data
    if not isinstance(dataset, Dataset):
        raise UserError(f"expected a bench.core.data.Dataset or the name of one, got {_kind(dataset)}")
    threat = _threat(threat)
    battery = make_battery(battery) if isinstance(battery, str) else battery
    out = Path(out) if isinstance(out, str) else out
    transfer_from = Path(transfer_from) if isinstance(transfer_from, str) else transfer_from
    parameter = next(model.parameters(), None)
    dataset = dataset.to(parameter.device if parameter is not None else "cpu")
    classifier = _classifier(model, dataset)
    with evaluating(classifier):
        return evaluate_to_folder(
            classifier,
            dataset,
            threat,
            battery,
            model=name or type(model).__name__,
            trained=Trained.elsewhere(defense),
            run="external",
            seed=seed,
            folder=out,
            command=command,
            config={"dataset": data} if isinstance(data, str) else {},
            progress=progress or Progress(),
            suspicious=suspicious,
            transfer_from=transfer_from or out,
        )


def _threat(threat: Threat | str) -> Threat:
    if isinstance(threat, Threat):
        return threat
    if not isinstance(threat, str):
        raise UserError(f"expected a threat such as 'linf:8/255', got {threat!r}; an ε needs its norm")
    norm, _, eps = threat.rpartition(":")
    # Only the command line refuses ε = 0, where it is a slip.
    return Threat(norm, "0") if norm in NORMS and eps == "0" else Threat.parse(threat)  # type: ignore[arg-type]


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _check_data(dataset: Dataset) -> None:
    """Refuse what `Split.batch` would turn into other pixels or other classes without a word.

    Raises:
        UserError: when a split is not uint8 images [N, C, H, W] with labels int64 [N] of the classes.
    """
    if len(dataset.test) == 0:
        raise UserError(f"{dataset.name}: expected at least one test image, got none")
    for name, split in (
        ("training", dataset.train),
        ("validation", dataset.validation),
        ("test", dataset.test),
    ):
        problem = _problem(split, dataset.shape, dataset.num_classes)
        if problem:
            raise UserError(f"{dataset.name}, {name} split: {problem}")


def _problem(split: Split, shape: tuple[int, int, int], classes: int) -> str:
    images, labels = split.images, split.labels
    if images.dtype != torch.uint8:
        return (
            f"expected images as uint8 from 0 to 255, which a network sees as [0, 1], got {images.dtype}; "
            f"for pixels in [0, 1] give (255 * images).round().to(torch.uint8)"
        )
    if tuple(images.shape[1:]) != shape:
        return f"expected images of shape (N, {', '.join(map(str, shape))}), got {tuple(images.shape)}"
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        return f"expected labels int64 of shape ({len(images)},), got {labels.dtype} {tuple(labels.shape)}"
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        return f"expected labels from 0 to {classes - 1}, got {int(labels.min())} to {int(labels.max())}"
    return ""


@torch.no_grad()
def _check_network(classifier: AnyClassifier, images: Tensor, labels: Tensor) -> None:
    """Refuse a network on some of the images, before anything is written.

    Raises:
        UserError: when it does not fit them, or gives no finite logits.
    """
    check_inputs(classifier, images, labels)
    with random_state_kept():
        check_finite(check_logits(classifier(images), len(images), classifier.num_classes))


def _classifier(model: nn.Module, dataset: Dataset) -> AnyClassifier:
    if isinstance(model, Classifier | WrappedClassifier):
        return model
    return WrappedClassifier(model, dataset.shape, dataset.num_classes)


def evaluate_to_folder(
    classifier: AnyClassifier,
    dataset: Dataset,
    threat: Threat,
    battery: Battery,
    *,
    model: str,
    trained: Trained,
    run: str,
    seed: int,
    folder: Path | None,
    command: str,
    config: Mapping[str, Any],
    progress: Progress,
    suspicious: bool = False,
    transfer_from: nn.Module | Path | None = None,
) -> Record:
    """Run a battery and write record, arrays and weights; a finished metric is never run twice in one folder.

    Args:
        classifier: in eval mode, on the data's device.
        folder: where the files go; `parts/` below it holds finished metrics until the record is there.
        suspicious, transfer_from: as for `evaluate`.

    Raises:
        UserError: when images, labels or logits are unusable; nothing is written then.
    """
    _check_data(dataset)
    images, labels = dataset.test.batch(slice(0, battery.images))
    _check_network(classifier, images[:LOOKED_AT], labels[:LOOKED_AT])
    evaluation = Evaluation(
        classifier=classifier,
        dataset=dataset,
        threat=threat,
        images=images,
        labels=labels,
        test_index=torch.arange(len(labels)),
        seed=seed,
        progress=progress,
        history=trained.history,
    )
    if folder is not None:
        save_weights(folder / WEIGHTS, classifier)
    parts = Parts(folder / "parts", _identity(folder / WEIGHTS, evaluation, battery)) if folder else None
    with full_precision():
        measured = run_battery(evaluation, battery, parts)
        if suspicious:
            answer_alarms(evaluation, measured, parts, transfer_from)
    record = Record(
        id=f"{run}-s{seed}-{battery.name}-{_digest(classifier, evaluation, battery)}",
        defense=trained.defense,
        model=model,
        parameters=sum(parameter.numel() for parameter in classifier.parameters()),
        feature_site=classifier.site,
        dataset=describe_dataset(dataset, images, labels),
        threat=schema.Threat(norm=threat.norm, eps=threat.eps),
        battery=describe_battery(battery),
        seed=seed,
        training=describe_training(trained),
        metrics=measured.scores,
        alarms=measured.alarms,
        curves=measured.curves,
        history=trained.history,
        cost=schema.Cost(
            train_seconds=sum(float(row["seconds"] or 0) for row in trained.history)
            if trained.history
            else None,
            evaluate_seconds=sum(measured.seconds.values()),
            peak_memory_bytes=provenance.peak_memory(evaluation.device),
            forwards=measured.forwards,
            backwards=measured.backwards,
            seconds_by_metric=measured.seconds,
        ),
        provenance=describe_provenance(run, command, config, evaluation.device),
        files={},
    )
    if folder is not None:
        arrays = flatten(measured.arrays, evaluation)
        draw_all(record, measured.arrays, battery.metrics, folder / "figures", progress)
        record = _write(folder, record, arrays, gather_examples(measured.arrays, evaluation))
        assert parts is not None
        parts.remove()
    return record


def run_battery(evaluation: Evaluation, battery: Battery, parts: "Parts | None" = None) -> Measured:
    """Run every metric of a battery in order, then read the alarms."""
    measured = Measured()
    _run(battery.metrics, evaluation, measured, parts)
    measured.alarms = read_alarms(evaluation.measured, evaluation.dataset.num_classes)
    return measured


def answer_alarms(
    evaluation: Evaluation,
    measured: Measured,
    parts: "Parts | None" = None,
    transfer_from: nn.Module | Path | None = None,
) -> None:
    """Where an alarm was raised, run the extra checks: scores `suspicious/...` and a verdict among the alarms.

    Args:
        evaluation: as the battery left it.
        measured: the battery's; added to, nothing in it is changed.
        parts: of the evaluation.
        transfer_from: a standard network, or a folder of results to look for one in.
    """
    if not any(alarm.raised for alarm in measured.alarms):
        return
    if isinstance(transfer_from, Path):
        standard = find_standard(transfer_from, evaluation.dataset)
    else:
        standard = _classifier(transfer_from, evaluation.dataset) if transfer_from is not None else None
    _run(extra_checks(measured.alarms, standard), evaluation, measured, parts)
    measured.alarms = [*measured.alarms, verdict(evaluation.measured, measured.alarms)]


def _run(
    metrics: Iterable[Metric], evaluation: Evaluation, measured: Measured, parts: "Parts | None"
) -> None:
    for metric in metrics:
        part = parts.load(metric) if parts else None
        if part is None:
            part = _measure(metric, evaluation, parts)
            if parts:
                parts.save(metric, part)
        measured.seconds[metric.name] = part.seconds
        measured.forwards += part.forwards
        measured.backwards += part.backwards
        if part.reason:
            measured.scores[metric.name] = metric.score(None, reason=part.reason)
            continue
        evaluation.measured[metric.name] = part.arrays
        measured.scores |= metric.reduce(part.arrays)
        measured.curves |= metric.curves(part.arrays)
    measured.arrays = evaluation.measured


@contextmanager
def full_precision() -> Iterator[None]:
    """Keep float32 at 24 bits: GPUs round convolutions to TF32 otherwise, which curvature and signs would feel."""
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolution.allow_tf32
    matmul.allow_tf32 = convolution.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, convolution.allow_tf32 = before


def _measure(metric: Metric, evaluation: Evaluation, parts: "Parts | None") -> Part:
    evaluation.scratch = parts.folder if parts else None
    before = evaluation.forwards, evaluation.backwards
    started = time.perf_counter()
    reason, arrays = "", {}
    try:
        arrays = metric.measure(evaluation)
    except NotMeasurable as missing:
        reason = str(missing)
        evaluation.progress.say(f"{metric.name} left out: {reason}")
    seconds = time.perf_counter() - started
    return Part(arrays, reason, seconds, evaluation.forwards - before[0], evaluation.backwards - before[1])


def flatten(arrays: Mapping[str, Arrays], evaluation: Evaluation) -> Arrays:
    """All metrics' arrays under one roof: accuracy masks as METRIC, the rest as METRIC:ARRAY."""
    flat: Arrays = {"test_index": evaluation.test_index.numpy(), "labels": evaluation.labels.cpu().numpy()}
    for metric, parts in arrays.items():
        for key, array in parts.items():
            if key not in EXAMPLE_ARRAYS:
                flat[metric if key == "right" and array.ndim == 1 else f"{metric}:{key}"] = array
    return flat


def unflatten(flat: Mapping[str, np.ndarray]) -> dict[str, Arrays]:
    """The arrays beside a record by metric, as `flatten` found them but for the examples."""
    arrays: dict[str, Arrays] = {}
    for name, array in flat.items():
        metric, colon, key = name.rpartition(":")
        if colon:
            arrays.setdefault(metric, {})[key] = array
        elif name not in ("test_index", "labels"):
            arrays.setdefault(name, {})["right"] = array
    return arrays


def gather_examples(arrays: Mapping[str, Arrays], evaluation: Evaluation) -> Arrays:
    """Adversarial images of all attacks: `attack` [e], `test_index` int64 [e], `image` float32 [e, C, H, W].

    At most 50, evenly over the attacks; empty arrays where no attack broke anything.
    """
    attacks = {name: parts for name, parts in arrays.items() if parts.keys() >= set(EXAMPLE_ARRAYS)}
    share = min(KEPT, MOST_EXAMPLES // max(len(attacks), 1))
    names: list[str] = []
    index, images = [np.empty(0, np.int64)], [np.empty((0, *evaluation.images.shape[1:]), np.float32)]
    for name, parts in attacks.items():
        index.append(evaluation.test_index.numpy()[parts["example_index"][:share]])
        images.append(parts["examples"][:share])
        names += [name] * len(index[-1])
    return {
        "attack": np.array(names, dtype=np.str_),
        "test_index": np.concatenate(index),
        "image": np.concatenate(images),
    }


def _write(folder: Path, record: Record, arrays: Arrays, examples: Arrays) -> Record:
    save_arrays(folder / ARRAYS, arrays)
    written = {"weights": WEIGHTS, "arrays": ARRAYS}
    if len(examples["attack"]):
        save_arrays(folder / EXAMPLES, examples)
        written["examples"] = EXAMPLES
    files = {kind: schema.File(path=name, sha256=sha256(folder / name)) for kind, name in written.items()}
    record = record.model_copy(update={"files": files})
    record.save(folder / RECORD)
    return record


def _digest(classifier: AnyClassifier, evaluation: Evaluation, battery: Battery) -> str:
    """Six hex digits that tell a result from every other: network, data, threat, battery."""
    weights = fingerprint(*classifier.state_dict().values())
    about = [weights, evaluation.dataset.fingerprint, fingerprint(evaluation.images, evaluation.labels)]
    return identity({"about": about, "threat": str(evaluation.threat), "battery": battery.version})[:6]


def _identity(weights: Path, evaluation: Evaluation, battery: Battery) -> str:
    return "\n".join(
        [
            sha256(weights),
            fingerprint(evaluation.images, evaluation.labels),
            evaluation.dataset.fingerprint,
            f"{__version__} {evaluation.threat} {evaluation.seed} {describe_battery(battery).model_dump_json()}",
        ]
    )
