"""Run a study from its file to its page."""

from pathlib import Path
from typing import Any

from bench.core.names import slug
from bench.core.progress import Progress
from bench.runs.run import Tracker
from bench.study.bar_charts import bar_charts
from bench.study.correlation import run_correlation
from bench.study.load import load_study
from bench.study.page import write_correlation, write_table
from bench.study.row_figures import add_row_figures, side_by_side_metrics
from bench.study.spec import CorrelationStudy
from bench.study.table import run_table


def run_study(path: Path, *, out: Path, data_dir: Path | None, tracker: Tracker, progress: Progress) -> Path:
    """Run the trainings and measurements of a study that are not finished yet, and write its page.

    Trainings and measurements are kept in run folders below `out`, like those of `bench run`. The page, its charts
    and its numbers are written to `out/studies/NAME`.

    Args:
        path: the study's YAML file; NAME is its stem.
        out: folder of runs.
        data_dir: folder of the data sets; None is the default folder.
        tracker: receives the results.
        progress: shows progress.

    Returns:
        The page.

    Raises:
        UserError: for a mistake in the file or an impossible setting, before any training.
    """
    study = load_study(path)
    places: dict[str, Any] = {"out": out, "data_dir": data_dir}
    command = f"bench study {path.name if path.is_absolute() else path.as_posix()}"
    folder = out / "studies" / slug(path.stem)
    if isinstance(study, CorrelationStudy):
        found = run_correlation(study, places, command, tracker, progress)
        return write_correlation(folder, study, found, command)
    side_by_side_metrics(study)  # fails for an unknown name before any training
    table = run_table(study, places, command, tracker, progress)
    table.charts = [*bar_charts(study.bars, table.rows, study.source, progress), *table.charts]
    add_row_figures(study, table, data_dir, folder / "measured", progress)
    return write_table(folder, study, table, command)
