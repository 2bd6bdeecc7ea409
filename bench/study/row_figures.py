"""Figures of a table study with its rows side by side."""

from collections.abc import Sequence
from pathlib import Path

from bench.charts import Chart
from bench.core.names import is_local_path, short_hash, slug
from bench.core.progress import Progress
from bench.results.figure_matching import match_figures, shows_images
from bench.results.measure_missing import correctly_classified, measure_figures
from bench.runs.config import RunConfig
from bench.study.columns import metrics_of
from bench.study.spec import TableStudy
from bench.study.table import RowResult, TableResult, named_metrics
from metrics.base import Metric


def side_by_side_metrics(study: TableStudy) -> list[Metric]:
    """The metrics whose figures a study shows side by side.

    Raises:
        UserError: for an unknown metric.
    """
    return named_metrics(study.side_by_side, metrics_of(study.side_by_side, study.battery))


def add_row_figures(
    study: TableStudy, result: TableResult, data_dir: Path | None, measured: Path, progress: Progress
) -> None:
    """Add the figures of every row's first seed, side by side, to the charts of a result.

    Figures of single images show images that every row classifies correctly, as far as there are any.

    Args:
        study: names the metrics.
        result: of the study; receives the charts.
        data_dir: folder of the data sets.
        measured: folder that keeps each row's measurements, so that they are made once.
        progress: shows progress.
    """
    metrics, rows = side_by_side_metrics(study), [row for row in result.rows if row.paths]
    if not metrics or len(rows) < 2:
        return
    first = _correct_in_all_rows(study, rows, data_dir)
    figures = {}
    for row in progress.track(rows, "figures side by side", len(rows)):
        figures[row.name] = measure_figures(
            row.paths[0],
            metrics,
            measured / f"{slug(row.name)}-{short_hash(row.name)}",
            first=first,
            data_dir=_data_folder(study.rows[row.name].config, data_dir),
            device=study.rows[row.name].config.device,
            # The study itself has just run whatever code the record names.
            trust=True,
            progress=progress,
        )
    matched = match_figures(figures)
    seeds = {row.name: row.records[0].seed for row in rows if len(study.rows[row.name].config.seeds) > 1}
    result.charts += [_of_study(chart, seeds, bool(first)) for chart in matched.charts]
    result.notes += matched.notes


def _correct_in_all_rows(study: TableStudy, rows: Sequence[RowResult], data_dir: Path | None) -> list[int]:
    """Positions of the test images that every row classifies correctly; none when test images differ."""
    if len({row.records[0].dataset.evaluated_fingerprint for row in rows}) > 1:
        return []
    correct = [
        correctly_classified(
            row.paths[0], data_dir=_data_folder(config, data_dir), device=config.device, trust=True
        )
        for row in rows
        for config in [study.rows[row.name].config]
    ]
    return [position for position in correct[0] if all(position in other for other in correct[1:])]


def _data_folder(config: RunConfig, data_dir: Path | None) -> Path | None:
    """The folder of a row's data; a record keeps the last part alone of a path that its settings name."""
    return Path(config.dataset.partition(":")[2]).parent if is_local_path(config.dataset) else data_dir


def _of_study(chart: Chart, seeds: dict[str, int], chosen: bool) -> Chart:
    """The chart under the study's name, its caption with the choice of images and the seeds."""
    sentences = [chart.caption]
    if chosen and shows_images(chart):
        sentences.append("Test images that every row classifies correctly come first.")
    if len(set(seeds.values())) == 1:
        sentences.append(f"Seed {next(iter(seeds.values()))}.")
    else:
        sentences += [f"{name}: seed {seed}." for name, seed in seeds.items()]
    name = f"beside-{chart.name}"[:80].strip("-")
    return chart.model_copy(update={"name": name, "caption": " ".join(sentences)})
