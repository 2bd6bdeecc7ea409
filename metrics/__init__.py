"""The metrics: one file each, one visible line each."""

import ast
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.core.errors import UserError
from bench.core.record import describe
from bench.core.registry import Registry
from metrics.accuracy.autoattack import AutoAttack
from metrics.accuracy.clean_accuracy import CleanAccuracy
from metrics.accuracy.robust_accuracy import RobustAccuracy
from metrics.accuracy.security_curve import SecurityCurve
from metrics.accuracy.time_per_epoch import TimePerEpoch
from metrics.accuracy.worst_case import WorstCase
from metrics.base import Evaluation, Metric, NotMeasurable
from metrics.curvature.convexity import Convexity
from metrics.curvature.curvature_profile import CurvatureProfile
from metrics.curvature.detection import Detection
from metrics.curvature.detection_attackers import DetectionAttackers
from metrics.curvature.paths import Connectivity
from metrics.curvature.shared_directions import SharedDirections
from metrics.regions.attack_curves import AttackCurves
from metrics.regions.features import Features
from metrics.regions.final_layer_cosine import FinalLayerCosine
from metrics.regions.inclusion_groups import InclusionGroups
from metrics.regions.inclusion_ratio import InclusionRatio
from metrics.regions.logit_motion import LogitMotion
from metrics.regions.major_groups import MajorGroups
from metrics.regions.major_region import MajorRegion
from metrics.regions.prs_by_layer import PRSByLayer
from metrics.regions.prs_ratio import PRSRatio
from metrics.regions.region_distance import RegionDistance
from metrics.regions.region_health import RegionHealth
from metrics.regions.region_plane import RegionPlane
from metrics.regions.sparsity import Sparsity
from metrics.surface.decision_function import DecisionFunction
from metrics.surface.decision_surface import DecisionSurface
from metrics.surface.input_hessian import InputHessian
from metrics.surface.input_jacobian import InputJacobian

__all__ = ["METRICS", "Evaluation", "Metric", "NotMeasurable", "get"]

#: Name → a function of no arguments that makes the metric as the batteries use it.
METRICS = Registry(
    "metric",
    "bench.metrics",
    {
        "clean_accuracy": lambda: CleanAccuracy,
        "robust_accuracy/fgsm": lambda: lambda: RobustAccuracy("fgsm"),
        "robust_accuracy/bim": lambda: lambda: RobustAccuracy("bim"),
        "robust_accuracy/pgd20": lambda: lambda: RobustAccuracy("pgd20"),
        "robust_accuracy/pgd100": lambda: lambda: RobustAccuracy("pgd100"),
        "robust_accuracy/cw": lambda: lambda: RobustAccuracy("cw"),
        "robust_accuracy/cw100x5": lambda: lambda: RobustAccuracy("cw100x5"),
        "robust_accuracy/adaptive": lambda: lambda: RobustAccuracy("adaptive"),
        "robust_accuracy/autoattack": lambda: AutoAttack,
        "robust_accuracy/worst_case": lambda: WorstCase,
        "security_curve": lambda: SecurityCurve,
        "prs_ratio": lambda: PRSRatio,
        "inclusion_ratio": lambda: InclusionRatio,
        "region_health": lambda: RegionHealth,
        "detection_auc": lambda: Detection,
        "attack_curves": lambda: AttackCurves,
        "features": lambda: Features,
        "final_layer_cosine": lambda: FinalLayerCosine,
        "inclusion_groups": lambda: InclusionGroups,
        "logit_motion": lambda: LogitMotion,
        "major_groups": lambda: MajorGroups,
        "major_region": lambda: MajorRegion,
        "prs_by_layer": lambda: PRSByLayer,
        "region_distance": lambda: RegionDistance,
        "sparsity": lambda: Sparsity,
        "decision_function": lambda: DecisionFunction,
        "decision_surface": lambda: DecisionSurface,
        "input_hessian": lambda: InputHessian,
        "input_jacobian": lambda: InputJacobian,
        "region_plane": lambda: RegionPlane,
        "convexity": lambda: Convexity,
        "curvature_profile": lambda: CurvatureProfile,
        "paths": lambda: Connectivity,
        "shared_directions": lambda: SharedDirections,
        "detection_auc/attacker_aware": lambda: DetectionAttackers,
        "time_per_epoch": lambda: TimePerEpoch,
    },
)


def get(name: str) -> Metric:
    """The metric called `name`, or made by what `module:Class` points to; with arguments as NAME(KEY=VALUE, …).

    Raises:
        UserError: when there is none, what was found makes no `Metric`, or does not take the arguments.
    """
    name, values = _parse(name)
    if name not in METRICS.names() and ":" not in name and (owner := owner_of(name)):
        raise UserError(f"{name} is a score of the metric {owner}: --metrics {owner}")
    found = METRICS.get(name)
    try:
        metric = found(**_typed(name, found, values)) if callable(found) else found
    except TypeError as error:
        reason = str(error).rpartition("() ")[2]
        raise UserError(f"metric {name} does not take these arguments: {reason}") from None
    if not isinstance(metric, Metric):
        raise UserError(f"{name!r} is no metric: expected a subclass of metrics.base.Metric, got {metric!r}")
    return metric


def owner_of(score: str) -> str | None:
    """The registered name of the metric that writes a score; None where there is none."""
    for name in METRICS.names():
        # Somebody's broken plug-in writes no score.
        with suppress(UserError):
            if score in get(name).names():
                return name
    return None


def _typed(name: str, found: object, values: dict[str, Any]) -> dict[str, Any]:
    """The values as the fields of a dataclass want them; others as they are."""
    types: dict[str, Any] = {each.name: each.type for each in fields(found)} if is_dataclass(found) else {}
    typed = dict(values)
    for key, value in values.items():
        if key in types and not isinstance(types[key], str):
            try:
                typed[key] = TypeAdapter(types[key]).validate_python(value)
            except ValidationError as error:
                problem = describe(error).removeprefix("value: ")
                several = error.errors()[0]["type"] == "tuple_type"
                hint = f"; several values stand in brackets, such as {key}=({value!r},)" if several else ""
                raise UserError(f"metric {name}, {key}: {problem}{hint}") from None
    return typed


def _parse(text: str) -> tuple[str, dict[str, Any]]:
    """The name and the arguments of NAME(KEY=VALUE, …), whose values are Python's literals."""
    name, bracket, _ = text.partition("(")
    if not bracket:
        return text, {}
    try:
        call = ast.parse(f"_({text.removeprefix(name)[1:]}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError
        return name, {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    except (SyntaxError, ValueError):
        raise UserError(
            f"expected a metric as NAME or NAME(KEY=VALUE, …) such as prs_by_layer(train_images=1000), got {text!r}"
        ) from None
