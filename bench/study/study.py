"""A study from its file to its page; whatever is done already is not done again."""

from pathlib import Path
from typing import Any

from bench.core.names import slug
from bench.core.progress import Progress
from bench.runs.run import Tracker
from bench.study.beside import draw_beside, metrics_beside
from bench.study.correlation import run_correlation
from bench.study.methods import bar_charts
from bench.study.page import write_correlation, write_table
from bench.study.spec import CorrelationStudy, load_study
from bench.study.table import run_table


def run_study(path: Path, *, out: Path, data_dir: Path | None, tracker: Tracker, progress: Progress) -> Path:
    """Do whatever of a study is not done yet, and draw its page.

    Trainings and measurements lie in run folders below `out`, as those of `bench run` do; the page, its charts and
    its numbers lie in `out/studies/NAME`.

    Args:
        path: the study's YAML file; its stem is the NAME.
        out: folder of runs.
        data_dir: where the data sets are; None is the usual place.

    Returns:
        The page.

    Raises:
        UserError: for a mistake in the file, or a setting that cannot work, before any training.
    """
    study = load_study(path)
    places: dict[str, Any] = {"out": out, "data_dir": data_dir}
    command = f"bench study {path.name if path.is_absolute() else path.as_posix()}"
    folder = out / "studies" / slug(path.stem)
    if isinstance(study, CorrelationStudy):
        found = run_correlation(study, places, command, tracker, progress)
        return write_correlation(folder, study, found, command)
    metrics_beside(study)  # an unknown name is told before any training
    table = run_table(study, places, command, tracker, progress)
    table.charts = [*bar_charts(study.bars, table.rows, study.source, progress), *table.charts]
    draw_beside(study, table, data_dir, folder / "measured", progress)
    return write_table(folder, study, table, command)
