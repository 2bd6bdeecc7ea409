"""How near steps of training come to what this processor could do: counted work over the rates measured beside it.

python -m benchmarks.floor                       # cnn6 and resnet18 on 3x32x32; minutes
python -m benchmarks.floor --only standard       # one defense

The floor of a step is the time of its multiplications at the rate of a large matrix product, and of all bytes that
its other operations read and write at the rate of a copy. Both rates are measured in the same process, in turn with
the steps, on one thread; the best of five rounds counts. Operations are counted while a step runs, each as PyTorch
calls it; the share can exceed one where a kernel keeps in caches what counts as moved. Times are CPU seconds.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmarks.training_cost import Place, turn
from defenses import get

PLACES = [Place("cnn6", (3, 32, 32), 128), Place("resnet18", (3, 32, 32), 128)]
ROWS: dict[str, dict[str, object]] = {"standard": {}, "at": {"steps": 10}, "prs": {}, "jacobian": {}}
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
ROUNDS, STEPS = 5, 2
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


def main() -> None:
    """Print a table for each network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", metavar="DEFENSE", choices=list(ROWS), default=list(ROWS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    for place in PLACES:
        Console(width=120).print(table(place, options.only))


def table(place: Place, rows: list[str]) -> Table:
    """The floor and the time of a step of some defenses."""
    result = Table(title=f"{place}; one thread, CPU seconds of a step")
    for heading in ("defense", "precision", "billion operations", "GB moved", "floor", "measured", "share"):
        result.add_column(heading, justify="left" if heading in ("defense", "precision") else "right")
    for row in rows:
        for precision, kind in PRECISIONS.items():
            step = turn(get(row).make(ROWS[row]), place, STEPS, torch.device("cpu"), precision)
            step()
            with Work() as work:
                step()
            rounds = [(matrix_rate(kind), copy_rate(), seconds(step)) for _ in range(ROUNDS)]
            rates, bandwidths, times = zip(*rounds, strict=True)
            # The best of each, since other programs only ever slow down.
            floor = (work.operations / max(rates) + work.bytes / max(bandwidths)) / STEPS
            measured = min(times) / STEPS
            numbers = f"{work.operations / STEPS / 1e9:.1f}", f"{work.bytes / STEPS / 1e9:.2f}"
            result.add_row(
                row, precision, *numbers, f"{floor:.3f}", f"{measured:.3f}", f"{floor / measured:.0%}"
            )
    return result


def matrix_rate(kind: torch.dtype) -> float:
    """Operations a second of a large matrix product."""
    left, right = torch.rand(SIDE, SIDE).to(kind), torch.rand(SIDE, SIDE).to(kind)
    return 2 * SIDE**3 / min(_times(lambda: left @ right))


def copy_rate() -> float:
    """Bytes a second that a copy reads and writes."""
    source, target = torch.zeros(COPIED, dtype=torch.uint8), torch.zeros(COPIED, dtype=torch.uint8)
    return 2 * COPIED / min(_times(lambda: target.copy_(source)))


def seconds(step: Callable[[], Any]) -> float:
    """CPU seconds of a call."""
    started = time.process_time()
    step()
    return time.process_time() - started


def _times(step: Callable[[], Any]) -> Iterator[float]:
    step()
    return (seconds(step) for _ in range(3))


if __name__ == "__main__":
    main()
