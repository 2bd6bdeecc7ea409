"""Networks of timm and RobustBench, with fakes of these packages, and the errors without them."""

import importlib.util
import sys
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from bench.core.classifier import WrappedClassifier
from bench.core.errors import UserError
from bench.core.progress import Progress
from bench.core.record import load_record
from bench.core.threat import Threat
from bench.data import Dataset, load
from bench.models.loaders import make_network, normalized
from bench.models.robustbench import robustbench_loader
from bench.models.weights import save_weights
from bench.results.restore import restore
from bench.runs.config import RunConfig
from bench.runs.external import evaluate_checkpoint
from bench.tracking import NullTracker

MEAN, STD = (0.2, 0.4, 0.6), (0.5, 0.25, 0.125)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", train_size=100, test_size=30)


def network(classes: int = 10, channels: int = 1, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(64 * channels, classes))


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A fake of the few functions of timm that are used; returns the list of `create_model`'s arguments."""
    calls: list[dict[str, Any]] = []

    def create_model(name: str, **options: Any) -> nn.Module:
        calls.append({"name": name, **options})
        if options["pretrained"] and name == "offline":
            raise OSError("cannot reach the hub\nat all")
        return network(options["num_classes"], options["in_chans"])

    def get_pretrained_cfg(name: str) -> Any:
        classes = 1000 if name == "imagenet" else 10
        fixed = name == "vit"
        config = {"mean": MEAN, "std": STD, "num_classes": classes, "fixed_input_size": fixed}
        return SimpleNamespace(to_dict=lambda: config)

    fake = ModuleType("timm")
    names = ["small", "imagenet", "vit", "offline"]
    vars(fake).update(
        create_model=create_model,
        get_pretrained_cfg=get_pretrained_cfg,
        is_model=names.__contains__,
        list_models=lambda: names,
    )
    monkeypatch.setitem(sys.modules, "timm", fake)
    return calls


class FakeData(Enum):
    CIFAR10 = "cifar10"


class FakeThreat(Enum):
    LINF = "Linf"
    L2 = "L2"


@pytest.fixture
def robustbench(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A fake of the parts of RobustBench that are used; returns the list of `load_model`'s arguments."""
    calls: list[dict[str, Any]] = []

    def load_model(**options: Any) -> nn.Module:
        calls.append(options)
        print("Downloading")
        if options["model_name"] == "Offline2020":
            raise OSError("no route to host")
        return network(seed=1)

    modules = {name: ModuleType(name) for name in ("robustbench", "robustbench.model_zoo")}
    enums = ModuleType("robustbench.model_zoo.enums")
    vars(enums).update(BenchmarkDataset=FakeData, ThreatModel=FakeThreat)
    zoo = {"Some2020": {"model": network}, "Offline2020": {"model": network}, "Bare2020": {}}
    vars(modules["robustbench.model_zoo"]).update(model_dicts={FakeData.CIFAR10: {FakeThreat.LINF: zoo}})
    vars(modules["robustbench"]).update(utils=SimpleNamespace(load_model=load_model))
    for name, module in {**modules, "robustbench.model_zoo.enums": enums}.items():
        monkeypatch.setitem(sys.modules, name, module)
    return calls


def test_weights_are_fetched_whole_or_not_at_all(
    robustbench: list[dict[str, Any]], digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = Path("models/cifar10/Linf/Some2020.pt")
    weights.parent.mkdir(parents=True)
    torch.save({"weight": torch.zeros(9)}, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    weights.write_bytes(whole[:-10])
    ends: list[BaseException | None] = [KeyboardInterrupt(), None]

    def load_model(model_dir: str, **_: Any) -> nn.Module:
        file = Path(model_dir, "cifar10/Linf/Some2020.pt")
        if not file.exists():
            file.write_bytes(whole[:20])
            if end := ends.pop(0):
                raise end
            file.write_bytes(whole)
        torch.load(file)
        return network(seed=1)

    monkeypatch.setattr(sys.modules["robustbench"], "utils", SimpleNamespace(load_model=load_model))
    with (
        pytest.warns(UserWarning, match=r"Some2020.pt is cut short, and is fetched again; set aside as"),
        pytest.raises(KeyboardInterrupt),
    ):
        make_network("x", "robustbench:cifar10/Linf/Some2020", digits, pretrained=True)
    assert [path.name for path in Path("models").rglob("*.*")] == ["Some2020.pt.broken"]
    for _ in range(2):  # fetched, and then found
        make_network("x", "robustbench:cifar10/Linf/Some2020", digits, pretrained=True)
    assert weights.read_bytes() == whole
    assert {path.name for path in tmp_path.iterdir()} == {"models", "whole.pt"}


def run(digits_out: Path, loader: str, checkpoint: Path | None, **changes: Any) -> Path:
    config = RunConfig.make(
        {
            "defense": "external",
            "model": loader.rpartition(":")[2],
            "metrics": ("clean_accuracy",),
            "train_size": 100,
            "test_size": 30,
            "device": "cpu",
            "out": digits_out,
            **changes,
        }
    )
    return evaluate_checkpoint(config, checkpoint, loader, NullTracker(), Progress())


def test_normalized_networks_keep_the_names_of_their_weights() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    images = torch.rand(5, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    expected, names = plain((images - mean) / std), list(plain.state_dict())
    network = normalized(plain, MEAN, STD)
    assert torch.equal(network(images), expected)
    assert list(network.state_dict()) == names


def test_a_timm_network_has_the_shape_of_the_data_and_its_own_normalization(
    timm: list[dict[str, Any]], digits: Dataset
) -> None:
    made = make_network("small", "timm:small", digits)
    assert timm == [{"name": "small", "pretrained": False, "num_classes": 10, "in_chans": 1}]
    images, _ = digits.test.batch(slice(0, 3))
    # One gray channel is normalized with the mean of the three.
    assert torch.allclose(made(images), network()((images - 0.4) / (0.875 / 3)))
    assert isinstance(made, WrappedClassifier)
    assert made.site == "pooled"


def test_a_timm_network_of_a_fixed_size_is_made_for_that_of_the_data(
    timm: list[dict[str, Any]], digits: Dataset
) -> None:
    make_network("vit", "timm:vit", digits)
    assert timm[0]["img_size"] == 8


def test_published_weights_are_loaded_only_without_a_checkpoint(
    timm: list[dict[str, Any]], tmp_path: Path
) -> None:
    weights = tmp_path / "w.safetensors"
    save_weights(weights, network(seed=5))
    run(tmp_path / "a", "timm:small", weights)
    run(tmp_path / "b", "timm:small", None)
    assert [call["pretrained"] for call in timm] == [False, True]


def test_a_timm_record_can_be_restored(timm: list[dict[str, Any]], tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    save_weights(weights, network(seed=5))
    path = run(tmp_path / "out", "timm:small", weights)
    record = load_record(path)
    assert record.provenance.config["loader"] == "timm:small"
    assert "bench evaluate --checkpoint w.safetensors --timm small" in record.provenance.command
    restored = restore(path, device="cpu")
    images, _ = restored.dataset.test.batch(slice(0, 3))
    assert torch.allclose(restored.classifier(images), network(seed=5)((images - 0.4) / (0.875 / 3)))


def made_already() -> nn.Module:
    with torch.device("meta"):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


READY = nn.Linear(1, 1)


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (3, "expected a loader such as module:function, got 3"),
        (f"{__name__}:READY", "expected a function that returns a torch.nn.Module, got a network itself"),
        (f"{__name__}:MEAN", "expected a function that returns a torch.nn.Module, got tuple"),
        (f"{__name__}:made_already", "weights are on the device meta, which holds no values"),
    ],
)
def test_what_makes_no_network_is_one_line(digits: Dataset, loader: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_network("x", loader, digits)


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ("timm:smal", "unknown timm network 'smal'; did you mean small"),
        ("timm:imagenet", "are for 1000 classes, digits has 10; .*--checkpoint"),
        ("timm:offline", "cannot reach the hub; .*give --checkpoint FILE"),
    ],
)
def test_a_timm_network_that_cannot_be_made_says_why(
    timm: list[dict[str, Any]], digits: Dataset, loader: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_network("x", loader, digits, pretrained=True)


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ("timm:resnet18", "--timm resnet18 needs the optional package timm: pip install timm"),
        ("robustbench:cifar10/Linf/X", r"optional package robustbench: pip install git\+https"),
    ],
)
def test_a_missing_package_is_named_with_its_installation(
    monkeypatch: pytest.MonkeyPatch, digits: Dataset, loader: str, message: str
) -> None:
    monkeypatch.setitem(sys.modules, loader.partition(":")[0], None)
    with pytest.raises(UserError, match=message):
        make_network("x", loader, digits)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "import no_such_module_at_all",
            "needs no_such_module_at_all, which robustbench imports: pip install no_such",
        ),
        ("raise ModuleNotFoundError(name='autoattack.state')", r"pip install git\+https://github.com/fra31"),
        ("raise ModuleNotFoundError(name='pkg_resources')", "pip install 'setuptools"),
        (
            "from json import no_such_name",
            "the package robustbench cannot be imported: ImportError: cannot import",
        ),
        ("raise AttributeError('of another release')", "AttributeError: of another release"),
    ],
)
def test_a_package_that_fails_to_import_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, digits: Dataset, body: str, message: str
) -> None:
    (tmp_path / "robustbench.py").write_text(body + "\n")
    monkeypatch.delitem(sys.modules, "robustbench", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=message):
        make_network("x", "robustbench:cifar10/Linf/X", digits)


def test_a_robustbench_network_is_loaded_and_named_in_full(
    robustbench: list[dict[str, Any]], digits: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_network("Some2020", "robustbench:cifar10/Linf/Some2020", digits, pretrained=True)
    assert robustbench[0]["dataset"] == "cifar10"
    assert robustbench[0]["threat_model"] == "Linf"
    assert torch.equal(made.state_dict()["module.1.weight"], network(seed=1).state_dict()["1.weight"])
    assert capsys.readouterr().out == ""


def test_with_a_checkpoint_nothing_is_downloaded(robustbench: list[dict[str, Any]], tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    save_weights(weights, network(seed=5))
    path = run(tmp_path / "out", "robustbench:cifar10/Linf/Some2020", weights)
    assert robustbench == []
    restored = restore(path, device="cpu")
    assert torch.equal(
        restored.classifier.state_dict()["module.1.weight"], network(seed=5).state_dict()["1.weight"]
    )


@pytest.mark.parametrize(
    ("name", "pretrained", "message"),
    [
        ("cifar10/Linf/Some202", True, "did you mean Some2020"),
        ("cifar10/L2/Some2020", True, "no networks for cifar10/L2"),
        ("mnist/Linf/Some2020", True, "no networks for mnist/Linf"),
        (
            "cifar10/Linf/Offline2020",
            True,
            "no route to host; models/cifar10/Linf/Offline2020.pt is missing .*--checkpoint FILE",
        ),
        ("cifar10/Linf/Bare2020", False, "no architecture"),
    ],
)
def test_a_robustbench_network_that_cannot_be_made_says_why(
    robustbench: list[dict[str, Any]], digits: Dataset, name: str, pretrained: bool, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_network("x", f"robustbench:{name}", digits, pretrained=pretrained)


def test_a_bare_id_is_completed_with_data_set_and_norm_of_the_evaluation(digits: Dataset) -> None:
    cifar = Dataset("cifar10", digits.classes, digits.train, digits.validation, digits.test)
    assert robustbench_loader("X", cifar, Threat("l2", "0.5")) == "robustbench:cifar10/L2/X"
    assert (
        robustbench_loader("imagenet/Linf/X", digits, Threat("linf", "0.1")) == "robustbench:imagenet/Linf/X"
    )
    with pytest.raises(UserError, match="not for digits"):
        robustbench_loader("X", digits, Threat("linf", "0.1"))
    with pytest.raises(UserError, match="DATASET/THREAT/ID"):
        robustbench_loader("Linf/X", cifar, Threat("linf", "0.1"))


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")
def test_the_real_timm_makes_a_network_for_the_data(digits: Dataset) -> None:
    made = make_network("resnet10t", "timm:resnet10t", digits)
    images, _ = digits.test.batch(slice(0, 2))
    assert made.eval()(images).shape == (2, 10)
