"""Count the passes through a network, in images."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bench.core.classifier import Classifier, WrappedClassifier

#: Forward-mode derivatives under way: a forward pass inside n of them computes n directional derivatives.
_forward_mode = 0
#: What a batched backward pass under way has gone through; it counts once it has succeeded.
_batched: "list[tuple[PassCount, int]] | None" = None


@dataclass
class PassCount:
    """The passes through the networks it watches.

    A forward pass counts once for every image, and so does a backward pass, to the images or to the weights. A
    directional derivative in forward mode counts as one of each. A pass that fails does not count.

    Attributes:
        forwards, backwards: so far, in images.
    """

    forwards: int = 0
    backwards: int = 0

    def add(self, other: "PassCount") -> None:
        """Add passes that were counted elsewhere."""
        self.forwards += other.forwards
        self.backwards += other.backwards

    def watch(self, classifier: nn.Module) -> RemovableHandle:
        """Count every pass through a network until the handle that comes back is removed.

        The hook sits where all passes go through, whichever method is called: on the backbone of a `Classifier`,
        on the guard of a `WrappedClassifier`, on any other module itself.
        """
        return _counted_module(classifier).register_forward_hook(self._forward)

    def _forward(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        images = inputs[0]
        self.forwards += len(images)
        self.backwards += _forward_mode * len(images)
        if not isinstance(output, Tensor) or not output.requires_grad:
            return
        last = -1

        def count(gradient: Tensor) -> None:
            # A backward pass through a gradient may come by the output and by the gradient: it is one all the same.
            nonlocal last
            task = torch._C._current_graph_task_id()
            if task == last:
                return
            last = task
            if _batched is None:
                self.backwards += len(gradient)
            else:
                _batched.append((self, len(gradient)))

        def count_second(gradient: Tensor) -> None:
            # With `create_graph`, a backward pass through the gradient need not reach the output again.
            if gradient.requires_grad:
                gradient.register_hook(count)

        output.register_hook(count)
        if images.requires_grad:
            images.register_hook(count_second)


def _counted_module(classifier: nn.Module) -> nn.Module:
    if isinstance(classifier, Classifier):
        return classifier.backbone
    return classifier.guarded if isinstance(classifier, WrappedClassifier) else classifier


@contextmanager
def counting(classifier: nn.Module, passes: PassCount | None = None) -> Iterator[PassCount]:
    """Count the passes of a block through a network, and leave the network as it was.

    Args:
        classifier: any network; see `PassCount.watch`.
        passes: what to add them to; a new count by default.
    """
    passes = PassCount() if passes is None else passes
    handle = passes.watch(classifier)
    try:
        yield passes
    finally:
        handle.remove()


def credit(classifier: nn.Module, forwards: int, backwards: int) -> None:
    """Add passes that were taken elsewhere to every count that watches a network."""
    for hook in _counted_module(classifier)._forward_hooks.values():
        watching = getattr(hook, "__self__", None)
        if isinstance(watching, PassCount):
            watching.add(PassCount(forwards, backwards))


@contextmanager
def batched_backward(columns: int) -> Iterator[None]:
    """Count a backward pass for each of the `columns` that the block takes in one call; none when the call fails.

    Hooks cannot see how many gradients `is_grads_batched=True` takes at once.
    """
    global _batched
    outer, _batched = _batched, []
    try:
        yield
        for passes, images in _batched:
            passes.backwards += columns * images
    finally:
        _batched = outer


@contextmanager
def forward_mode() -> Iterator[None]:
    """Count each forward pass of the block as the directional derivative that comes with it, too."""
    global _forward_mode
    _forward_mode += 1
    try:
        yield
    finally:
        _forward_mode -= 1
