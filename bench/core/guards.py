"""Context managers that change modes, gradients, random state, defaults, layout or precision, and restore them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(classifier: nn.Module) -> Iterator[None]:
    """Put a network in eval mode, then give each module its own mode back (one may be set by hand)."""
    # Frozen TorchScript has no mode.
    modes = [(module, module.training) for module in classifier.modules() if hasattr(module, "training")]
    classifier.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def frozen(classifier: nn.Module) -> Iterator[None]:
    """Let no gradient reach the parameters, then give each its own `requires_grad` back."""
    flags = [(parameter, parameter.requires_grad) for parameter in classifier.parameters()]
    classifier.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


@contextmanager
def random_state_kept(seed: int | None = None) -> Iterator[None]:
    """Restore torch's global random state of the CPU and of every GPU, whatever the block draws or seeds.

    Args:
        seed: of what the block draws from the global state, such as a network with noise; None goes on from it.

    While a CUDA graph is captured, random states cannot be read, and the block goes on from the present one.
    """
    if torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing():
        yield
        return
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=list(devices)):
        if seed is not None:
            torch.manual_seed(seed)
        yield


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Run a block in torch's own defaults: float32, CPU, gradients on. Restore those from before.

    A stranger's code may change them while it is imported or called; that ends with the block too.
    """
    dtype, device, gradients = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
    _set_defaults(torch.float32, torch.device("cpu"), True)
    try:
        yield
    finally:
        _set_defaults(dtype, device, gradients)


def _set_defaults(dtype: torch.dtype, device: torch.device, gradients: bool) -> None:
    torch.set_default_dtype(dtype)
    # A default device that is set costs time in every call, even where it is the CPU.
    if torch.get_default_device() != device:
        torch.set_default_device(None if device.type == "cpu" else device)
    torch.set_grad_enabled(gradients)


@contextmanager
def channels_last(classifier: nn.Module) -> Iterator[Callable[[], None]]:
    """Lay convolution weights out with channels innermost, which CPUs convolve faster; then give them back.

    The values are the same and results agree up to rounding. The block gets a function that ends this early, for a
    network that reads its maps with `view` and does not run so. Weights on a GPU stay as they are.
    """
    kept = [
        (parameter, parameter.data)
        for parameter in classifier.parameters()
        if parameter.dim() == 4 and parameter.device.type == "cpu"
    ]

    def undo() -> None:
        while kept:
            parameter, data = kept.pop()
            parameter.data = data

    for parameter, data in kept:
        parameter.data = data.contiguous(memory_format=torch.channels_last)
    try:
        yield undo
    finally:
        undo()


@contextmanager
def full_precision() -> Iterator[None]:
    """Keep float32 at 24 bits: GPUs round convolutions to TF32 otherwise, which curvature and signs would feel."""
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolution.allow_tf32
    matmul.allow_tf32 = convolution.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, convolution.allow_tf32 = before
