"""MLflow's version on a server and here: where they differ, a call may be unknown there."""

from bench.core.errors import UserError
from bench.tracking.settings import Settings


def compare_versions(settings: Settings) -> str:
    """Both versions in a few words; "" for a database, which MLflow itself compares with its own schema.

    Use it inside `bench.tracking.calls.calling`.

    Raises:
        UserError: when the server's version is another one, apart from the last number, or nobody knows it.
    """
    if not settings.server:
        return ""
    import mlflow
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    here = str(mlflow.__version__)
    answer = http_request(get_default_host_creds(settings.uri), "/version", "GET", timeout=settings.timeout)
    there = answer.text.strip() if answer.status_code == 200 else ""
    if not there[:1].isdigit() or len(there) > 40:
        raise UserError(f"{settings.shown} does not say its version of MLflow; here it is {here}")
    if there.split(".")[:2] != here.split(".")[:2]:
        raise UserError(
            f"{settings.shown} has MLflow {there}, and here it is {here}; install one version on both. After an "
            "upgrade the server's database needs `mlflow db upgrade DATABASE` once; keep a backup"
        )
    return f", MLflow {there}" if there == here else f", MLflow {there} there and {here} here"
