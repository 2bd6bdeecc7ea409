"""A network as an attack sees it: looked at batch by batch."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import Tensor
from torch.func import functional_call

from bench.attacks.losses import Objective
from bench.attacks.probabilities import are_probabilities, logits_of
from bench.core.checks import check_finite, check_logits, out_of_memory
from bench.core.classifier import AnyClassifier
from bench.core.gradients import input_gradient, is_zero
from bench.core.margins import decision_function
from bench.core.progress import Task


@dataclass
class Sight:
    """What one look gave: class, loss, decision function [B]; gradient [B, C, H, W], or [B, 0] where not wanted."""

    predicted: Tensor
    losses: Tensor
    margins: Tensor
    gradient: Tensor

    def put(self, rows: Tensor, other: "Sight") -> None:
        """Take over another look at these rows."""
        self.predicted[rows], self.losses[rows], self.margins[rows] = (
            other.predicted,
            other.losses,
            other.margins,
        )
        if other.gradient.dim() == self.gradient.dim():
            self.gradient[rows] = other.gradient


@dataclass
class Network:
    """The passes of one attack.

    Attributes:
        classifier: images [B, C, H, W] to logits [B, K].
        num_classes: K.
        objective: what the attack raises.
        targeted: success is the given class, not any other one.
        batch_size: images per pass; halved when memory runs out.
        task, note: the bar to move on, by one for each look at all points, and the text behind it.
        plain_layout: what to call when the network does not run on maps with channels innermost.
        probabilities: the network ends in a softmax, and its logarithm is taken; None before the first pass.
        draws: the network was seen to draw random numbers; nobody is looked at twice then.
        weights: parameters and buffers to run with instead of the classifier's own.
    """

    classifier: AnyClassifier
    num_classes: int
    objective: Objective
    targeted: bool
    batch_size: int
    task: Task | None
    note: str = ""
    plain_layout: Callable[[], None] | None = None
    probabilities: bool | None = None
    draws: bool = False
    weights: dict[str, Tensor] | None = None

    def fooled(self, predicted: Tensor, aims: Tensor) -> Tensor:
        """Where the attack has what it wants: bool [B]."""
        return (predicted == aims) == self.targeted

    def look(self, points: Tensor, aims: Tensor, *, gradient: bool, expected: Tensor | None = None) -> Sight:
        """One forward pass at every point [B, C, H, W], and one backward pass where a gradient is wanted.

        Args:
            points: where to look.
            aims: classes int64 [B].
            gradient: whether one is wanted, of all that are not fooled.
            expected: bool [B]; who is believed to be fooled here. They are looked at without a graph first, and
                those who are not fooled a second time: a pass less for each one that is, one more for each that
                is not.

        Raises:
            UserError: when the logits are not [B, K], or not finite.
        """
        if not gradient or expected is None or self.draws or not bool(expected.any()):
            return self._look(points, aims, gradient, each=1 / len(points))
        first, rest = expected.nonzero().squeeze(1), (~expected).nonzero().squeeze(1)
        seen = self._look(points[first], aims[first], False, each=1 / len(points))
        stay = ~self.fooled(seen.predicted, aims[first])
        rest = torch.cat((rest, first[stay]))
        whole = Sight(
            torch.empty_like(aims),
            seen.losses.new_empty(len(aims)),
            seen.margins.new_empty(len(aims)),
            torch.zeros_like(points),
        )
        whole.put(first, seen)
        if len(rest):
            each = (1 - len(first) / len(points)) / len(rest)
            whole.put(rest, self._look(points[rest], aims[rest], True, each=each))
            # A second look must not be a second draw.
            self.draws = not torch.allclose(
                whole.losses[first[stay]], seen.losses[stay], rtol=1e-2, atol=1e-3
            )
        return whole

    def _look(self, points: Tensor, aims: Tensor, gradient: bool, each: float) -> Sight:
        """Batch by batch; the bar moves on by `each` for an image."""
        parts: list[tuple[Tensor, ...]] = []
        done = 0
        while done < len(points):
            rows = slice(done, done + self.batch_size)
            try:
                parts.append(self._pass(points[rows], aims[rows], gradient))
            except (RuntimeError, MemoryError) as error:
                self._recover(error, len(points) - done)
                continue
            done = rows.stop
            if self.task is not None:
                self.task.advance(len(parts[-1][0]) * each, self.note)
        sight = Sight(*(torch.cat(part) for part in zip(*parts, strict=True)))
        check_finite(sight.losses)
        return sight

    def _recover(self, error: Exception, left: int) -> None:
        """Make the same pass possible: with half the images, or in the plain layout.

        Raises:
            Exception: the error itself, where neither would help.
        """
        if out_of_memory(error) and min(self.batch_size, left) > 1:
            self.batch_size = min(self.batch_size, left) // 2
        elif self.plain_layout is not None and "view size is not compatible" in str(error):
            self.plain_layout()
            self.plain_layout = None
        else:
            raise error

    def _pass(self, points: Tensor, aims: Tensor, gradient: bool) -> tuple[Tensor, ...]:
        with torch.set_grad_enabled(gradient):
            points = points.detach().requires_grad_(gradient)
            logits = check_logits(self._logits(points), len(points), self.num_classes, points.dtype)
            if self.probabilities is None:
                self.probabilities = are_probabilities(logits)
            if self.probabilities:
                logits = logits_of(logits)
            losses = self.objective(logits, aims)
        predicted = logits.argmax(dim=1)
        if not gradient:
            slope = points.new_empty(len(points), 0)
        elif bool(self.fooled(predicted, aims).all()):
            slope = torch.zeros_like(points)  # nobody here takes another step
        else:
            slope = input_gradient(losses, points)
        return predicted, losses.detach(), decision_function(logits.detach(), aims), slope

    def _logits(self, points: Tensor) -> Tensor:
        if self.weights is None:
            return self.classifier(points)
        logits: Tensor = functional_call(self.classifier, self.weights, (points,))
        return logits

    def is_zero_in_double(self, points: Tensor, aims: Tensor) -> Tensor:
        """Where the gradient is exactly zero in float64: bool [B]; all, if the network cannot run in it."""
        if len(points) == 0:
            return torch.zeros_like(aims, dtype=torch.bool)
        weights = {
            name: weight.detach().double() if weight.is_floating_point() else weight
            for name, weight in chain(self.classifier.named_parameters(), self.classifier.named_buffers())
        }
        double = replace(self, weights=weights, task=None)
        try:
            return is_zero(double.look(points.double(), aims, gradient=True).gradient)
        except Exception as error:  # a stranger's network may refuse float64 in any way
            if out_of_memory(error):
                raise
            return torch.ones_like(aims, dtype=torch.bool)
