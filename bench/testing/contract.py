"""Run the contract suite on a plug-in, whatever it is: what `bench check` prints."""

import inspect
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

import defenses
import metrics
from bench import data
from bench.core.errors import UserError
from bench.core.foreign_code import calling, told
from bench.core.registry import load_object
from bench.core.values import shown
from bench.models import MODELS, Network
from bench.models.variants import without_options
from bench.testing.datasets import DATASET_CHECKS
from bench.testing.defenses import DEFENSE_CHECKS
from bench.testing.metrics import METRIC_CHECKS
from bench.testing.networks import NETWORK_CHECKS

Check = Callable[[Any], None]


@dataclass(frozen=True)
class Subject:
    """A part and the checks of its kind.

    Attributes:
        kind: "defense", "metric", "network" or "data set".
        part: what each check takes.
        checks: of the kind.
    """

    kind: str
    part: Any
    checks: Sequence[Check]


@dataclass(frozen=True)
class Outcome:
    """How one check went.

    Attributes:
        promise: what was checked, such as "gradients are finite".
        problem: what was broken; "" for a check that passed.
        error: what the part raised, where it was no failed check.
    """

    promise: str
    problem: str = ""
    error: BaseException | None = None


class ForOne:
    """A function that makes a network for the images and the classes of one data set."""

    def __init__(self, make: Callable[[], Any], dataset: data.Dataset) -> None:
        self.make = make
        self.only = ((dataset.shape, dataset.num_classes),)

    def __call__(self) -> Any:
        """Make the network."""
        return self.make()


def find(name: str, data_dir: Path | None = None, dataset: str | None = None) -> Subject:
    """Find a part and say what it is.

    Args:
        name: `module:Thing`, or a registered name.
        data_dir: folder for the loaders of data sets.
        dataset: what a network is made for whose function takes no arguments; None takes digits.

    Raises:
        UserError: where there is no such part, or none that a suite is for; for a data set that nothing uses.
    """
    kind = _kind(name, load_object(without_options(name), "plug-in")) if ":" in name else _registered(name)
    if dataset is not None and not (kind == "network" and not inspect.signature(MODELS.get(name)).parameters):
        raise UserError(
            f"--dataset is for a network that fits one kind of images alone, and {name} is none; leave it out"
        )
    if kind == "defense":
        return Subject(kind, defenses.get(name), DEFENSE_CHECKS)
    if kind == "metric":
        metrics.get(name)  # refuses what is no metric
        return Subject(kind, lambda: metrics.get(name), METRIC_CHECKS)
    if kind == "network":
        make = MODELS.get(name)
        if not inspect.signature(make).parameters:
            make = ForOne(make, data.load(dataset or "digits", data_dir=data_dir))
        return Subject(kind, make, NETWORK_CHECKS)
    data.load(name, data_dir=data_dir)  # refuses what cannot be loaded
    return Subject(kind, lambda: data.load(name, data_dir=data_dir), DATASET_CHECKS)


def _kind(name: str, part: Any) -> str:
    if isinstance(part, type) and issubclass(part, defenses.Defense):
        return "defense"
    if isinstance(part, metrics.Metric) or (isinstance(part, type) and issubclass(part, metrics.Metric)):
        return "metric"
    if isinstance(part, type) and issubclass(part, nn.Module):
        return "network"
    if isinstance(part, nn.Module) or (isinstance(part, type) and not hasattr(part, "__getitem__")):
        raise UserError(
            f"{name}: expected a subclass of defenses.Defense or of metrics.Metric, a function or class "
            f"that makes a network, or a data set, got {shown(part)}"
        )
    if not callable(part) or hasattr(part, "__getitem__"):
        return "data set"
    parameters = inspect.signature(part).parameters
    if "data_dir" in parameters or "download" in parameters:
        return "data set"
    needed = [each for each in parameters.values() if each.default is each.empty]
    if len(needed) == 2 or {"input_shape", "num_classes"} & parameters.keys():
        return "network"
    if needed:
        return "data set"
    with calling(f"plug-in {name!r}"):
        made = part()
    return "network" if isinstance(made, nn.Module | Network) else "data set"


def _registered(name: str) -> str:
    kinds = {"metric": metrics.METRICS, "network": MODELS, "data set": data.DATASETS}
    found = next((kind for kind, registry in kinds.items() if without_options(name) in registry.names()), "")
    if found:
        return found
    with suppress(UserError):
        defenses.get(name)
        return "defense"
    raise UserError(f"expected module:Thing, or a name of `bench list`, got {shown(name)}")


def run_checks(subject: Subject) -> Iterator[Outcome]:
    """Run every check of a part, one after the other; a failed one stops no other.

    Raises:
        UserError: where Python leaves out assertions.
    """
    if not __debug__:
        raise UserError("the checks are assertions, which Python leaves out here; run without -O")
    for check in subject.checks:
        promise = check.__name__.replace("_", " ")
        try:
            check(subject.part)
        except KeyboardInterrupt:
            raise
        except AssertionError as error:
            problem = " ".join((str(error) or inspect.getdoc(check) or "it does not hold").split())
            yield Outcome(promise, problem)
        except BaseException as error:
            yield Outcome(promise, f"{told(error)}{_where(error, subject.part)}", error)
        else:
            yield Outcome(promise)


def _where(error: BaseException, part: Any) -> str:
    """The last line of the part's own file that was running."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(part))
    except (TypeError, OSError):
        return ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({Path(str(file)).name}, line {lines[-1]})" if lines else ""
