"""Pages with all figures of a result, and pages with the figures of several results side by side."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from os.path import relpath
from pathlib import Path

from bench.charts import Chart
from bench.charts.sheet import SheetNetwork, write_sheet
from bench.core.errors import UserError
from bench.core.names import ROBUST_ACCURACY, SUSPICIOUS, short_hash, slug
from bench.core.progress import Progress
from bench.core.record import RECORD, Record, load_record, read_arrays
from bench.evaluation.battery import BATTERIES, Battery, make_battery
from bench.evaluation.draw_figures import draw_charts, make_charts
from bench.evaluation.files import unflatten
from bench.evaluation.record_charts import caption_subject
from bench.results.figure_matching import ResultFigures, enumeration, match_figures, network_names
from bench.results.measure_missing import measure_metrics
from bench.results.restore import evaluation_of, restore
from bench.runs.config import RunConfig
from bench.runs.external import evaluate_checkpoint
from bench.tracking import NullTracker
from bench.training.probes import QUANTITIES
from metrics import METRICS
from metrics import get as get_metric
from metrics.base import Metric
from metrics.evaluation import Arrays

#: The battery whose metrics are measured when none are named.
BATTERY = "geometry"


@dataclass(frozen=True)
class FigurePage:
    """The figures of a result, and the page that shows them."""

    page: Path
    figures: ResultFigures


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
) -> FigurePage:
    """Draw the figures of a record into a folder, with an `index.html`.

    Args:
        path: the record, or its folder.
        out: the folder; `measured/` below it keeps what is measured, so that it is measured once.
        metrics: metrics to measure where the record lacks them; those of the geometry battery by default.
        measure: measure what the record lacks; otherwise draw only the stored arrays.
        data_dir, weights, loader, device, trust: as for `bench.results.restore.restore`.
        progress: shows progress.

    Raises:
        UserError: for a record that cannot be read or restored, an unknown metric, or nothing to draw.
    """
    progress = progress or Progress()
    path = path / RECORD if path.is_dir() else path
    record = load_record(path)
    arrays = unflatten(read_arrays(path, record))
    wanted = make_battery(BATTERY, metrics)
    known = {metric.name: metric for metric in _drawing_metrics(record, arrays, wanted, progress)}
    missing = [metric for metric in wanted.metrics if metric.name not in arrays | record.metrics]
    if measure and missing:
        restored = restore(
            path, data_dir=data_dir, weights=weights, loader=loader, device=device, trust=trust
        )
        evaluation = evaluation_of(restored, progress, arrays)
        record = measure_metrics(record, evaluation, missing, out / "measured", progress)
        arrays = evaluation.measured
    made = make_charts(record, arrays, known.values(), progress)
    if not made:
        raise UserError(f"nothing to draw: {path} has no training history and no stored arrays")
    charts = draw_charts(made, out, progress, vector=True)
    if not charts:
        raise UserError(f"none of the {len(made)} figures of {path} could be drawn into {out}")
    page = write_sheet(out, charts, _title(record), _facts(record, charts), notes=_not_drawn(record))
    return FigurePage(page, ResultFigures(record, charts))


def draw_checkpoint(
    config: RunConfig,
    checkpoint: Path,
    out: Path,
    loader: str | None = None,
    progress: Progress | None = None,
) -> FigurePage:
    """Evaluate a checkpoint with the geometry battery, and draw its figures into a folder with an `index.html`.

    Args:
        config: model, data, threat and metrics.
        checkpoint: weights for `config.model`, or for the network that the loader makes.
        out: the folder; `measured/` below it keeps the record, so that a second call measures nothing.
        loader: `module:function` that makes the network; None for one of `MODELS`.
        progress: shows progress.

    Raises:
        UserError: for a checkpoint that cannot be read or does not fit.
    """
    progress = progress or Progress()
    config = config.model_copy(update={"battery": BATTERY, "out": out / "measured"})
    record = evaluate_checkpoint(config, checkpoint, loader, NullTracker(), progress)
    drawn = draw_record(record, out, metrics=config.metrics, measure=False, progress=progress)
    return replace(drawn, figures=replace(drawn.figures, file=checkpoint.stem))


def draw_side_by_side(pages: Sequence[FigurePage], root: Path, progress: Progress | None = None) -> Path:
    """Draw the figures of several results side by side into a folder below `root`.

    Args:
        pages: at least two, in the order of their panels. The new page links them.
        root: the folder below which the new one is made.
        progress: shows progress.

    Returns:
        The `index.html` of the folder.

    Raises:
        UserError: when no two results have a figure in common.
    """
    progress = progress or Progress()
    names = network_names([each.figures for each in pages])
    results = {name: each.figures for name, each in zip(names, pages, strict=True)}
    matched = match_figures(results)
    ids = [each.figures.record.id for each in pages]
    folder = root / f"{'-beside-'.join(map(slug, names))[:80].strip('-')}-{short_hash([names, ids])}"
    charts = draw_charts(matched.charts, folder, progress, vector=True)
    if not charts:
        raise UserError(f"no two of {', '.join(names)} have a figure in common; {' '.join(matched.notes)}")
    networks = [
        SheetNetwork(
            name,
            f"{caption_subject(result.record)}; {result.record.threat.title}",
            relpath(each.page, folder),
        )
        for (name, result), each in zip(results.items(), pages, strict=True)
    ]
    title = f"Side by side: {enumeration(names)}"
    return write_sheet(folder, charts, title, {}, networks=networks, notes=matched.notes)


def _drawing_metrics(
    record: Record, arrays: Mapping[str, Arrays], wanted: Battery, progress: Progress
) -> list[Metric]:
    """The metrics that can draw a record's arrays, one per name.

    Of metrics with the same name, the first of these: the record's battery, the wanted ones, all registered ones.
    """
    name = record.battery.name
    own = make_battery(name).metrics if name in BATTERIES else ()
    found = {metric.name: metric for metric in (*wanted.metrics, *own)}
    if set(arrays) - set(found):
        for registered in METRICS.names():
            # A plug-in that does not load must not prevent the other figures.
            with suppress(UserError):
                metric = get_metric(registered)
                found.setdefault(metric.name, metric)
    for unknown in sorted(set(arrays) - set(found)):
        if not unknown.startswith((ROBUST_ACCURACY, SUSPICIOUS)):
            progress.say(f"no metric called {unknown} is installed, so its figures are left out")
    return list(found.values())


def _not_drawn(record: Record) -> list[str]:
    """A note when the training was not probed, so that figures by epoch are missing."""
    probed = any(key in row for row in record.history for key in QUANTITIES)
    if not record.history or probed:
        return []
    return ["Not drawn: figures of the course of training; train with --probe-every N."]


def _title(record: Record) -> str:
    return f"Figures of {record.defense.name} on {record.model}, {record.dataset.name}"


def _facts(record: Record, charts: Sequence[Chart]) -> dict[str, str]:
    return {
        "Threat": record.threat.title,
        "Seed": str(record.seed),
        "Record": record.id,
        "Made": record.provenance.created,
        "Figures": str(len(charts)),
    }
