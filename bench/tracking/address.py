"""URIs of stores and of artifacts: which there are, what they need, where they are reached."""

import re
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from urllib.parse import urlsplit

from bench.core.databases import check_database, check_driver
from bench.core.errors import UserError

SQLITE = "sqlite:///"
DATABASES = ("postgresql", "mysql", "mssql")
SERVERS = ("http", "https")
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
EXAMPLES = "a store such as sqlite:///mlflow.db, http://host:5000, postgresql://host/name or none"
#: Scheme of an artifact URI → the module that MLflow needs for it, and the package that holds the module.
ARTIFACT_MODULES = {
    "s3": ("boto3", "boto3"),
    "r2": ("boto3", "boto3"),
    "b2": ("boto3", "boto3"),
    "gs": ("google.cloud.storage", "google-cloud-storage"),
    "wasbs": ("azure.storage.blob", "azure-storage-blob"),
    "abfss": ("azure.storage.filedatalake", "azure-storage-file-datalake"),
    "sftp": ("pysftp", "pysftp"),
    "hdfs": ("pyarrow", "pyarrow"),
    "viewfs": ("pyarrow", "pyarrow"),
}
ARTIFACT_SCHEMES = ("file", "ftp", "http", "https", "dbfs", "mlflow-artifacts", *ARTIFACT_MODULES)
#: Those whose password has no other place.
LOGINS_IN_URI = ("ftp", "sftp")


def check_store_uri(uri: str) -> None:
    """Refuse what cannot be the URI of a store; nothing is connected to, and no driver is looked for.

    Raises:
        ValueError: with what was expected. The URI itself is not in the message.
    """
    scheme, mark, rest = uri.partition("://")
    kind = scheme.partition("+")[0]
    if not mark or kind == "file":
        raise ValueError(f"expected {EXAMPLES}")
    if kind == "sqlite":
        _check_sqlite(scheme, rest)
    elif scheme in SERVERS:
        _check_server(uri)
    elif kind in DATABASES:
        check_database(uri)
    elif scheme not in _plugins("mlflow.tracking_store"):
        raise ValueError(f"no store has the scheme {scheme}://; expected {EXAMPLES}")


def check_artifact_uri(uri: str) -> None:
    """Refuse a place for artifacts that MLflow does not know.

    Raises:
        ValueError: with what was expected. The URI itself is not in the message.
    """
    scheme, mark, rest = uri.partition("://")
    if not mark:
        return
    if scheme not in (*ARTIFACT_SCHEMES, *_plugins("mlflow.artifact_repository")):
        raise ValueError(
            f"no place for artifacts has the scheme {scheme}://; expected a folder or s3://bucket"
        )
    if scheme not in LOGINS_IN_URI and re.search(r"[?#]|:[^/]*@", rest):
        raise ValueError(
            "expected no password, ? or #: MLflow keeps and shows the place of artifacts as it is; credentials "
            "belong in the environment or in a file of the storage's own"
        )


def check_drivers(store: str, artifacts: str) -> None:
    """Refuse URIs whose driver is not installed.

    Raises:
        UserError: with the package to install.
    """
    if store.partition("://")[0].partition("+")[0] in DATABASES:
        check_driver(store)
    scheme = artifacts.partition("://")[0] if "://" in artifacts else ""
    module, package = ARTIFACT_MODULES.get(scheme, ("", ""))
    if module and not _installed(module):
        raise UserError(
            f"artifacts at {scheme}:// need {module}, which is not installed: pip install {package}"
        )


def host_and_port(uri: str) -> tuple[str, int] | None:
    """Where a server or a database is reached; None for a file."""
    scheme = uri.partition("://")[0]
    if scheme.partition("+")[0] in DATABASES:
        from sqlalchemy import make_url

        url = make_url(uri)
        host, port = url.host, url.port
    else:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    port = port or PORTS.get(scheme.partition("+")[0])
    return (host, port) if host and port else None


def _check_sqlite(scheme: str, rest: str) -> None:
    path, _, query = rest.partition("?")
    if ":memory:" in rest or "mode=memory" in query or not path.strip("/"):
        raise ValueError("a store in memory is gone with the process; expected a file: sqlite:///mlflow.db")
    if scheme not in ("sqlite", "sqlite+pysqlite") or not rest.startswith("/"):
        raise ValueError(
            "expected sqlite:/// and a path: sqlite:///mlflow.db, or sqlite:////home/me/mlflow.db"
        )


def _check_server(uri: str) -> None:
    if re.search(r"[?#]", uri):
        raise ValueError(
            "expected the address of a server, http://host:5000, without ? and #; in a password # is "
            "written %23 and ? %3F, and a token belongs in MLFLOW_TRACKING_TOKEN"
        )
    try:
        host, port = urlsplit(uri).hostname, urlsplit(uri).port
    except ValueError:
        host, port = None, None
    if not host or port == 0:
        raise ValueError(
            "expected http://host:5000 with a port from 1 to 65535; in a password / is written %2F"
        )


@cache
def _plugins(group: str) -> frozenset[str]:
    return frozenset(point.name for point in entry_points(group=group)) | {"databricks"}


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False
