"""The trained network as a model of MLflow, which names the artifact that holds the weights."""

from typing import TYPE_CHECKING

from bench.core.keys import safe_keys
from bench.core.names import safe_name
from bench.tracking.entry import Entry
from bench.tracking.names import PARAM_LENGTH, shorten

if TYPE_CHECKING:
    from mlflow import MlflowClient


def link_weights(client: "MlflowClient", experiment_id: str, run_id: str, entry: Entry) -> None:
    """Make a run's network a model of MLflow, once; the weights stay where the run has them.

    Args:
        entry: of a record, whose `weights` is the name of an artifact.
    """
    from mlflow.entities import LoggedModelOutput

    if client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'", max_results=1):
        return
    model = client.create_logged_model(
        experiment_id,
        name=_name(entry),
        source_run_id=run_id,
        tags={"weights": f"runs:/{run_id}/{entry.weights}", "record": entry.tags["bench.record"]},
        params={name: shorten(str(value), PARAM_LENGTH) for name, value in safe_keys(entry.params).items()},
        model_type="network",
    )
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])


def _name(entry: Entry) -> str:
    """A name that MLflow takes for a model; it refuses dots, which names such as `cnn6(width=0.5)` have."""
    words = (entry.params["defense"], entry.params["network"], "seed", entry.params["seed"])
    return safe_name("-".join(map(str, words))).replace(".", "_")
