"""Query a network in batches for the classes, losses and input gradients that a gradient attack needs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import Tensor
from torch.func import functional_call

from bench.attacks.losses import Objective
from bench.attacks.probabilities import are_probabilities, logits_of
from bench.core import division
from bench.core.checks import check_finite, check_logits
from bench.core.classifier import AnyClassifier
from bench.core.errors import out_of_memory
from bench.core.gradients import input_gradient, is_zero
from bench.core.margins import decision_function
from bench.core.progress import Task


@dataclass
class Response:
    """The result of a query.

    Attributes:
        predicted: int64 [B].
        losses: the objective [B].
        margins: the decision function [B].
        gradient: input gradient of the objective [B, C, H, W]; [B, 0] where none was requested.
    """

    predicted: Tensor
    losses: Tensor
    margins: Tensor
    gradient: Tensor

    def put(self, rows: Tensor, other: "Response") -> None:
        """Replace these rows by those of another response."""
        self.predicted[rows], self.losses[rows], self.margins[rows] = (
            other.predicted,
            other.losses,
            other.margins,
        )
        if other.gradient.dim() == self.gradient.dim():
            self.gradient[rows] = other.gradient


@dataclass
class GradientOracle:
    """Forward and backward passes of one attack.

    Attributes:
        classifier: images [B, C, H, W] to logits [B, K].
        num_classes: K.
        objective: what the attack maximizes.
        targeted: whether an image is adversarial when its class (the target) is predicted, instead of when any
            other class than its label is.
        batch_size: images per pass; halved when memory runs out.
        task, note: the progress bar, which advances by one for a query of all points, and the text behind it.
        plain_layout: called when the network cannot run in the channels-last layout.
        probabilities: whether the network ends in a softmax, whose logarithm is then taken; None before the first
            pass.
        stochastic: whether two passes differed; no image is then queried twice at the same point.
        weights: parameters and buffers to run with instead of the classifier's own.
        bf16: passes with a gradient run under bfloat16 autocast.
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
    stochastic: bool = False
    weights: dict[str, Tensor] | None = None
    bf16: bool = False

    def is_adversarial(self, predicted: Tensor, classes: Tensor) -> Tensor:
        """Predictions that are a success of the attack: bool [B]."""
        return (predicted == classes) == self.targeted

    def query(
        self, points: Tensor, classes: Tensor, *, gradient: bool, expected: Tensor | None = None
    ) -> Response:
        """Take one forward pass at every point [B, C, H, W], and one backward pass where a gradient is requested.

        Args:
            points: the images to query.
            classes: their labels or targets, int64 [B].
            gradient: whether to differentiate, at all points that are not adversarial.
            expected: bool [B]; points that are likely to be adversarial. Their first forward pass is without a
                graph, and those that are not adversarial take a second one with a graph. A correct forecast saves a
                backward pass, a wrong one costs a forward pass.

        Raises:
            UserError: when the logits are not [B, K], or not finite.
        """
        if not gradient or expected is None or self.stochastic or self.bf16 or not bool(expected.any()):
            return self._query(points, classes, gradient, each=1 / len(points))
        first, rest = expected.nonzero().squeeze(1), (~expected).nonzero().squeeze(1)
        without_graph = self._query(points[first], classes[first], False, each=1 / len(points))
        again = ~self.is_adversarial(without_graph.predicted, classes[first])
        rest = torch.cat((rest, first[again]))
        whole = Response(
            torch.empty_like(classes),
            without_graph.losses.new_empty(len(classes)),
            without_graph.margins.new_empty(len(classes)),
            torch.zeros_like(points),
        )
        whole.put(first, without_graph)
        if len(rest):
            each = (1 - len(first) / len(points)) / len(rest)
            whole.put(rest, self._query(points[rest], classes[rest], True, each=each))
            # On a stochastic network a second pass would give the attack a second try.
            self.stochastic = not torch.allclose(
                whole.losses[first[again]], without_graph.losses[again], rtol=1e-2, atol=1e-3
            )
        return whole

    def _query(self, points: Tensor, classes: Tensor, gradient: bool, each: float) -> Response:
        """Query batch by batch; the progress bar advances by `each` per image."""
        size, advanced = self._images_at_once(points), 0.0

        def take(rows: slice) -> list[Tensor]:
            nonlocal advanced
            parts = self._batch(points[rows], classes[rows], gradient)
            if self.task is not None:
                self.task.advance(len(parts[0]) * each, self.note)
                advanced += len(parts[0]) * each
            return parts

        batches = [slice(start, start + size) for start in range(0, len(points), size)]
        parts = division.each(batches, take, self.classifier)
        if self.task is not None and division.processes() > 1:
            self.task.advance(len(points) * each - advanced, self.note)
        response = Response(*(torch.cat(part) for part in zip(*parts, strict=True)))
        check_finite(response.losses)
        return response

    def _images_at_once(self, points: Tensor) -> int:
        """Images in a batch; on a CPU those of one process, since rounding may depend on the size of a batch."""
        if points.device.type == "cpu":
            return self.batch_size
        return min(self.batch_size, -(-len(points) // division.processes()))

    def _batch(self, points: Tensor, classes: Tensor, gradient: bool) -> list[Tensor]:
        """Query one batch: what a `Response` holds."""
        parts: list[tuple[Tensor, ...]] = []
        done = 0
        while done < len(points):
            rows = slice(done, done + self.batch_size)
            try:
                parts.append(self._pass(points[rows], classes[rows], gradient))
            except (RuntimeError, MemoryError) as error:
                self._recover(error, len(points) - done)
                continue
            done = rows.stop
        return list(parts[0]) if len(parts) == 1 else [torch.cat(part) for part in zip(*parts, strict=True)]

    def _recover(self, error: Exception, left: int) -> None:
        """Prepare to repeat a failed pass: with half the images, or in the plain layout.

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

    def _pass(self, points: Tensor, classes: Tensor, gradient: bool) -> tuple[Tensor, ...]:
        with torch.set_grad_enabled(gradient):
            points = points.detach().requires_grad_(gradient)
            with torch.autocast(points.device.type, torch.bfloat16, enabled=self.bf16 and gradient):
                logits = self._logits(points)
            if self.bf16 and gradient:
                logits = logits.float()
            logits = check_logits(logits, len(points), self.num_classes, points.dtype)
            if self.probabilities is None:
                self.probabilities = are_probabilities(logits)
            if self.probabilities:
                logits = logits_of(logits)
            losses = self.objective(logits, classes)
        predicted = logits.argmax(dim=1)
        if not gradient:
            slope = points.new_empty(len(points), 0)
        elif not self.bf16 and bool(self.is_adversarial(predicted, classes).all()):
            slope = torch.zeros_like(points)  # no image of this batch takes another step
        else:
            slope = input_gradient(losses, points)
        return predicted, losses.detach(), decision_function(logits.detach(), classes), slope

    def _logits(self, points: Tensor) -> Tensor:
        if self.weights is None:
            return self.classifier(points)
        logits: Tensor = functional_call(self.classifier, self.weights, (points,))
        return logits

    def has_zero_gradient_in_float64(self, points: Tensor, classes: Tensor) -> Tensor:
        """Points whose gradient is exactly zero in float64: bool [B]; all if the network cannot run in float64."""
        if len(points) == 0:
            return torch.zeros_like(classes, dtype=torch.bool)
        weights = {
            name: weight.detach().double() if weight.is_floating_point() else weight
            for name, weight in chain(self.classifier.named_parameters(), self.classifier.named_buffers())
        }
        double = replace(self, weights=weights, task=None)
        try:
            return is_zero(double.query(points.double(), classes, gradient=True).gradient)
        except Exception as error:  # an external network may raise anything when given float64
            if out_of_memory(error):
                raise
            return torch.ones_like(classes, dtype=torch.bool)
