"""The lowest number known of a network that was evaluated several times."""

from collections.abc import Sequence
from dataclasses import replace

from bench.core.names import WORST_CASE
from bench.core.standing import CHECKED, lowered, verdict_of, with_worst_case
from leaderboards.result import Result


def lowest_known(result: Result, older: Sequence[Result]) -> Result:
    """A result with what older evaluations of the same weights broke, and the answer to its alarms."""
    weights = result.record.files.get("weights")
    for other in older:
        theirs = other.record.files.get("weights")
        if weights is None or theirs is None or theirs.sha256 != weights.sha256:
            continue
        record, outcomes = result.record, result.outcomes
        score, before = record.metrics.get(WORST_CASE), other.record.metrics.get(WORST_CASE)
        if score is None or before is None or score.value is None or before.value is None:
            continue
        left = round(before.value * (score.n or 0))
        if outcomes is not None and other.outcomes is not None:
            outcomes = outcomes & other.outcomes
            left = int(outcomes.sum())
        elif before.value < score.value:
            outcomes = None
        record = with_worst_case(record, lowered(score, left, "an earlier evaluation of the same weights"))
        if verdict_of(record) is None and (verdict := verdict_of(other.record)) is not None:
            metrics = {**record.metrics, CHECKED: other.record.metrics[CHECKED]}
            record = record.model_copy(update={"alarms": [*record.alarms, verdict], "metrics": metrics})
        result = replace(result, record=record, outcomes=outcomes)
    return result
