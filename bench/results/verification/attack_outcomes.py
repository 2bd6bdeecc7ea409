"""Check robust accuracies against the outcomes and the adversarial images that are stored with a record."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from bench.core.names import ROBUST_ACCURACY, SUSPICIOUS, WORST_CASE
from bench.core.record import Record
from bench.evaluation.battery import CHECKS_APART
from bench.evaluation.files import unflatten
from bench.results.restore import Restored
from bench.results.verification.check import (
    BATCH_SIZE,
    LEVEL,
    ROUNDING,
    Check,
    Outcome,
    disagreement,
    is_attack,
    is_mean_of,
    outcome_of,
)
from bench.results.verification.repeat import misclassified
from metrics.accuracy.worst_case import with_checks

NO_OUTCOMES = "its outcomes are not stored, so its score is not checked; --attacks runs it again"


def check_attacks(
    restored: Restored,
    arrays: Mapping[str, np.ndarray],
    examples: Mapping[str, np.ndarray],
    repeated: Mapping[str, np.ndarray],
    *,
    stochastic: bool,
) -> Iterator[Check]:
    """Check for each attack that the score follows from its outcomes and that its stored images are misclassified.

    Stored images bound a score from above and do not determine it. Without stored outcomes, a score is checked by
    running the attack again or not at all.

    Args:
        arrays, examples: as stored with the record.
        repeated: outcomes bool [n] of the attacks that ran again and agreed with the record.
        stochastic: whether logits move between two passes, so that a stored image may be classified correctly.
    """
    record = restored.record
    for name, score in record.metrics.items():
        if not name.startswith(ROBUST_ACCURACY) or name == WORST_CASE or score.value is None:
            continue
        outcomes, problems, found = arrays.get(name), [], []
        if outcomes is not None:
            if is_mean_of(score.value, outcomes, record.dataset.evaluated_size):
                found.append("the score follows from its outcomes")
            else:
                problems.append(f"its outcomes give {outcomes.mean():.2%}, the record says {score.value:.2%}")
        if name in examples.get("attack", ()):
            wrong, description = _check_examples(restored, name, outcomes, examples, stochastic)
            problems += wrong
            found.append(description)
            n, misclassified = record.dataset.evaluated_size, int((examples["attack"] == name).sum())
            if score.value > 1 - (misclassified - 0.5) / n:
                problems.append(
                    f"{misclassified} of {n} images are misclassified, the record says {score.value:.2%}"
                )
        if outcomes is None:
            found.append("its outcomes are not stored; it ran again" if name in repeated else NO_OUTCOMES)
        outcome: Outcome = "match" if outcomes is not None or name in repeated else "not checked"
        yield Check(name, "mismatch" if problems else outcome, "; ".join(problems or found))


def _check_examples(
    restored: Restored,
    name: str,
    outcomes: np.ndarray | None,
    examples: Mapping[str, np.ndarray],
    stochastic: bool,
) -> tuple[list[str], str]:
    """The problems of an attack's stored images, and a description for the case that there are none."""
    rows = np.flatnonzero(examples["attack"] == name)
    index, device = examples["test_index"][rows], restored.dataset.test.images.device
    n = len(rows)
    if len(np.unique(index)) < n or index.min() < 0 or index.max() >= restored.record.dataset.evaluated_size:
        return [f"its {n} stored images do not belong to {n} attacked test images"], ""
    images, labels = restored.dataset.test.batch(torch.from_numpy(index).to(device))
    adversarial = torch.from_numpy(examples["image"][rows]).to(device)
    if adversarial.shape != images.shape or adversarial.dtype != torch.float32:
        found = f"{adversarial.dtype} {tuple(adversarial.shape)}"
        return [f"its stored images are {found}, not {tuple(images.shape)}"], ""
    allowed = restored.threat.allows(adversarial, images)
    logits = torch.cat([restored.classifier(batch) for batch in adversarial.split(BATCH_SIZE)])
    wrong, on_boundary = misclassified(logits, labels)
    problems = []
    if not bool(allowed.all()):
        outside = int((~allowed).sum())
        problems.append(
            f"{outside} of {n} stored images lie outside the pixel box or the {restored.threat} ball"
        )
    right = int((~wrong & ~on_boundary).sum())
    if right and not stochastic:
        problems.append(f"{right} of {n} stored images are classified correctly")
    if outcomes is not None and bool(outcomes[index].any()):
        problems.append(
            "the record counts an image as robust whose stored adversarial image is misclassified"
        )
    undecided = int((~wrong & on_boundary).sum())
    tail = f", {undecided} of them on the boundary within rounding ({ROUNDING:g})" if undecided else ""
    return problems, f"{n} stored images lie inside box and ball and are misclassified{tail}"


def check_worst_case(
    record: Record, arrays: Mapping[str, np.ndarray], repeated: Mapping[str, np.ndarray]
) -> Iterator[Check]:
    """Check that the worst case follows from the outcomes of all attacks and is not above any attack's score.

    Args:
        arrays: as stored with the record.
        repeated: outcomes bool [n] of the attacks that ran again and agreed with the record.
    """
    n, worst_case, stored = (
        record.dataset.evaluated_size,
        record.metrics.get(WORST_CASE),
        arrays.get(WORST_CASE),
    )
    scores = {name: score.value for name, score in record.metrics.items() if is_attack(name)}
    values = {name: value for name, value in scores.items() if value is not None}
    if worst_case is None or worst_case.value is None:
        return
    value = worst_case.value
    outcomes = {**repeated, **{name: array for name, array in arrays.items() if is_attack(name)}}
    lowest = min(values, key=lambda name: values[name], default=None)
    if lowest is not None and value > values[lowest] + 0.5 / n:
        yield Check(WORST_CASE, "mismatch", f"{value:.2%}, above {lowest} with {values[lowest]:.2%}")
        return
    missing = sorted(values.keys() - outcomes.keys())
    if missing or not outcomes:
        message = (
            f"it cannot be computed: the outcomes of {', '.join(missing) or 'all attacks'} are not stored"
        )
        yield Check(WORST_CASE, "not checked" if is_mean_of(value, stored, n) else "mismatch", message)
        return
    computed = np.logical_and.reduce(list(outcomes.values()))
    if record.battery.version not in CHECKS_APART:
        checks = {name: own for name, own in unflatten(arrays).items() if name.startswith(SUSPICIOUS)}
        computed = with_checks({"right": computed}, checks)["right"]
    if any(name not in arrays for name in outcomes):
        differing = round(abs(float(computed.mean()) - value) * n)
        agrees = disagreement(differing, n) >= LEVEL and is_mean_of(value, stored, n)
    else:
        agrees = is_mean_of(value, computed, n) and (stored is None or bool((computed == stored).all()))
    verb, lower = "follows" if agrees else "does not follow", _now_lower(stored, repeated)
    yield Check(
        WORST_CASE,
        outcome_of(agrees),
        f"it {verb} from the outcomes of {len(outcomes)} attacks{lower}",
    )


def _now_lower(stored: np.ndarray | None, repeated: Mapping[str, np.ndarray]) -> str:
    """What the attacks that ran again broke beside what the record says: the lowest number known now."""
    if stored is None or not repeated:
        return ""
    known = np.logical_and.reduce([stored, *repeated.values()])
    lower = int(stored.sum()) - int(known.sum())
    return f"; with what ran again, {known.mean():.2%} ({lower} fewer)" if lower else ""
