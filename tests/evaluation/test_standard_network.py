"""The network that adversarial images are transferred from, as `--transfer-from` names it."""

from pathlib import Path

import pytest
import torch

from bench.core.errors import UserError
from bench.core.progress import Progress
from bench.data import Dataset, load
from bench.evaluation.standard_network import standard_from
from bench.models import build
from bench.models.weights import load_weights, save_weights
from bench.runs.config import RunConfig
from bench.runs.run import run
from bench.tracking import NullTracker
from tests.records import make_record, write_record


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", train_size=50, test_size=20)


@pytest.mark.parametrize("form", ["weights.safetensors", "state.pt", "nested.pt"])
def test_a_file_of_weights_gives_its_network(form: str, digits: Dataset, tmp_path: Path) -> None:
    network = build("lenet", input_shape=digits.shape, num_classes=10, seed=3)
    source = tmp_path / form
    if form == "weights.safetensors":
        save_weights(source, network)
    else:
        state = network.state_dict()
        torch.save({"state_dict": state, "epoch": 3} if form == "nested.pt" else state, source)
    found = standard_from(source, digits)
    assert type(found) is type(network)
    assert not found.training
    for name, value in network.named_parameters():
        assert torch.equal(found.get_parameter(name), value)


@pytest.mark.slow
def test_a_record_gives_its_network_by_its_folder_or_its_file(tmp_path: Path) -> None:
    options = {"train_size": 60, "test_size": 12, "epochs": 1, "metrics": "clean_accuracy"}
    config = RunConfig.make({"defense": "standard", "model": "lenet", "out": tmp_path, **options})
    (path,) = run(config, NullTracker(), Progress())
    digits = load("digits", train_size=60, test_size=12)
    stored = load_weights(path.parent / "weights.safetensors")
    for source in (path, path.parent):
        weights = standard_from(source, digits).state_dict()
        assert all(torch.equal(weights[name], value) for name, value in stored.items())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.pt", "no such checkpoint"),
        ("junk.pt", "not a torch file"),
        ("junk.safetensors", "is it a safetensors file"),
        (".", "the folder of one record, it holds no record.json"),
        pytest.param("other.pt", "they fit none; give the record", marks=pytest.mark.slow),
    ],
)
def test_what_holds_no_network_is_one_line_with_the_fix(
    name: str, message: str, tmp_path: Path, digits: Dataset
) -> None:
    (tmp_path / "junk.pt").write_bytes(b"no weights")
    (tmp_path / "junk.safetensors").write_bytes(b"no weights")
    torch.save({"layer": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match=message):
        standard_from(tmp_path / name, digits)


def test_a_record_without_weights_is_refused(tmp_path: Path, digits: Dataset) -> None:
    path = write_record(tmp_path, make_record(files={}))
    with pytest.raises(UserError, match="expected a record with the weights of a network of ours"):
        standard_from(path, digits)
