"""Optimizer steps that are captured once in a CUDA graph and then replayed.

Launching the kernels of a small network takes longer than running them, and adversarial training launches thousands
for one step. A replay launches them all at once. It reads the images from a fixed place, the learning rate from a
tensor and random numbers from generators that the graph knows, and it gives the numbers of the eager step.
"""

import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.core.classifier import Classifier
from bench.training.compiled import COMPILED, CompiledPasses
from bench.training.device import set_learning_rate
from bench.training.ranks import count
from bench.training.step import update
from defenses.base import Objective, Training

#: Eager steps before a capture: libraries make their handles, and the optimizer its state.
WARM_UP = 2


class GraphFailed(UserWarning):
    """A step could not be captured, and training goes on without a graph."""


class Stepper:
    """Takes optimizer steps, on a CUDA device as replays of a graph where the step allows it.

    A step is captured once two eager ones have left the objective's Python state and the generators of the CPU as
    they were. It is captured anew when that state, the optimizer or the trained parameters change, as between the
    stages of a defense. A batch of another size is an eager step, and its passes are not compiled.

    Args:
        objective, classifier, precision: as for `update`.
        batch_size: images of the steps to capture.
        capture: False always takes eager steps.

    Raises:
        UserError: when passes are to be compiled and cannot be.
    """

    def __init__(
        self,
        objective: Objective,
        classifier: Classifier,
        precision: str,
        batch_size: int,
        *,
        capture: bool = True,
    ) -> None:
        self._objective, self._classifier, self._precision = objective, classifier, precision
        self._batch_size = batch_size
        # What processes exchange within a step is not captured.
        self._capture_wanted = capture and count() == 1
        self._compiled = CompiledPasses(classifier) if precision == COMPILED else nullcontext
        self._captured: _Captured | None = None
        self._state: object = None
        self._warm = 0
        self._stream: Any = None

    def __call__(
        self, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, learning_rate: float
    ) -> Tensor:
        """Take one step on a batch and return its loss, a float32 scalar that the next call may overwrite.

        Args:
            images: [B, C, H, W].
            labels: [B].
            learning_rate: of this step, for every parameter group.
        """
        set_learning_rate(optimizer, learning_rate)
        if not (self._capture_wanted and images.is_cuda and len(images) == self._batch_size):
            return self._update(optimizer, images, labels)
        state = self._state_of(optimizer, images)
        if self._captured is None or state != self._state:
            if state != self._state:
                self._state, self._warm, self._captured = state, 0, None
            if self._warm < WARM_UP:
                return self._warm_up(optimizer, images, labels)
            try:
                self._captured = _Captured(self._stream, self._generators(), self, optimizer, images, labels)
            except Exception as error:
                self._give_up(error)
                return self._update(optimizer, images, labels)
        return self._captured.replay(images, labels)

    def _update(self, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> Tensor:
        with self._compiled() if len(images) == self._batch_size else nullcontext():
            return update(self._objective, self._classifier, optimizer, images, labels, self._precision)

    def _warm_up(self, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> Tensor:
        """An eager step on the stream of the capture."""
        self._stream = self._stream or torch.cuda.Stream(images.device)
        here = torch.cuda.current_stream(images.device)
        drawn = _global_draws()
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            loss = self._update(optimizer, images, labels)
        here.wait_stream(self._stream)
        if _global_draws() != drawn:
            self._capture_wanted = False  # the graph would repeat what the CPU has drawn
        same = self._state_of(optimizer, images) == self._state
        self._warm = self._warm + 1 if same else 0
        return loss

    def _give_up(self, error: Exception) -> None:
        self._capture_wanted, self._captured = False, None
        torch.cuda.set_stream(torch.cuda.default_stream())
        for generator in (*self._generators(), *torch.cuda.default_generators):
            # A capture that fails leaves its generators as if it still ran; a copy of the state does not.
            generator.graphsafe_set_state(generator.clone_state())
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        warnings.warn(
            f"the training step cannot be captured in a CUDA graph: {reason}", GraphFailed, stacklevel=3
        )

    def _generators(self) -> list[torch.Generator]:
        return [found for found in _generators_in(self._objective) if found.device.type == "cuda"]

    def _state_of(self, optimizer: torch.optim.Optimizer, images: Tensor) -> object:
        """Whatever else a captured step depends on, in a form that can be compared."""
        trained = tuple(weight.requires_grad for weight in self._classifier.parameters())
        modes = tuple(module.training for module in self._classifier.modules())
        # The optimizer itself, not its id: another one could come to the same address.
        return (optimizer, images.shape, trained, modes, python_state(self._objective))


class _Captured:
    """One captured step, with the places that it reads and writes."""

    def __init__(
        self,
        stream: Any,
        generators: list[torch.Generator],
        stepper: Stepper,
        optimizer: torch.optim.Optimizer,
        images: Tensor,
        labels: Tensor,
    ) -> None:
        self._images, self._labels = images.clone(), labels.clone()
        optimizer.zero_grad(set_to_none=True)
        self._graph = torch.cuda.CUDAGraph()
        for generator in generators:
            self._graph.register_generator_state(generator)
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            self._loss = stepper._update(optimizer, self._images, self._labels)

    def replay(self, images: Tensor, labels: Tensor) -> Tensor:
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._graph.replay()
        return self._loss


def python_state(value: object, depth: int = 0) -> object:
    """What a captured step takes from Python objects, in a form that can be compared.

    Tensors on a device count by their place, since a replay reads what is there; everything on the CPU counts by
    its value. The state of a CPU generator is part of it, so that a step that draws from one is not captured.
    """
    if isinstance(value, Tensor):
        return (
            (value.data_ptr(), value.shape)
            if value.is_cuda
            else (value.shape, tuple(value.flatten().tolist()))
        )
    if isinstance(value, torch.Generator):
        return id(value) if value.device.type == "cuda" else bytes(value.get_state().numpy())
    if isinstance(value, Mapping):
        return tuple((key, python_state(item, depth)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(python_state(item, depth) for item in value)
    if isinstance(value, nn.Module | Training) or callable(value):
        return id(value)
    if is_dataclass(value) and depth < 4:
        # Two threats of one size are one: a schedule makes a new object in each epoch.
        return (type(value), *(python_state(item, depth + 1) for item in vars(value).values()))
    if isinstance(value, Objective) or (hasattr(value, "__dict__") and depth < 4):
        return (id(value), *(python_state(item, depth + 1) for item in vars(value).values()))
    return value if getattr(value, "__hash__", None) else id(value)


def _generators_in(value: object, depth: int = 0) -> Iterator[torch.Generator]:
    """The generators of an objective and of its parts."""
    if isinstance(value, torch.Generator):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _generators_in(item, depth)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _generators_in(item, depth)
    elif isinstance(value, Objective) and depth < 4:
        yield from _generators_in(vars(value), depth + 1)


def _global_draws() -> object:
    """The global random states of the CPU."""
    return bytes(torch.get_rng_state().numpy()), random.getstate(), bytes(np.random.get_state()[1])  # type: ignore[index]
