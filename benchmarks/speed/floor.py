"""The least time that this processor needs for counted work, at rates measured beside it.

The floor is the time of all multiplications at the rate of a large matrix product, and of all bytes that other
operations read and write at the rate of a copy, on one thread. Operations are counted as PyTorch calls them. The
share can exceed one, where a kernel keeps in caches what counts as moved, and in float32, where convolutions do
with fewer multiplications than are counted.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmarks.speed.rows import timed

KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16}
#: Side of the matrices, and bytes that are copied: far more than the caches hold.
SIDE, COPIED = 2048, 2**28


class Work(TorchDispatchMode):
    """Counts the operations of matrix products and convolutions, and the bytes that all others read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count it unless it only looks at a tensor in another way."""
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        # The counter of PyTorch, without its hooks on modules, which attacks cannot run under.
        if count := flop_registry.get(func._overloadpacket):
            self.operations += count(*args, **kwargs, out_val=found)
        elif not func.is_view:
            tensors = [each for each in tree_leaves((args, kwargs, found)) if isinstance(each, Tensor)]
            self.bytes += sum(each.numel() * each.element_size() for each in tensors)
        return found


def floor(step: Callable[[], Any], precision: str) -> float:
    """The floor of one call in CPU seconds; multiplications count at the rate of this precision."""
    with Work() as work:
        step()
    left, right = (torch.rand(SIDE, SIDE).to(KINDS[precision]) for _ in range(2))
    source, target = (torch.zeros(COPIED, dtype=torch.uint8) for _ in range(2))
    products = work.operations / (2 * SIDE**3) * _best(lambda: left @ right)
    return products + work.bytes / (2 * COPIED) * _best(lambda: target.copy_(source))


def _best(call: Callable[[], Any]) -> float:
    """The least of some times, since other programs only ever slow down."""
    return min(timed(call)[0] for _ in range(5))
