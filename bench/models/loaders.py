"""Make the network to measure: one of ours by name, or another from a function, `timm` or RobustBench.

A loader is a string, stored in the record so that the network can be restored: `module:function`, `timm:NAME` or
`robustbench:DATASET/THREAT/ID`.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import nn

from bench.core.classifier import AnyClassifier, WrappedClassifier
from bench.core.errors import UserError, first_line, unknown_name
from bench.core.foreign_code import call_offering, calling
from bench.core.guards import torch_defaults
from bench.core.registry import load_object
from bench.core.values import shown
from bench.data import Dataset
from bench.models import build
from bench.models.packages import import_package
from bench.models.robustbench import robustbench_network

INSTALL_TIMM = "pip install timm"


def names_code(word: object) -> bool:
    """Whether a network, loader or data set is given as `module:function`, which means running that code."""
    source, colon, _ = str(word).partition(":")
    return bool(colon) and source not in ("timm", "robustbench", "imagefolder", "npz")


def make_network(model: str, loader: str | None, data: Dataset, *, pretrained: bool = False) -> AnyClassifier:
    """Make a network for a data set, by name or with a loader.

    Args:
        model: a name of `MODELS`; only a label if a loader is given.
        loader: `module:function`, given `input_shape` and `num_classes` where it takes them; `timm:NAME`;
            `robustbench:DATASET/THREAT/ID`.
        data: gives the shape of the images and the number of classes.
        pretrained: load the published weights of a timm or RobustBench network from disk or the network. Without
            it the architecture is made, for a checkpoint to fill.

    Raises:
        UserError: for an unknown name, a loader that fails, a missing package or missing weights, or a network
            that does not fit the data.
    """
    if loader is None:
        return build(
            model, input_shape=data.shape, num_classes=data.num_classes, mean=data.mean, std=data.std, seed=0
        )
    if not isinstance(loader, str):  # in a stranger's record
        raise UserError(f"expected a loader such as module:function, got {shown(loader)}")
    source, _, name = loader.partition(":")
    with torch_defaults():
        if source == "timm":
            module = timm_network(name, data, pretrained=pretrained)
        elif source == "robustbench":
            module = robustbench_network(name, pretrained=pretrained)
        else:
            module = _called(loader, data)
    return WrappedClassifier(module.to(torch.float32), data.shape, data.num_classes)


def timm_network(name: str, data: Dataset, *, pretrained: bool) -> nn.Module:
    """Make a network of `timm` that takes pixels in [0, 1] and applies its own normalization to them.

    Args:
        name: a name from `timm.list_models`.
        data: gives channels, classes and, for a network with one fixed input size, the size of the images.
        pretrained: load the published weights, which must have the data's number of classes.

    Raises:
        UserError: if timm is missing or does not know the name, or if the weights cannot be fetched or do not fit.
    """
    timm = import_package("timm", f"--timm {name}", INSTALL_TIMM)
    if not timm.is_model(name.partition(".")[0]):
        raise unknown_name("timm network", name, timm.list_models())
    channels, height, _ = data.shape
    config = _timm_config(timm, name)
    classes = int(config.get("num_classes") or 0)
    if pretrained and classes != data.num_classes:
        raise UserError(
            f"--timm {name}: its published weights are for {classes} classes, {data.name} has "
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
        raise UserError(f"--timm {name} failed: {first_line(error)}{how}") from error
    return normalized(module, _per_channel(config["mean"], channels), _per_channel(config["std"], channels))


def normalized(module: nn.Module, mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """Make a network normalize its input: its first layer receives (x − mean) / std for pixels x in [0, 1].

    A hook normalizes, so that the names of the weights remain those of the published checkpoints.

    Args:
        module: changed in place and returned.
        mean, std: one value per channel.
    """

    def normalize(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        (images,) = inputs
        center, scale = images.new_tensor(mean), images.new_tensor(std)
        return (images - center.view(1, -1, 1, 1)) / scale.view(1, -1, 1, 1)

    module.register_forward_pre_hook(normalize)
    return module


def _called(loader: str, data: Dataset) -> nn.Module:
    make: Any = load_object(loader, "loader")
    if not callable(make) or isinstance(make, nn.Module):
        came = "a network itself" if callable(make) else type(make).__name__
        raise UserError(f"--loader {loader}: expected a function that returns a torch.nn.Module, got {came}")
    with calling(f"--loader {loader}"):
        module = call_offering(make, input_shape=data.shape, num_classes=data.num_classes)
    if not isinstance(module, nn.Module):
        raise UserError(f"--loader {loader}: expected a torch.nn.Module, got {type(module).__name__}")
    return module


def _timm_config(timm: ModuleType, name: str) -> dict[str, Any]:
    config = timm.get_pretrained_cfg(name)
    found = config.to_dict() if config is not None else {}
    # Like timm, leave pixels as they are if a network has no configuration.
    return {**found, "mean": found.get("mean") or (0.0,), "std": found.get("std") or (1.0,)}


def _per_channel(values: Sequence[float], channels: int) -> list[float]:
    """One value per channel; their mean for every channel if the images have another number of channels."""
    if len(values) == channels:
        return [float(value) for value in values]
    return [sum(map(float, values)) / len(values)] * channels
