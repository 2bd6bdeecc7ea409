"""Earlier module names, which plug-ins of version 0.1 import."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from bench.moved import MOVED

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("earlier", MOVED)
def test_an_earlier_name_gives_the_present_module(earlier: str) -> None:
    assert import_module(earlier) is import_module(MOVED[earlier])


def test_modules_below_an_earlier_package_are_found() -> None:
    assert import_module("bench.core.models.network") is import_module("bench.models.network")


def test_an_unknown_name_is_no_module() -> None:
    with pytest.raises(ModuleNotFoundError):
        import_module("bench.core.attacks.no_such_module")
    with pytest.raises(ModuleNotFoundError):
        import_module("bench.core.no_such_module")


@pytest.mark.slow
def test_a_plug_in_of_an_earlier_version_imports_in_a_fresh_process() -> None:
    lines = (
        "from bench.core.models import Network, hidden",
        "from bench.core.space import LogUniform",
        "import bench.core.attacks.pgd, bench.attacks.pgd",
        "assert bench.core.attacks.pgd is bench.attacks.pgd",
        "from bench.models import Network as present",
        "assert Network is present",
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
