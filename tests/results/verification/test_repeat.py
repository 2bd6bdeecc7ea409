"""Clean accuracy measured again: what may differ, and what may not."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.core.checks import SAME_LOGITS
from bench.core.classifier import AnyClassifier
from bench.core.threat import Threat
from bench.data import Dataset, Split
from bench.results.restore import Restored
from bench.results.verification.repeat import repeat_clean_accuracy
from tests.records import make_record

N = 100


def restored(right: np.ndarray, tied: int, value: float, *, noise: float = 0.0) -> Restored:
    """A network that is right on the given images, the first `tied` of them by rounding alone."""
    images = torch.zeros(N, 1, 1, 2, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.from_numpy(right) * 255
    images[:tied, 0, 0, 1] = 255

    def classify(batch: Tensor) -> Tensor:
        side, on_boundary = batch.flatten(1).T
        margin = (2 * side - 1) * torch.where(on_boundary > 0.5, 1e-6, 1.0)
        margin = margin + noise * torch.randn(len(batch))
        return torch.stack([torch.ones(len(batch)), 1 + margin], dim=1)

    score = {"value": value, "low": 0.0, "high": 1.0, "n": N, "unit": "fraction"}
    dataset = Dataset("toy", ("a", "b"), *[Split(images, torch.ones(N, dtype=torch.long))] * 3)
    record = make_record(metrics={"clean_accuracy": score}, alarms=[])
    return Restored(record, Path(), cast(AnyClassifier, classify), dataset, Threat.parse("0.1"))


def outcome(network: Restored, arrays: dict[str, np.ndarray], moved: float = 0.0) -> str:
    measured: dict[str, Any] = {}
    torch.manual_seed(0)
    (check,) = repeat_clean_accuracy(network, arrays, measured, moved)
    return check.outcome  # type: ignore[union-attr]


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize(
    ("tied", "differing", "expected"),
    [
        (0, 0, "match"),
        (0, 1, "mismatch"),
        (3, 3, "match"),
        (3, 4, "mismatch"),
        (10, 5, "match"),
        # All of seven or ten coins on one side have a probability below 1 %.
        (7, 7, "mismatch"),
        (10, 10, "mismatch"),
    ],
)
def test_as_many_images_may_differ_as_coins_would(
    tied: int, differing: int, expected: str, stored: bool
) -> None:
    now = np.arange(N) >= 20
    then = now.copy()
    then[:differing] = True
    arrays = {"clean_accuracy": then} if stored else {}
    assert outcome(restored(now, tied, float(then.mean())), arrays) == expected


def test_an_image_off_the_boundary_may_not_differ() -> None:
    now = np.arange(N) >= 20
    then = now.copy()
    then[[0, 19]] = True
    assert outcome(restored(now, 5, float(then.mean())), {"clean_accuracy": then}) == "mismatch"


@pytest.mark.parametrize("stored", [True, False])
def test_a_stochastic_network_may_differ_as_much_one_way_as_the_other(stored: bool) -> None:
    now = np.arange(N) >= 20
    chance = np.where(now, 0.84, 0.16)  # that a margin of ±1 with noise of deviation 1 is positive
    then = np.random.default_rng(1).random(N) < chance
    arrays = {"clean_accuracy": then} if stored else {}
    assert outcome(restored(now, 0, float(then.mean()), noise=1.0), arrays, 2 * SAME_LOGITS) == "match"
    then = np.ones(N, bool)
    arrays = {"clean_accuracy": then} if stored else {}
    assert outcome(restored(now, 0, 1.0, noise=1.0), arrays, 2 * SAME_LOGITS) == "mismatch"


def test_a_score_that_is_not_the_mean_of_its_outcomes_is_a_mismatch() -> None:
    now = np.arange(N) >= 20
    assert outcome(restored(now, 0, 0.9), {"clean_accuracy": now}) == "mismatch"
    assert outcome(restored(now, 0, 0.9), {"clean_accuracy": now}, 2 * SAME_LOGITS) == "mismatch"
