"""All figures of a result in a folder of their own, and those of several results beside each other.

What a record lacks is measured first, once.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from os.path import relpath
from pathlib import Path

import torch

from bench.charts import Chart
from bench.charts.sheet import Network, write_sheet
from bench.charts.words import norm_sign
from bench.core.errors import UserError
from bench.core.guards import evaluating, full_precision
from bench.core.names import ROBUST_ACCURACY, SUSPICIOUS, identity, short_hash, slug
from bench.core.predictor import Predictor
from bench.core.progress import Progress
from bench.core.record import RECORD, Record, load_record, read_arrays
from bench.evaluation.battery import BATTERIES, Battery, make_battery
from bench.evaluation.evaluate import run_battery, unflatten
from bench.evaluation.figures import draw_all, draw_charts, what
from bench.evaluation.resume import Parts
from bench.results.beside import Figures, listed, network_names, set_beside
from bench.results.restore import Restored, restore
from bench.runs.config import RunConfig
from bench.runs.external import evaluate_checkpoint
from bench.tracking import NullTracker
from bench.training.probes import QUANTITIES
from bench.version import __version__
from metrics import METRICS
from metrics import get as get_metric
from metrics.base import Arrays, Evaluation, Metric

#: What is measured for figures unless `--metrics` says something else.
BATTERY = "geometry"


@dataclass(frozen=True)
class Drawn:
    """A result's figures: what they are, and the page that shows them."""

    page: Path
    figures: Figures


def draw_record(
    path: Path,
    out: Path,
    *,
    metrics: Sequence[str] = (),
    measure: bool = True,
    data_dir: Path | None = None,
    weights: Path | None = None,
    loader: str | None = None,
    device: str = "auto",
    trust: bool = False,
    progress: Progress | None = None,
) -> Drawn:
    """Draw the figures of a record into `out`, with an `index.html`.

    Args:
        path: the record, or the folder that holds `record.json`.
        out: `measured/` below it keeps what was measured, so that it is measured once.
        metrics: what to measure where the record lacks it; by default the metrics of the geometry battery.
        measure: draw what the record lacks, too; otherwise only what lies beside it.
        data_dir, weights, loader, device, trust: as for `bench.results.restore.restore`.
        progress: where bars go.

    Raises:
        UserError: for a record that cannot be read or restored, an unknown metric, or nothing to draw.
    """
    progress = progress or Progress()
    path = path / RECORD if path.is_dir() else path
    record = load_record(path)
    stored = unflatten(read_arrays(path, record))
    wanted = make_battery(BATTERY, metrics)
    known = {metric.name: metric for metric in _metrics_of(record, stored, wanted, progress)}
    lacking = [metric for metric in wanted.metrics if metric.name not in stored | record.metrics]
    if measure and lacking:
        restored = restore(
            path, data_dir=data_dir, weights=weights, loader=loader, device=device, trust=trust
        )
        evaluation = _evaluation(restored, stored, progress)
        record = _measure(record, evaluation, lacking, out / "measured", progress)
        stored = evaluation.measured
    charts = draw_all(record, stored, known.values(), out, progress)
    if not charts:
        raise UserError(f"{path} has nothing to draw: neither a history nor arrays lie beside it")
    page = write_sheet(out, charts, _title(record), _facts(record, charts), notes=_not_drawn(record))
    return Drawn(page, Figures(record, charts))


def draw_checkpoint(
    config: RunConfig,
    checkpoint: Path,
    out: Path,
    loader: str | None = None,
    progress: Progress | None = None,
) -> Drawn:
    """Evaluate a checkpoint with the geometry battery, and draw its figures into `out`, with an `index.html`.

    Args:
        config: model, data, threat and metrics.
        checkpoint: weights for `config.model`, or for what the loader makes.
        out: `measured/` below it holds the record, so that a second call measures nothing.

    Raises:
        UserError: for a checkpoint that cannot be read or does not fit.
    """
    progress = progress or Progress()
    config = config.model_copy(update={"battery": BATTERY, "out": out / "measured"})
    record = evaluate_checkpoint(config, checkpoint, loader, NullTracker(), progress)
    drawn = draw_record(record, out, metrics=config.metrics, measure=False, progress=progress)
    return replace(drawn, figures=replace(drawn.figures, file=checkpoint.stem))


def draw_beside(drawn: Sequence[Drawn], root: Path, progress: Progress | None = None) -> Path:
    """Draw the figures of several results beside each other into a folder below `root`; gives its `index.html`.

    Args:
        drawn: at least two, in the order they are to stand in; the page links theirs.

    Raises:
        UserError: when no two results have a figure in common.
    """
    progress = progress or Progress()
    names = network_names([each.figures for each in drawn])
    results = {name: each.figures for name, each in zip(names, drawn, strict=True)}
    together = set_beside(results)
    ids = [each.figures.record.id for each in drawn]
    folder = root / f"{'-beside-'.join(map(slug, names))[:80].strip('-')}-{short_hash([names, ids])}"
    charts = draw_charts(together.charts, folder, progress)
    if not charts:
        raise UserError(f"no two of {', '.join(names)} have a figure in common; {' '.join(together.notes)}")
    networks = [
        Network(
            name,
            f"{what(result.record)}; {norm_sign(result.record.threat.norm)} ε = {result.record.threat.eps}",
            relpath(each.page, folder),
        )
        for (name, result), each in zip(results.items(), drawn, strict=True)
    ]
    return write_sheet(
        folder, charts, f"Side by side: {listed(names)}", {}, networks=networks, notes=together.notes
    )


def right_images(
    path: Path, *, data_dir: Path | None = None, device: str = "auto", trust: bool = False
) -> list[int]:
    """Places of the evaluated test images that a record's network classifies correctly.

    Raises:
        UserError: for a record that cannot be read or restored.
    """
    restored = restore(path, data_dir=data_dir, device=device, trust=trust)
    evaluation = _evaluation(restored, {}, Progress())
    predict = Predictor(restored.classifier, evaluation.batch_size)
    with evaluating(restored.classifier), full_precision():
        parts = evaluation.images.split(evaluation.batch_size)
        predicted = torch.cat([predict(images) for images in parts])
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
) -> Figures:
    """The figures of just these metrics for a record's network, measured once and kept below `folder`.

    Args:
        path: of the record.
        first: places of test images that come before the others, for metrics that show the first ones.
        data_dir, device, trust: as for `bench.results.restore.restore`.

    Raises:
        UserError: for a record that cannot be read or restored.
    """
    progress = progress or Progress()
    restored = restore(path, data_dir=data_dir, device=device, trust=trust)
    evaluation = _evaluation(restored, {}, progress)
    chosen = set(first)
    order = torch.tensor([*first, *(at for at in range(len(evaluation.labels)) if at not in chosen)])
    places = order.to(evaluation.device)
    ordered = replace(
        evaluation, images=evaluation.images[places], labels=evaluation.labels[places], test_index=order
    )
    record = _measure(restored.record, ordered, metrics, folder, progress)
    charts = [
        chart
        for metric in metrics
        if metric.name in ordered.measured
        for chart in metric.charts(ordered.measured[metric.name], record)
    ]
    return Figures(record, charts)


def _metrics_of(
    record: Record, stored: Mapping[str, Arrays], wanted: Battery, progress: Progress
) -> list[Metric]:
    """Metrics that know how to draw: in the record's own sizes, then the wanted ones, then all with arrays."""
    name = record.battery.name
    own = make_battery(name).metrics if name in BATTERIES else ()
    found = {metric.name: metric for metric in (*wanted.metrics, *own)}
    if set(stored) - set(found):
        for registered in METRICS.names():
            # A plug-in that does not load is no reason to draw nothing.
            with suppress(UserError):
                metric = get_metric(registered)
                found.setdefault(metric.name, metric)
    for missing in sorted(set(stored) - set(found)):
        if not missing.startswith((ROBUST_ACCURACY, SUSPICIOUS)):
            progress.say(f"no metric called {missing} is installed, so its figures are left out")
    return list(found.values())


def _evaluation(restored: Restored, stored: dict[str, Arrays], progress: Progress) -> Evaluation:
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
        measured=dict(stored),
        history=restored.record.history,
    )


def _measure(
    record: Record, evaluation: Evaluation, metrics: Sequence[Metric], folder: Path, progress: Progress
) -> Record:
    """Run the metrics, each kept in a folder of its own; gives the record with their scores and curves."""
    scores, curves = dict(record.metrics), dict(record.curves)
    with evaluating(evaluation.classifier), full_precision():
        for metric in progress.track(metrics, "measuring what the record lacks", len(metrics)):
            # Other weights, data, settings or code give other numbers.
            order = evaluation.test_index.tolist()
            about: list[object] = [record.files.get("weights"), record.dataset, record.threat, record.seed]
            about += [order] if order != sorted(order) else []
            what = identity({"about": [str(part) for part in about], "settings": metric.settings()})
            parts = Parts(folder / metric.name.replace("/", ".").replace(":", "."), f"{what} {__version__}")
            one = Battery(BATTERY, None, (metric,), "")
            measured = run_battery(evaluation, one, parts)
            scores |= measured.scores
            curves |= measured.curves
    return record.model_copy(update={"metrics": scores, "curves": curves})


def _not_drawn(record: Record) -> list[str]:
    """What the record's training left nothing to draw of."""
    probed = any(key in row for row in record.history for key in QUANTITIES)
    if not record.history or probed:
        return []
    return ["Not drawn: figures of the course of training; train with --probe-every N."]


def _title(record: Record) -> str:
    return f"Figures of {record.defense.name} on {record.model}, {record.dataset.name}"


def _facts(record: Record, charts: Sequence[Chart]) -> dict[str, str]:
    return {
        "Threat": f"{record.threat.norm}, ε = {record.threat.eps}",
        "Seed": str(record.seed),
        "Record": record.id,
        "Made": record.provenance.created,
        "Figures": str(len(charts)),
    }
