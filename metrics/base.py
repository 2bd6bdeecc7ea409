"""Base class of metrics: `measure` computes arrays, `reduce` turns them into scores."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from bench.charts import Chart
from bench.core.classifier import AnyClassifier
from bench.core.intervals import proportion_interval
from bench.core.record import Curve, Record, Score, Value
from metrics.evaluation import Arrays, Evaluation, NotMeasurable

#: What the file of a metric imports.
__all__ = ["Arrays", "Batteries", "Evaluation", "Metric", "NotMeasurable"]

#: Name of each battery a metric belongs to → the arguments it takes there.
Batteries = Mapping[str, Mapping[str, Any]]


class Metric(ABC):
    """A quantity measured on a trained classifier.

    `measure` runs once, and its arrays are stored beside the record. `reduce` computes scores from them: fast, and
    without side effects, so that it can be repeated at any time. A metric of your own needs a `name` and these two:

        class MeanLogit(Metric):
            name = "mean_logit"
            unit = "logits"
            higher_is_better = None
            bounds = (-np.inf, np.inf)

            def measure(self, evaluation):
                with torch.no_grad():
                    logits = evaluation.classifier(evaluation.images)
                return {"mean": logits.mean(dim=1).cpu().numpy()}

            def reduce(self, arrays):
                return {self.name: self.score(float(arrays["mean"].mean()), n=len(arrays["mean"]))}

    Attributes:
        name: key of the main score, and of the arrays.
        titles: score name → title on the pages. Scores with a title stand in the first table of an entry's page.
        unit: of the main score: "fraction", "AUC", "seconds", "ratio", "nats", "count", ….
        higher_is_better: True, False, or None where neither direction is better.
        bounds: the smallest and largest value the main score can take.
        needs: names of metrics that must have run before.
        batteries: for built-in metrics, the batteries it belongs to → its arguments there. Plug-ins belong to none,
            and are asked for by `--metrics NAME`.
        charts_function: "module:function" that takes the metric, its arrays and the record, and returns the charts.
            A metric of your own can override `charts` instead.
        needs_head: whether it reads features, or the weights of the last layer, so that logits must come straight
            from nn.Linear.
    """

    name: str
    titles: Mapping[str, str] = {}
    unit: ClassVar[str] = "fraction"
    higher_is_better: ClassVar[bool | None] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs: tuple[str, ...] = ()
    batteries: Batteries = {}
    charts_function: ClassVar[str] = ""
    needs_head: ClassVar[bool] = False

    @abstractmethod
    def measure(self, evaluation: Evaluation) -> Arrays:
        """Compute the arrays: values of single images, or counts, from which `reduce` can compute the scores.

        Raises:
            NotMeasurable: when the quantity is not defined for this network or data set.
        """

    def check(self, classifier: AnyClassifier, image: Tensor) -> None:
        """Refuse settings that do not fit the network, such as an unknown layer, before anything is measured.

        Args:
            classifier: trained or not.
            image: an image of the data set [1, C, H, W].

        Raises:
            UserError: for such settings, with what would fit.
        """

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first, without those of single layers, which depend on the network."""
        return (self.name,)

    def settings(self) -> dict[str, Value]:
        """Every choice that changes the scores, as the record's battery lists them."""
        return {}

    @abstractmethod
    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Compute the scores by name from the arrays; the main score is called `self.name`."""

    def curves(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Curve]:
        """Curves for the record and its page, by name; none by default."""
        return {}

    def charts(self, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
        """Charts of the arrays, as plain data; made by `charts_function`, none without it.

        Args:
            arrays: as `measure` returned them.
            record: with class names, threat, network and all scores, this metric's included.
        """
        if not self.charts_function:
            return []
        module, _, name = self.charts_function.partition(":")
        draw: Callable[..., list[Chart]] = getattr(import_module(module), name)
        return draw(self, arrays, record)

    def proportion(self, right: np.ndarray, reason: str = "") -> Score:
        """The share of true values in a bool array [n] as a score, with its interval."""
        n = len(right)
        if n == 0:
            return self.score(None, n=0, reason=reason or "no example to measure on")
        successes = int(np.count_nonzero(right))
        return self.score(successes / n, *proportion_interval(successes, n), n=n, reason=reason)

    def score(
        self,
        value: float | None,
        low: float | None = None,
        high: float | None = None,
        n: int | None = None,
        reason: str = "",
    ) -> Score:
        """A `Score` with this metric's unit and direction."""
        return Score(
            value=value,
            low=low,
            high=high,
            n=n,
            unit=self.unit,
            higher_is_better=self.higher_is_better,
            reason=reason,
        )
