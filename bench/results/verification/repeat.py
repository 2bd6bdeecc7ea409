"""Measure clean accuracy and chosen attacks again with a record's weights, and compare image by image."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.attacks import ATTACKS
from bench.core.errors import UserError, unknown_name
from bench.core.names import AUTOATTACK, CLEAN_ACCURACY, ROBUST_ACCURACY
from bench.core.progress import Progress
from bench.core.record import Record
from bench.results.restore import Restored, evaluation_of
from bench.results.verification.check import (
    BATCH_SIZE,
    Check,
    forgiven,
    is_attack,
    is_mean_of,
    is_stochastic,
    outcome_of,
)
from metrics import Metric
from metrics.accuracy.autoattack import AutoAttack
from metrics.accuracy.robust_accuracy import RobustAccuracy

#: Suffix of the check of an attack that ran again.
AGAIN = " again"
_AUTOATTACK = AUTOATTACK.removeprefix(ROBUST_ACCURACY)


def repeat_clean_accuracy(restored: Restored, arrays: Mapping[str, np.ndarray]) -> Check:
    """Measure the accuracy on the whole test set again; compare image by image where outcomes are stored."""
    score, test = restored.record.metrics.get(CLEAN_ACCURACY), restored.dataset.test
    if score is None or score.value is None:
        return Check(CLEAN_ACCURACY, "not checked", "the record has none")
    batches = (test.batch(slice(at, at + BATCH_SIZE)) for at in range(0, len(test), BATCH_SIZE))
    right = np.concatenate(
        [(restored.classifier(images).argmax(dim=1) == labels).cpu().numpy() for images, labels in batches]
    )
    n, value = len(right), float(right.mean())
    found = f"{value:.2%} now, {score.value:.2%} in the record, on {n} images"
    if is_stochastic(restored.record):
        low, high = score.low or 0.0, 1.0 if score.high is None else score.high
        inside = low <= value <= high
        where = "within" if inside else "outside"
        return Check(
            CLEAN_ACCURACY,
            outcome_of(inside),
            f"{found}; the network is stochastic, and this is {where} the record's interval",
        )
    stored = arrays.get(CLEAN_ACCURACY)
    differing, comparison = _compare(right, score.value, stored)
    agrees = differing <= forgiven(n) and is_mean_of(score.value, stored, n)
    message = f"{found}; {comparison}, up to {forgiven(n)} forgiven"
    return Check(CLEAN_ACCURACY, outcome_of(agrees), message)


def repeat_attack(
    restored: Restored, metric: Metric, arrays: Mapping[str, np.ndarray], progress: Progress
) -> tuple[Check, np.ndarray]:
    """Run an attack again with the record's seed and compare image by image.

    Returns:
        The check, and which images are still classified correctly: bool [n].
    """
    record, name = restored.record, f"{metric.name}{AGAIN}"
    right = metric.measure(evaluation_of(restored, progress))["right"]
    stored, score = arrays.get(metric.name), record.metrics[metric.name].value
    assert score is not None
    found = f"{right.mean():.2%} now, {score:.2%} in the record"
    if is_stochastic(record):
        return Check(
            name, "not checked", f"{found}; the network is stochastic, so its outcomes change"
        ), right
    differing, comparison = _compare(right, score, stored)
    allowed = forgiven(record.dataset.evaluated_size, attacked=True)
    message = f"{found}; {comparison}, up to {allowed} forgiven"
    return Check(name, outcome_of(differing <= allowed), message), right


def _compare(right: np.ndarray, value: float, stored: np.ndarray | None) -> tuple[int, str]:
    """Number of images that differ from the record, and a description; from the scores without outcomes."""
    n = len(right)
    if stored is not None and len(stored) == n:
        differing = int((stored != right).sum())
        return differing, f"{differing} of {n} images differ"
    differing = round(abs(float(right.mean()) - value) * n)
    return differing, f"the number of correct images differs by {differing} of {n}"


def metric_to_repeat(name: str, record: Record) -> Metric:
    """The metric of an attack with the settings of the record.

    Raises:
        UserError: for an unknown attack, one that the record has no score of, or one whose settings have changed.
    """
    name = name.removeprefix(ROBUST_ACCURACY)
    if name not in ATTACKS and name != _AUTOATTACK:
        raise unknown_name("attack", name, [*ATTACKS, _AUTOATTACK])
    settings = record.battery.settings.get(f"{ROBUST_ACCURACY}{name}")
    metric: Metric = _autoattack(settings) if name == _AUTOATTACK else RobustAccuracy(name)
    score = record.metrics.get(metric.name)
    if score is None or score.value is None:
        known = ", ".join(one.removeprefix(ROBUST_ACCURACY) for one in record.metrics if is_attack(one))
        raise UserError(f"the record has no {metric.name} to compare with; it has {known or 'no attack'}")
    if settings is not None and settings != metric.settings():
        raise UserError(
            f"{metric.name} ran with other settings in battery version {record.battery.version} than it would "
            f"now ({settings} then, {metric.settings()} now); install the version that the record names"
        )
    return metric


def _autoattack(settings: Mapping[str, Any] | None) -> AutoAttack:
    """AutoAttack with the record's version, seed, batch size and passes, which determine its outcomes.

    Raises:
        UserError: when these are not settings of AutoAttack.
    """
    try:
        return AutoAttack(**(settings or {}))
    except TypeError:
        raise UserError(f"the record names settings that AutoAttack does not have: {settings}") from None
