"""Networks without anything that hides a gradient: an alarm of one of them is a false alarm."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from torch import nn

from benchmarks.alarms.networks import (
    EPS,
    Loss,
    adversarial,
    cnn,
    deep,
    mlp,
    noisy,
    standard,
    trades,
    trained,
)


@dataclass(frozen=True)
class Case:
    """A network of the zoo.

    Attributes:
        name: in the table.
        make: the network, trained or from the cache.
        dataset: it is measured on.
        threat: norm and ε.
        honest: whether nothing hides its gradient.
        held_out: whether it is left out where limits of alarms and settings of checks are chosen.
    """

    name: str
    make: Callable[[], nn.Module]
    dataset: str = "digits"
    threat: str = "linf:0.15"
    honest: bool = True
    held_out: bool = False


def make_case(
    kind: str,
    make: Callable[[], nn.Module],
    training: str,
    loss: Loss,
    dataset: str,
    seed: int,
    threat: str = "",
) -> Case:
    """An honest network; without a threat, that of the data in ℓ∞."""
    name = f"{kind} {training} {dataset} {seed}"
    threat = threat or f"linf:{EPS[dataset]}"
    build = partial(trained, name.replace(" ", "-"), make, loss, dataset=dataset, seed=seed)
    return Case(name + (" l2" if threat.startswith("l2") else ""), build, dataset, threat)


def honest() -> Iterator[Case]:
    """Standard and adversarial training of several networks, seeds and data; then other trainings and layers."""
    both = {"standard": standard, "adversarial": adversarial(EPS["digits"])}
    for training, loss in both.items():
        for seed in range(3):
            for kind, make in (("mlp", partial(mlp, 8)), ("cnn", partial(cnn, 8))):
                yield make_case(kind, make, training, loss, "digits", seed)
        for seed in range(2):
            yield make_case("wide", partial(mlp, 8, 256), training, loss, "digits", seed)
            yield make_case("deep", partial(deep, 8), training, loss, "digits", seed)
            yield make_case("cnn", partial(cnn, 16), training, loss, "digits16", seed)
        yield make_case("gelu", partial(mlp, 8, 64, nn.GELU), training, loss, "digits", 0)
        yield make_case("batch-norm", partial(cnn, 8, True), training, loss, "digits", 0)
        yield make_case("dropout-in-training", partial(cnn, 8, False, 0.3), training, loss, "digits", 0)
        yield make_case("mlp", partial(mlp, 8), training, loss, "digits", 0, "l2:0.8")
    for seed in range(2):
        yield make_case("mlp", partial(mlp, 8), "adversarial-small", adversarial(0.05), "digits", seed)
        yield make_case("mlp", partial(mlp, 8), "trades", trades(EPS["digits"]), "digits", seed)
        yield make_case("mlp", partial(mlp, 8), "noise-in-training", noisy(0.2), "digits", seed)
    yield make_case("cnn", partial(cnn, 8), "trades", trades(EPS["digits"]), "digits", 0)
