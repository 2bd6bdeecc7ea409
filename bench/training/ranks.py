"""A training that several processes share: each takes a part of every batch through the network.

Every process has all images, draws the same batches and computes the same loss of the whole batch. Only the passes
through the backbone of the network are divided: a process takes its part of the images through it, and the features
of all parts are joined. What couples images, such as the mean of a loss, the regions of `prs` or an attack's random
start, is therefore the same as in one process, without a word about it in a defense. Batch norm is the exception
inside the backbone: its statistics are summed over the processes.

The gradients are exact too, to any order: `_Part` and `_Join` are each other's backward pass, and so are `_Own` and
`_Total`. A value is either *whole*, equal on all processes, or *own*, that of a part.

Outside `together` nothing here communicates: one process may train or measure alone while the others wait.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from bench.core.classifier import Classifier
from bench.core.division import Crew, divided
from bench.core.errors import UserError
from bench.data import Split
from bench.training.exchange import gather, receive, send

#: Whether this process is in a task that it shares with others.
_together = False
#: Largest relative difference of features that parts of a batch may give: rounding.
_ROUNDING = 1e-3

Value = TypeVar("Value")


class FirstFailed(Exception):
    """What the first process does alone has failed there; the others leave the task."""


def count() -> int:
    """How many processes share the present task; 1 outside of one."""
    return dist.get_world_size() if _together else 1


@contextmanager
def together() -> Iterator[None]:
    """A task that all processes do at the same time, while the block runs; nothing where there is one process."""
    global _together
    before, _together = _together, dist.is_available() and dist.is_initialized()
    try:
        yield
    finally:
        _together = before


def by_first(work: Callable[[], Value]) -> Value:
    """Do something in the first process alone, and give its result to all.

    Args:
        work: gives tensors, plain values and lists or dicts of them, on the CPU or on the device of the process.

    Raises:
        FirstFailed: in the others, when it raised in the first process, where the error itself is raised.
    """
    if count() == 1:
        return work()
    if dist.get_rank():
        result, failed = receive()
        if failed:
            raise FirstFailed
        return result
    try:
        result = work()
    except BaseException:
        send((None, True))
        raise
    send((result, False))
    return result


@contextmanager
def sharing(network: Classifier) -> Iterator[None]:
    """Divide passes through the backbone of a network while the block runs; nothing where there is one process.

    Copies of the network that are made inside would be divided as well, so none must be kept.
    """
    if count() == 1:
        yield
        return
    backbone, inside = network.backbone, False

    def forward(images: Tensor) -> Tensor:
        nonlocal inside
        if inside:
            return type(backbone).forward(backbone, images)
        names, weights = zip(*backbone.named_parameters(), strict=True)
        inside = True
        try:
            own = dict(zip(names, _Own.apply(*weights), strict=True))
            features = functional_call(backbone, own, (_Part.apply(images),))
        finally:
            inside = False
        return _Join.apply(features, len(images))

    with ExitStack() as stack:
        for module in backbone.modules():
            if isinstance(module, _BatchNorm):
                stack.enter_context(replaced(module, partial(_normalized, module)))
        stack.enter_context(replaced(backbone, forward))
        yield


@contextmanager
def replaced(module: nn.Module, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Give one module another forward pass while the block runs."""
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        del module.__dict__["forward"]


@contextmanager
def dividing() -> Iterator[None]:
    """Divide the parts of the block's calls among the processes, as `bench.core.division` does."""
    if not (dist.is_available() and dist.is_initialized()):
        yield
        return
    with divided(Crew(dist.get_rank(), dist.get_world_size(), gather)):
        yield


def check_divisible(network: Classifier, split: Split) -> None:
    """Refuse a network that gives other features where its batch is divided, such as one with dropout.

    Args:
        network: put into training mode; its buffers are restored.
        split: of the training images.

    Raises:
        UserError: on all processes.
    """
    if count() == 1:
        return
    if not isinstance(network, Classifier):
        raise UserError(
            "torchrun divides the networks of `bench list models` alone; train this one with one process"
        )
    network.train()
    images = split.batch(slice(0, 2 * count() + 1))[0]
    kept = {key: buffer.clone() for key, buffer in network.named_buffers()}
    with torch.no_grad(), torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
        whole = network.features(images)
        with sharing(network):
            parts = network.features(images)
        for key, buffer in network.named_buffers():
            buffer.copy_(kept[key])
    scale = whole.abs().max().clamp_min(1e-6)
    worst = ((whole - parts).abs().max() / scale).nan_to_num(nan=1.0).reshape(1)
    dist.all_reduce(worst, dist.ReduceOp.MAX)
    if float(worst) > _ROUNDING:
        raise UserError(
            "the network gives other features where a batch is divided among processes, as with dropout; "
            "train it with one process"
        )


def _normalized(norm: Any, images: Tensor) -> Tensor:
    """Batch norm of own images by the statistics of all."""
    if not norm.training and norm.track_running_stats:
        return type(norm).forward(norm, images)
    values, dims = images.to(_sent(images.dtype)), [0, *range(2, images.dim())]
    shape = [1, -1] + [1] * (images.dim() - 2)
    here = torch.full((1,), images.numel() // images.shape[1], device=images.device, dtype=values.dtype)
    n, total = _Total.apply(here, values.sum(dims))
    mean = total / n
    centered = values - _Own.apply(mean)[0].view(shape)
    variance = _Total.apply(centered.square().sum(dims))[0] / n
    scaled = centered * torch.rsqrt(_Own.apply(variance)[0] + norm.eps).view(shape)
    if norm.training and norm.track_running_stats:
        _follow(norm, mean.detach(), (variance * n / (n - 1)).detach())
    if norm.affine:
        scaled = scaled * norm.weight.view(shape) + norm.bias.view(shape)
    return scaled.to(images.dtype)


@torch.no_grad()
def _follow(norm: Any, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics, as `torch.nn.BatchNorm2d` does."""
    norm.num_batches_tracked.add_(1)
    share = 1.0 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), share)
    norm.running_var.lerp_(variance.to(norm.running_var.dtype), share)


def _own_part(size: int) -> slice:
    """Which of so many images are this process's."""
    each, more = divmod(size, dist.get_world_size())
    rank = dist.get_rank()
    start = rank * each + min(rank, more)
    return slice(start, start + each + (rank < more))


def _sent(dtype: torch.dtype) -> torch.dtype:
    """The type that values travel in: not every backend sends halves."""
    return torch.promote_types(dtype, torch.float32)


class _Part(torch.autograd.Function):
    """From a whole [B, …] to the own part of it."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor) -> Tensor:
        ctx.size = len(whole)
        return whole[_own_part(ctx.size)].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Join.apply(gradient, ctx.size)


class _Join(torch.autograd.Function):
    """From the own parts to the whole [B, …]."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, size: int) -> Tensor:
        ranks = dist.get_world_size()
        most = -(-size // ranks)
        sent = own.new_zeros((most, *own.shape[1:]), dtype=_sent(own.dtype))
        sent[: len(own)] = own
        found = [torch.empty_like(sent) for _ in range(ranks)]
        dist.all_gather(found, sent)
        lengths = [size // ranks + (rank < size % ranks) for rank in range(ranks)]
        parts = [part[:length] for part, length in zip(found, lengths, strict=True)]
        return torch.cat(parts).to(own.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Part.apply(gradient), None


class _Own(torch.autograd.Function):
    """Wholes, such as weights, as what own parts are computed with."""

    @staticmethod
    def forward(ctx: Any, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        return tuple(value.view_as(value) for value in values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        return _of_those_there(_Total, gradients)


class _Total(torch.autograd.Function):
    """The sums of own values over the processes, as wholes."""

    @staticmethod
    def forward(ctx: Any, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        flat = torch.cat([value.reshape(-1).to(_sent(value.dtype)) for value in values])
        dist.all_reduce(flat)
        parts = flat.split([value.numel() for value in values])
        return tuple(
            part.view(value.shape).to(value.dtype) for part, value in zip(parts, values, strict=True)
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        return _of_those_there(_Own, gradients)


def _of_those_there(
    function: type[torch.autograd.Function], gradients: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """A function of all gradients that there are, each in its place."""
    there = [at for at, gradient in enumerate(gradients) if gradient is not None]
    results = function.apply(*(gradients[at] for at in there)) if there else ()
    found = dict(zip(there, results, strict=True))
    return tuple(found.get(at) for at in range(len(gradients)))
