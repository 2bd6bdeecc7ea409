"""What is installed."""

import tomllib
from pathlib import Path

from setuptools import find_namespace_packages

ROOT = Path(__file__).parents[1]


def test_benchmarks_and_tests_are_not_installed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    found = find_namespace_packages(str(ROOT), **settings)
    assert {name.partition(".")[0] for name in found} == {"bench", "defenses", "leaderboards", "metrics"}
    assert "bench.charts" in found
