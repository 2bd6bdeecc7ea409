"""Versions of MLflow on a server and here."""

from types import SimpleNamespace
from typing import Any

import mlflow
import pytest

from bench.core.errors import UserError
from bench.tracking import load_settings
from bench.tracking.versions import compare_versions


def compare(monkeypatch: pytest.MonkeyPatch, answer: str, status: int = 200) -> str:
    def ask(*_: Any, **__: Any) -> SimpleNamespace:
        return SimpleNamespace(status_code=status, text=answer)

    monkeypatch.setattr("mlflow.utils.rest_utils.http_request", ask)
    settings = load_settings("http://127.0.0.1:5000")
    assert settings is not None
    return compare_versions(settings)


def test_the_versions_of_server_and_client_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    here = mlflow.__version__
    assert compare(monkeypatch, here) == f", MLflow {here}"
    patch = f"{'.'.join(here.split('.')[:2])}.99"
    assert compare(monkeypatch, patch) == f", MLflow {patch} there and {here} here"
    with pytest.raises(UserError, match=r"has MLflow 2\.1\.0, .*`mlflow db upgrade DATABASE` once"):
        compare(monkeypatch, "2.1.0")
    for answer, status in (("<html>", 200), ("3.0", 404)):
        with pytest.raises(UserError, match="does not say its version of MLflow"):
            compare(monkeypatch, answer, status)
    local = load_settings("sqlite:///mlflow.db")
    assert local is not None
    assert compare_versions(local) == ""
