"""Where runs are tracked: `mlflow.yaml`, the environment and `--tracking`, brought together in one place."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bench.core.errors import UserError, unknown_name
from bench.core.record import describe

ENVIRONMENT = {
    "uri": "MLFLOW_TRACKING_URI",
    "experiment": "MLFLOW_EXPERIMENT_NAME",
    "artifacts": "REGIONBENCH_MLFLOW_ARTIFACTS",
    "timeout": "MLFLOW_HTTP_REQUEST_TIMEOUT",
}
SQLITE = "sqlite:///"
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


class Settings(BaseModel):
    """What `mlflow.yaml` says; that file explains each line. Relative places are made absolute."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, validate_default=True)

    uri: str = "sqlite:///mlflow.db"
    experiment: str = Field(default="regionbench", min_length=1, max_length=500)
    artifacts: str = Field(default="./mlartifacts", min_length=1)
    tags: dict[str, str] = {}
    timeout: int = Field(default=10, ge=1)
    upload_timeout: int = Field(default=120, ge=1)
    interval: float = Field(default=10, ge=0)
    pause: float = Field(default=60, ge=0)

    @field_validator("uri")
    @classmethod
    def _store(cls, uri: str) -> str:
        scheme = urlsplit(uri).scheme
        nameless = scheme == "sqlite" and not uri.removeprefix(SQLITE).strip("/")
        if scheme in ("", "file") or nameless or urlsplit(uri).port == 0:
            raise ValueError(
                f"expected a store such as sqlite:///mlflow.db, http://host:5000 or none, got {uri!r}"
            )
        return SQLITE + str(Path.cwd() / uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else uri

    @field_validator("artifacts")
    @classmethod
    def _place(cls, artifacts: str) -> str:
        return artifacts if "://" in artifacts else str(Path.cwd() / artifacts)

    @property
    def shown(self) -> str:
        """The address without a password, for messages and for what is kept on disk."""
        if self.database:
            return self.uri
        parts = urlsplit(self.uri)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()

    @property
    def database(self) -> Path | None:
        """The SQLite file; None for every other store."""
        return Path(self.uri.removeprefix(SQLITE)) if self.uri.startswith(SQLITE) else None

    @property
    def server(self) -> bool:
        """Whether an MLflow server stands between us and the store."""
        return urlsplit(self.uri).scheme in ("http", "https")

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port that must answer; None for a file."""
        parts = urlsplit(self.uri)
        port = parts.port or PORTS.get(parts.scheme.partition("+")[0])
        return (parts.hostname, port) if parts.hostname and port else None

    @property
    def artifact_location(self) -> str | None:
        """What a new experiment is told: a server chooses its own place unless a URI is named."""
        return None if self.server and "://" not in self.artifacts else self.artifacts


def load_settings(uri: str | None = None) -> Settings | None:
    """Read the tracking settings; None when tracking is off.

    Args:
        uri: what `--tracking` said: a store, "none", or None when it was not given.

    Raises:
        UserError: when the file is missing where the environment says, is no YAML, or holds a bad setting.
    """
    named = os.environ.get("REGIONBENCH_MLFLOW_YAML")
    path = Path(named or "mlflow.yaml")
    values = _read(path) if named or path.exists() else {}
    for key, variable in ENVIRONMENT.items():
        if os.environ.get(variable):
            values[key] = os.environ[variable]
    if uri is not None:
        values["uri"] = uri
    if str(values.get("uri", "")).lower() == "none":
        return None
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise UserError(f"tracking settings ({path} and the environment): {describe(error)}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected lines of the form `setting: value`, got {type(values).__name__}")
    for key in values:
        if key not in Settings.model_fields:
            raise unknown_name(f"setting in {path}", str(key), Settings.model_fields)
    return values
