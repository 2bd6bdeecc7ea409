"""A store to copy."""

from pathlib import Path

import pytest

from bench.tracking.settings import Settings
from bench.tracking.store import open_store


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its tables: making them takes MLflow longer than most of these tests."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with open_store(Settings(uri=f"sqlite:///{path}", experiment="unused")):
        return path
