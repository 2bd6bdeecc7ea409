"""What answers alarms in a run, and what is said of its records."""

from pathlib import Path

from torch import nn

from bench.core.names import AUTOATTACK, CLEAN_ACCURACY, PGD20, WORST_CASE
from bench.core.progress import Progress
from bench.core.record import Record
from bench.core.standing import NO_SIGNAL, standing
from bench.data import Dataset
from bench.evaluation.standard_network import standard_from
from bench.runs.config import RunConfig


def transfer_source(config: RunConfig, dataset: Dataset) -> nn.Module | Path:
    """The standard network that adversarial images are transferred from, or the folder to look for one in.

    Raises:
        UserError: when the network that was given cannot be loaded.
    """
    return standard_from(config.transfer_from, dataset) if config.transfer_from else config.out


def say_result(record: Record, progress: Progress) -> None:
    """Say a record in one line, and what to change where there was nothing to measure."""
    progress.say(summary(record))
    for alarm in record.alarms:
        if alarm.name == NO_SIGNAL and alarm.raised:
            progress.say(f"{NO_SIGNAL}: {alarm.message}")


def summary(record: Record) -> str:
    """Summarize a record in one line."""
    stands = standing(record)
    names = {
        "clean": CLEAN_ACCURACY,
        "PGD-20": PGD20,
        "AutoAttack": AUTOATTACK,
        "worst case": WORST_CASE,
    }
    parts = [
        f"{label} ({score.value:.1%})"
        if name == WORST_CASE and stands.in_doubt
        else f"{label} {score.value:.1%}"
        for label, name in names.items()
        if (score := record.metrics.get(name)) and score.value is not None
    ]
    checked = any(alarm.raised is not None for alarm in record.alarms)
    alarms = f"; {stands}" if stands.raised or checked else "; no alarm could be checked"
    if not parts:
        values = {name: score.value for name, score in record.metrics.items() if score.value is not None}
        parts = [f"{name} {value:.3g}" for name, value in list(values.items())[:3]] or [
            "no score has a value"
        ]
    return f"{record.defense.name} seed {record.seed}: {', '.join(parts)}{alarms}"
