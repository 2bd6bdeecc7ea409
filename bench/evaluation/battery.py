"""The batteries: fixed, named, versioned lists of metrics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError, unknown_name
from bench.core.names import identity
from bench.data import Dataset
from metrics import (
    AttackCurves,
    CleanAccuracy,
    Connectivity,
    Convexity,
    CurvatureProfile,
    DecisionFunction,
    DecisionSurface,
    Detection,
    DetectionAttackers,
    Features,
    FinalLayerCosine,
    InclusionGroups,
    InclusionRatio,
    InputHessian,
    InputJacobian,
    LogitMotion,
    MajorGroups,
    MajorRegion,
    Metric,
    PRSByLayer,
    PRSRatio,
    RegionDistance,
    RegionHealth,
    RegionPlane,
    RobustAccuracy,
    SecurityCurve,
    SharedDirections,
    Sparsity,
    TimePerEpoch,
    WorstCase,
)
from metrics import get as get_metric
from metrics.accuracy.autoattack import AutoAttack

#: Raised whenever a change moves any score; results of different versions never share a board.
BATTERY_VERSION = "2"

#: What every battery that judges robustness runs before AutoAttack; the last one for losses without a gradient.
ATTACKS = ("fgsm", "bim", "pgd20", "pgd100", "cw", "adaptive")


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

    def check(self, classifier: AnyClassifier, dataset: Dataset) -> None:
        """Refuse a metric's settings that the network, trained or not, cannot meet.

        Raises:
            UserError: saying what there is instead.
        """
        image = (dataset.train if len(dataset.train) else dataset.test).batch(slice(0, 1))[0]
        for metric in self.metrics:
            metric.check(classifier, image)


def _quick() -> Battery:
    return Battery(
        "quick",
        200,
        _metrics(attacks=ATTACKS, detection_images=100, aware_images=40, curve_images=200),
        "every attack on 200 test images, detection on 100; minutes",
    )


def _standard() -> Battery:
    return Battery(
        "standard",
        1000,
        _metrics(attacks=ATTACKS, detection_images=300, aware_images=100, curve_images=500),
        "every attack on 1,000 test images, detection on 300; what to publish",
    )


def _full() -> Battery:
    return Battery(
        "full",
        None,
        (
            *_metrics(
                attacks=(*ATTACKS, "cw100x5"), detection_images=1000, aware_images=300, curve_images=1000
            ),
            *_geometry_metrics(images=1000, attacks=("fgsm", "bim", "pgd20", "pgd100", "cw"), papers=True),
        ),
        "every attack, more of them with restarts, on the whole test set, and all of the geometry at the "
        "papers' sizes",
    )


def _geometry() -> Battery:
    return Battery(
        "geometry",
        200,
        (
            CleanAccuracy(),
            PRSRatio(),
            InclusionRatio(),
            RegionHealth(),
            RobustAccuracy("pgd20"),
            Detection(images=100),
            DetectionAttackers(images=40),
            *_geometry_metrics(images=200, attacks=("fgsm", "bim", "pgd20", "cw"), papers=False),
        ),
        "decision regions, decision surfaces and curvature with every figure, on 200 test images; minutes",
    )


BATTERIES: dict[str, Callable[[], Battery]] = {
    "quick": _quick,
    "standard": _standard,
    "full": _full,
    "geometry": _geometry,
}


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
    others = {metric.name: metric for make in BATTERIES.values() for metric in make().metrics}
    chosen: dict[str, Metric] = {}

    def add(name: str) -> None:
        metric = known.get(name) or others.get(name) or get_metric(name)
        if "(" not in name:  # the battery's sizes, unless they were given
            metric = known.get(metric.name, metric)
        if metric.name in chosen:
            raise UserError(f"--metrics names {name} twice, or after another that brings it along")
        for needed in metric.needs:
            if needed not in chosen:
                add(needed)
        chosen[metric.name] = metric

    for name in names:
        add(name)
    metrics = tuple(chosen.values())
    digits = identity({metric.name: metric.settings() for metric in metrics})
    summary = f"{', '.join(names)}, on the images of {battery.name}"
    return replace(battery, name=f"selected-{digits}", metrics=metrics, summary=summary)


def _metrics(
    attacks: tuple[str, ...], detection_images: int, aware_images: int, curve_images: int
) -> tuple[Metric, ...]:
    return (
        CleanAccuracy(),
        TimePerEpoch(),
        PRSRatio(),
        InclusionRatio(),
        RegionHealth(),
        *(RobustAccuracy(attack) for attack in attacks),
        SecurityCurve(images=curve_images),
        Detection(images=detection_images),
        DetectionAttackers(images=aware_images),
        AutoAttack(),
        WorstCase(),
    )


def _geometry_metrics(images: int, attacks: tuple[str, ...], papers: bool) -> tuple[Metric, ...]:
    """What the four papers measure beside accuracies.

    Args:
        images: test images of the metrics that attack or differentiate.
        attacks: of the metrics that attack by name.
        papers: the papers' own sizes, instead of ones that a small network passes in minutes.
    """
    train_images = None if papers else 10_000
    return (
        # P1 and P2: decision regions
        PRSByLayer(train_images=train_images),
        Sparsity(train_images=train_images),
        FinalLayerCosine(),
        MajorRegion(),
        InclusionGroups(images=1000 if papers else 100, attacks=attacks),
        MajorGroups(images=10_000 if papers else 100, attacks=attacks),
        RegionDistance(images=images),
        LogitMotion(images=images),
        AttackCurves(images=1000 if papers else 100, attacks=attacks),
        Features(),
        # Yu et al.: the decision surface
        DecisionFunction(images=images),
        InputJacobian(images=images),
        InputHessian(images=100 if papers else 20),
        DecisionSurface(images=4, line_images=1000, parameter_images=200) if papers else DecisionSurface(),
        RegionPlane(planes=10, resolution=128) if papers else RegionPlane(),
        # Fawzi et al.: classification regions
        Connectivity(pairs=1000 if papers else 20),
        Convexity(trials=5000 if papers else 500),
        CurvatureProfile(images=200 if papers else 20),
        SharedDirections(train_images=100, per_image=20, test_images=1000, curved_images=200)
        if papers
        else SharedDirections(),
    )
