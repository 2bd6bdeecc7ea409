"""The metrics: one file and one line of `BUILT_IN` each."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any

from bench.core.errors import UserError
from bench.core.registry import Registry
from metrics.arguments import convert, parse
from metrics.base import Metric
from metrics.evaluation import Evaluation, NotMeasurable

__all__ = ["BUILT_IN", "METRICS", "Evaluation", "Metric", "NotMeasurable", "get", "owner_of", "titles"]


def _at(place: str, *arguments: str) -> Callable[[], Callable[..., Metric]]:
    """Point at a class as `module:Class` below `metrics`, with fixed first arguments; it is imported on use."""

    def found() -> Callable[..., Metric]:
        module, _, name = place.partition(":")
        metric: Callable[..., Metric] = getattr(import_module(f"metrics.{module}"), name)
        return partial(metric, *arguments) if arguments else metric

    return found


#: Name → where its class is. Batteries run metrics in this order: cheap ones first, each after those that it reads.
BUILT_IN: dict[str, Callable[[], Callable[..., Metric]]] = {
    "clean_accuracy": _at("accuracy.clean_accuracy:CleanAccuracy"),
    "time_per_epoch": _at("accuracy.time_per_epoch:TimePerEpoch"),
    "prs_ratio": _at("regions.prs_ratio:PRSRatio"),
    "inclusion_ratio": _at("regions.inclusion_ratio:InclusionRatio"),
    "region_health": _at("regions.region_health:RegionHealth"),
    "robust_accuracy/fgsm": _at("accuracy.robust_accuracy:RobustAccuracy", "fgsm"),
    "robust_accuracy/bim": _at("accuracy.robust_accuracy:RobustAccuracy", "bim"),
    "robust_accuracy/pgd20": _at("accuracy.robust_accuracy:RobustAccuracy", "pgd20"),
    "robust_accuracy/pgd100": _at("accuracy.robust_accuracy:RobustAccuracy", "pgd100"),
    "robust_accuracy/cw": _at("accuracy.robust_accuracy:RobustAccuracy", "cw"),
    "robust_accuracy/adaptive": _at("accuracy.robust_accuracy:RobustAccuracy", "adaptive"),
    "robust_accuracy/cw100x5": _at("accuracy.robust_accuracy:RobustAccuracy", "cw100x5"),
    "security_curve": _at("accuracy.security_curve:SecurityCurve"),
    "detection_auc": _at("curvature.detection:Detection"),
    "detection_auc/attacker_aware": _at("curvature.detection_attackers:DetectionAttackers"),
    "robust_accuracy/autoattack": _at("accuracy.autoattack:AutoAttack"),
    "robust_accuracy/worst_case": _at("accuracy.worst_case:WorstCase"),
    # P1 and P2: decision regions
    "prs_by_layer": _at("regions.prs_by_layer:PRSByLayer"),
    "sparsity": _at("regions.sparsity:Sparsity"),
    "final_layer_cosine": _at("regions.final_layer_cosine:FinalLayerCosine"),
    "major_region": _at("regions.major_region:MajorRegion"),
    "inclusion_groups": _at("regions.inclusion_groups:InclusionGroups"),
    "major_groups": _at("regions.major_groups:MajorGroups"),
    "region_distance": _at("regions.region_distance:RegionDistance"),
    "logit_motion": _at("regions.logit_motion:LogitMotion"),
    "attack_curves": _at("regions.attack_curves:AttackCurves"),
    "features": _at("regions.features:Features"),
    # Yu et al.: the decision surface
    "decision_function": _at("surface.decision_function:DecisionFunction"),
    "input_jacobian": _at("surface.input_jacobian:InputJacobian"),
    "input_hessian": _at("surface.input_hessian:InputHessian"),
    "decision_surface": _at("surface.decision_surface:DecisionSurface"),
    "region_plane": _at("regions.region_plane:RegionPlane"),
    # Fawzi et al.: classification regions
    "paths": _at("curvature.paths:Connectivity"),
    "convexity": _at("curvature.convexity:Convexity"),
    "curvature_profile": _at("curvature.curvature_profile:CurvatureProfile"),
    "shared_directions": _at("curvature.shared_directions:SharedDirections"),
}

METRICS = Registry("metric", "bench.metrics", BUILT_IN)


def get(name: str) -> Metric:
    """Make the metric called `name`, or the one at `module:Class`; arguments are written NAME(KEY=VALUE, …).

    Raises:
        UserError: for an unknown name, an object that is no `Metric`, or arguments that it does not take.
    """
    name, values = parse(name)
    if name not in METRICS.names() and ":" not in name and (owner := owner_of(name)):
        raise UserError(f"{name} is a score of the metric {owner}: --metrics {owner}")
    found: Any = METRICS.get(name)
    try:
        metric = found(**convert(name, found, values)) if callable(found) else found
    except TypeError as error:
        reason = str(error).rpartition("() ")[2]
        raise UserError(f"metric {name} does not take these arguments: {reason}") from None
    if not isinstance(metric, Metric):
        raise UserError(f"{name!r} is no metric: expected a subclass of metrics.base.Metric, got {metric!r}")
    return metric


def owner_of(score: str) -> str | None:
    """The registered name of the metric that writes a score, or None."""
    return next((name for name, metric in _usable() if score in metric.names()), None)


def titles() -> dict[str, str]:
    """Titles of scores by name, over all registered metrics; scores without a title are left out."""
    return {score: title for _, metric in _usable() for score, title in metric.titles.items()}


def _usable() -> Iterator[tuple[str, Metric]]:
    """Every registered metric by name, without plug-ins that fail to load."""
    for name in METRICS.names():
        with suppress(UserError):
            yield name, get(name)
