"""Measure metrics that a record lacks with its network, once, and keep what was measured."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from bench.core.guards import evaluating, full_precision
from bench.core.names import identity
from bench.core.predictor import Predictor
from bench.core.progress import Progress
from bench.core.record import Record
from bench.evaluation.battery import Battery
from bench.evaluation.resume import FinishedMetrics
from bench.evaluation.run_battery import run_battery
from bench.results.figure_matching import ResultFigures
from bench.results.restore import evaluation_of, restore
from bench.version import __version__
from metrics.base import Metric
from metrics.evaluation import Evaluation


def correctly_classified(
    path: Path, *, data_dir: Path | None = None, device: str = "auto", trust: bool = False
) -> list[int]:
    """Positions of the evaluated test images that a record's network classifies correctly.

    Args:
        path: the record.
        data_dir, device, trust: as for `bench.results.restore.restore`.

    Raises:
        UserError: for a record that cannot be read or restored.
    """
    restored = restore(path, data_dir=data_dir, device=device, trust=trust)
    evaluation = evaluation_of(restored, Progress())
    predict = Predictor(restored.classifier, evaluation.batch_size)
    with evaluating(restored.classifier), full_precision():
        batches = evaluation.images.split(evaluation.batch_size)
        predicted = torch.cat([predict(images) for images in batches])
    return torch.nonzero(predicted == evaluation.labels).flatten().tolist()


def measure_figures(
    path: Path,
    metrics: Sequence[Metric],
    folder: Path,
    *,
    first: Sequence[int] = (),
    data_dir: Path | None = None,
    device: str = "auto",
    trust: bool = False,
    progress: Progress | None = None,
) -> ResultFigures:
    """Measure metrics with a record's network and draw their figures.

    Args:
        path: the record.
        metrics: measured once and kept below `folder`.
        first: positions of test images to put before the others, for metrics that show the first images.
        data_dir, device, trust: as for `bench.results.restore.restore`.

    Raises:
        UserError: for a record that cannot be read or restored.
    """
    progress = progress or Progress()
    restored = restore(path, data_dir=data_dir, device=device, trust=trust)
    evaluation = evaluation_of(restored, progress)
    chosen = set(first)
    order = torch.tensor([*first, *(at for at in range(len(evaluation.labels)) if at not in chosen)])
    index = order.to(evaluation.device)
    ordered = replace(
        evaluation, images=evaluation.images[index], labels=evaluation.labels[index], test_index=order
    )
    record = measure_metrics(restored.record, ordered, metrics, folder, progress)
    charts = [
        chart
        for metric in metrics
        if metric.name in ordered.measured
        for chart in metric.charts(ordered.measured[metric.name], record)
    ]
    return ResultFigures(record, charts)


def measure_metrics(
    record: Record, evaluation: Evaluation, metrics: Sequence[Metric], folder: Path, progress: Progress
) -> Record:
    """Measure metrics and add their scores and curves to a record.

    Args:
        record: not changed.
        evaluation: of the record's network; its `measured` receives the arrays.
        metrics: each keeps its arrays in a folder of its own below `folder`.
        progress: shows the progress of the metrics.

    Returns:
        A copy of the record with the new scores and curves.
    """
    scores, curves = dict(record.metrics), dict(record.curves)
    with evaluating(evaluation.classifier), full_precision():
        for metric in progress.track(metrics, "measuring what the record lacks", len(metrics)):
            # Kept arrays are valid for the same weights, data, settings and code only.
            order = evaluation.test_index.tolist()
            about: list[object] = [record.files.get("weights"), record.dataset, record.threat, record.seed]
            about += [order] if order != sorted(order) else []
            digits = identity({"about": [str(part) for part in about], "settings": metric.settings()})
            own_folder = folder / metric.name.replace("/", ".").replace(":", ".")
            kept = FinishedMetrics(own_folder, f"{digits} {__version__}")
            battery = Battery("one metric", None, (metric,), "")
            measured = run_battery(evaluation, battery, kept)
            scores |= measured.scores
            curves |= measured.curves
    return record.model_copy(update={"metrics": scores, "curves": curves})
