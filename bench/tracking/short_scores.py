"""The scores that are metrics in MLflow, under short names; the others are in the tables beside the record."""

import csv
import io
from collections.abc import Iterable, Sequence

from bench.core.names import (
    CLEAN_ACCURACY,
    INCLUSION_RATIO,
    ROBUST_ACCURACY,
    TIME_PER_EPOCH,
    TIME_PER_EPOCH_RATIO,
    WORST_CASE,
)
from bench.core.record import Record

#: Scores whose short name is not the end of their own.
SHORT = {
    CLEAN_ACCURACY: "clean",
    INCLUSION_RATIO: "inclusion",
    TIME_PER_EPOCH: "seconds_per_epoch",
    TIME_PER_EPOCH_RATIO: "time_ratio",
}
#: Significant digits, which fit MLflow's columns; records and tables have all.
DIGITS = 4
#: What is logged of every epoch; the rest is in the table of epochs.
EPOCH = (
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "validation_robust_accuracy",
)


def short_scores(record: Record) -> dict[str, float]:
    """The main scores: accuracies under each attack, and every other score that is no part of another; rounded."""
    found: dict[str, float] = {}
    # MLflow lists scores in the order in which they were logged, and compares by the first.
    for name in sorted(record.metrics, key=lambda name: (name != WORST_CASE, name not in SHORT, name)):
        value = record.metrics[name].value
        short = SHORT.get(name, name.removeprefix(ROBUST_ACCURACY))
        if value is not None and "/" not in short:
            found[f"score/{name}" if short in found else short] = float(f"{value:.{DIGITS}g}")
    return found


def tables(record: Record) -> dict[str, str]:
    """Everything measured, as CSV by file name: scores with their intervals, curves, epochs."""
    scores = [[name, s.value, s.low, s.high, s.n, s.unit] for name, s in record.metrics.items()]
    cost = record.cost.model_dump(exclude={"seconds_by_metric"}).items()
    scores += [[f"cost/{name}", value, None, None, None, ""] for name, value in cost if value is not None]
    points = [
        [name, p.x, p.value, p.low, p.high] for name, curve in record.curves.items() for p in curve.points
    ]
    columns = list(dict.fromkeys(key for row in record.history for key in row))
    epochs = [[row.get(column) for column in columns] for row in record.history]
    found = {
        "tables/scores.csv": _csv(["score", "value", "low", "high", "n", "unit"], scores),
        "tables/curves.csv": _csv(["curve", "x", "value", "low", "high"], points),
        "tables/epochs.csv": _csv(columns, epochs),
    }
    return {name: text for name, text in found.items() if text.count("\n") > 1}


def _csv(columns: list[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
