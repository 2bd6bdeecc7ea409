"""A stranger's network behind a guard: it cannot change its caller's images, and it is tried before it is used."""

from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from bench.core.errors import UserError, first_line
from bench.core.guards import evaluating
from bench.core.randomness import seeded

#: What a network that changes its images does instead.
_HINT = "write images = images * scale instead of images.data.mul_(scale)"
#: Of a network on "meta".
NO_VALUES = "the network's weights are on the device meta, which holds no values; load them first"


class GuardedNetwork(nn.Module):
    """The one way into a network of someone else; hooks on it see every pass.

    A network that writes into its input, such as one that begins with `ReLU(inplace=True)`, is given copies. For
    the others, the version counter of the images is compared, which costs nothing.

    Args:
        network: images [B, C, H, W] to logits [B, K]. Its weights are not registered here.
        copies: whether it is given copies.
    """

    def __init__(self, network: nn.Module, *, copies: bool = False) -> None:
        super().__init__()
        self._network = (network,)
        self.copies = copies

    def forward(self, images: Tensor) -> Tensor:
        """The network's answer.

        Raises:
            UserError: when it changed the images, which it did not do when it was tried.
        """
        (network,) = self._network
        if self.copies:
            return network(images.clone())
        version = _version(images)
        answer: Tensor = network(images)
        if _version(images) != version:
            raise UserError(f"the network changed the images that it was given; {_HINT}")
        return answer


def _version(images: Tensor) -> int:
    """How often a tensor was written to; inference tensors do not count."""
    return -1 if images.is_inference() else images._version


def materialize(network: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Give lazy layers, such as nn.LazyLinear, their shapes and weights by one pass in eval mode.

    Args:
        network: changed in place; one without lazy layers is not run.
        input_shape: (C, H, W).

    Raises:
        UserError: when the pass fails.
    """
    if not any(is_lazy(tensor) for tensor in chain(network.parameters(), network.buffers())):
        return
    device = next(chain(network.parameters(), network.buffers())).device
    try:
        with evaluating(network), torch.no_grad():
            network(torch.zeros(2, *input_shape, device=device))
    except Exception as error:
        raise UserError(
            f"the network does not take images of shape {tuple(input_shape)}: {reason_of(error)}"
        ) from error


def other_type(network: nn.Module) -> str:
    """What to do where a network that fails has weights of another type than the images, which are float32."""
    types = {str(weight.dtype) for weight in network.parameters() if weight.is_floating_point()}
    others = sorted(types - {"torch.float32"})
    return (
        f"; its weights are {others[0]} and images come as float32: give it as model.float()"
        if others
        else ""
    )


def try_training(network: nn.Module, input_shape: tuple[int, ...], num_classes: int) -> None:
    """Try a pass and a gradient in training mode; buffers and modes are restored.

    Raises:
        UserError: when the network gives other logits there, or no gradient reaches a weight.
    """
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    if not weights:
        raise UserError("the network has no weights that require gradients, so there is nothing to train")
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    images = torch.rand(4, *input_shape, generator=torch.Generator().manual_seed(0)).to(weights[0].device)
    try:
        with evaluating(network), seeded("probe"), torch.enable_grad():
            network.train()
            logits = _Trial(network, num_classes).run(images, "in training mode the network fails")
            gradients = (
                torch.autograd.grad(logits.sum(), weights, allow_unused=True) if logits.requires_grad else ()
            )
    finally:
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                if name in before:
                    buffer.copy_(before[name])
    if all(gradient is None for gradient in gradients):
        raise UserError(
            "no gradient reaches a weight of the network; is there a detach() or torch.no_grad()?"
        )


def try_network(
    network: nn.Module, input_shape: tuple[int, ...], num_classes: int
) -> tuple[nn.Linear | None, bool]:
    """Try a network on random images: two at once, three with gradients, and a single one.

    Args:
        network: in any mode; tried in eval mode, and its modes are restored.
        input_shape: (C, H, W).
        num_classes: K.

    Returns:
        The linear layer that the logits come straight from, or None; and whether the network writes into its input.

    Raises:
        UserError: when the network fails, does not give [B, K], or changes its images where no copy would help.
    """
    kinds = {type(value).__name__ for value in _unsupported(network)}
    if kinds:
        raise UserError(
            f"the network holds {', '.join(sorted(kinds))} instead of tensors, as quantized networks do, which "
            "attacks cannot differentiate; give it before it was quantized"
        )
    tensor = next(chain(network.parameters(), network.buffers()), torch.zeros(()))
    if tensor.is_meta:
        raise UserError(NO_VALUES)
    images = torch.rand(3, *input_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32).to(
        tensor.device
    )
    shape = f"shape {tuple(input_shape)}"
    with evaluating(network), seeded("probe"):
        trial = _Trial(network, num_classes)
        with torch.no_grad():
            head = trial.head(images[:2].clone(), f"the network does not take images of {shape}")
        with torch.enable_grad():
            trial.gradient(images)
        with torch.no_grad():
            trial.run(images[:1].clone(), "the network takes two images at once, but not a single one")
    return head, trial.writes


def _unsupported(network: nn.Module) -> list[object]:
    """What a state dict holds besides plain tensors and what `get_extra_state` adds."""
    return [
        value
        for name, value in network.state_dict().items()
        if not name.endswith("_extra_state") and (not isinstance(value, Tensor) or value.is_quantized)
    ]


class _Trial:
    """Passes through a network under trial.

    Attributes:
        writes: whether a pass so far wrote into its input.
    """

    def __init__(self, network: nn.Module, num_classes: int) -> None:
        self.network, self.num_classes, self.writes = network, num_classes, False

    def run(self, images: Tensor, failure: str) -> Tensor:
        """Logits of images that may be written into; `failure` begins the message of an exception."""
        before, version = images.detach().clone(), images._version
        try:
            logits = self.network(images)
        except Exception as error:
            raise UserError(f"{failure}: {reason_of(error)}") from error
        if images._version != version:
            self.writes = True
        elif not torch.equal(images, before):
            raise UserError(f"the network changes its caller's images, past autograd and unnoticed; {_HINT}")
        wanted = (len(images), self.num_classes)
        if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted:
            came = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            asked = f"(batch, {self.num_classes})" if len(images) == 2 else f"{wanted}"
            hint = "; is there a squeeze()?" if len(images) == 1 else ""
            raise UserError(f"expected logits of shape {asked}, the network gave {came}{hint}")
        return logits

    def gradient(self, images: Tensor) -> None:
        """A pass with a gradient; a network without one passes too."""
        start = images.clone().requires_grad_()
        logits = self.run(
            start.clone(), f"the network does not take {len(images)} images that require gradients"
        )
        if not logits.requires_grad:
            return
        try:
            torch.autograd.grad(logits.sum(), start, allow_unused=True)
        except Exception as error:
            raise UserError(f"the network cannot be differentiated: {reason_of(error)}") from error

    def head(self, images: Tensor, failure: str) -> nn.Linear | None:
        """Run the network, and find the linear layer that its logits come straight from."""
        seen: list[tuple[nn.Linear, Tensor, Tensor]] = []

        def remember(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            assert isinstance(layer, nn.Linear)
            seen.append((layer, inputs[0], output))

        layers = [child for child in self.network.modules() if isinstance(child, nn.Linear)]
        hooks = [layer.register_forward_hook(remember) for layer in layers]
        try:
            logits = self.run(images, failure)
        finally:
            for hook in hooks:
                hook.remove()
        if not seen:
            return None
        layer, inputs, output = seen[-1]
        # The very tensor, not an equal one: a softmax or a sum behind the layer is not a linear head.
        return layer if output is logits and inputs.dim() == 2 else None


def reason_of(error: Exception) -> str:
    """What an exception of a stranger's network says, in one line."""
    if isinstance(error, RuntimeError | TypeError | ValueError):
        return first_line(error)
    return f"{type(error).__name__}: {first_line(error)}"
