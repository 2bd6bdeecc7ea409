"""The battery over a classifier: metrics, alarms, and the record they make."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.attacks.resume import answers_of
from bench.core import provenance
from bench.core import record as schema
from bench.core.classifier import AnyClassifier
from bench.core.files import sha256
from bench.core.guards import evaluating, full_precision, random_state_kept
from bench.core.names import identity
from bench.core.progress import Progress
from bench.core.randomness import derive_seed
from bench.core.record import WEIGHTS, Alarm, Curve, Record, Score
from bench.core.threat import Threat
from bench.data import Dataset, fingerprint
from bench.evaluation.alarms import read_alarms
from bench.evaluation.battery import Battery
from bench.evaluation.describe import (
    Trained,
    describe_battery,
    describe_dataset,
    describe_provenance,
    describe_training,
)
from bench.evaluation.draw_figures import draw_all
from bench.evaluation.extra_checks import extra_checks, verdict
from bench.evaluation.files import unflatten, write_result
from bench.evaluation.inputs import (
    as_battery,
    as_classifier,
    as_dataset,
    as_threat,
    check_data,
    check_module,
    check_network,
)
from bench.evaluation.resume import FinishedMetric, FinishedMetrics
from bench.evaluation.standard_network import find_standard
from bench.models.weights import save_weights
from bench.version import __version__
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable

#: The folder of the finished metrics, below the result's folder until the record is written.
FINISHED = "parts"

__all__ = [
    "Evaluation",
    "Measured",
    "answer_alarms",
    "evaluate",
    "evaluate_to_folder",
    "full_precision",
    "run_battery",
    "unflatten",
]


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
        suspicious: answer a raised alarm with `bench.evaluation.extra_checks`; no score of the battery moves.
        transfer_from: a network trained without defense on the same data, for one of those checks, or a folder of
            results to look for one in; `out` by default.

    Raises:
        UserError: when an argument is something else, the network does not fit the data, or the logits are not
            finite.
    """
    check_module(model)
    dataset, threat, battery = as_dataset(data), as_threat(threat), as_battery(battery)
    out = Path(out) if isinstance(out, str) else out
    transfer_from = Path(transfer_from) if isinstance(transfer_from, str) else transfer_from
    parameter = next(model.parameters(), None)
    dataset = dataset.to(parameter.device if parameter is not None else "cpu")
    classifier = as_classifier(model, dataset)
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

    Torch's global random state stays as it was found; a network that draws from it gets draws made from the seed.

    Args:
        classifier: in eval mode, on the data's device.
        folder: where the files go; `parts/` below it holds finished metrics until the record is there.
        suspicious, transfer_from: as for `evaluate`.

    Raises:
        UserError: when images, labels or logits are unusable; nothing is written then.
    """
    with random_state_kept(derive_seed(seed, "evaluation")), full_precision():
        evaluation = _prepare(classifier, dataset, threat, battery, trained, seed, progress)
        finished = None
        if folder is not None:
            save_weights(folder / WEIGHTS, classifier)
            finished = FinishedMetrics(folder / FINISHED, _identity(folder / WEIGHTS, evaluation, battery))
        measured = run_battery(evaluation, battery, finished)
        if suspicious:
            answer_alarms(evaluation, measured, finished, transfer_from)
    record = Record(
        id=f"{run}-s{seed}-{battery.name}-{_digest(classifier, evaluation, battery)}",
        defense=trained.defense,
        model=model,
        parameters=sum(parameter.numel() for parameter in classifier.parameters()),
        feature_site=classifier.site,
        dataset=describe_dataset(dataset, evaluation.images, evaluation.labels),
        threat=schema.Threat(norm=threat.norm, eps=threat.eps),
        battery=describe_battery(battery),
        seed=seed,
        training=describe_training(trained),
        metrics=measured.scores,
        alarms=measured.alarms,
        curves=measured.curves,
        history=trained.history,
        cost=_cost(measured, trained, evaluation.device),
        provenance=describe_provenance(run, command, config, evaluation.device),
        files={},
    )
    if folder is not None:
        draw_all(record, measured.arrays, battery.metrics, folder / "figures", progress)
        record = write_result(folder, record, measured.arrays, evaluation)
        assert finished is not None
        finished.remove()
    return record


def _prepare(
    classifier: AnyClassifier,
    dataset: Dataset,
    threat: Threat,
    battery: Battery,
    trained: Trained,
    seed: int,
    progress: Progress,
) -> Evaluation:
    """What every metric is given, once network and data are known to be usable."""
    check_data(dataset)
    images, labels = dataset.test.batch(slice(0, battery.images))
    check_network(classifier, images, labels)
    battery.check(classifier, dataset)
    return Evaluation(
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


def _cost(measured: Measured, trained: Trained, device: torch.device) -> schema.Cost:
    seconds = sum(float(row["seconds"] or 0) for row in trained.history)
    return schema.Cost(
        train_seconds=seconds if trained.history else None,
        evaluate_seconds=sum(measured.seconds.values()),
        peak_memory_bytes=provenance.peak_memory(device),
        forwards=measured.forwards,
        backwards=measured.backwards,
        seconds_by_metric=measured.seconds,
    )


def run_battery(
    evaluation: Evaluation, battery: Battery, finished: FinishedMetrics | None = None
) -> Measured:
    """Run every metric of a battery in order, then read the alarms."""
    measured = Measured()
    _run(battery.metrics, evaluation, measured, finished)
    measured.alarms = read_alarms(evaluation.measured, evaluation.dataset.num_classes)
    return measured


def answer_alarms(
    evaluation: Evaluation,
    measured: Measured,
    finished: FinishedMetrics | None = None,
    transfer_from: nn.Module | Path | None = None,
) -> None:
    """Where an alarm was raised, run the extra checks: scores `suspicious/...` and a verdict among the alarms.

    Args:
        evaluation: as the battery left it.
        measured: the battery's; added to, nothing in it is changed.
        finished: those of the evaluation on disk.
        transfer_from: a standard network, or a folder of results to look for one in.
    """
    if not any(alarm.raised for alarm in measured.alarms):
        return
    if isinstance(transfer_from, Path):
        standard = find_standard(transfer_from, evaluation.dataset)
    else:
        standard = as_classifier(transfer_from, evaluation.dataset) if transfer_from is not None else None
    _run(extra_checks(measured.alarms, standard), evaluation, measured, finished)
    measured.alarms = [*measured.alarms, verdict(evaluation.measured, measured.alarms)]


def _run(
    metrics: Iterable[Metric], evaluation: Evaluation, measured: Measured, finished: FinishedMetrics | None
) -> None:
    for metric in metrics:
        result = finished.load(metric) if finished else None
        if result is None:
            result = _measure(metric, evaluation, finished)
            if finished:
                finished.save(metric, result)
        measured.seconds[metric.name] = result.seconds
        measured.forwards += result.forwards
        measured.backwards += result.backwards
        if result.reason:
            measured.scores |= _missing(metric, result.reason)
            continue
        evaluation.measured[metric.name] = result.arrays
        measured.scores |= metric.reduce(result.arrays)
        measured.curves |= metric.curves(result.arrays)
    measured.arrays = evaluation.measured


def _missing(metric: Metric, reason: str) -> dict[str, Score]:
    """Every score of a metric that cannot be measured, without a value; only the main one's unit is known."""
    others = {name: Score(value=None, unit="", reason=reason) for name in metric.names()}
    return others | {metric.name: metric.score(None, reason=reason)}


def _measure(metric: Metric, evaluation: Evaluation, finished: FinishedMetrics | None) -> FinishedMetric:
    evaluation.scratch = finished.folder if finished else None
    before = evaluation.forwards, evaluation.backwards
    started = time.perf_counter()
    reason, arrays = "", {}
    try:
        # From the metric's own seed, so that it draws the same whether or not others ran before it.
        with random_state_kept(evaluation.generator(metric.name).initial_seed()):
            arrays = metric.measure(evaluation)
    except NotMeasurable as missing:
        reason = str(missing)
        evaluation.progress.say(f"{metric.name} left out: {reason}")
    seconds = time.perf_counter() - started
    return FinishedMetric(
        arrays, reason, seconds, evaluation.forwards - before[0], evaluation.backwards - before[1]
    )


def _digest(classifier: AnyClassifier, evaluation: Evaluation, battery: Battery) -> str:
    """Six hex digits that tell a result from every other: network, data, threat, battery."""
    weights = fingerprint(*classifier.state_dict().values())
    about = [weights, evaluation.dataset.fingerprint, fingerprint(evaluation.images, evaluation.labels)]
    return identity({"about": about, "threat": str(evaluation.threat), "battery": battery.version})[:6]


def _identity(weights: Path, evaluation: Evaluation, battery: Battery) -> str:
    """All that the parts depend on; the last line is what the network answers, for its code may change too."""
    return "\n".join(
        [
            sha256(weights),
            fingerprint(evaluation.images, evaluation.labels),
            evaluation.dataset.fingerprint,
            f"{__version__} {evaluation.threat} {evaluation.seed} {describe_battery(battery).model_dump_json()}",
            answers_of(evaluation.classifier, evaluation.images),
        ]
    )
