"""Restoring a record: the same logits, and an error for everything that differs from the record."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import bench
from bench.core import foreign_code
from bench.core.errors import UserError
from bench.core.progress import Progress
from bench.core.record import load_record
from bench.data import fingerprint, load
from bench.evaluation.battery import make_battery
from bench.models import build
from bench.results.restore import load_record_data, restore
from bench.results.verify import verify
from bench.runs.config import RunConfig
from bench.runs.external import evaluate_checkpoint
from bench.runs.plan import load_data
from bench.runs.run import run
from bench.tracking import NullTracker
from tests.data.test_imagefolder import gray, write_folder
from tests.records import make_record

LOADER = """
from torch import nn

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = {"epochs": 1, "trials": 0, "metrics": "clean_accuracy", "test_size": 30, "train_size": 200}
    config = RunConfig.make({"defense": "standard", "out": tmp_path_factory.mktemp("runs"), **values})
    (path,) = run(config, NullTracker(), Progress())
    return path


def test_the_network_gives_the_score_that_was_recorded(record: Path) -> None:
    restored = restore(record)
    images, labels = restored.dataset.test.batch(slice(None))
    assert not restored.classifier.training
    right = (restored.classifier(images).argmax(dim=1) == labels).double().mean().item()
    assert right == load_record(record).metrics["clean_accuracy"].value
    assert restore(record.parent).record == restored.record


def test_the_network_of_a_record_is_loaded_in_one_line_and_can_be_attacked(record: Path) -> None:
    network = bench.load_network(str(record))
    assert not network.training
    images, labels = restore(record).dataset.test.batch(slice(0, 10))
    torch.testing.assert_close(network(images), restore(record).classifier(images), rtol=0, atol=0)
    found = bench.attack(network, images, labels, "linf:0", "fgsm")
    assert found.broken.tolist() == (network(images).argmax(dim=1) != labels).tolist()


def test_weights_that_changed_are_refused(record: Path, tmp_path: Path) -> None:
    for name in ("record.json", "weights.safetensors", "arrays.npz"):
        (tmp_path / name).write_bytes((record.parent / name).read_bytes())
    other = tmp_path / "weights.safetensors"
    other.write_bytes(other.read_bytes()[:-1] + b"\1")
    with pytest.raises(UserError, match="has changed since"):
        restore(tmp_path)
    other.unlink()
    with pytest.raises(UserError, match="give them with --checkpoint"):
        restore(tmp_path)
    assert restore(tmp_path, weights=record.parent / "weights.safetensors").record.id


@pytest.mark.parametrize(
    ("where", "value", "reason"),
    [
        (("dataset", "fingerprint"), "0" * 64, "the data differ"),
        (("dataset", "evaluated_fingerprint"), "0" * 64, "test images differ"),
        (("provenance", "config"), {}, "made from Python"),
    ],
)
def test_data_that_are_not_the_records_are_refused(
    record: Path, tmp_path: Path, where: tuple[str, str], value: object, reason: str
) -> None:
    content = json.loads(record.read_text())
    content[where[0]][where[1]] = value
    (tmp_path / "record.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=reason):
        restore(tmp_path)


def test_images_that_a_cuda_device_once_rounded_otherwise_are_those_of_the_record(
    record: Path, tmp_path: Path
) -> None:
    shutil.copytree(record.parent, tmp_path, dirs_exist_ok=True)
    content = json.loads(record.read_text())
    test = load("digits", train_size=200, test_size=30).test
    rounded = test.images.float() * torch.tensor(1 / 255)
    content["dataset"]["evaluated_fingerprint"] = fingerprint(rounded, test.labels)
    (tmp_path / "record.json").write_text(json.dumps(content))
    assert restore(tmp_path).record.dataset.evaluated_fingerprint == fingerprint(rounded, test.labels)


def test_a_strangers_network_comes_back_through_its_loader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strangers_network.py").write_text(LOADER)
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.manual_seed(0)
    import strangers_network  # type: ignore[import-not-found]

    module = strangers_network.make()
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    config = RunConfig.make(
        {
            "defense": "external",
            "model": "make",
            "out": tmp_path,
            "metrics": "clean_accuracy",
            "test_size": 30,
        }
    )
    path = evaluate_checkpoint(
        config, tmp_path / "weights.pt", "strangers_network:make", NullTracker(), Progress()
    )
    images = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(restore(path, trust=True).classifier(images), module(images))


def test_whoever_checks_a_record_learns_which_code_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verified(loader: str) -> tuple[str, str]:
        monkeypatch.delitem(sys.modules, "reviewed_network", raising=False)
        monkeypatch.delitem(foreign_code._contents, "reviewed_network", raising=False)
        (tmp_path / "reviewed_network.py").write_text(loader)
        (check,) = (each for each in verify(path, trust=True).checks if each.name == "source")
        return check.outcome, check.message

    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviewed_network.py").write_text(LOADER)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    torch.save(network.state_dict(), "weights.pt")
    config = RunConfig.make(
        {"defense": "none", "model": "make", "out": "out", "metrics": "clean_accuracy", "test_size": 30}
    )
    weights, loader = Path("weights.pt"), "reviewed_network:make"
    path = evaluate_checkpoint(config, weights, loader, NullTracker(), Progress())
    assert verified(LOADER)[0] == "match"
    outcome, message = verified(LOADER.replace("nn.Flatten()", "nn.Flatten(1)"))
    assert (outcome, message) == (
        "not checked",
        "reviewed_network.py here: not the code that the record was made with",
    )
    (tmp_path / "reviewed_network.py").unlink()
    monkeypatch.delitem(sys.modules, "reviewed_network")
    with pytest.raises(
        UserError, match=r"no module named .* The record has a copy: out/.*/sources/reviewed_network"
    ):
        verify(path, trust=True)


def test_a_record_made_in_python_finds_its_data(tmp_path: Path) -> None:
    network = build("cnn6(width=0.25)", input_shape=(1, 8, 8), num_classes=10, seed=0)
    battery = make_battery("quick", ["clean_accuracy"])
    bench.evaluate(network, "digits", "linf:0.1", battery, out=tmp_path, name="cnn6(width=0.25)")
    restored = restore(tmp_path)
    assert torch.equal(restored.classifier.head.weight, network.head.weight)


@pytest.mark.parametrize("where", ["loader", "dataset", "model"])
def test_a_strangers_code_is_run_for_those_who_trust_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    (tmp_path / f"trap_{where}.py").write_text("import pathlib\npathlib.Path('sprung').touch()\n")
    monkeypatch.chdir(tmp_path)
    network = build("cnn6(width=0.25)", input_shape=(1, 8, 8), num_classes=10, seed=0)
    battery = make_battery("quick", ["clean_accuracy"])
    bench.evaluate(network, "digits", "linf:0.1", battery, out=tmp_path, name="cnn6(width=0.25)")
    path = tmp_path / "record.json"
    content = json.loads(path.read_text())
    (content if where == "model" else content["provenance"]["config"])[where] = f"trap_{where}:make"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"would run code: trap_{where}:make"):
        restore(tmp_path, trust=False)
    with pytest.raises(UserError, match="would run code"):
        verify(tmp_path)
    assert not (tmp_path / "sprung").exists()
    with pytest.raises(UserError, match="unknown attribute of trap_"):
        restore(tmp_path, trust=True)
    assert (tmp_path / "sprung").exists()


def test_a_strangers_network_needs_its_loader(tmp_path: Path) -> None:
    torch.manual_seed(0)
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    battery = make_battery("quick", ["clean_accuracy"])
    bench.evaluate(linear, "digits", "linf:0", battery, out=tmp_path, name="mine")
    with pytest.raises(UserError, match=r"unknown network 'mine' of record .*with --loader"):
        restore(tmp_path)


@pytest.mark.filterwarnings("ignore:.*in the order:UserWarning")
def test_records_of_before_keep_their_order_of_classes(tmp_path: Path) -> None:
    classes = tuple(map(str, range(12)))
    folder = write_folder(tmp_path / "numbers", gray, classes=classes, train=4)
    values = {"defense": "external", "dataset": f"imagefolder:{folder}", "metrics": "clean_accuracy"}
    for order, in_config in ((["text"], False), (["text"], True), ([], True), (classes[::-1], True)):
        config = RunConfig.make({**values, "out": tmp_path / "runs", "model": "make", "class_order": order})
        data = load_data(config)
        settings = config.published()
        if not in_config:
            del settings["class_order"]
        about = {
            "name": data.name,
            "classes": list(data.classes),
            "fingerprint": data.fingerprint,
            "evaluated_size": len(data.test),
            "evaluated_fingerprint": fingerprint(*data.test.batch(slice(None))),
        }
        record = make_record(dataset=about, provenance={"config": settings})
        assert load_record_data(record, tmp_path).classes == data.classes
