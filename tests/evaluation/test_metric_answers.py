"""What a metric of someone else answers is checked, and refused in one line that says the fix."""

from typing import Any

import numpy as np
import pytest
import torch

from bench.core.errors import UserError
from bench.evaluation.metric_answers import checked_arrays, checked_scores
from metrics import Metric


class Answer(Metric):
    """Answers what it is told to."""

    name = "answer"

    def __init__(self, scores: Any) -> None:
        self.scores = scores

    def measure(self, evaluation: Any) -> Any:
        return {}

    def reduce(self, arrays: Any) -> Any:
        return self.scores(self)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (
            lambda own: {"answer": own.score(float("nan"))},
            r"value: .*finite number \(got nan\); where the quantity",
        ),
        (
            lambda own: {"answer": own.score(0.5, high=np.inf)},
            r"high: .*finite number .*self.score\(None, reason=",
        ),
        (lambda own: {"answer": 0.5}, r"must give scores by name, got 0.5; give self.score\(0.5\)"),
        (lambda own: 0.5, r"must give scores by name, got 0.5; return {self.name"),
    ],
)
def test_scores_are_finite_and_named(scores: Any, message: str) -> None:
    with pytest.raises(UserError, match=rf"metric 'answer': reduce\(\):? ?{message}"):
        checked_scores(Answer(scores), {})


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (np.zeros(3), "got array"),
        ({"x": torch.zeros(3)}, r"got Tensor for 'x'; give .detach\(\).cpu\(\).numpy"),
        ({"x": [1, 2]}, r"got list for 'x'; give numpy.asarray"),
        ({"x": np.array([None])}, "of numbers or text, got object for 'x'"),
    ],
)
def test_arrays_are_arrays(arrays: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked_arrays(Answer(None), arrays)


def test_a_score_that_is_not_defined_has_a_reason() -> None:
    scores = checked_scores(Answer(lambda own: {"answer": own.score(None, reason="no image")}), {})
    assert scores["answer"].reason == "no image"
