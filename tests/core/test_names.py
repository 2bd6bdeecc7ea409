"""Names of scores that several parts read, and names of files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core import names
from metrics import METRICS, get

METRIC_NAMES = [
    value
    for name, value in vars(names).items()
    if name.isupper()
    and isinstance(value, str)
    and not value.endswith(("/", ":"))
    and name not in ("OWN_DATA", "HYPERVOLUME")
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


@given(st.text(max_size=400))
def test_any_text_becomes_the_name_of_a_file(text: str) -> None:
    name = names.safe_name(text)
    assert Path(name).name == name != ".."
    assert len(name.encode()) <= names.MOST_BYTES_OF_NAME


def test_what_is_cut_from_a_long_name_still_counts() -> None:
    assert names.safe_name("漢" * 300) != names.safe_name("漢" * 301)
    assert names.safe_name("cnn6(width=0.5)") == "cnn6_width_0.5_"
