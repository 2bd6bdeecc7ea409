"""The metrics: one file each, one visible line each."""

from bench.core.errors import UserError
from bench.core.plugins import Registry
from metrics.autoattack import AutoAttack
from metrics.base import Evaluation, Metric, NotMeasurable
from metrics.clean_accuracy import CleanAccuracy
from metrics.detection import Detection
from metrics.inclusion_ratio import InclusionRatio
from metrics.prs_ratio import PRSRatio
from metrics.region_health import RegionHealth
from metrics.robust_accuracy import RobustAccuracy
from metrics.security_curve import SecurityCurve
from metrics.time_per_epoch import TimePerEpoch
from metrics.worst_case import WorstCase

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
        "robust_accuracy/autoattack": lambda: AutoAttack,
        "robust_accuracy/worst_case": lambda: WorstCase,
        "security_curve": lambda: SecurityCurve,
        "prs_ratio": lambda: PRSRatio,
        "inclusion_ratio": lambda: InclusionRatio,
        "region_health": lambda: RegionHealth,
        "detection_auc": lambda: Detection,
        "time_per_epoch": lambda: TimePerEpoch,
    },
)


def get(name: str) -> Metric:
    """The metric called `name`, or made by what `module:Class` points to.

    Raises:
        UserError: when there is none, or what was found makes no `Metric`.
    """
    found = METRICS.get(name)
    metric = found() if callable(found) else found
    if not isinstance(metric, Metric):
        raise UserError(f"{name!r} is no metric: expected a subclass of metrics.base.Metric, got {metric!r}")
    return metric
