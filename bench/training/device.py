"""What training sets up on a CUDA device: layout, kernels and the optimizer's learning rate."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

#: Batches that are drawn and augmented in one go on a device, so that their many small kernels cost little.
BATCHES_AHEAD = 32
#: Bytes that these may take in float32.
BYTES_AHEAD = 2**28


@contextmanager
def training_layout(precision: str, *networks: nn.Module | None) -> Iterator[None]:
    """Lay convolution weights out with channels innermost while training, and choose a CUDA device's kernels.

    On such a device, convolutions may round their float32 inputs to TF32 and must sum in a fixed order, so that the
    same seed gives the same weights on the same device; matrix products keep 24 bits. On the CPU nothing changes in
    float32; in bfloat16 convolutions are up to twice as fast in this layout.

    Args:
        precision: of the training.
        networks: trained or averaged; None is left out.
    """
    used = [each for each in networks if each is not None and channels_innermost(_device(each), precision)]
    convolution, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolution.allow_tf32, convolution.deterministic, convolution.benchmark, matmul.allow_tf32
    convolution.allow_tf32, convolution.deterministic, convolution.benchmark = True, True, False
    matmul.allow_tf32 = False
    try:
        for network in used:
            lay_out(network, torch.channels_last)
        yield
    finally:
        convolution.allow_tf32, convolution.deterministic, convolution.benchmark, matmul.allow_tf32 = before
        for network in used:
            lay_out(network, torch.contiguous_format)


def lay_out(network: nn.Module, layout: torch.memory_format) -> None:
    """Give every weight of four dimensions a memory layout; optimizers keep their reference to it."""
    for weight in network.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=layout)


def channels_innermost(device: torch.device, precision: str) -> bool:
    """Whether networks and images lie with channels innermost while training: on CUDA devices, and in bfloat16."""
    return device.type == "cuda" or precision != "fp32"


def _device(network: nn.Module) -> torch.device:
    weight = next(network.parameters(), None)
    return torch.device("cpu") if weight is None else weight.device


def batches_ahead(images: Tensor, batch_size: int) -> int:
    """How many batches of images like these [N, C, H, W] to draw and augment at once: one on the CPU."""
    if not images.is_cuda:
        return 1
    bytes_of_batch = 4 * batch_size * images[:1].numel()
    return max(1, min(BATCHES_AHEAD, BYTES_AHEAD // bytes_of_batch))


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set the learning rate of every group; on a CUDA device in a tensor there, which a captured step reads."""
    for group in optimizer.param_groups:
        device = group["params"][0].device if group["params"] else torch.device("cpu")
        if device.type != "cuda":
            group["lr"] = value
        elif isinstance(group["lr"], Tensor) and group["lr"].device == device:
            group["lr"].fill_(value)
        else:
            group["lr"] = torch.full((), value, device=device)
