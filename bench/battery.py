"""The batteries: fixed, named, versioned lists of metrics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.config import identity
from bench.core.errors import UserError, unknown_name
from metrics import (
    CleanAccuracy,
    Detection,
    InclusionRatio,
    Metric,
    PRSRatio,
    RegionHealth,
    RobustAccuracy,
    SecurityCurve,
    TimePerEpoch,
    WorstCase,
)
from metrics import get as get_metric
from metrics.autoattack import AutoAttack

#: Raised whenever a change moves any score; results of different versions never share a board.
BATTERY_VERSION = "1"


@dataclass(frozen=True)
class Battery:
    """What is measured, and on how many test images.

    Attributes:
        name: "quick", "standard" or "full".
        images: test images the attacks run on; None for all.
        metrics: in the order they run; cheap ones first, and what others read before them.
        summary: one line for `bench list batteries`.
    """

    name: str
    images: int | None
    metrics: tuple[Metric, ...]
    summary: str
    version: str = BATTERY_VERSION


def _quick() -> Battery:
    return Battery(
        "quick",
        200,
        _metrics(attacks=("fgsm", "bim", "pgd20", "pgd100", "cw"), detection_images=100, curve_images=200),
        "every attack on 200 test images, detection on 100; minutes",
    )


def _standard() -> Battery:
    return Battery(
        "standard",
        1000,
        _metrics(attacks=("fgsm", "bim", "pgd20", "pgd100", "cw"), detection_images=300, curve_images=500),
        "every attack on 1,000 test images, detection on 300; what to publish",
    )


def _full() -> Battery:
    return Battery(
        "full",
        None,
        _metrics(
            attacks=("fgsm", "bim", "pgd20", "pgd100", "cw", "cw100x5"),
            detection_images=1000,
            curve_images=1000,
        ),
        "every attack and a five-restart margin attack on the whole test set, detection on 1,000",
    )


BATTERIES: dict[str, Callable[[], Battery]] = {"quick": _quick, "standard": _standard, "full": _full}


def make_battery(name: str, metrics: Sequence[str] = ()) -> Battery:
    """The battery called `name`, or one of just these metrics on as many images.

    Args:
        name: a key of `BATTERIES`.
        metrics: names of `metrics.METRICS`, or module:Class; what one needs runs before it. Such a battery is
            named after what it measures, so that its results never stand on another's board.

    Raises:
        UserError: for an unknown name, or a metric that is named twice.
    """
    if name not in BATTERIES:
        raise unknown_name("battery", name, BATTERIES)
    battery = BATTERIES[name]()
    return select(battery, metrics) if metrics else battery


def select(battery: Battery, names: Sequence[str]) -> Battery:
    """A battery of the named metrics alone; those that `battery` has are taken with its sizes.

    Raises:
        UserError: for an unknown name, or a metric that is named twice.
    """
    known = {metric.name: metric for metric in battery.metrics}
    chosen: dict[str, Metric] = {}

    def add(name: str) -> None:
        metric = known.get(name) or get_metric(name)
        for needed in metric.needs:
            if needed not in chosen:
                add(needed)
        chosen[metric.name] = metric

    for name in names:
        if name in chosen:
            raise UserError(f"--metrics names {name} twice, or after another that brings it along")
        add(name)
    metrics = tuple(chosen.values())
    digits = identity({metric.name: metric.settings() for metric in metrics})
    summary = f"{', '.join(names)}, on the images of {battery.name}"
    return replace(battery, name=f"selected-{digits}", metrics=metrics, summary=summary)


def _metrics(attacks: tuple[str, ...], detection_images: int, curve_images: int) -> tuple[Metric, ...]:
    return (
        CleanAccuracy(),
        TimePerEpoch(),
        PRSRatio(),
        InclusionRatio(),
        RegionHealth(),
        *(RobustAccuracy(attack) for attack in attacks),
        SecurityCurve(images=curve_images),
        Detection(images=detection_images),
        AutoAttack(),
        WorstCase(),
    )
