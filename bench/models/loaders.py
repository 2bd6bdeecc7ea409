"""Networks to measure: ours by name, or somebody else's by a function, from `timm` or from RobustBench.

A loader is written as one word, which a record keeps and `restore` reads again: `module:function`, `timm:NAME`
or `robustbench:DATASET/THREAT/ID`.
"""

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from bench.core.classifier import AnyClassifier, WrappedClassifier
from bench.core.errors import UserError, unknown_name
from bench.core.registry import load_object
from bench.core.threat import Threat
from bench.data import Dataset
from bench.models import build

#: Data set and norm → RobustBench's words for them.
ROBUSTBENCH_DATA = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet": "imagenet"}
ROBUSTBENCH_THREATS = {"linf": "Linf", "l2": "L2"}

#: Where RobustBench keeps what it downloads.
ROBUSTBENCH_FOLDER = Path("models")

INSTALL_TIMM = "pip install timm"
INSTALL_ROBUSTBENCH = "pip install git+https://github.com/RobustBench/robustbench.git"
#: Modules that these packages import and that pip knows by another name.
INSTALL = {
    "autoattack": "pip install git+https://github.com/fra31/auto-attack.git",
    "bs4": "pip install beautifulsoup4",
    "pkg_resources": "pip install 'setuptools<81'",
}


def names_code(word: object) -> bool:
    """Whether a network, a loader or a data set is written as `module:function`, code that would be run."""
    source, colon, _ = str(word).partition(":")
    return bool(colon) and source not in ("timm", "robustbench", "imagefolder")


def make_network(model: str, loader: str | None, data: Dataset, *, pretrained: bool = False) -> AnyClassifier:
    """A network for a data set: one of ours, or what a loader makes.

    Args:
        model: a name of `MODELS`; a mere label when there is a loader.
        loader: `module:function`, called without arguments; `timm:NAME`; `robustbench:DATASET/THREAT/ID`.
        data: what it must fit.
        pretrained: take the published weights of a timm or RobustBench network, where they are at hand or can be
            fetched. Without it there is only the architecture, for a checkpoint to fill.

    Raises:
        UserError: for an unknown name, a loader that fails, a package or weights that are missing, or a network
            that does not fit the data.
    """
    if loader is None:
        return build(
            model, input_shape=data.shape, num_classes=data.num_classes, mean=data.mean, std=data.std, seed=0
        )
    source, _, name = loader.partition(":")
    if source == "timm":
        module = timm_network(name, data, pretrained=pretrained)
    elif source == "robustbench":
        module = robustbench_network(name, pretrained=pretrained)
    else:
        module = _called(loader)
    return WrappedClassifier(module.to(torch.float32), data.shape, data.num_classes)


def robustbench_loader(identifier: str, data: Dataset, threat: Threat) -> str:
    """The loader's word for a RobustBench id: `ID` under this data set and norm, or `DATASET/THREAT/ID` in full.

    Raises:
        UserError: for a data set or a norm that RobustBench has no networks for.
    """
    if identifier.count("/") == 2:
        return f"robustbench:{identifier}"
    if "/" in identifier:
        raise UserError(f"expected a RobustBench id, or DATASET/THREAT/ID, got {identifier!r}")
    name = data.name.removesuffix("-jpeg")
    if name not in ROBUSTBENCH_DATA:
        known = ", ".join(ROBUSTBENCH_DATA)
        raise UserError(
            f"RobustBench has networks for {known}, not for {data.name}; for images of theirs in a folder "
            f"write the id in full, such as imagenet/Linf/{identifier}"
        )
    return f"robustbench:{ROBUSTBENCH_DATA[name]}/{ROBUSTBENCH_THREATS[threat.norm]}/{identifier}"


def timm_network(name: str, data: Dataset, *, pretrained: bool) -> nn.Module:
    """A network of `timm` that takes pixels in [0, 1]: its own mean and standard deviation are put before it.

    Args:
        name: as `timm.list_models` shows it.
        data: decides channels, classes and, for a network of one fixed size, the size of the images.
        pretrained: with the published weights, which must have the data's number of classes.

    Raises:
        UserError: when timm is missing, knows no such name, or its weights cannot be had or do not fit.
    """
    timm = _package("timm", f"--timm {name}", INSTALL_TIMM)
    if not timm.is_model(name.partition(".")[0]):
        raise unknown_name("timm network", name, timm.list_models())
    channels, height, _ = data.shape
    config = _timm_config(timm, name)
    classes = int(config.get("num_classes") or 0)
    if pretrained and classes != data.num_classes:
        raise UserError(
            f"--timm {name}: its published weights tell {classes} classes apart, {data.name} has "
            f"{data.num_classes}; give weights that fit with --checkpoint FILE"
        )
    size = {"img_size": height} if config.get("fixed_input_size") else {}
    try:
        module: nn.Module = timm.create_model(
            name, pretrained=pretrained, num_classes=data.num_classes, in_chans=channels, **size
        )
    except Exception as error:
        how = (
            "; its weights could not be fetched: without a network, give --checkpoint FILE"
            if pretrained
            else ""
        )
        raise UserError(f"--timm {name} failed: {_first_line(error)}{how}") from error
    return normalised(module, _per_channel(config["mean"], channels), _per_channel(config["std"], channels))


def normalised(module: nn.Module, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """The same network, taking pixels in [0, 1]: (x − mean) / std is what its first layer sees.

    A hook does it, so that the names of its weights stay those of its published checkpoints.

    Args:
        mean, std: one for each channel.
    """

    def normalise(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        (images,) = inputs
        centre, scale = images.new_tensor(mean), images.new_tensor(std)
        return (images - centre.view(1, -1, 1, 1)) / scale.view(1, -1, 1, 1)

    module.register_forward_pre_hook(normalise)
    return module


def robustbench_network(identifier: str, *, pretrained: bool) -> nn.Module:
    """A network of RobustBench's model zoo, which takes pixels in [0, 1].

    Args:
        identifier: DATASET/THREAT/ID, such as cifar10/Linf/Carmon2019Unlabeled.
        pretrained: with its published weights, read from models/DATASET/THREAT/ID.pt or fetched there.

    Raises:
        UserError: when the package is missing, knows no such network, or the weights cannot be had.
    """
    if identifier.count("/") != 2:
        raise UserError(
            f"expected DATASET/THREAT/ID, such as cifar10/Linf/Carmon2019Unlabeled, got {identifier!r}"
        )
    package = _package("robustbench", f"--robustbench {identifier}", INSTALL_ROBUSTBENCH)
    dataset, threat, name = identifier.split("/")
    zoo = _robustbench_zoo(dataset, threat)
    if name not in zoo:
        raise unknown_name(f"RobustBench network for {dataset} and {threat}", name, zoo)
    if not pretrained:
        return _architecture(zoo[name], identifier)
    path = ROBUSTBENCH_FOLDER / dataset / threat / f"{name}.pt"
    try:
        # It prints while it downloads; standard output is for our own answer.
        with redirect_stdout(None):
            module: nn.Module = package.utils.load_model(
                model_name=name, model_dir=str(ROBUSTBENCH_FOLDER), dataset=dataset, threat_model=threat
            )
    except Exception as error:
        missing = "" if path.is_file() else f"{path} is missing and could not be fetched; put it there, or "
        raise UserError(
            f"--robustbench {identifier} failed: {_first_line(error)}; {missing or 'or '}give its weights with "
            f"--checkpoint FILE"
        ) from error
    return module


def _robustbench_zoo(dataset: str, threat: str) -> Mapping[str, Any]:
    zoo = import_module("robustbench.model_zoo").model_dicts
    enums = import_module("robustbench.model_zoo.enums")
    try:
        found: Mapping[str, Any] = zoo[enums.BenchmarkDataset(dataset)][enums.ThreatModel(threat)]
    except (KeyError, ValueError):
        raise UserError(
            f"RobustBench has no networks for {dataset}/{threat}; expected such as cifar10/Linf or imagenet/L2"
        ) from None
    return found


def _architecture(entry: Mapping[str, Any], identifier: str) -> nn.Module:
    make = entry.get("model")
    if make is None:
        raise UserError(f"--robustbench {identifier}: the package gives no architecture for it to fill")
    try:
        module: nn.Module = make()
    except Exception as error:
        raise UserError(f"--robustbench {identifier} failed: {_first_line(error)}") from error
    return module


def _called(loader: str) -> nn.Module:
    make: Any = load_object(loader, "loader")
    if not callable(make):
        raise UserError(f"--loader {loader}: expected a function that returns a torch.nn.Module")
    try:
        module = make()
    except Exception as error:
        raise UserError(f"--loader {loader} failed: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise UserError(f"--loader {loader}: expected a torch.nn.Module, got {type(module).__name__}")
    return module


def _package(name: str, asked: str, install: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        missing = (error.name or name).partition(".")[0]
        if missing != name:
            how = INSTALL.get(missing, f"pip install {missing}")
            raise UserError(f"{asked} needs {missing}, which {name} imports: {how}") from error
        raise UserError(f"{asked} needs the optional package {name}: {install}") from error
    except Exception as error:
        # An import that meets another release of something than it was written for fails in any way.
        raise UserError(
            f"{asked}: the package {name} cannot be imported: {type(error).__name__}: {_first_line(error)}"
        ) from error


def _timm_config(timm: ModuleType, name: str) -> dict[str, Any]:
    config = timm.get_pretrained_cfg(name)
    found = config.to_dict() if config is not None else {}
    # As timm does for a network without a configuration: pixels as they are.
    return {**found, "mean": found.get("mean") or (0.0,), "std": found.get("std") or (1.0,)}


def _per_channel(values: Sequence[float], channels: int) -> list[float]:
    """One value a channel; the mean of them all where the images have another number, such as grey ones."""
    if len(values) == channels:
        return [float(value) for value in values]
    return [sum(map(float, values)) / len(values)] * channels


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
