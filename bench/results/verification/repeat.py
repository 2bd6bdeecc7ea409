"""Measure clean accuracy and attacks again with a record's weights, and compare image by image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from bench.attacks import ATTACKS
from bench.core.checks import SAME_LOGITS, moved_between
from bench.core.errors import UserError, unknown_name
from bench.core.names import AUTOATTACK, CLEAN_ACCURACY, ROBUST_ACCURACY
from bench.core.progress import Progress
from bench.core.record import Record
from bench.core.statistics import mcnemar
from bench.core.threat import Threat
from bench.evaluation.alarms.network import RANDOMIZED_OUTPUT
from bench.results.restore import Restored, evaluation_of
from bench.results.verification.check import (
    BATCH_SIZE,
    DISAGREEMENT,
    LEVEL,
    ON_BOUNDARY,
    OTHER_DRAWS,
    ROUNDING,
    Check,
    Findings,
    Unproven,
    disagreement,
    first_few,
    is_attack,
    is_mean_of,
    outcome_of,
)
from metrics import Metric
from metrics.accuracy.autoattack import AutoAttack
from metrics.accuracy.robust_accuracy import RobustAccuracy
from metrics.evaluation import Arrays, Evaluation

#: Suffixes of the check of an attack that ran again, on all images or on a sample.
AGAIN, SAMPLE = " again", " sample"
#: Images of a sample; AutoAttack, which takes many times the passes of any other attack, runs on the first ones.
SAMPLE_SIZE, AUTOATTACK_SAMPLE = 50, 20
_AUTOATTACK = AUTOATTACK.removeprefix(ROBUST_ACCURACY)


@torch.no_grad()
def moved(restored: Restored) -> float:
    """How far logits move between two passes now, relative to the largest: more than rounding if stochastic."""
    images, _ = restored.dataset.test.batch(slice(0, min(BATCH_SIZE, restored.record.dataset.evaluated_size)))
    return moved_between(restored.classifier(images), restored.classifier(images))


@torch.no_grad()
def repeat_clean_accuracy(
    restored: Restored, arrays: Mapping[str, np.ndarray], measured: dict[str, Arrays], moved: float
) -> Findings:
    """Measure the accuracy on the whole test set again; compare image by image where outcomes are stored.

    Only images on the decision boundary may differ, each with a probability of 1/2 at most: no other image's class
    depends on rounding. Of a stochastic network any image may, as much in the record's favor as against it.

    Args:
        arrays: as stored with the record.
        measured: gets the arrays of the clean accuracy, as the metric makes them.
        moved: how far logits move between two passes now.
    """
    yield from _check_randomness(restored.record, moved)
    score = restored.record.metrics.get(CLEAN_ACCURACY)
    if score is None or score.value is None:
        yield Check(CLEAN_ACCURACY, "not checked", "the record has none")
        return
    right, on_boundary = _outcomes(restored)
    n, stored = len(right), arrays.get(CLEAN_ACCURACY)
    differing, comparison = _compare(right, score.value, stored)
    if not is_mean_of(score.value, stored, n):
        p_value, why = 0.0, "the score is not the mean of its outcomes"
    elif moved > SAME_LOGITS and stored is not None:
        p_value, why = mcnemar(right, stored), "the network is stochastic; paired test"
    elif moved > SAME_LOGITS:
        between = int((_outcomes(restored)[0] != right).sum())
        p_value = _either_way(differing, between)
        why = f"the network is stochastic; {between} differ between two passes now"
    else:
        beyond = stored is not None and bool(((stored != right) & ~on_boundary).any())
        p_value = 0.0 if beyond else disagreement(differing, int(on_boundary.sum()), ON_BOUNDARY)
        why = f"{on_boundary.sum()} lie on the boundary within rounding ({ROUNDING:g})"
    if differing == 0 and moved <= SAME_LOGITS:
        measured[CLEAN_ACCURACY] = {"right": right, "between_passes": np.array([moved], dtype=np.float32)}
    found = f"{right.mean():.2%} now, {score.value:.2%} in the record, on {n} images"
    message = f"{found}; {comparison}, {why}" + (f": p = {p_value:.2g}" if differing else "")
    yield Check(CLEAN_ACCURACY, outcome_of(p_value >= LEVEL), message)


def _outcomes(restored: Restored) -> tuple[np.ndarray, np.ndarray]:
    """Which test images are right, and which lie on the decision boundary within rounding: both bool [n]."""
    test, parts = restored.dataset.test, []
    for at in range(0, len(test), BATCH_SIZE):
        images, labels = test.batch(slice(at, at + BATCH_SIZE))
        parts.append(misclassified(restored.classifier(images), labels))
    wrong, on_boundary = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
    return ~wrong, on_boundary


def _either_way(difference: int, between: int) -> float:
    """The probability that two passes differ by so many correct images, or more, where `between` images change.

    Each of them is as likely to change from right to wrong as the other way: a two-sided exact sign test.
    """
    if difference == 0:
        return 1.0
    one_way = (between + difference + 1) // 2
    return min(1.0, 2 * float(stats.binom.sf(one_way - 1, between, 0.5)))


def _check_randomness(record: Record, moved: float) -> Findings:
    """A record that calls a stochastic network deterministic is contradicted."""
    silent = any(alarm.name == RANDOMIZED_OUTPUT and alarm.raised is False for alarm in record.alarms)
    if silent and moved > SAME_LOGITS:
        found = f"logits differ by {moved:.1e} between two passes now, the record says that they do not"
        yield Check(f"alarm {RANDOMIZED_OUTPUT}", "mismatch", found)


def misclassified(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Which images are misclassified, and which lie on the decision boundary within rounding: both bool [n]."""
    label_logit = logits.gather(1, labels[:, None]).squeeze(1)
    largest_other = logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    scale = logits.abs().amax(dim=1).clamp_min(1e-12)
    return logits.argmax(dim=1) != labels, (label_logit - largest_other).abs() <= ROUNDING * scale


@dataclass(frozen=True)
class _StartsOf(Threat):
    """A threat whose random starts for some images are those that they get among all images.

    With it, an attack on a sample takes the same steps as in the evaluation of all.
    """

    images: Tensor
    rows: Tensor

    def random_start(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """The starts of the sampled images, drawn with all others."""
        return Threat(self.norm, self.eps).random_start(self.images, generator)[self.rows]


def sampled(evaluation: Evaluation, rows: np.ndarray) -> Evaluation:
    """The evaluation of some images, by position, with the random starts that they have among all images."""
    index = torch.from_numpy(rows).to(evaluation.device)
    threat = evaluation.threat
    return replace(
        evaluation,
        images=evaluation.images[index],
        labels=evaluation.labels[index],
        test_index=evaluation.test_index[torch.from_numpy(rows)],
        threat=_StartsOf(threat.norm, threat.eps, images=evaluation.images, rows=index),
    )


def repeat_attacks(
    restored: Restored,
    metrics: Sequence[Metric],
    arrays: Mapping[str, np.ndarray],
    measured: dict[str, Arrays],
    progress: Progress,
    *,
    draw: np.random.Generator | None,
    stochastic: bool,
) -> Findings:
    """Run the given attacks again on all images, and every other attack of the record on a sample.

    Args:
        metrics: the attacks to run on all images.
        arrays: as stored with the record.
        measured: gets the arrays of each attack that ran on all images and agrees with the record.
        draw: source of the sample; None takes none.
        stochastic: whether logits move between two passes now.
    """
    record, evaluation = restored.record, evaluation_of(restored, progress)
    n = record.dataset.evaluated_size
    for metric in metrics:
        yield from _repeat(evaluation, metric, record, arrays, np.arange(n), measured, AGAIN, stochastic)
    named = {metric.name for metric in metrics}
    others = [
        name
        for name, score in record.metrics.items()
        if is_attack(name) and score.value is not None and name not in named
    ]
    if draw is None:
        if others:
            yield Check("attacks", "not checked", f"not run again: {', '.join(others)}")
        return
    order = draw.permutation(n)
    for name in others:
        size = min(n, AUTOATTACK_SAMPLE if name == AUTOATTACK else SAMPLE_SIZE)
        try:
            metric = metric_to_repeat(name, record)
        except UserError as error:
            yield Check(f"{name}{SAMPLE}", "not checked", str(error))
            continue
        rows = np.sort(order[:size])
        yield from _repeat(evaluation, metric, record, arrays, rows, measured, SAMPLE, stochastic)


def _repeat(
    evaluation: Evaluation,
    metric: Metric,
    record: Record,
    arrays: Mapping[str, np.ndarray],
    rows: np.ndarray,
    measured: dict[str, Arrays],
    suffix: str,
    stochastic: bool,
) -> Findings:
    """Run one attack again on the images `rows`, with the record's seed, and compare the outcomes."""
    name, n = metric.name, record.dataset.evaluated_size
    score, stored = record.metrics[name].value, arrays.get(name)
    assert score is not None
    complete = len(rows) == n
    found = metric.measure(evaluation if complete else sampled(evaluation, rows))
    right = found["right"]
    part = f"all {n} images" if complete else f"a sample of {len(rows)} of {n} images"
    said = score if stored is None else float(stored[rows].mean())
    now = f"{part}: {right.mean():.2%} now, {said:.2%} in the record"
    if stored is None and not complete:
        count = stats.hypergeom(n, round(score * n), len(rows))
        p_value = min(1.0, 2 * float(min(count.cdf(right.sum()), count.sf(right.sum() - 1))))
        message = f"{now}, p = {p_value:.2g}; outcomes are not stored, so the sample bounds the score alone"
        yield Check(f"{name}{suffix}", "mismatch" if p_value < LEVEL else "not checked", message)
        return
    differing, comparison = _compare(right, score, stored if stored is None else stored[rows])
    if stochastic and stored is not None:
        p_value, why = mcnemar(right, stored[rows]), "the network is stochastic; paired test"
    else:
        other_draws = name == AUTOATTACK and not complete
        rate = OTHER_DRAWS if other_draws else DISAGREEMENT
        p_value, why = disagreement(differing, len(rows), rate), f"rounding changes {rate:.1%}"
    agrees = p_value >= LEVEL
    message = f"{now}; {comparison}" + (f" ({why}: p = {p_value:.2g})" if differing else "")
    yield Check(f"{name}{suffix}", outcome_of(agrees), message)
    if agrees and complete:
        measured[name] = found
    if agrees and differing:
        yield Unproven((f"arrays.{name}",), f"{comparison}, which rounding may have done")
    if agrees and not complete:
        yield Unproven(
            (f"arrays.{name}",), f"the outcomes of {n - len(rows)} of {n} images did not run again"
        )


def _compare(right: np.ndarray, value: float, stored: np.ndarray | None) -> tuple[int, str]:
    """Number of images that differ from the record, and a description; from the scores without outcomes."""
    n = len(right)
    if stored is not None and len(stored) == n:
        where = np.flatnonzero(stored != right)
        which = f" (at {first_few([str(at) for at in where])})" if len(where) else ""
        return len(where), f"{len(where)} of {n} images differ{which}"
    differing = round(abs(float(right.mean()) - value) * n)
    return differing, f"the number of correct images differs by {differing} of {n}"


def metric_to_repeat(name: str, record: Record) -> Metric:
    """The metric of an attack with the settings of the record.

    Raises:
        UserError: for an unknown attack, one that the record has no score of, or one whose settings have changed.
    """
    name = name.removeprefix(ROBUST_ACCURACY)
    if name not in ATTACKS and name != _AUTOATTACK:
        raise unknown_name("attack", name, [*ATTACKS, _AUTOATTACK])
    settings = record.battery.settings.get(f"{ROBUST_ACCURACY}{name}")
    metric: Metric = _autoattack(settings) if name == _AUTOATTACK else RobustAccuracy(name)
    score = record.metrics.get(metric.name)
    if score is None or score.value is None:
        known = ", ".join(one.removeprefix(ROBUST_ACCURACY) for one in record.metrics if is_attack(one))
        raise UserError(f"the record has no {metric.name} to compare with; it has {known or 'no attack'}")
    if settings is not None and settings != metric.settings():
        raise UserError(
            f"{metric.name} ran with other settings in battery version {record.battery.version} than it would "
            f"now ({settings} then, {metric.settings()} now); install the version that the record names"
        )
    return metric


def _autoattack(settings: Mapping[str, Any] | None) -> AutoAttack:
    """AutoAttack with the record's version, seed, batch size and passes, which determine its outcomes.

    Raises:
        UserError: when these are not settings of AutoAttack.
    """
    try:
        return AutoAttack(**(settings or {}))
    except TypeError:
        raise UserError(f"the record names settings that AutoAttack does not have: {settings}") from None
