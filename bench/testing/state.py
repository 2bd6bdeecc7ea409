"""What a network and the process look like, to tell whether something changed them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bench.core.classifier import Classifier
from bench.core.randomness import seeded


@contextmanager
def untouched(classifier: Classifier, *, buffers: bool) -> Iterator[None]:
    """Assert that a block changes nothing of a network but, without `buffers`, its running statistics."""
    # Whoever sets a seed leaves another state than this one, also where tests before have set the same seed.
    with seeded("elsewhere"):
        before = _state_of(classifier, buffers)
        yield
        after = _state_of(classifier, buffers)
        for what, value in before.items():
            assert _same(value, after[what]), f"{what} came out changed"


def _state_of(classifier: Classifier, buffers: bool) -> dict[str, Any]:
    weights = dict(classifier.named_parameters())
    state: dict[str, Any] = {
        "the global random state": {"torch": torch.get_rng_state()},
        "a module's mode": [module.training for module in classifier.modules()],
        "requires_grad": [weight.requires_grad for weight in weights.values()],
        "a parameter's .grad": {
            name: weight.grad.clone() for name, weight in weights.items() if weight.grad is not None
        },
        "a weight": {name: weight.detach().clone() for name, weight in weights.items()},
    }
    if buffers:
        state["a buffer"] = {name: buffer.clone() for name, buffer in classifier.named_buffers()}
    return state


def _same(first: Any, second: Any) -> bool:
    return equal(first, second) if isinstance(first, dict) else first == second


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """Copies of a module's tensors, by name."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether two such copies agree bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
