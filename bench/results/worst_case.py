"""The worst case of two candidates over the attacks that both were measured with."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from bench.core.names import CLEAN_ACCURACY, ROBUST_ACCURACY, WORST_CASE
from bench.results.accuracy import accuracy_of
from bench.results.candidates import Candidate
from leaderboards.columns import COLUMNS

_LABELS = {column.metric: column.title.removesuffix(" %") for column in COLUMNS} | {
    CLEAN_ACCURACY: "clean images",
    WORST_CASE: "the worst case of all attacks",
}


def over_common_attacks(a: Candidate, b: Candidate) -> tuple[Candidate, Candidate, tuple[str, ...], str]:
    """Give both candidates a worst case over the same attacks, or none.

    Returns:
        The candidates; the attacks, where the worst cases were computed again; and a note, empty when nothing has
        changed.
    """
    if not all(side.scores.get(WORST_CASE) for side in (a, b)):
        return a, b, (), ""
    first, second = _attacks(a), _attacks(b)
    common = tuple(sorted(name for name in first & second if same_settings(a, b, name)))
    if set(common) == first | second:
        return a, b, (), ""
    note = f"the worst cases are of different attacks (A: {labels(first)}; B: {labels(second)})"
    other = sorted(first & second - set(common))
    note += f", {labels(other)} with other settings" if other else ""
    if not common:
        return _without_worst_case(a), _without_worst_case(b), (), f"{note} and are left out"
    if not all(name in side.outcomes for side in (a, b) for name in common):
        note = f"{note}; they are left out, because the per-image outcomes of {labels(common)} are missing"
        return _without_worst_case(a), _without_worst_case(b), (), note
    note = f"{note}; computed again over the common attacks: {labels(common)}"
    return _worst_case_over(a, common), _worst_case_over(b, common), common, note


def same_settings(a: Candidate, b: Candidate, metric: str) -> bool:
    """Whether a metric was measured with the same settings, as far as these are known."""
    return metric not in a.settings or metric not in b.settings or a.settings[metric] == b.settings[metric]


def label(metric: str) -> str:
    """Title of an attack or an accuracy in sentences."""
    return _LABELS.get(metric, metric.removeprefix(ROBUST_ACCURACY))


def labels(attacks: Iterable[str]) -> str:
    """Titles of attacks in sentences."""
    return ", ".join(map(label, sorted(attacks))) or "none"


def _attacks(candidate: Candidate) -> set[str]:
    return {
        name
        for name, score in candidate.scores.items()
        if name.startswith(ROBUST_ACCURACY) and name != WORST_CASE and score.mean is not None
    }


def _without_worst_case(candidate: Candidate) -> Candidate:
    kept = {name: score for name, score in candidate.scores.items() if name != WORST_CASE}
    return replace(candidate, scores=kept)


def _worst_case_over(candidate: Candidate, attacks: Sequence[str]) -> Candidate:
    outcomes = np.logical_and.reduce([candidate.outcomes[name] for name in attacks])
    if candidate.raises and candidate.lowest is not None:
        # What the answer to an alarm broke stays broken, whatever the other side was attacked with.
        outcomes = outcomes & candidate.lowest
    accuracy = accuracy_of(outcomes)
    score = replace(
        candidate.scores[WORST_CASE],
        mean=accuracy.value,
        std=accuracy.std,
        low=accuracy.low,
        high=accuracy.high,
        n=accuracy.n,
        seeds=accuracy.seeds,
    )
    return replace(
        candidate,
        scores={**candidate.scores, WORST_CASE: score},
        outcomes={**candidate.outcomes, WORST_CASE: outcomes},
    )
