"""Scores computed again from stored arrays, by the rules of the battery's version."""

from dataclasses import asdict
from typing import Any

import numpy as np

from bench.core.record import Record
from bench.evaluation.battery import BATTERY_VERSION
from bench.results.verification.recompute import check_scores_and_curves
from metrics.curvature.detection import Detection
from tests.records import make_record

METRIC = Detection(images=60, directions=4)


def arrays(n: int = 60) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "fooled": np.ones(n, bool),
        "label": np.zeros(n, int),
        "clean_score": generator.normal(0, 1, n),
        "perturbed_score": generator.normal(1, 1, n),
        "recovered": np.zeros(n, int),
        "h": np.array([0.1]),
    }


def record(version: str, **changes: dict[str, Any]) -> Record:
    scores = {name: asdict(score) for name, score in METRIC.reduce(arrays()).items()}
    metrics = {name: {**score, **changes.get(name, {})} for name, score in scores.items()}
    battery = {"name": "selected-1", "version": version, "settings": {METRIC.name: METRIC.settings()}}
    return make_record(metrics=metrics, battery=battery, curves={})


def outcomes(version: str, **changes: dict[str, Any]) -> dict[str, tuple[str, str]]:
    found = check_scores_and_curves(record(version, **changes), {METRIC.name: arrays()})
    return {check.name: (check.outcome, check.message) for check in found if hasattr(check, "name")}


def test_an_earlier_battery_version_may_have_other_intervals_and_true_positive_rates() -> None:
    changes = {"detection_auc": {"low": 0.5}, "detection/tpr_at_5fpr": {"value": 0.9, "high": 0.95}}
    found = outcomes("2", **changes)
    assert found["scores"][0] == "match"
    outcome, message = found["scores by other rules"]
    assert outcome == "not checked"
    assert message.startswith("battery version 2 ")
    named = "detection_auc (interval), detection/tpr_at_5fpr (value), detection/tpr_at_5fpr (interval)"
    assert message.endswith(f": {named}")
    assert outcomes(BATTERY_VERSION, **changes)["scores"][0] == "mismatch"


def test_no_battery_version_has_another_detection_auc() -> None:
    for version in ("2", BATTERY_VERSION):
        found = outcomes(version, detection_auc={"value": 0.99, "high": 1.0})
        assert found["scores"][0] == "mismatch"
        assert "detection_auc is 0.99 in the record" in found["scores"][1]
