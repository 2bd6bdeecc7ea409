"""A study, from its file to its page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.names import slug
from bench.core.progress import Progress
from bench.runs.run import Tracker
from bench.study.bar_charts import bar_charts
from bench.study.correlation import plan_correlation, read_correlation
from bench.study.ended import EndedTraining, look_up
from bench.study.load import load_study
from bench.study.measured import plan_networks, read_networks
from bench.study.page import write_correlation, write_predictors, write_table
from bench.study.predictors import analyze
from bench.study.row_figures import add_row_figures, side_by_side_metrics
from bench.study.spec import CorrelationStudy, PredictorsStudy, TableStudy
from bench.study.table import plan_table, read_table, table_battery
from bench.sweep.cells import Board, Cell, Request, seed_cells, with_searches
from bench.sweep.execution import Execution, Sweep

Places = dict[str, Any]


@dataclass(frozen=True)
class PlannedStudy:
    """A study that was read and checked, and whose trainings may be done by any worker of a sweep.

    Attributes:
        trainings: the cell of each training; two rows may have the same.
        labels: of the trainings.
        write: makes the page of trainings that have ended.
    """

    trainings: Sequence[Cell]
    labels: Sequence[str]
    write: Callable[[Sequence[EndedTraining], Progress], Path]

    @property
    def cells(self) -> list[Cell]:
        """The cells of a sweep."""
        return with_searches(self.trainings)

    def write_page(self, board: Board, progress: Progress) -> Path:
        """Write the page of a study whose cells were done; what failed is listed on it.

        Args:
            board: the states of the cells.
            progress: shows progress.
        """
        return self.write(look_up(self.labels, self.trainings, board), progress)


def plan_study(path: Path, *, out: Path, data_dir: Path | None) -> PlannedStudy:
    """Read and check a study; nothing is written.

    Args:
        path: the study's YAML file; NAME is its stem.
        out: folder of runs.
        data_dir: folder of the data sets; None is the default folder.

    Raises:
        UserError: for a mistake in the file or an impossible setting.
    """
    study = load_study(path)
    places: Places = {"out": out, "data_dir": data_dir}
    command = f"bench study {path.name if path.is_absolute() else path.as_posix()}"
    folder = out / "studies" / slug(path.stem)
    if isinstance(study, CorrelationStudy):
        return _plan_correlation(study, places, command, folder)
    if isinstance(study, PredictorsStudy):
        return _plan_predictors(study, places, command, folder)
    return _plan_table(study, places, command, folder)


def run_study(path: Path, *, out: Path, data_dir: Path | None, tracker: Tracker, progress: Progress) -> Path:
    """Run the trainings and measurements of a study that are not finished yet, and write its page.

    Trainings and measurements are kept in run folders below `out`, like those of `bench run`. The page, its charts
    and its numbers are written to `out/studies/NAME`. Several processes may do this at once, and divide the work.

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
    planned = plan_study(path, out=out, data_dir=data_dir)
    sweep = Sweep(planned.cells, Execution())
    sweep.work(sweep.forgive(), tracker, progress)
    return planned.write_page(sweep.board, progress)


def _plan_correlation(study: CorrelationStudy, places: Places, command: str, folder: Path) -> PlannedStudy:
    planned = list(plan_correlation(study, places))

    def write(trained: Sequence[EndedTraining], progress: Progress) -> Path:
        return write_correlation(folder, study, read_correlation(study, planned, trained), command)

    cells = seed_cells([Request(each.config, command=command) for each in planned])
    return PlannedStudy(cells, [each.label for each in planned], write)


def _plan_predictors(study: PredictorsStudy, places: Places, command: str, folder: Path) -> PlannedStudy:
    planned = list(plan_networks(study, places))

    def write(trained: Sequence[EndedTraining], progress: Progress) -> Path:
        measured = read_networks(study, planned, trained)
        return write_predictors(folder, study, measured, analyze(measured.networks), command)

    cells = seed_cells([Request(each.config, command=command) for each in planned])
    return PlannedStudy(cells, [each.label for each in planned], write)


def _plan_table(study: TableStudy, places: Places, command: str, folder: Path) -> PlannedStudy:
    side_by_side_metrics(study)  # fails for an unknown name before any training
    battery = table_battery(study)

    def write(trained: Sequence[EndedTraining], progress: Progress) -> Path:
        table = read_table(study, battery, trained)
        table.charts = [*bar_charts(study.bars, table.rows, study.source, progress), *table.charts]
        add_row_figures(study, table, places["data_dir"], folder / "measured", progress)
        return write_table(folder, study, table, command)

    planned = plan_table(study, places, battery, command)
    cells = seed_cells([request for _, request in planned])
    return PlannedStudy(cells, [name for name, _ in planned], write)
