"""The networks of a predictors study: which there are, and what was measured of each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.core.errors import UserError
from bench.core.names import CLEAN_ACCURACY, PGD20, PRS_RATIO, WORST_CASE
from bench.core.record import Record, read_arrays
from bench.core.standing import standing
from bench.runs.config import RunConfig
from bench.study.ended import EndedTraining
from bench.study.indicators import indicators
from bench.study.spec import PredictorsStudy
from defenses import get as get_defense
from leaderboards.result import read_result
from metrics import METRICS, get

#: Metrics that read regions of the training images, which the first of them computes and pays for.
_SHARED = ("inclusion_ratio", "major_region/share", "region_health/live_units")


@dataclass(frozen=True)
class Network:
    """One network with its robustness and its indicators.

    Attributes:
        group: of the study's file.
        title: names it for people.
        stratum: data set and threat; networks of different ones are never compared.
        family: of its defense.
        standard: trained without a defense.
        broken: held out of everything but the question whom it fools.
        robustness: worst case over all attacks and extra checks.
        survived: which attacked images nothing broke, bool [n].
        pgd20: which survived PGD-20, bool [n].
        scores: score → value, of those that have one.
        cost: score → forward passes, a backward pass counted as two; `PGD20` is that of PGD-20 on all n images.
        left_out: why it is in no number; "" where it is.
    """

    group: str
    title: str
    stratum: str
    family: str
    standard: bool
    broken: bool
    robustness: float
    survived: np.ndarray
    pgd20: np.ndarray
    scores: Mapping[str, float]
    cost: Mapping[str, float]
    left_out: str = ""


@dataclass
class Measured:
    """All networks of a study that ended.

    Attributes:
        failures: networks that were not trained or measured, each in one line.
    """

    networks: list[Network] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PlannedNetwork:
    """One network of a study.

    Attributes:
        label: names it within the study, for people.
    """

    group: str
    label: str
    config: RunConfig


def plan_networks(study: PredictorsStudy, places: dict[str, Any]) -> Iterator[PlannedNetwork]:
    """Every network of a study, group by group.

    Args:
        study: the study.
        places: `out` and `data_dir`.
    """
    for group, configs in {**study.groups, **study.broken}.items():
        for config in configs:
            words = [config.dataset, config.model, config.defense, config.recipe.removeprefix("paper,")]
            label = f"{' '.join(words)}, {config.epochs or 'the usual'} epochs, seed {config.seeds[0]}"
            yield PlannedNetwork(group, label, config.model_copy(update=places))


def read_networks(
    study: PredictorsStudy, planned: Sequence[PlannedNetwork], trained: Sequence[EndedTraining]
) -> Measured:
    """The networks of a study whose trainings have ended.

    Args:
        study: the study.
        planned: its networks.
        trained: what became of each.
    """
    result = Measured()
    for item, each in zip(planned, trained, strict=True):
        if each.failure:
            result.failures.append(f"{each.label}: {each.failure}")
            continue
        network, record = read_network(each.path, item.label, item.group, study)
        result.networks.append(network)
        result.records.append(record)
    return result


def read_network(path: Path, title: str, group: str, study: PredictorsStudy) -> tuple[Network, Record]:
    """A network from its record and the arrays beside it.

    Raises:
        UserError: when the record lacks the worst case, PGD-20 or their outcomes.
    """
    found = read_result(path)
    record = found.record
    worst, arrays = record.metrics.get(WORST_CASE), read_arrays(path, record, [PGD20])
    if worst is None or worst.value is None or found.outcomes is None or PGD20 not in arrays:
        raise UserError(f"{path}: the record has no worst case or no outcomes of PGD-20 for each image")
    network = Network(
        group=group,
        title=title,
        stratum=f"{record.dataset.name} {record.threat.norm}:{record.threat.eps}",
        family=get_defense(record.defense.name).family,
        standard=record.defense.name == "standard",
        broken=group in study.broken,
        robustness=worst.value,
        survived=found.outcomes,
        pgd20=arrays[PGD20],
        scores={name: score.value for name, score in record.metrics.items() if score.value is not None},
        cost=costs(record),
        left_out=_left_out(record, group, study),
    )
    return network, record


def _left_out(record: Record, group: str, study: PredictorsStudy) -> str:
    clean = record.metrics[CLEAN_ACCURACY].value
    if clean is None or clean < study.least_accuracy:
        return f"clean accuracy {clean or 0:.2f} is below {study.least_accuracy:g}"
    if group not in study.broken and standing(record).in_doubt:
        return f"its worst case is in doubt: {standing(record).finding}"
    return ""


def costs(record: Record) -> dict[str, float]:
    """Forward passes that each indicator and PGD-20 took, in images; a backward pass counts as two.

    A metric that reads the regions of the training images is charged for them, whichever computed them, and one
    that needs another metric's results for that metric.
    """
    passes = {
        name: forwards + 2 * backwards for name, (forwards, backwards) in record.cost.passes_by_metric.items()
    }
    owners = _owners()
    found = {PGD20: float(passes.get(PGD20, 0))}
    for indicator in indicators():
        owner, needs = owners[indicator.score]
        if owner in passes:
            shared = passes.get(PRS_RATIO, 0) if owner in _SHARED else 0
            found[indicator.score] = float(
                passes[owner] + shared + sum(passes.get(name, 0) for name in needs)
            )
    return found


def _owners() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Score → name of its metric, and names of the metrics that it needs."""
    metrics = [get(name) for name in METRICS.names() if METRICS.origin(name) == "built in"]
    return {score: (metric.name, metric.needs) for metric in metrics for score in metric.names()}
