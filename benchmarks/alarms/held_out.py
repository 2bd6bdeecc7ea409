"""Networks that no limit of an alarm and no setting of a check was chosen on: other seeds, data and parameters.

Their disguises are mostly those of `cases.py`, around other networks. Sigmoids that are nearly steps, two logits
alone, deep networks of steps, and members of which two of three are attached occur here alone.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.alarms.disguises import images as seen
from benchmarks.alarms.disguises import inside
from benchmarks.alarms.disguises import logits as said
from benchmarks.alarms.disguises.inside import Around
from benchmarks.alarms.honest import Case, make_case
from benchmarks.alarms.networks import (
    EPS,
    MNIST,
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


def held_out() -> Iterator[Case]:
    """Honest networks, then those that hide something; with MNIST where the environment says where it is."""
    for case in (*_honest(), *_hidden()):
        yield replace(case, name=f"{case.name} (held out)", held_out=True)


def _honest() -> Iterator[Case]:
    eps = EPS["digits"]
    for training, loss in (("standard", standard), ("adversarial", adversarial(eps))):
        for seed in (3, 4):
            yield make_case("mlp", partial(mlp, 8), training, loss, "digits", seed)
            yield make_case("cnn", partial(cnn, 8), training, loss, "digits", seed)
            yield make_case("deep", partial(deep, 8), training, loss, "digits", seed)
            yield make_case("cnn", partial(cnn, 16), training, loss, "digits16", seed)
        yield make_case("wide", partial(mlp, 8, 256), training, loss, "digits", 3)
        yield make_case("silu", partial(mlp, 8, 64, nn.SiLU), training, loss, "digits", 3)
        yield make_case("batch-norm", partial(cnn, 8, True), training, loss, "digits", 3)
        yield make_case("cnn", partial(cnn, 8), training, loss, "digits", 3, "l2:0.8")
    for seed in (3, 4):
        yield make_case("mlp", partial(mlp, 8), "trades", trades(eps), "digits", seed)
        yield make_case("cnn", partial(cnn, 16), "trades", trades(eps), "digits16", seed)
    yield make_case("deep", partial(deep, 8), "trades", trades(eps), "digits", 3)
    yield make_case("cnn", partial(cnn, 8), "trades-6", trades(eps, 6.0), "digits", 3)
    yield make_case("cnn", partial(cnn, 8), "adversarial-10", adversarial(0.2, 10), "digits", 3)
    yield make_case("mlp", partial(mlp, 8), "noise-in-training", noisy(0.2), "digits", 3)
    if MNIST in os.environ:
        yield from _honest_mnist()


def _honest_mnist() -> Iterator[Case]:
    eps = EPS["mnist"]
    losses = {
        "standard": standard,
        "adversarial": adversarial(eps),
        "trades": trades(eps),
    }
    for training, loss in losses.items():
        for seed in (0, 1):
            yield make_case("cnn", partial(cnn, 28), training, loss, "mnist", seed)
        yield make_case("mlp", partial(mlp, 28, 128), training, loss, "mnist", 0)


def _network(kind: str, loss: Loss = standard, name: str = "standard", seed: int = 5) -> nn.Module:
    makers = {
        "mlp": partial(mlp, 8),
        "cnn": partial(cnn, 8),
        "wide": partial(mlp, 8, 256),
        "deep": partial(deep, 8),
    }
    return trained(f"{kind}-{name}-digits-{seed}", makers[kind], loss, seed=seed)


def _robust(kind: str) -> nn.Module:
    return _network(kind, adversarial(EPS["digits"]), "adversarial")


def _of_mnist(robust: bool = False, seed: int = 5) -> nn.Module:
    loss, name = (adversarial(EPS["mnist"]), "adversarial") if robust else (standard, "standard")
    return trained(f"cnn-{name}-mnist-{seed}", partial(cnn, 28), loss, dataset="mnist", seed=seed)


def _hidden() -> Iterator[Case]:
    yield _case("4 gray levels, convolutions", lambda: Around(_network("cnn"), seen.levels(4)))
    yield _case("bytes, robust", lambda: Around(_robust("mlp"), seen.uint8))
    yield _case("JPEG-like, wide", lambda: Around(_network("wide"), seen.jpeg))
    yield _case("blur in NumPy, deep", lambda: Around(_network("deep"), seen.through_numpy(seen.blur)))
    yield _case("7 gray levels and noise", lambda: Around(_network("cnn"), seen.noisy_levels(7, 0.08)))
    yield _case("4 gray levels and noise, wide", lambda: Around(_network("wide"), seen.noisy_levels(4, 0.12)))
    yield _case("noise 0.1", lambda: Around(_network("deep"), seen.noise(0.1)))
    yield _case("turned gradient, robust", lambda: Around(_robust("cnn"), seen.turned_gradient))
    yield _case("random gradient, convolutions", lambda: Around(_network("cnn"), seen.wrong_gradient))
    yield _case("ripple, convolutions", lambda: Around(_network("cnn"), seen.ripple))
    yield _case("logits x300, robust", lambda: Around(_robust("wide"), None, said.scaled(300.0)))
    yield _case("one-hot, deep", lambda: Around(_network("deep"), None, said.one_hot))
    yield _case(
        "rounded probabilities, wide", lambda: Around(_network("wide"), None, said.rounded_probabilities)
    )
    yield _case("largest logit alone, convolutions", lambda: Around(_network("cnn"), None, said.first_only))
    yield _case("largest logit alone, robust", lambda: Around(_robust("mlp"), None, said.first_only))
    yield _case("two largest logits alone", lambda: Around(_network("wide"), None, said.two_only))
    yield _case("dropout at inference, wide", lambda: inside.Dropping(_network("wide"), False))
    yield _case("detached members, convolutions", partial(_members, "cnn", 3, 1))
    yield _case("two of three members attached", partial(_members, "mlp", 3, 2))
    yield _case("one of two members attached, wide", partial(_members, "wide", 2, 1))
    yield _case(
        "votes of five", lambda: inside.Ensemble([_network("cnn", seed=s) for s in range(5, 10)], 5, True)
    )
    yield _case("no graph, deep", lambda: inside.NoGraph(_network("deep")))
    yield _case("frozen first layer, deep", lambda: inside.FrozenFirst(_network("deep"), 2))  # type: ignore[arg-type]
    yield _case("k winners take all, 5", partial(_activation, "winners", inside.Winners, lambda x: x, F.relu))
    tanhs = torch.tanh, _times(torch.tanh, 5)
    yield _case("sign activations, 5", partial(_activation, "signs", inside.Sign, *tanhs))
    yield _case("steep tanh, 5", partial(_activation, "steep", inside.Steep, *tanhs))
    sigmoids = (inside.SteepSigmoid, torch.sigmoid, _times(torch.sigmoid, 5))
    yield _case("steep sigmoid", partial(_activation, "sigmoid", *sigmoids))
    yield _case("steep tanh, two layers", partial(_deep_steps, inside.Steep, *tanhs))
    if MNIST in os.environ:
        yield _on_mnist("5 gray levels", lambda: Around(_of_mnist(), seen.levels(5)))
        yield _on_mnist("5 gray levels and noise", lambda: Around(_of_mnist(), seen.noisy_levels(5, 0.1)))
        yield _on_mnist("one-hot, robust", lambda: Around(_of_mnist(True), None, said.one_hot))
        yield _on_mnist("largest logit alone", lambda: Around(_of_mnist(), None, said.first_only))
        yield _on_mnist(
            "detached members", lambda: inside.Ensemble([_of_mnist(seed=s) for s in (5, 6, 7)], 1)
        )


def _case(name: str, make: Callable[[], nn.Module]) -> Case:
    return Case(name, make, honest=False)


def _on_mnist(name: str, make: Callable[[], nn.Module]) -> Case:
    return Case(f"{name}, MNIST", make, "mnist", f"linf:{EPS['mnist']}", honest=False)


def _members(kind: str, count: int, attached: int) -> nn.Module:
    return inside.Ensemble([_network(kind, seed=5 + number) for number in range(count)], attached)


def _times(function: Callable[[Tensor], Tensor], factor: float) -> Callable[[Tensor], Tensor]:
    return lambda values: function(factor * values)


def _activation(name: str, kind: type[nn.Module], *smooth: Callable[[Tensor], Tensor]) -> nn.Module:
    network = trained(name, partial(mlp, 8, 96, kind), seed=5)
    return inside.OtherActivation(network, kind, *smooth)  # type: ignore[arg-type]


def _deep_steps(kind: type[nn.Module], *smooth: Callable[[Tensor], Tensor]) -> nn.Module:
    def make() -> nn.Module:
        layers = (nn.Linear(64, 64), kind(), nn.Linear(64, 64), kind(), nn.Linear(64, 10))
        return nn.Sequential(nn.Flatten(), *layers)

    return inside.OtherActivation(trained("deep-steps", make, seed=5), kind, *smooth)  # type: ignore[arg-type]
