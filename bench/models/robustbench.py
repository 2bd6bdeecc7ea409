"""Networks of RobustBench's model zoo, and the files of their weights."""

import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from bench.core.errors import UserError, first_line, unknown_name
from bench.core.files import set_aside
from bench.core.temporary import temporary_folder
from bench.core.threat import Threat
from bench.data import Dataset
from bench.models.packages import import_package

#: Our names of data sets and norms → RobustBench's.
DATA = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet": "imagenet"}
THREATS = {"linf": "Linf", "l2": "L2"}

#: Folder for RobustBench's downloads.
FOLDER = Path("models")

INSTALL = "pip install git+https://github.com/RobustBench/robustbench.git"


def robustbench_loader(identifier: str, data: Dataset, threat: Threat) -> str:
    """Write a RobustBench id as a loader, `robustbench:DATASET/THREAT/ID`.

    Args:
        identifier: DATASET/THREAT/ID, or ID alone, which is completed from the other two arguments.
        data: the data set of the evaluation.
        threat: the threat of the evaluation.

    Raises:
        UserError: for a data set for which RobustBench has no networks.
    """
    if identifier.count("/") == 2:
        return f"robustbench:{identifier}"
    if "/" in identifier:
        raise UserError(f"expected a RobustBench id, or DATASET/THREAT/ID, got {identifier!r}")
    name = data.name.removesuffix("-jpeg")
    if name not in DATA:
        known = ", ".join(DATA)
        raise UserError(
            f"RobustBench has networks for {known}, not for {data.name}; if the folder holds images of one of "
            f"these, write the id in full, such as imagenet/Linf/{identifier}"
        )
    return f"robustbench:{DATA[name]}/{THREATS[threat.norm]}/{identifier}"


def robustbench_network(identifier: str, *, pretrained: bool) -> nn.Module:
    """Make a network of RobustBench's model zoo, which takes pixels in [0, 1].

    Args:
        identifier: DATASET/THREAT/ID, such as cifar10/Linf/Carmon2019Unlabeled.
        pretrained: load the published weights from models/DATASET/THREAT/ID.pt, fetching the file if it is missing.

    Raises:
        UserError: if the package is missing or does not know the network, or if the weights cannot be fetched.
    """
    if identifier.count("/") != 2:
        raise UserError(
            f"expected DATASET/THREAT/ID, such as cifar10/Linf/Carmon2019Unlabeled, got {identifier!r}"
        )
    package = import_package("robustbench", f"--robustbench {identifier}", INSTALL)
    dataset, threat, name = identifier.split("/")
    zoo = _zoo(dataset, threat)
    if name not in zoo:
        raise unknown_name(f"RobustBench network for {dataset} and {threat}", name, zoo)
    if not pretrained:
        return _architecture(zoo[name], identifier)
    try:
        return _with_weights(package.utils.load_model, dataset, threat, name, _file_names(name, zoo[name]))
    except Exception as error:
        path = FOLDER / dataset / threat / f"{name}.pt"
        missing = "" if path.is_file() else f"{path} is missing and could not be fetched; put it there, or "
        raise UserError(
            f"--robustbench {identifier} failed: {first_line(error)}; {missing or 'or '}give its weights with "
            f"--checkpoint FILE"
        ) from error


def _file_names(name: str, entry: Mapping[str, Any]) -> list[str]:
    """The files of a network; an ensemble has several."""
    parts = entry.get("gdrive_id")
    return (
        [f"{name}.pt_m{number}.pt" for number in range(len(parts))]
        if isinstance(parts, list)
        else [f"{name}.pt"]
    )


def _with_weights(
    load: Callable[..., nn.Module], dataset: str, threat: str, name: str, files: list[str]
) -> nn.Module:
    """Load a network from its files; what is missing is fetched into a folder beside theirs first.

    RobustBench writes into a file while it downloads, and takes a file that is there for a whole one.
    """
    folder = FOLDER / dataset / threat
    for file in files:
        if reason := _damage(folder / file):
            set_aside(folder / file, f"{reason}, and is fetched again", warnings.warn)
    # RobustBench prints while it downloads; standard output is reserved for our own result.
    options = {"model_name": name, "dataset": dataset, "threat_model": threat}
    with redirect_stdout(None):
        if all((folder / file).is_file() for file in files):
            return load(model_dir=str(FOLDER), **options)
        with temporary_folder(FOLDER) as scratch:
            place = scratch / dataset / threat
            place.mkdir(parents=True)
            for file in files:
                if (folder / file).is_file():
                    (place / file).symlink_to((folder / file).resolve())
            module = load(model_dir=str(scratch), **options)
            fetched = [path for path in scratch.rglob("*") if path.is_file() and not path.is_symlink()]
            for path in fetched:
                folder.mkdir(parents=True, exist_ok=True)
                os.replace(path, folder / path.name)
    return module


def _damage(path: Path) -> str:
    """What is wrong with a file of weights, by its ends; "" where it is not there, too."""
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        start = stream.read(1)
    if start == b"P":
        return "" if zipfile.is_zipfile(path) else "is cut short"
    return "" if start == b"\x80" else "is no torch file"


def _zoo(dataset: str, threat: str) -> Mapping[str, Any]:
    zoo = import_module("robustbench.model_zoo").model_dicts
    enums = import_module("robustbench.model_zoo.enums")
    try:
        found: Mapping[str, Any] = zoo[enums.BenchmarkDataset(dataset)][enums.ThreatModel(threat)]
    except (KeyError, ValueError):
        raise UserError(
            f"RobustBench has no networks for {dataset}/{threat}; expected for example cifar10/Linf or imagenet/L2"
        ) from None
    return found


def _architecture(entry: Mapping[str, Any], identifier: str) -> nn.Module:
    make = entry.get("model")
    if make is None:
        raise UserError(f"--robustbench {identifier}: the package has no architecture for this network")
    try:
        module: nn.Module = make()
    except Exception as error:
        raise UserError(f"--robustbench {identifier} failed: {first_line(error)}") from error
    return module
