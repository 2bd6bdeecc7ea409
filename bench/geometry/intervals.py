"""Interval bounds: what every unit of a network can be over a box of images.

The network is traced into its operations, and each of them maps intervals to intervals that hold every value it
can take (interval bound propagation). The arithmetic is float64, so bounds hold for the network in exact
arithmetic up to `SLACK` of `interval_operations`; the float32 network stays within its own rounding of them.

Bounds widen from layer to layer, about tenfold in networks that were not trained for them. Behind some twenty
layers, as in resnet18, the allowance for rounding alone is then wider than the logits: the bounds hold but say
nothing.

Source: Gowal et al. 2018, On the Effectiveness of Interval Bound Propagation, arXiv 1810.12715, section 3.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from bench.core.classifier import AnyClassifier, WrappedClassifier
from bench.core.errors import first_line
from bench.geometry.interval_operations import (
    ARITHMETIC,
    DIPS,
    Interval,
    NotBounded,
    arithmetic,
    batch_norm,
    dipping,
    linear,
)


@dataclass
class Bounds:
    """What is known about a network over the boxes around B images.

    Attributes:
        logits: [B, K].
        margin: lower bound of Z_t − Z_j for each class j and label t, ∞ at j = t: float64 [B, K].
        relu_units, unstable: ReLUs in the network, and how many of them can be on both sides of zero: int64 [B].
    """

    logits: Interval
    margin: Tensor
    relu_units: int
    unstable: Tensor

    @property
    def certified(self) -> Tensor:
        """Whether no point of the box can be given another class than the label: bool [B]."""
        return (self.margin > 0).all(dim=1)


@torch.no_grad()
def interval_bounds(
    classifier: AnyClassifier, lower: Tensor, upper: Tensor, labels: Tensor, *, batch_size: int = 500
) -> Bounds:
    """Bound the logits and margins of a network over boxes of images.

    Args:
        classifier: in eval mode.
        lower, upper: corners of the boxes [B, C, H, W].
        labels: int64 [B].
        batch_size: boxes at once.

    Raises:
        NotBounded: for a network with an operation that is not known, with its name.
    """
    traced = _trace(classifier)
    parts = []
    try:
        for low, up, some in zip(*(each.split(batch_size) for each in (lower, upper, labels)), strict=True):
            parts.append(_Propagation(traced, classifier).bounds(Interval(low.double(), up.double()), some))
    except (TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
        raise NotBounded(f"an operation of the network cannot take intervals: {first_line(error)}") from error
    return Bounds(
        Interval(
            torch.cat([part.logits.lower for part in parts]), torch.cat([part.logits.upper for part in parts])
        ),
        torch.cat([part.margin for part in parts]),
        parts[0].relu_units,
        torch.cat([part.unstable for part in parts]),
    )


class _Tracer(fx.Tracer):
    """Traces without calling hooks, which count passes and cannot read what stands for a value."""

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if self.is_leaf_module(m, self.path_of_module(m)):
            return super().call_module(m, forward, args, kwargs)
        return m.forward(*args, **kwargs)


def _trace(classifier: AnyClassifier) -> fx.GraphModule:
    root = classifier.module if isinstance(classifier, WrappedClassifier) else classifier
    if type(root).__module__.startswith("torch.nn") and not isinstance(root, nn.Sequential):
        root = nn.Sequential(root)
    try:
        return fx.GraphModule(root, _Tracer().trace(root))
    except Exception as error:
        raise NotBounded(
            f"{type(root).__name__} cannot be traced into its operations: {first_line(error)}"
        ) from error


#: Activations that never fall; the parameters of the others are looked at.
_RISING = (nn.ReLU6, nn.ELU, nn.SELU, nn.CELU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Hardtanh)
#: Modules that take the largest values, averages of non-negative weight, or move entries: all never fall.
_MONOTONE = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Flatten)
_MONOTONE_FUNCTIONS = (
    *(
        torch.flatten,
        F.max_pool2d,
        F.avg_pool2d,
        F.adaptive_avg_pool2d,
        torch.mean,
        torch.tanh,
        torch.sigmoid,
    ),
)
_MONOTONE_METHODS = ("view", "reshape", "flatten", "contiguous", "tanh", "sigmoid", "mean")


@dataclass
class _Propagation:
    """Runs a traced network on intervals."""

    traced: fx.GraphModule
    classifier: AnyClassifier
    relu_units: int = 0
    unstable: Tensor | int = 0
    head_input: Interval | None = None
    values: dict[fx.Node, Any] = field(default_factory=dict)

    def bounds(self, box: Interval, labels: Tensor) -> Bounds:
        logits = self._run(box)
        if not isinstance(logits, Interval):
            raise NotBounded("the output does not depend on the image")
        margin = self._margin(logits, labels)
        unstable = torch.as_tensor(self.unstable, device=labels.device).expand(len(labels))
        return Bounds(logits, margin, self.relu_units, unstable)

    def _margin(self, logits: Interval, labels: Tensor) -> Tensor:
        rows = torch.arange(len(labels), device=labels.device)
        head = self.classifier.head
        if head is None or self.head_input is None:
            margin = logits.lower[rows, labels][:, None] - logits.upper
        else:
            # The last layer and the difference in one step: Z_t and Z_j are not extreme at the same point.
            weight = head.weight.double()
            difference = weight[labels][:, None, :] - weight[None, :, :]
            features = self.head_input
            found = features.affine(
                lambda values, sizes: torch.einsum(
                    "bd,bkd->bk", values, difference.abs() if sizes else difference
                )
            )
            bias = head.bias.double() if head.bias is not None else weight.new_zeros(len(weight))
            margin = found.lower + bias[labels][:, None] - bias[None, :]
        margin[rows, labels] = torch.inf
        return margin

    def _run(self, box: Interval) -> Any:
        given = [box]
        for node in self.traced.graph.nodes:
            arguments = fx.node.map_arg(node.args, lambda each: self.values[each])
            named = fx.node.map_arg(node.kwargs, lambda each: self.values[each])
            if node.op == "placeholder":
                self.values[node] = given.pop() if given else node.args[0]
            elif node.op == "get_attr":
                found: Any = self.traced
                for part in str(node.target).split("."):
                    found = getattr(found, part)
                self.values[node] = found.double() if isinstance(found, Tensor) else found
            elif node.op == "output":
                return arguments[0]
            elif node.op == "call_module":
                module = self.traced.get_submodule(str(node.target))
                self.values[node] = self._module(module, str(node.target), arguments[0])
            else:
                self.values[node] = self._function(node, arguments, named)
        raise AssertionError("a traced network ends in its output")

    def _module(self, module: nn.Module, name: str, value: Any) -> Any:
        if not isinstance(value, Interval):
            raise NotBounded(f"{name} does not take what depends on the image")
        if module is self.classifier.head:
            self.head_input = value
        if isinstance(module, nn.Linear | nn.Conv2d):
            return linear(module, value)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is not None:
            return batch_norm(module, value)
        if isinstance(module, nn.Identity | nn.Dropout | nn.Dropout2d):
            return value
        if isinstance(module, nn.ReLU):
            return self._relu(value)
        if isinstance(module, nn.SiLU):
            return dipping(value, F.silu, *DIPS["silu"])
        if isinstance(module, nn.GELU) and module.approximate == "none":
            return dipping(value, F.gelu, *DIPS["gelu"])
        leaky = isinstance(module, nn.LeakyReLU) and module.negative_slope >= 0
        if leaky or type(module) in (*_RISING, *_MONOTONE):
            return value.map(module.forward)
        raise NotBounded(f"interval bounds do not know {type(module).__name__} (layer {name})")

    def _relu(self, value: Interval) -> Interval:
        crossing = ((value.lower < 0) & (value.upper > 0)).flatten(1)
        self.relu_units += crossing.shape[1]
        self.unstable = self.unstable + crossing.sum(dim=1)
        return value.map(F.relu)

    def _function(self, node: fx.Node, arguments: Any, named: dict[str, Any]) -> Any:
        target = node.target
        intervals = [each for each in (*arguments, *named.values()) if isinstance(each, Interval)]
        if not intervals and _is_constant(target, arguments):
            function = target if callable(target) else getattr(type(arguments[0]), str(target))
            return function(*arguments, **named)
        if not intervals:
            pass
        elif target in (F.relu, torch.relu) or (node.op == "call_method" and target == "relu"):
            return self._relu(arguments[0])
        elif target is F.silu:
            return dipping(arguments[0], F.silu, *DIPS["silu"])
        elif target is F.gelu and named.get("approximate", "none") == "none":
            return dipping(arguments[0], F.gelu, *DIPS["gelu"])
        elif len(intervals) == 1 and isinstance(arguments[0], Interval):
            done = _of_one(node, arguments[0], arguments[1:], named)
            if done is not None:
                return done
        if target in ARITHMETIC and len(arguments) == 2 and intervals and not named:
            return arithmetic(ARITHMETIC[target], *arguments)
        title = target if isinstance(target, str) else getattr(target, "__name__", str(target))
        raise NotBounded(f"interval bounds do not know the operation {title} ({node.name})")


def _is_constant(target: Any, arguments: Any) -> bool:
    """Whether an operation without intervals can be computed: on tensors such as buffers, or on sizes."""
    tensors = any(isinstance(each, Tensor) for each in arguments)
    return tensors or target is getattr or getattr(target, "__module__", "") == "_operator"


def _of_one(node: fx.Node, value: Interval, rest: Any, named: dict[str, Any]) -> Any:
    """The result of an operation on one interval that never falls, or on its shape; None for another one."""
    target = node.target
    if node.op == "call_method" and target == "size":
        return value.lower.size(*rest)
    if target is getattr and rest[0] == "shape":
        return value.lower.shape
    if target in _MONOTONE_FUNCTIONS and callable(target):
        return value.map(lambda bound: target(bound, *rest, **named))
    if node.op == "call_method" and target in _MONOTONE_METHODS:
        return value.map(lambda bound: getattr(bound, str(target))(*rest, **named))
    return None
