"""The metrics: one file and one line of `BUILT_IN` each."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.core.foreign_code import calling
from bench.core.lazy import imported_from
from bench.core.names import ROBUST_ACCURACY, SUSPICIOUS
from bench.core.registry import Registry, imported_on_use
from bench.core.values import WORD_LENGTH, shown, text

if TYPE_CHECKING:
    from metrics.base import Metric
    from metrics.evaluation import Evaluation, NotMeasurable
else:
    __getattr__ = imported_from(
        __name__, {"metrics.base": ("Metric",), "metrics.evaluation": ("Evaluation", "NotMeasurable")}
    )

__all__ = [
    "BUILT_IN",
    "METRICS",
    "Evaluation",
    "Metric",
    "NotMeasurable",
    "as_metric",
    "get",
    "owner_of",
    "titles",
]


#: Name → where its class is. Batteries run metrics in this order: cheap ones first, each after those that it reads.
BUILT_IN: dict[str, Callable[[], Any]] = {
    "clean_accuracy": imported_on_use("metrics.accuracy.clean_accuracy:CleanAccuracy"),
    "time_per_epoch": imported_on_use("metrics.accuracy.time_per_epoch:TimePerEpoch"),
    "prs_ratio": imported_on_use("metrics.regions.prs_ratio:PRSRatio"),
    "inclusion_ratio": imported_on_use("metrics.regions.inclusion_ratio:InclusionRatio"),
    "region_health": imported_on_use("metrics.regions.region_health:RegionHealth"),
    "robust_accuracy/fgsm": imported_on_use("metrics.accuracy.robust_accuracy:RobustAccuracy", "fgsm"),
    "robust_accuracy/bim": imported_on_use("metrics.accuracy.robust_accuracy:RobustAccuracy", "bim"),
    "robust_accuracy/pgd20": imported_on_use("metrics.accuracy.robust_accuracy:RobustAccuracy", "pgd20"),
    "robust_accuracy/pgd100": imported_on_use("metrics.accuracy.robust_accuracy:RobustAccuracy", "pgd100"),
    "robust_accuracy/cw": imported_on_use("metrics.accuracy.robust_accuracy:RobustAccuracy", "cw"),
    "robust_accuracy/adaptive": imported_on_use(
        "metrics.accuracy.robust_accuracy:RobustAccuracy", "adaptive"
    ),
    "robust_accuracy/cw100x5": imported_on_use("metrics.accuracy.robust_accuracy:RobustAccuracy", "cw100x5"),
    "security_curve": imported_on_use("metrics.accuracy.security_curve:SecurityCurve"),
    "detection_auc": imported_on_use("metrics.curvature.detection:Detection"),
    "detection_auc/attacker_aware": imported_on_use(
        "metrics.curvature.detection_attackers:DetectionAttackers"
    ),
    "robust_accuracy/autoattack": imported_on_use("metrics.accuracy.autoattack:AutoAttack"),
    "robust_accuracy/worst_case": imported_on_use("metrics.accuracy.worst_case:WorstCase"),
    # P1 and P2: decision regions
    "prs_by_layer": imported_on_use("metrics.regions.prs_by_layer:PRSByLayer"),
    "sparsity": imported_on_use("metrics.regions.sparsity:Sparsity"),
    "final_layer_cosine": imported_on_use("metrics.regions.final_layer_cosine:FinalLayerCosine"),
    "major_region": imported_on_use("metrics.regions.major_region:MajorRegion"),
    "inclusion_groups": imported_on_use("metrics.regions.inclusion_groups:InclusionGroups"),
    "major_groups": imported_on_use("metrics.regions.major_groups:MajorGroups"),
    "region_distance": imported_on_use("metrics.regions.region_distance:RegionDistance"),
    "logit_motion": imported_on_use("metrics.regions.logit_motion:LogitMotion"),
    "attack_curves": imported_on_use("metrics.regions.attack_curves:AttackCurves"),
    "features": imported_on_use("metrics.regions.features:Features"),
    # Yu et al.: the decision surface
    "decision_function": imported_on_use("metrics.surface.decision_function:DecisionFunction"),
    "input_jacobian": imported_on_use("metrics.surface.input_jacobian:InputJacobian"),
    "input_hessian": imported_on_use("metrics.surface.input_hessian:InputHessian"),
    "decision_surface": imported_on_use("metrics.surface.decision_surface:DecisionSurface"),
    "region_plane": imported_on_use("metrics.regions.region_plane:RegionPlane"),
    # Fawzi et al.: classification regions
    "paths": imported_on_use("metrics.curvature.paths:Connectivity"),
    "convexity": imported_on_use("metrics.curvature.convexity:Convexity"),
    "curvature_profile": imported_on_use("metrics.curvature.curvature_profile:CurvatureProfile"),
    "shared_directions": imported_on_use("metrics.curvature.shared_directions:SharedDirections"),
    # Indicators of robustness from the field
    "generalization_gap": imported_on_use("metrics.indicators.generalization_gap:GeneralizationGap"),
    "local_complexity": imported_on_use("metrics.indicators.local_complexity:LocalComplexity"),
    "margin_consistency": imported_on_use("metrics.indicators.margin_consistency:MarginConsistency"),
    "rdi": imported_on_use("metrics.indicators.rdi:RDI"),
    "fosc": imported_on_use("metrics.indicators.fosc:FOSC"),
    "probabilistic_robustness": imported_on_use(
        "metrics.indicators.probabilistic_robustness:ProbabilisticRobustness"
    ),
    "certified_accuracy": imported_on_use("metrics.indicators.certified_accuracy:CertifiedAccuracy"),
    "neural_collapse": imported_on_use("metrics.indicators.neural_collapse:NeuralCollapse"),
}

#: Where the accuracy under each attack is; its title is that of the attack.
_ATTACKED = "metrics.accuracy.robust_accuracy:RobustAccuracy"

METRICS = Registry("metric", "bench.metrics", BUILT_IN)


def get(name: str) -> "Metric":
    """Make the metric called `name`, or the one at `module:Class`; arguments are written NAME(KEY=VALUE, …).

    Raises:
        UserError: for an unknown name, an object that is no `Metric`, or arguments that it does not take.
    """
    from bench.core.arguments import parse
    from metrics.arguments import convert
    from metrics.base import Metric

    name, values = parse(name, "a metric", "prs_by_layer(train_images=1000)")
    if name not in METRICS.names() and ":" not in name and (owner := owner_of(name)):
        raise UserError(f"{name} is a score of the metric {owner}: --metrics {owner}")
    found: Any = METRICS.get(name)
    with METRICS.calling(name):
        try:
            metric = found(**convert(name, found, values)) if callable(found) else found
        except TypeError as error:
            reason = str(error).rpartition("() ")[2]
            raise UserError(f"metric {name} does not take these arguments: {reason}") from None
        if not isinstance(metric, Metric):
            raise UserError(
                f"{name!r} is no metric: expected a subclass of metrics.base.Metric, got {shown(metric)}"
            )
        _check(name, metric)
    return metric


def as_metric(given: Any) -> "Metric":
    """The metric itself, or the one that a class makes without arguments; for metrics that have no name to import.

    Raises:
        UserError: for an object that is no `Metric`, or a class that needs arguments.
    """
    from metrics.base import Metric

    title = getattr(given, "__name__", type(given).__name__)
    with calling(f"metric {title!r}"):
        metric = given() if isinstance(given, type) else given
    if not isinstance(metric, Metric):
        raise UserError(f"{title!r} is no metric: expected a name, or a subclass of metrics.Metric")
    _check(title, metric)
    return metric


def _check(name: str, metric: "Metric") -> None:
    names, titles = metric.names(), metric.titles
    if not isinstance(names, tuple) or not all(isinstance(each, str) for each in names):
        raise UserError(f"metric {name}: names() must give a tuple of texts, got {shown(names)}")
    if not isinstance(titles, Mapping) or not isinstance(getattr(metric, "name", None), str):
        raise UserError(f"metric {name}: expected a name as text and titles by score, got {shown(titles)}")
    for each in (metric.name, *names):
        try:
            text(each, WORD_LENGTH)
        except ValueError as error:
            raise UserError(f"metric {name}, the name of it or of a score: {error}") from None


def owner_of(score: str) -> str | None:
    """The registered name of the metric that writes a score, or None."""
    return next((name for name, metric in _usable() if score in metric.names()), None)


def titles() -> dict[str, str]:
    """Titles of scores by name, over all registered metrics; scores without a title are left out.

    Those of built-in metrics are read from their sources, so that pages can be drawn without torch.
    """
    from bench.charts.words import ACCURACIES, CHECKS
    from bench.core.docstrings import literal_at

    found = {SUSPICIOUS + check: title for check, title in CHECKS.items()}
    for name in METRICS.names():
        place = METRICS.place(name)
        if place == _ATTACKED:
            attack = name.removeprefix(ROBUST_ACCURACY)
            found |= {name: ACCURACIES[attack]} if attack in ACCURACIES else {}
        elif place:
            found |= literal_at(place, "titles") or {}
        else:
            with suppress(UserError):
                found |= get(name).titles
    return found


def _usable() -> "Iterator[tuple[str, Metric]]":
    """Every registered metric by name, without plug-ins that fail to load."""
    for name in METRICS.names():
        with suppress(UserError):
            yield name, get(name)
