"""Run the metrics of a battery over a classifier, and the extra checks that its alarms call for."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from bench.core.guards import random_state_kept
from bench.core.names import WORST_CASE
from bench.core.record import Alarm, Curve, Score, Search
from bench.core.standing import needs_answer
from bench.evaluation.alarms import read_alarms
from bench.evaluation.battery import Battery
from bench.evaluation.extra_checks import announce, extra_checks, verdict
from bench.evaluation.inputs import as_classifier
from bench.evaluation.metric_answers import checked_arrays, checked_scores
from bench.evaluation.resume import FinishedMetric, FinishedMetrics
from bench.evaluation.shared_inputs import unchanged
from bench.evaluation.standard_network import find_standard, train_standard
from metrics.accuracy.worst_case import WorstCase, with_checks
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable


@dataclass
class Measurements:
    """The measurements of a battery, and their cost.

    Attributes:
        scores: by score name.
        arrays: by metric.
        curves: by name.
        alarms: those of the battery, then the verdict of the extra checks.
        seconds: wall-clock time by metric.
        passes: forward and backward passes by metric, in images.
    """

    scores: dict[str, Score] = field(default_factory=dict)
    arrays: dict[str, Arrays] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    alarms: list[Alarm] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    passes: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def forwards(self) -> int:
        """Forward passes of all metrics, in images."""
        return sum(forwards for forwards, _ in self.passes.values())

    @property
    def backwards(self) -> int:
        """Backward passes of all metrics, in images."""
        return sum(backwards for _, backwards in self.passes.values())


def run_battery(
    evaluation: Evaluation,
    battery: Battery,
    finished: FinishedMetrics | None = None,
    search: Search | None = None,
) -> Measurements:
    """Run every metric of a battery in order, then read the alarms.

    Args:
        evaluation: gets the arrays of each metric.
        battery: whose metrics to run.
        finished: metrics on disk, which are not run again; None keeps nothing on disk.
        search: which chose the network's hyper-parameters, for the alarm about it.
    """
    measured = Measurements()
    _run(battery.metrics, evaluation, measured, finished)
    measured.alarms = read_alarms(evaluation.measured, evaluation.dataset.num_classes, search)
    return measured


def answer_alarms(
    evaluation: Evaluation,
    measured: Measurements,
    finished: FinishedMetrics | None = None,
    transfer_from: nn.Module | Path | None = None,
    train: bool = False,
) -> None:
    """Where an alarm was raised, run the extra checks, add their scores and a verdict, and lower the worst case.

    Args:
        evaluation: after the battery.
        measured: by the battery; gets scores `suspicious/...` and the alarm "extra checks".
        finished: as for `run_battery`.
        transfer_from: a standardly trained network, or a folder of results that may have one.
        train: train a small one where there is none.
    """
    if not needs_answer(measured.alarms, measured.scores):
        return
    if isinstance(transfer_from, Path):
        standard = find_standard(transfer_from, evaluation.dataset)
    else:
        standard = as_classifier(transfer_from, evaluation.dataset) if transfer_from is not None else None
    if standard is None and train:
        standard = train_standard(evaluation.dataset, evaluation.progress)
    # All survivors, so that the worst case is that of all attacked images.
    checks = extra_checks(measured.alarms, standard, len(evaluation.images))
    raised = ", ".join(alarm.name for alarm in measured.alarms if alarm.raised)
    evaluation.progress.say(
        f"alarms raised: {raised}; {announce(checks, evaluation)}; --no-escalate leaves them out"
    )
    _run(checks, evaluation, measured, finished)
    measured.alarms = [*measured.alarms, verdict(evaluation.measured, measured.alarms)]
    if WORST_CASE in evaluation.measured:
        worst = with_checks(evaluation.measured[WORST_CASE], evaluation.measured)
        evaluation.measured[WORST_CASE] = worst
        measured.scores |= WorstCase().reduce(worst)


def _run(
    metrics: Iterable[Metric],
    evaluation: Evaluation,
    measured: Measurements,
    finished: FinishedMetrics | None,
) -> None:
    for metric in metrics:
        result = finished.load(metric) if finished else None
        if result is None:
            result = _measure(metric, evaluation, finished)
            if finished:
                finished.save(metric, result)
        measured.seconds[metric.name] = result.seconds
        measured.passes[metric.name] = result.forwards, result.backwards
        if result.reason:
            measured.scores |= _missing(metric, result.reason)
            continue
        evaluation.measured[metric.name] = result.arrays
        measured.scores |= checked_scores(metric, result.arrays)
        measured.curves |= metric.curves(result.arrays)
    measured.arrays = evaluation.measured


def _missing(metric: Metric, reason: str) -> dict[str, Score]:
    """Every score of a metric that cannot be measured, without a value; only the main score's unit is known."""
    others = {name: Score(value=None, unit="", reason=reason) for name in metric.names()}
    return others | {metric.name: metric.score(None, reason=reason)}


def _measure(metric: Metric, evaluation: Evaluation, finished: FinishedMetrics | None) -> FinishedMetric:
    evaluation.scratch = finished.folder if finished else None
    before = evaluation.forwards, evaluation.backwards
    started = time.perf_counter()
    reason, arrays = "", {}
    try:
        # A seed of the metric's own, so that its draws do not depend on the metrics that ran before it.
        with (
            random_state_kept(evaluation.generator(metric.name).initial_seed()),
            unchanged(metric, evaluation),
        ):
            arrays = checked_arrays(metric, metric.measure(evaluation))
    except NotMeasurable as missing:
        reason = str(missing)
        evaluation.progress.say(f"{metric.name} left out: {reason}")
    seconds = time.perf_counter() - started
    return FinishedMetric(
        arrays, reason, seconds, evaluation.forwards - before[0], evaluation.backwards - before[1]
    )
