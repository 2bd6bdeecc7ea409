"""Find the layers of any network by name, and read their outputs during the forward pass, one tensor at a time."""

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from bench.core.classifier import AnyClassifier, WrappedClassifier
from bench.core.errors import UserError
from bench.geometry.regions import Patterns

Kind = Literal["linear", "activation", "penultimate", "other"]

#: The name of the feature layer where the features are not the output of a linear layer.
PENULTIMATE = "penultimate"

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_AFFINE = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU),
    *(nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Softplus, nn.Softshrink, nn.Hardshrink),
    *(nn.Softsign, nn.Tanhshrink, nn.Threshold, nn.Sigmoid, nn.LogSigmoid, nn.Tanh),
)
_FUNCTIONS = frozenset(
    {
        *(F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6, F.leaky_relu, F.prelu),
        *(F.elu, F.celu, F.selu, F.gelu, F.silu, F.mish, F.hardswish, F.hardtanh, F.softplus),
        *(torch.tanh, Tensor.tanh, Tensor.tanh_, torch.sigmoid, Tensor.sigmoid, Tensor.sigmoid_),
    }
)


@dataclass(frozen=True)
class Layer:
    """One call of one layer in the forward pass.

    Attributes:
        name: the module's path in the network; the second call of a module is "NAME:2". An activation that is
            called as a function, such as `F.relu`, is named by the calling module and the function.
        kind: "linear" for a convolution or fully connected layer, "activation" for a non-linearity, "penultimate"
            for the input of the final linear layer, "other" for every other module.
        site: the call whose output is read. For a linear layer directly followed by a batch norm this is the batch
            norm, which is part of the linear map in eval mode.
        shape: shape of the output for one image.
    """

    name: str
    kind: Kind
    site: str
    shape: tuple[int, ...]

    @property
    def width(self) -> int:
        """The number of units; every position of every channel counts as one."""
        return int(np.prod(self.shape))


#: A function that reads a layer's output [B, …]; it must not keep the tensor, which the next layer may overwrite.
See = Callable[[Layer, Tensor], None]


@torch.no_grad()
def find_layers(classifier: AnyClassifier, images: Tensor) -> tuple[Layer, ...]:
    """Every layer of the forward pass, in order of execution, with a separate entry for each call.

    The final linear layer is left out, because no non-linearity follows it. Where the features are read behind the
    last non-linearity (`site == "pooled"`), they come last, as "penultimate". A matrix product outside of a module
    is not found; a non-linearity is found in any case.

    Args:
        classifier: in eval mode.
        images: float32 [B, C, H, W] in [0, 1]; one is enough, and each takes one forward pass.
    """
    layers: list[Layer] = []
    penultimate: list[Layer] = []
    fresh: dict[int, tuple[int, Tensor]] = {}

    def see(site: str, module: nn.Module | None, inputs: tuple[Any, ...], output: object) -> None:
        if not isinstance(output, Tensor) or output.dim() < 2 or len(output) != len(images):
            return
        shape = tuple(output.shape[1:])
        if module is classifier.head and module is not None:
            return
        if site == PENULTIMATE and module is None:
            penultimate.append(Layer(site, "penultimate", site, shape))
            return
        if isinstance(module, _AFFINE) and inputs and id(inputs[0]) in fresh:
            at, _ = fresh[id(inputs[0])]
            layers[at] = replace(layers[at], site=site)
        kind: Kind = "other"
        if module is None or isinstance(module, _ACTIVATIONS):
            kind = "activation"
            # An in-place activation returns the same tensor, which is then no longer the output of a linear layer.
            fresh.pop(id(output), None)
        elif isinstance(module, _LINEAR):
            kind = "linear"
            # Keep the tensor as well, so that its id is not reused.
            fresh[id(output)] = (len(layers), output)
        layers.append(Layer(site, kind, site, shape))

    with _calls(classifier, see):
        classifier(images)
    return tuple(layers) + (tuple(penultimate) if classifier.site == "pooled" else ())


def pick_layers(layers: Sequence[Layer], names: Sequence[str]) -> tuple[Layer, ...]:
    """The named layers, in order of execution.

    Raises:
        UserError: for an unknown name; the message suggests similar names and lists all.
    """
    known = [layer.name for layer in layers]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            guess = f"did you mean {' or '.join(near)}? " if near else ""
            raise UserError(f"unknown layer {name!r}; {guess}this network has {', '.join(known)}")
    return tuple(layer for layer in layers if layer.name in names)


@torch.no_grad()
def observe(classifier: AnyClassifier, layers: Sequence[Layer], batches: Iterable[Tensor], see: See) -> None:
    """Run batches through a network and pass each chosen layer's output to `see` as soon as it is computed.

    No output is kept for longer than in an ordinary forward pass, so no more memory is needed. An in-place ReLU
    overwrites its input only after that was passed to `see`.

    Args:
        classifier: in eval mode; left as it was.
        layers: some of those that `find_layers` returns.
        batches: images [B, C, H, W].
        see: called with each layer and its output [B, …], batch by batch.
    """
    wanted: dict[str, list[Layer]] = {}
    for layer in layers:
        wanted.setdefault(layer.site, []).append(layer)

    def show(site: str, module: nn.Module | None, inputs: tuple[Any, ...], output: object) -> None:
        for layer in wanted.get(site, ()):
            assert isinstance(output, Tensor)
            see(layer, output)

    with _calls(classifier, show):
        for images in batches:
            classifier(images)


def shorten(patterns: Patterns) -> Patterns:
    """Replace rows of more than two words by their 128-bit BLAKE2b digests.

    Equal rows stay equal. The probability that any two different rows among N collide is below N²/2¹²⁹, which is
    10⁻²⁵ for ten million rows. A digest takes 16 bytes, whatever the width of the layer.

    Args:
        patterns: uint64 [N, W].
    """
    if patterns.shape[1] <= 2:
        return patterns
    digests = b"".join(blake2b(row, digest_size=16).digest() for row in np.ascontiguousarray(patterns))
    return np.frombuffer(digests, dtype=np.uint64).reshape(-1, 2)


_Seen = Callable[[str, nn.Module | None, tuple[Any, ...], object], None]


@contextmanager
def _calls(classifier: AnyClassifier, see: _Seen) -> Iterator[None]:
    """Pass to `see` every call of a module, and of an activation function outside of activation modules.

    Its arguments are the name of the call, the module (None for a function and for the penultimate features), the
    positional arguments and the output.
    """
    root = classifier.module if isinstance(classifier, WrappedClassifier) else classifier
    names = {module: name for name, module in root.named_modules()}
    times: Counter[str] = Counter()
    running: list[nn.Module] = []

    def call(name: str) -> str:
        times[name] += 1
        return name if times[name] == 1 else f"{name}:{times[name]}"

    def enter(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if not running:
            times.clear()
        running.append(module)
        if module is classifier.head:
            see(call(PENULTIMATE), None, (), inputs[0])

    def leave(module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        running.pop()
        if module is not root or not list(root.children()):
            see(call(names[module] or type(module).__name__), module, inputs, output)

    def function(name: str, output: object) -> None:
        if running and not isinstance(running[-1], _ACTIVATIONS):
            see(call(f"{names[running[-1]]}.{name}".strip(".")), None, (), output)

    hooks = [module.register_forward_pre_hook(enter) for module in names]
    hooks += [module.register_forward_hook(leave) for module in names]
    try:
        with _Functions(function):
            yield
    finally:
        for hook in hooks:
            hook.remove()


class _Functions(TorchFunctionMode):
    """A context that passes to `see` the outputs of activation functions, wherever they are called."""

    def __init__(self, see: Callable[[str, object], None]) -> None:
        super().__init__()
        self.see = see

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in _FUNCTIONS:
            self.see(func.__name__.strip("_"), output)
        return output
