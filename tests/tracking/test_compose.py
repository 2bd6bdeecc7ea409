"""`docker-compose.yaml`: what is started, who reaches it, and where passwords stand. No container is started."""

from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from packaging.version import Version

FILE = Path(__file__).parents[2] / "docker-compose.yaml"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    content = yaml.safe_load(FILE.read_text())
    assert set(content) == {"services", "volumes"}
    named = {mount.split(":")[0] for service in content["services"].values() for mount in service["volumes"]}
    assert named == set(content["volumes"])
    return dict(content["services"])


def test_the_server_starts_once_the_database_answers(services: dict[str, Any]) -> None:
    assert set(services) == {"postgres", "mlflow"}
    assert services["mlflow"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["postgres"]["healthcheck"]["test"].startswith("pg_isready --username ")
    user, database = (services["postgres"]["environment"][f"POSTGRES_{name}"] for name in ("USER", "DB"))
    store = services["mlflow"]["environment"]["MLFLOW_BACKEND_STORE_URI"]
    assert store == f"postgresql+psycopg://{user}:${{POSTGRES_PASSWORD}}@postgres/{database}"


def test_only_this_machine_reaches_the_server_and_nobody_else_the_database(services: dict[str, Any]) -> None:
    port = services["mlflow"]["environment"]["MLFLOW_PORT"]
    assert services["mlflow"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert "ports" not in services["postgres"]
    assert not any("network_mode" in service or service.get("privileged") for service in services.values())


def test_passwords_come_from_the_environment_and_are_in_no_command(services: dict[str, Any]) -> None:
    given = services["postgres"]["environment"]["POSTGRES_PASSWORD"]
    assert given.startswith("${POSTGRES_PASSWORD:?")  # refused where it is not set
    commands = [str(service.get("command", "")) for service in services.values()]
    assert not any("PASSWORD" in command or "://" in command for command in commands)


def test_the_image_has_a_version_of_mlflow_that_the_installed_one_talks_to(services: dict[str, Any]) -> None:
    there = Version(services["mlflow"]["image"].partition(":v")[2])
    assert there.major == Version(mlflow.__version__).major
    assert there >= Version("3.13")  # the oldest that pyproject.toml admits


@pytest.mark.filterwarnings(
    "ignore:.*Any type hint:UserWarning"
)  # of MLflow's own, when its commands are imported
def test_variables_of_the_server_are_ones_that_mlflow_reads(services: dict[str, Any]) -> None:
    from mlflow import environment_variables
    from mlflow.cli import server

    options = {name for option in server.params for name in [option.envvar] if isinstance(name, str)}
    known = options | set(vars(environment_variables))
    assert set(services["mlflow"]["environment"]) <= known
