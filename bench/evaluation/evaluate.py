"""Evaluate a network with a battery, and write the record."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.attacks.resume import sample_logits
from bench.core import provenance
from bench.core import record as schema
from bench.core.classifier import AnyClassifier, WrappedClassifier
from bench.core.errors import UserError
from bench.core.files import sha256
from bench.core.guards import evaluating, full_precision, random_state_kept, torch_defaults
from bench.core.names import data_source, dataset_label
from bench.core.plugin_sources import own_classes, sources_of
from bench.core.progress import Progress
from bench.core.randomness import derive_seed
from bench.core.record import RECORD, WEIGHTS, Record
from bench.core.threat import Threat
from bench.data import Dataset, fingerprint
from bench.evaluation.battery import Battery
from bench.evaluation.describe import (
    Trained,
    code_of_data,
    describe_battery,
    describe_dataset,
    describe_provenance,
    describe_training,
    result_id,
)
from bench.evaluation.draw_figures import draw_all
from bench.evaluation.extra_checks import called_for
from bench.evaluation.files import write_result
from bench.evaluation.foreign_identity import network_identity
from bench.evaluation.inputs import (
    as_battery,
    as_classifier,
    as_dataset,
    as_threat,
    check_data,
    check_module,
    check_names,
    check_network,
    check_undivided,
    device_of,
)
from bench.evaluation.resume import FinishedMetrics
from bench.evaluation.run_battery import Measurements, answer_alarms, run_battery
from bench.evaluation.standard_network import standard_from
from bench.evaluation.trained import TrainedNetwork
from bench.models.weights import save_weights
from bench.training.workers import helpers_of
from bench.version import __version__
from metrics import Metric
from metrics.evaluation import Evaluation

#: The folder of the finished metrics, below the result's folder, until the record is written.
FINISHED = "parts"


@torch_defaults()
def evaluate(
    model: nn.Module | TrainedNetwork,
    data: Any,
    threat: Threat | str,
    battery: Battery | str = "quick",
    *,
    metrics: Sequence[str | Metric | type[Metric]] = (),
    test_size: int | None = None,
    data_dir: Path | str | None = None,
    name: str | None = None,
    defense: str | None = None,
    seed: int = 0,
    out: Path | str | None = None,
    command: str = "",
    progress: Progress | None = None,
    escalate: bool | None = None,
    transfer_from: nn.Module | Path | str | None = None,
) -> Record:
    """Evaluate any network with a battery; needs neither MLflow nor Optuna.

    Args:
        model: maps float32 images [B, C, H, W] in [0, 1] to logits [B, K]. It stays on its device, and its modes
            and gradients are restored. What `bench.train` returned brings its defense and history into the record.
        data: test images with labels as `(images, labels)`, a torch `Dataset`, a `DataLoader` in fixed order,
            or another form of `bench.data.make_dataset`; a `bench.data.Dataset`; or the name of one. Region metrics
            are measured only with training images.
        threat: norm and ε, or text such as "linf:8/255"; with ε = 0 every attack gives the clean accuracy.
        battery: "quick", "standard", "full", "geometry", "indicators", or one of your own.
        metrics: measure just these, on as many images as the battery: names, metrics, or classes of them.
        test_size: the first so many test images, in a fixed stratified order; None takes all.
        data_dir: folder of a named data set's files, "data" by default.
        name: the network's name in the record; its class name by default.
        defense: the name of its training in the record; "external" by default.
        seed: base of every random draw.
        out: folder for record, arrays and weights; None writes nothing.
        command: the command that reproduces the result, for the record.
        progress: where bars go; silent by default.
        escalate: answer a raised alarm with `bench.evaluation.extra_checks`, which lower the worst case: None does
            so for a battery with a worst case, True for every one, False for none.
        transfer_from: a standardly trained network on the same data, for one of those checks; or the record or the
            checkpoint of one; or a folder of results that may have one, `out` by default. A small one is trained
            where there is none.

    Raises:
        UserError: when an argument has the wrong type, a name cannot stand in a record, the network does not fit
            the data, or the logits are not finite.
    """
    label = "external" if defense is None else defense
    check_names(label)
    trained = Trained.elsewhere(label)
    if isinstance(model, TrainedNetwork):
        check_undivided(model, data)
        name, trained, model = name or model.name, model.trained, model.network
        if defense is not None:
            raise UserError(f"expected no defense, for the network was trained with {trained.defense.name}")
    check_module(model)
    name = name or type(model.module if isinstance(model, WrappedClassifier) else model).__name__
    device = device_of(model)
    threat, battery = as_threat(threat), as_battery(battery, metrics)
    dataset = as_dataset(data, model, test_size=test_size, data_dir=data_dir).to(device)
    check_names(name, trained.defense.name, battery.name, dataset_label(dataset.name))
    out = Path(out) if isinstance(out, str) else out
    transfer_from = Path(transfer_from) if isinstance(transfer_from, str) else transfer_from
    if isinstance(transfer_from, Path) and (transfer_from.is_file() or (transfer_from / RECORD).is_file()):
        transfer_from = standard_from(transfer_from, dataset)
    classifier = as_classifier(model, dataset)
    check_network(classifier, *dataset.test.batch(slice(0, battery.images)))
    network = network_identity(classifier, dataset, None)
    with evaluating(classifier):
        return evaluate_to_folder(
            classifier,
            dataset,
            threat,
            battery,
            model=name,
            trained=trained,
            run="external",
            seed=seed,
            folder=out,
            command=command,
            config={
                **({"dataset": data_source(data), "test_size": test_size} if isinstance(data, str) else {}),
                **({"network": network} if network else {}),
            },
            progress=progress or Progress(),
            escalate=escalate,
            transfer_from=transfer_from or out,
            parts=[*trained.parts, *code_of_data(data)],
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
    escalate: bool | None = None,
    transfer_from: nn.Module | Path | None = None,
    parts: Sequence[tuple[str, object]] = (),
) -> Record:
    """Run a battery and write record, arrays and weights; a resumed evaluation does not repeat finished metrics.

    Torch's global random state is restored. The random numbers of a stochastic network depend only on the seed.

    Args:
        classifier: in eval mode, on the data's device.
        dataset: with the test images to evaluate on.
        threat, battery, seed, command, progress, escalate, transfer_from: as for `evaluate`.
        model: the network's name in the record.
        trained: how it was trained.
        run: name of the run it belongs to, or "external".
        folder: where the files go; `parts/` in it has the finished metrics until the record is written. None writes
            nothing.
        config: of the run, for the record.
        parts: role and class or function of what may be a plug-in, besides the metrics and the network's classes.

    Raises:
        UserError: when images, labels or logits are unusable; nothing is written then.
    """
    sources = sources_of(
        [
            *parts,
            *(("network", kind) for kind in own_classes(classifier.modules())),
            *((f"metric {metric.name}", metric) for metric in battery.metrics),
        ]
    )
    with random_state_kept(derive_seed(seed, "evaluation")), full_precision():
        evaluation = _prepare(classifier, dataset, threat, battery, trained, seed, progress)
        identifier = result_id(
            run,
            seed,
            battery.name,
            battery.version,
            classifier=classifier,
            data=dataset.fingerprint,
            evaluated=fingerprint(evaluation.images, evaluation.labels),
            threat=threat,
            network=config.get("network"),
        )
        finished = None
        if folder is not None:
            save_weights(folder / WEIGHTS, classifier)
            finished = FinishedMetrics(
                folder / FINISHED, _identity(folder / WEIGHTS, evaluation, battery), evaluation.progress.say
            )
        measured = run_battery(evaluation, battery, finished, trained.defense.search)
        if called_for(measured.alarms, measured.scores, escalate):
            answer_alarms(evaluation, measured, finished, transfer_from, train=True)
    record = Record(
        id=identifier,
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
        provenance=describe_provenance(run, command, config, evaluation.device, sources),
        files={},
    )
    if folder is not None:
        draw_all(record, measured.arrays, battery.metrics, folder / "figures", progress)
        record = write_result(folder, record, measured.arrays, evaluation, sources)
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
    """Check network and data, and collect what every metric is given."""
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
        helped=helpers_of(classifier, images[:8]),
    )


def _cost(measured: Measurements, trained: Trained, device: torch.device) -> schema.Cost:
    seconds = sum(float(row["seconds"] or 0) for row in trained.history)
    return schema.Cost(
        train_seconds=seconds if trained.history else None,
        evaluate_seconds=sum(measured.seconds.values()),
        peak_memory_bytes=provenance.peak_memory(device),
        forwards=measured.forwards,
        backwards=measured.backwards,
        seconds_by_metric=measured.seconds,
        passes_by_metric=measured.passes,
    )


def _identity(weights: Path, evaluation: Evaluation, battery: Battery) -> str:
    """Everything that finished metrics depend on; the last line is its logits, for the code may change."""
    return "\n".join(
        [
            sha256(weights),
            fingerprint(evaluation.images, evaluation.labels),
            evaluation.dataset.fingerprint,
            f"{__version__} {evaluation.threat} {evaluation.seed} {describe_battery(battery).model_dump_json()}",
            sample_logits(evaluation.classifier, evaluation.images),
        ]
    )
