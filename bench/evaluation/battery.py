"""Batteries: fixed, named, versioned lists of metrics.

Which battery a metric belongs to, and with which arguments, stands in the metric's own file (`Metric.batteries`);
the order is that of `metrics.BUILT_IN`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from bench.core.errors import UserError, unknown_name
from bench.core.names import ROBUST_ACCURACY, WORST_CASE, identity
from metrics import BUILT_IN, METRICS, as_metric
from metrics import get as get_metric

if TYPE_CHECKING:
    from bench.core.classifier import AnyClassifier
    from bench.data import Dataset
    from metrics import Metric

#: To be raised with every change that moves a score. Results of different versions never share a board.
BATTERY_VERSION = "3"
#: Versions whose worst case leaves out what extra checks broke; readers of their records count it.
CHECKS_APART = ("1", "1.0", "2")


@dataclass(frozen=True)
class Battery:
    """A list of metrics, and the number of test images that attacks run on.

    Attributes:
        name: a key of `BATTERIES`, or another name for a selection of metrics.
        images: number of test images, the first ones; None for all.
        metrics: in the order they run.
        summary: one line for `bench list batteries`.
        version: of the protocol.
    """

    name: str
    images: int | None
    metrics: "tuple[Metric, ...]"
    summary: str
    version: str = BATTERY_VERSION

    def check(self, classifier: "AnyClassifier", dataset: "Dataset") -> None:
        """Refuse settings of a metric that do not fit the network, trained or not.

        Raises:
            UserError: for such settings, with what would fit.
        """
        image = (dataset.train if len(dataset.train) else dataset.test).batch(slice(0, 1))[0]
        for metric in self.metrics:
            metric.check(classifier, image)


def _collect(name: str, images: int | None, summary: str) -> Battery:
    """Make a battery of the built-in metrics that belong to it."""
    metrics = []
    for find in BUILT_IN.values():
        metric = find()
        batteries = metric().batteries
        if name in batteries:
            metrics.append(metric(**batteries[name]))
    return Battery(name, images, tuple(metrics), summary)


#: Name → number of attacked test images, None for all.
IMAGES = {"quick": 200, "standard": 1000, "full": None, "geometry": 200, "indicators": 200}

#: Name → what it is, for `bench list batteries`.
SUMMARIES = {
    "quick": "every attack on 200 test images, detection on 100; minutes",
    "standard": "every attack on 1,000 test images, detection on 300; what to publish",
    "full": "every attack, more of them with restarts, on the whole test set, and all of the geometry at the "
    "papers' sizes",
    "geometry": "decision regions, decision surfaces and curvature with every figure, on 200 test images; minutes",
    "indicators": "what `quick` measures, and every indicator that claims to predict robustness, on 200 test "
    "images; minutes",
}

#: Name → a function that makes the battery.
BATTERIES: dict[str, Callable[[], Battery]] = {
    name: partial(_collect, name, images, SUMMARIES[name]) for name, images in IMAGES.items()
}


def make_battery(name: str, metrics: Sequence[str] = ()) -> Battery:
    """Make the battery called `name`, or one of the given metrics alone on as many images.

    Args:
        name: a key of `BATTERIES`.
        metrics: names of `metrics.METRICS`, or module:Class. Metrics that these need are added before them. The
            name of such a battery depends on what it measures, so that its results never share a board with others.

    Raises:
        UserError: for an unknown name, or a metric that is named twice.
    """
    if name not in BATTERIES:
        raise unknown_name("battery", name, BATTERIES)
    battery = BATTERIES[name]()
    return select(battery, metrics) if metrics else battery


def select(battery: Battery, names: "Sequence[str | Metric | type[Metric]]") -> Battery:
    """Make a battery of chosen metrics alone; those that `battery` has keep their arguments there.

    Args:
        names: names of metrics, or metrics and their classes themselves. Their order makes no difference: they run
            in that of `METRICS`, which the worst case and the security curve rely on, and others after them.

    Raises:
        UserError: for an unknown name, or a metric that is named twice.
    """
    known = {metric.name: metric for metric in battery.metrics}
    others = {metric.name: metric for make in BATTERIES.values() for metric in make().metrics}
    asked: dict[str, Metric] = {}
    chosen: dict[str, Metric] = {}

    def made(name: "str | Metric | type[Metric]") -> "Metric":
        if not isinstance(name, str):
            return as_metric(name)
        metric = known.get(name) or others.get(name) or get_metric(name)
        # Without arguments, those of the battery count.
        return metric if "(" in name else known.get(metric.name, metric)

    def add(metric: "Metric") -> None:
        for needed in metric.needs:
            if needed not in chosen:
                add(asked.get(needed) or made(needed))
        chosen[metric.name] = metric

    for name in names:
        metric = made(name)
        if metric.name in asked:
            raise UserError(f"--metrics names {name if isinstance(name, str) else metric.name} twice")
        asked[metric.name] = metric
    for metric in asked.values():
        add(metric)
    metrics = tuple(sorted(chosen.values(), key=_place))
    digits = identity({metric.name: metric.settings() for metric in metrics})
    words = [each if isinstance(each, str) else str(getattr(each, "name", "")) for each in names]
    summary = f"{', '.join(words)}, on the images of {battery.name}"
    return replace(battery, name=f"selected-{digits}", metrics=metrics, summary=summary)


def _place(metric: "Metric") -> float:
    """When a metric of a selection runs; one that is not of ours, last, but an attack before the worst case."""
    order = METRICS.names()
    known = [name for name in (metric.name, metric.name.partition("/")[0]) if name in order]
    if known or not metric.name.startswith(ROBUST_ACCURACY):
        return order.index(known[0]) if known else len(order)
    return order.index(WORST_CASE) - 0.5
