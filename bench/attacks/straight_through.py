"""Operations without a useful gradient, with one; for stand-ins of networks (`bench.attacks.stand_in`)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_CUTS = {Tensor.detach, Tensor.detach_, torch.detach, Tensor.data.__get__}  # type: ignore[attr-defined]
_STEPS = {
    getattr(owner, name)
    for name in (
        "round",
        "floor",
        "ceil",
        "trunc",
        "fix",
        "sign",
        "sgn",
        "round_",
        "floor_",
        "ceil_",
        "sign_",
    )
    for owner in (torch, Tensor)
    if hasattr(owner, name)
}
_COMPARISONS = {
    getattr(owner, name): sign
    for names, sign in (
        (("gt", "ge", "greater", "greater_equal"), 1),
        (("lt", "le", "less", "less_equal"), -1),
    )
    for name in names
    for owner in (torch, Tensor)
}
_CASTS = {
    Tensor.to,
    Tensor.type,
    Tensor.float,
    Tensor.double,
    Tensor.byte,
    Tensor.char,
    Tensor.short,
    Tensor.int,
    Tensor.long,
    Tensor.bool,
}


_SATURATING = {
    torch.sign,
    Tensor.sign,
    torch.tanh,
    Tensor.tanh,
    torch.sigmoid,
    Tensor.sigmoid,
    F.hardtanh,
    F.hardsigmoid,
    F.softsign,
    torch.erf,
    Tensor.erf,
}


class StraightThrough(TorchFunctionMode):
    """Within the block, operations without a useful gradient have that of the identity; see (1) above.

    A cast to integers cannot carry a gradient. So it is remembered what an integer tensor was made of, until it is
    cast back.

    Args:
        double: cast to float64 where the network casts to float32.
        saturating: give activations that saturate, and the sign, the gradient of a wide softsign.
        soft: instead, widen them for the forward pass as well; the network then answers otherwise.

    Attributes:
        saturates: whether there was such an activation.
    """

    def __init__(self, double: bool = False, saturating: bool = False, soft: bool = False) -> None:
        super().__init__()
        self._double, self._saturating, self._soft, self.saturates = double, saturating, soft, False
        self._made_of: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation, and repair its gradient."""
        kwargs = kwargs or {}
        first = args[0] if args else None
        if function is torch._C._set_grad_enabled and first is False:
            return None
        if function is Tensor.numpy:
            return first.detach().numpy(*args[1:], **kwargs)  # type: ignore[union-attr]
        if not isinstance(first, Tensor):
            return function(*args, **kwargs)
        if function in _CUTS and first.requires_grad:
            return first.clone()
        if function in _CASTS:
            return self._cast(function, first, args, kwargs)
        if function in _COMPARISONS and first.is_floating_point() and len(args) == 2:
            return self._remember(function(*args, **kwargs), _COMPARISONS[function] * (first - args[1]))
        if function in _SATURATING and first.is_floating_point():
            self.saturates = True
            usual = first.detach().abs().mean().clamp_min(1e-9)
            if self._soft:
                smooth = torch.tanh if function in _STEPS else function
                return smooth(first / usual, *args[1:], **kwargs)
            if self._saturating and first.requires_grad:
                result = function(*args, **kwargs)
                return with_gradient_of(first / (1 + first.abs() / usual), result)
        result = function(*args, **kwargs)
        if not first.requires_grad or not isinstance(result, Tensor):
            return result
        if function in _STEPS:
            return with_gradient_of(first, result)
        return result

    def _cast(
        self, function: Callable[..., Any], first: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        result = function(*args, **kwargs)
        if self._double and isinstance(result, Tensor) and result.dtype == torch.float32:
            result = first.double()
        source = self._made_of.get(id(first), (first, first))[1]
        if not isinstance(result, Tensor) or result is first or not source.is_floating_point():
            return result
        if not result.is_floating_point():
            return self._remember(result, source)
        if first.is_floating_point() or not source.requires_grad:
            return result
        return with_gradient_of(source.to(result.dtype), result)

    def _remember(self, result: Any, source: Tensor) -> Any:
        if isinstance(result, Tensor) and source.requires_grad:
            # The tensor is kept as well: the id of a deleted one may be given to another.
            self._made_of[id(result)] = (result, source)
        return result


class _Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, source: Tensor, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def with_gradient_of(source: Tensor, values: Tensor) -> Tensor:
    """The given values, with the gradient of `source`; both of one shape and type."""
    # A backward pass of `values` would be asked even with a zero gradient, and may answer at random or with NaN.
    # The mode above would undo a plain `detach`.
    with torch._C.DisableTorchFunction():
        values = values.detach()
    result: Tensor = _Through.apply(source, values)
    return result
