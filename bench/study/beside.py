"""Figures of a table study with its rows beside each other."""

from collections.abc import Sequence
from pathlib import Path

from bench.charts import Chart
from bench.core.names import short_hash, slug
from bench.core.progress import Progress
from bench.results.figure_matching import match_figures, shows_images
from bench.results.measure_missing import correctly_classified, measure_figures
from bench.study.columns import metrics_of
from bench.study.spec import TableStudy
from bench.study.table import Row, TableResult, named_metrics
from metrics.base import Metric


def metrics_beside(study: TableStudy) -> list[Metric]:
    """The metrics of the figures that a study wants beside each other.

    Raises:
        UserError: for an unknown metric.
    """
    return named_metrics(study.side_by_side, metrics_of(study.side_by_side, study.battery))


def draw_beside(
    study: TableStudy, result: TableResult, data_dir: Path | None, kept: Path, progress: Progress
) -> None:
    """Add the figures of every row's first seed, row beside row, to the charts of a result.

    Figures of single images are of those that every row classifies correctly, as far as there are any.

    Args:
        kept: folder in which each row's measurements are kept, so that they are made once.
    """
    metrics, rows = metrics_beside(study), [row for row in result.rows if row.paths]
    if not metrics or len(rows) < 2:
        return
    first = _right_in_all(study, rows, data_dir)
    found = {}
    for row in progress.track(rows, "figures side by side", len(rows)):
        found[row.name] = measure_figures(
            row.paths[0],
            metrics,
            kept / f"{slug(row.name)}-{short_hash(row.name)}",
            first=first,
            data_dir=data_dir,
            device=study.rows[row.name].config.device,
            # The study trained it: whatever code the record names has run already.
            trust=True,
            progress=progress,
        )
    together = match_figures(found)
    seeds = {row.name: row.records[0].seed for row in rows if len(study.rows[row.name].config.seeds) > 1}
    result.charts += [_of_study(chart, seeds, bool(first)) for chart in together.charts]
    result.notes += together.notes


def _right_in_all(study: TableStudy, rows: Sequence[Row], data_dir: Path | None) -> list[int]:
    """Places of the test images that every row classifies correctly; none where rows have other test images."""
    if len({row.records[0].dataset.evaluated_fingerprint for row in rows}) > 1:
        return []
    right = [
        correctly_classified(
            row.paths[0], data_dir=data_dir, device=study.rows[row.name].config.device, trust=True
        )
        for row in rows
    ]
    return [place for place in right[0] if all(place in other for other in right[1:])]


def _of_study(chart: Chart, seeds: dict[str, int], chosen: bool) -> Chart:
    said = [chart.caption]
    if chosen and shows_images(chart):
        said.append("Test images that every row classifies correctly come first.")
    if len(set(seeds.values())) == 1:
        said.append(f"Seed {next(iter(seeds.values()))}.")
    else:
        said += [f"{name}: seed {seed}." for name, seed in seeds.items()]
    name = f"beside-{chart.name}"[:80].strip("-")
    return chart.model_copy(update={"name": name, "caption": " ".join(said)})
