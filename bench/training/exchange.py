"""What the processes of `torchrun` send each other: tensors, plain values, and lists and dicts of them; no code."""

import io
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def send(value: Any) -> None:
    """Give a value to all other processes, as `receive` returns it there."""
    data = _bytes(value)
    dist.broadcast(torch.tensor([len(data)], device=device()), 0)
    dist.broadcast(data, 0)


def receive() -> Any:
    """The value that the first process sends."""
    size = torch.zeros(1, dtype=torch.int64, device=device())
    dist.broadcast(size, 0)
    data = torch.empty(int(size), dtype=torch.uint8, device=device())
    dist.broadcast(data, 0)
    return _loaded(data)


def gather(value: Any) -> list[Any]:
    """From a value of each process to those of all, in their order."""
    own = _bytes(value)
    sizes = [torch.zeros(1, dtype=torch.int64, device=device()) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, torch.tensor([len(own)], device=device()))
    most = max(int(size) for size in sizes)
    found = [torch.empty(most, dtype=torch.uint8, device=device()) for _ in sizes]
    dist.all_gather(found, torch.cat([own, own.new_zeros(most - len(own))]))
    return [_loaded(data[: int(size)]) for data, size in zip(found, sizes, strict=True)]


def _bytes(value: Any) -> Tensor:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8).to(device())


def _loaded(data: Tensor) -> Any:
    return torch.load(io.BytesIO(data.cpu().numpy().tobytes()), map_location=device(), weights_only=True)


def device() -> torch.device:
    """Where tensors must be that processes exchange."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
