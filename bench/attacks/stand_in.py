"""Stand-ins for networks whose gradient is missing: the same answers, another backward pass.

Three things are replaced in a forward pass, and nothing in the network itself:

(1) Operations without a useful gradient pass it on unchanged: rounding, sign, casts to integers and comparisons,
    and what cuts the graph (`detach`, `data`, `no_grad`). Where that is asked for, activations that saturate have
    the gradient of a wider one, by which units near their threshold count most (Zenke & Ganguli 2018).
(2) A part of the network that is given a tensor of the images' shape, whatever made it (a codec, a filter in
    NumPy), sees the same values with the gradient of the identity.
(3) Where inner parts already give logits that agree with the network's answers, their mean is what is
    differentiated, so that a one-hot, saturated or rounded output and votes of an ensemble have a gradient.

A stand-in only guides an attack. Whether an image is broken is always decided by the network itself.

A softened stand-in goes further: its saturating activations are wider in the forward pass too, as wide as their
usual input, so that it is another network, which the images are then transferred from.

Source: Athalye et al. 2018, Obfuscated Gradients Give a False Sense of Security, section 4.1 (backward pass
differentiable approximation); Bengio et al. 2013 (straight-through estimator); for (3), Carlini & Wagner 2016,
Defensive Distillation is Not Robust to Adversarial Examples.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.attacks.straight_through import StraightThrough, with_gradient_of
from bench.core.classifier import AnyClassifier
from bench.core.foreign import reason_of
from bench.core.guards import random_state_kept

#: Share of the images whose class an inner part must give for its output to count as logits.
AGREEMENT = 0.9
#: Images on which inner parts are compared.
COMPARED = 64


class StandIn(nn.Module):
    """A network whose backward pass goes on where the network's own one ends.

    Args:
        classifier: any network.
        images: float32 [n, C, H, W]; some of them decide which inner output counts as logits.
        double: compute in float64, where the network can.
        always: put the identity in place of what is done to the images even where that has a gradient, which may
            mislead, and a wider activation in place of those that saturate.
        inner: differentiate inner logits, see (3).
        soft: widen activations that saturate, and the sign, in the forward pass too.

    Attributes:
        saturates: whether the network has such activations.
        dtype: of the images it is best given.
        logits_of: names of the inner parts whose mean output is differentiated; empty for the network's own.

    Raises:
        Unsupported: when the network cannot run so.
    """

    def __init__(
        self,
        classifier: AnyClassifier,
        images: Tensor,
        *,
        double: bool = False,
        always: bool = False,
        inner: bool = True,
        soft: bool = False,
    ) -> None:
        super().__init__()
        self._classifier, self._always, self._soft, self.saturates = (classifier,), always, soft, False
        self.dtype = torch.float64 if double else torch.float32
        self.input_shape, self.num_classes = classifier.input_shape, classifier.num_classes
        self._weights: dict[str, Tensor] | None = None
        self.logits_of: tuple[str, ...] = ()
        if double:
            tensors = chain(classifier.named_parameters(), classifier.named_buffers())
            self._weights = {
                name: tensor.detach().double() if tensor.is_floating_point() else tensor
                for name, tensor in tensors
            }
        try:
            if inner:
                with torch.no_grad(), random_state_kept(0):
                    self.logits_of = self._find_logits(images[:COMPARED])
            with random_state_kept(0), torch.enable_grad():
                points = images[:2].detach().clone().requires_grad_()
                self(points).sum().backward(inputs=[points])
        except Exception as error:  # a stranger's network may raise anything in a pass it was not written for
            raise Unsupported(reason_of(error)) from error

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K], in float64 where that was asked for, that lead back to the images."""
        (classifier,) = self._classifier
        if self._weights is not None:
            images = images.double()
        inner: list[Tensor] = []
        with self._hooks(images, inner):
            outer = self._run(classifier, images)
        return torch.stack([each.to(self.dtype) for each in inner]).mean(dim=0) if inner else outer

    def _run(self, classifier: AnyClassifier, images: Tensor) -> Tensor:
        # The outer block gives back a mode that the network switched off: only the switching on was let through.
        through = StraightThrough(self._weights is not None, self._always, self._soft)
        with torch.set_grad_enabled(torch.is_grad_enabled()), through:
            if self._weights is None:
                logits = classifier(images)
            else:
                logits = functional_call(classifier, self._weights, (images,))
        self.saturates |= through.saturates
        return logits

    @contextmanager
    def _hooks(self, images: Tensor, inner: list[Tensor]) -> Iterator[None]:
        (classifier,) = self._classifier
        inputs = images.requires_grad

        def pass_through(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
            first = given[0] if given else None
            if not isinstance(first, Tensor) or first.shape != images.shape or first is images:
                return None
            if first.requires_grad and not self._always:
                return None
            return with_gradient_of(images, first.to(images.dtype)), *given[1:]

        handles = []
        for name, module in classifier.named_modules():
            if inputs and name:
                handles.append(module.register_forward_pre_hook(pass_through))
            if name in self.logits_of:
                handles.append(
                    module.register_forward_hook(lambda module, given, output: inner.append(output))
                )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _find_logits(self, images: Tensor) -> tuple[str, ...]:
        """The parts that give [B, K] with the network's classes, and values unlike its own and each other's."""
        (classifier,) = self._classifier
        outputs: list[tuple[str, Tensor]] = []

        def remember(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(module: nn.Module, given: Any, output: Any) -> None:
                if isinstance(output, Tensor) and tuple(output.shape) == (len(images), self.num_classes):
                    outputs.append((name, output))

            return hook

        handles = [
            module.register_forward_hook(remember(name))
            for name, module in classifier.named_modules()
            if name
        ]
        try:
            logits = self._run(classifier, images if self._weights is None else images.double())
        finally:
            for handle in handles:
                handle.remove()
        largest, chosen_parts, seen = logits.amax(dim=1), list[str](), [logits]
        for name, output in outputs:
            # A saturated output has ties, among which the class of the inner logits counts as well.
            chosen = logits.gather(1, output.argmax(dim=1, keepdim=True)).squeeze(1)
            agree = float((chosen == largest).float().mean())
            if (
                agree >= AGREEMENT
                and output.is_floating_point()
                and not any(torch.equal(output.to(logits), other) for other in seen)
            ):
                chosen_parts.append(name)
                seen.append(output.to(logits))
        return tuple(chosen_parts)


class Unsupported(Exception):
    """Raised where a stand-in cannot be made of a network; the message is the reason."""
