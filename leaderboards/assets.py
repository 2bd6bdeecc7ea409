"""The style sheet, scripts and icon of pages made from these templates."""

import shutil
from importlib.resources import as_file, files
from pathlib import Path

from bench.charts.plotly.page import THEME, write_assets


def write_static(folder: Path) -> None:
    """Write what every page refers to into a folder, among files that may be there already."""
    with as_file(files("leaderboards") / "static") as static:
        shutil.copytree(static, folder, copy_function=shutil.copyfile, dirs_exist_ok=True)
    write_assets(folder, [THEME])
