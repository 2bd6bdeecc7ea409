"""Where runs are tracked: settings from `--tracking`, the environment and `mlflow.yaml`, in this order."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bench.core import values
from bench.core.errors import UserError, unknown_name
from bench.core.record import describe
from bench.core.secrets import hide, redact
from bench.core.sqlite_files import database_path, sqlite_address
from bench.core.yaml_files import read_yaml
from bench.tracking.address import (
    SERVERS,
    check_artifact_uri,
    check_drivers,
    check_store_uri,
    host_and_port,
)

#: Setting → environment variable. Most are MLflow's own, so their names follow no common pattern.
ENVIRONMENT = {
    "uri": "MLFLOW_TRACKING_URI",
    "experiment": "MLFLOW_EXPERIMENT_NAME",
    "artifacts": "REGIONBENCH_MLFLOW_ARTIFACTS",
    "timeout": "MLFLOW_HTTP_REQUEST_TIMEOUT",
}
#: Names another file than `mlflow.yaml` in the working folder.
FILE_VARIABLE = "REGIONBENCH_MLFLOW_YAML"
#: The URI that switches tracking off.
OFF = "none"


class Settings(BaseSettings):
    """The tracking settings, each explained in `mlflow.yaml`; relative places are made absolute.

    A value given here counts first, then the environment, then the file, then the default.
    """

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, coerce_numbers_to_str=True, validate_default=True
    )

    uri: str = "sqlite:///mlflow.db"
    experiment: Annotated[str, AfterValidator(partial(values.text, most=500))] = "regionbench"
    artifacts: str = Field(default="./mlartifacts", min_length=1)
    tags: dict[str, str] = {}
    timeout: int = Field(default=10, ge=1)
    upload_timeout: int = Field(default=120, ge=1)
    interval: float = Field(default=10, ge=0)
    pause: float = Field(default=60, ge=0)
    site: str = Field(default="", pattern=r"^(https?://\S+)?$")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where values come from, the strongest source first."""
        return init_settings, _Environment(settings_cls), _File(settings_cls)

    @model_validator(mode="before")
    @classmethod
    def _nothing_else_counts_when_off(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {"uri": OFF} if str(values.get("uri", "")).lower() == OFF else values

    @field_validator("uri")
    @classmethod
    def _store(cls, uri: str) -> str:
        if uri == OFF:
            return uri
        _checked(check_store_uri, uri)
        path, _, query = uri.partition("?")
        relative = database_path(path)
        return uri if relative is None else sqlite_address(Path.cwd() / relative, query)

    @field_validator("artifacts")
    @classmethod
    def _place(cls, artifacts: str) -> str:
        _checked(check_artifact_uri, artifacts)
        return artifacts if "://" in artifacts else str(Path.cwd() / artifacts)

    @property
    def shown(self) -> str:
        """The address without secrets, for messages and for what is kept on disk."""
        return redact(self.uri)

    def run_page(self, run_id: str, experiment_id: str) -> str:
        """The address of a run's page; the id alone where no server has pages.

        Without the experiment, MLflow leads on to another address, and forgets the layout on the way.
        """
        experiment = f"/experiments/{experiment_id}" if experiment_id else ""
        return (
            f"{self.shown.rstrip('/')}/#{experiment}/runs/{run_id}?workflowType=machine_learning"
            if self.shown.startswith("http")
            else run_id
        )

    @property
    def database(self) -> Path | None:
        """The SQLite file; None for every other store."""
        return database_path(self.uri)

    @property
    def server(self) -> bool:
        """Whether the store is reached through an MLflow server."""
        return self.uri.partition("://")[0] in SERVERS

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port of the server; None for a file."""
        return host_and_port(self.uri)

    @property
    def artifact_location(self) -> str | None:
        """The artifact location of a new experiment; without a URI, a server chooses its own."""
        return None if self.server and "://" not in self.artifacts else self.artifact_root

    @property
    def artifact_root(self) -> str:
        """The place for artifacts as MLflow reads it, which takes %20 in a path for a space."""
        plain = "://" in self.artifacts or "%" not in self.artifacts
        return self.artifacts if plain else Path(self.artifacts).as_uri()


class _Environment(PydanticBaseSettingsSource):
    """The variables of `ENVIRONMENT`; an empty one counts as not set."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return os.environ.get(ENVIRONMENT.get(field_name, "")) or None, field_name, False

    def __call__(self) -> dict[str, Any]:
        names = self.settings_cls.model_fields
        values = {name: self.get_field_value(field, name)[0] for name, field in names.items()}
        return {name: value for name, value in values.items() if value is not None}


class _File(PydanticBaseSettingsSource):
    """The file that the environment names, else `mlflow.yaml` in the working folder where there is one."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        path = _file()
        if not os.environ.get(FILE_VARIABLE) and not path.exists():
            return {}
        values = read_yaml(path) or {}
        if not isinstance(values, dict):
            raise UserError(
                f"{path}: expected lines of the form `setting: value`, got {type(values).__name__}"
            )
        for key in values:
            if key not in self.settings_cls.model_fields:
                raise unknown_name(f"setting in {path}", str(key), self.settings_cls.model_fields)
        return values


def load_settings(uri: str | None = None) -> Settings | None:
    """Read the tracking settings; None when tracking is off.

    Args:
        uri: the value of `--tracking`: a store, "none", or None when it was not given.

    Raises:
        UserError: when the file that the environment names is missing, is no YAML, or holds a bad setting.
    """
    try:
        settings = Settings() if uri is None else Settings(uri=uri)
    except ValidationError as error:
        raise UserError(
            f"tracking settings ({_file()} and the environment): {hide(describe(error))}"
        ) from None
    if settings.uri == OFF:
        return None
    check_drivers(settings.uri, settings.artifacts)
    return settings


def _checked(check: Callable[[str], None], uri: str) -> None:
    """Take note of a URI's secrets, and refuse it without showing them."""
    shown = redact(uri)
    try:
        check(uri)
    except ValueError as error:
        raise ValueError(f"{error}; got {shown!r}") from None


def _file() -> Path:
    return Path(os.environ.get(FILE_VARIABLE) or "mlflow.yaml")
