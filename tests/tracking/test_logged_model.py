"""The name of a network as a model of MLflow."""

from unittest.mock import MagicMock

import pytest
from mlflow.utils.validation import _validate_logged_model_name

from bench.tracking.entry import Entry
from bench.tracking.logged_model import link_weights


@pytest.mark.parametrize(
    "network", ["cnn6", "cnn6(activation=silu,width=0.5)", "resnet18.a1_in1k", "100%:'x'/y"]
)
def test_mlflow_takes_the_name_of_every_network(network: str) -> None:
    client = MagicMock()
    client.search_logged_models.return_value = []
    client.create_logged_model.return_value.model_id = "m-1"
    entry = Entry(
        part="final",
        name="run",
        status="FINISHED",
        started=0,
        ended=1,
        params={"defense": "awp(at)", "network": network, "seed": 0},
        tags={"bench.record": "id"},
        weights="weights.safetensors",
    )
    link_weights(client, "1", "2", entry)
    _validate_logged_model_name(client.create_logged_model.call_args.kwargs["name"])
