"""Names of scores that several parts read."""

import pytest

from bench.core import names
from metrics import METRICS, get

METRIC_NAMES = [
    value
    for name, value in vars(names).items()
    if name.isupper() and isinstance(value, str) and not value.endswith(("/", ":")) and name != "OWN_DATA"
]


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_a_score_that_others_read_is_one_that_a_metric_gives(name: str) -> None:
    scores = {"detection_auc_calibrated": "detection_auc", "time_per_epoch_ratio": "time_per_epoch"}
    metric = scores.get(name, name)
    assert metric in METRICS.names()
    assert get(metric).name == metric


@pytest.mark.parametrize(
    ("name", "accuracy"),
    [
        (names.CLEAN_ACCURACY, True),
        (names.WORST_CASE, True),
        ("robust_accuracy/another", True),
        ("robust_accuracy_of_another", False),
        (names.PRS_RATIO, False),
    ],
)
def test_accuracies_are_told_by_name(name: str, accuracy: bool) -> None:
    assert names.is_accuracy(name) is accuracy
