"""Charts of a record and of its attacks."""

import numpy as np
import pytest

from bench.charts import Chart, Line, Rule
from bench.evaluation.record_charts import attacks, detection_roc, security, training
from tests.records import make_record


def lines(chart: Chart | None) -> list[Line]:
    assert chart is not None
    return [mark for panel in chart.panels for mark in panel.marks if isinstance(mark, Line)]


def test_the_attack_curve_counts_the_images_that_are_still_right() -> None:
    step = np.array([-1, 0, 1, 1, 3])
    record = make_record(battery={"settings": {"robust_accuracy/pgd20": {"steps": 4}}})
    made = attacks(record, {"robust_accuracy/pgd20": {"step": step}, "clean_accuracy": {}})
    (line,) = lines(made)
    assert (line.name, line.x, line.y) == ("PGD-20", [0, 1, 2, 3, 4], [80, 40, 40, 20, 20])


@pytest.mark.parametrize(
    ("right", "restart", "expected"),
    [
        # The random start breaks image 1, which is right; the whole test set has one image more.
        ([1, 1, 1, 1, 1, 0], None, 100),
        ([1, 0, 1, 1, 1, 0], [-1, 0, 0, 0, 0], 80),
        (None, [-1, 0, 0, 0, 0], 100),
        (None, [-1, -1, 0, 0, 0], 80),
        (None, None, None),
    ],
)
def test_what_a_random_start_breaks_is_right_without_attack(
    right: list[int] | None, restart: list[int] | None, expected: float | None
) -> None:
    attack = {"step": np.array([-1, 0, 1, 1, 3])} | ({"restart": np.array(restart)} if restart else {})
    clean = {"right": np.array(right, bool)} if right else {}
    made = attacks(make_record(), {"robust_accuracy/pgd20": attack, "clean_accuracy": clean})
    assert made is not None
    rules = [mark for mark in made.panels[0].marks if isinstance(mark, Rule)]
    assert rules == ([] if expected is None else [Rule(name="without attack", y=expected)])


def test_the_roc_curve_is_that_of_the_scores() -> None:
    scores = {"clean_score": np.array([0.0, 1.0, np.nan]), "perturbed_score": np.array([0.5, 2.0, 3.0])}
    roc, _ = lines(detection_roc(make_record(), {"detection_auc": scores}))
    points = list(zip(roc.x, roc.y, strict=True))
    assert points == [(0, 0), (0, 50), (50, 50), (50, 100), (100, 100)]


def test_the_security_curve_shows_the_records_points_and_its_threat() -> None:
    points = [{"x": 0, "value": 0.9}, {"x": 0.1, "value": 0.2, "low": 0.1, "high": 0.3}]
    curves = {"security": {"x_label": "ε", "y_label": "", "points": points}}
    made = security(make_record(curves=curves))
    (line,) = lines(made)
    assert (line.x, line.y, line.low, line.high) == ([0, 0.1], [90, 20], [90, 10], [90, 30])
    assert made is not None
    (rule,) = [mark for mark in made.panels[0].marks if isinstance(mark, Rule)]
    assert rule.x == 8 / 255


def test_training_shows_the_epochs_that_were_validated() -> None:
    history = [
        {"epoch": 1, "train_accuracy": 0.5, "validation_accuracy": 0.4, "validation_robust_accuracy": None},
        {"epoch": 2, "train_accuracy": 0.6, "validation_accuracy": None, "validation_robust_accuracy": 0.1},
    ]
    train, clean, robust = lines(training(make_record(history=history)))
    assert (train.x, train.y) == ([1, 2], [50, 60])
    assert (clean.x, clean.y, robust.x, robust.y) == ([1], [40], [2], [10])
