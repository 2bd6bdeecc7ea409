"""Check a record against its files, its stored arrays, its provenance, and its weights on its data.

Scores, alarms and curves are computed again from the stored arrays. The stored outcomes are compared with those of
attacks that run again: chosen ones on all images, the others on a random sample. A score that is neither computed
again nor measured again is not checked, and such a record does not match.

Other hardware and other batch sizes round differently. Where images differ, each check says how many, and how
probable that is by rounding alone.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.core.checks import SAME_LOGITS
from bench.core.guards import full_precision, random_state_kept
from bench.core.names import CLEAN_ACCURACY, ROBUST_ACCURACY, WORST_CASE
from bench.core.progress import Progress
from bench.core.randomness import derive_seed
from bench.core.record import RECORD, Record, load_record
from bench.core.standing import Standing, standing
from bench.evaluation.files import unflatten
from bench.results.restore import naming_copies, restore
from bench.results.verification.alarms import check_alarms
from bench.results.verification.attack_outcomes import check_attacks, check_worst_case
from bench.results.verification.batches import check_batches
from bench.results.verification.check import Check, Finding, Findings, Unproven, is_attack, is_mean_of
from bench.results.verification.description import check_description
from bench.results.verification.files import (
    check_hashes,
    load_archive,
    malformed_arrays,
    malformed_examples,
)
from bench.results.verification.provenance import check_provenance, check_sources
from bench.results.verification.recompute import check_scores_and_curves
from bench.results.verification.repeat import (
    AGAIN,
    SAMPLE,
    metric_to_repeat,
    moved,
    repeat_attacks,
    repeat_clean_accuracy,
)
from metrics.evaluation import Arrays


@dataclass(frozen=True)
class Verification:
    """Every check of one record.

    Attributes:
        record: its identifier.
        checks: what was compared.
        unproven: fields that no check covers.
        alarms: names of the alarms that the record raises.
        stands: how its worst case stands: whether these have an answer.
    """

    record: str
    checks: tuple[Check, ...]
    unproven: tuple[Unproven, ...] = ()
    alarms: tuple[str, ...] = ()
    stands: Standing = field(default_factory=Standing)

    @property
    def matches(self) -> bool:
        """Whether no check contradicts the record and everything that can be checked was."""
        return {check.outcome for check in self.checks} == {"match"}

    @property
    def contradicted(self) -> bool:
        """Whether some check contradicts the record."""
        return any(check.outcome == "mismatch" for check in self.checks)

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Names of the robust accuracies that could not be checked."""
        return tuple(
            check.name
            for check in self.checks
            if check.name.startswith(ROBUST_ACCURACY)
            and not check.name.endswith((AGAIN, SAMPLE))
            and check.outcome == "not checked"
        )

    @property
    def verdict(self) -> str:
        """All checks in a few words: "match", "MISMATCH", or "partly" and what was not checked."""
        if self.matches:
            return "match"
        outcomes = {check.name: check.outcome for check in self.checks}
        if self.contradicted:
            return "MISMATCH"
        if "match" not in outcomes.values():
            return "nothing was checked"
        parts = []
        if self.unchecked:
            clean = "matches" if outcomes.get(CLEAN_ACCURACY) == "match" else "not checked"
            names = ", ".join(name.removeprefix(ROBUST_ACCURACY) for name in self.unchecked)
            parts = [f"clean accuracy {clean}; robust accuracies not checked: {names}"]
        others = [
            f"{check.name} ({check.message})"
            for check in self.checks
            if check.outcome == "not checked" and check.name not in self.unchecked
        ]
        parts += [f"not checked: {'; '.join(others)}"] if others else []
        return f"partly: {'; '.join(parts)}"

    def as_json(self) -> dict[str, Any]:
        """The verification as plain JSON."""
        return {
            "record": self.record,
            "matches": self.matches,
            "verdict": self.verdict,
            "checks": [asdict(check) for check in self.checks],
            "unproven": [asdict(each) for each in self.unproven],
            "alarms": list(self.alarms),
            "in_doubt": self.stands.in_doubt,
            "answer": self.stands.answer,
        }


def verify(
    path: Path,
    *,
    attacks: Sequence[str] = (),
    quick: bool = False,
    data_dir: Path | None = None,
    weights: Path | None = None,
    loader: str | None = None,
    device: str = "auto",
    trust: bool = False,
    sample_seed: int | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Check a record against its files and its provenance, and against its weights on its data.

    Args:
        path: the record, or its folder.
        attacks: attacks to run again on all images with the record's seed, such as "pgd20" or "autoattack".
        quick: run no other attack; otherwise each runs again on a sample of the images.
        data_dir, weights, loader, device, trust: as for `restore`.
        sample_seed: of the sample; None draws another one each time, which nobody can know beforehand.
        progress: shows progress; silent by default.

    Raises:
        UserError: for an unknown attack, or when record, weights or data are missing, unreadable or others.
    """
    path = path / RECORD if path.is_dir() else path
    record = load_record(path, check_values=False)
    metrics = [metric_to_repeat(name, record) for name in attacks]
    stands = standing(record)
    alarms = tuple(alarm.name for alarm in record.alarms if alarm.raised)
    hashes = list(check_hashes(record, path.parent, weights))
    if any(check.name == "file weights" and check.outcome == "mismatch" for check in hashes):
        return Verification(record.id, tuple(hashes), (), alarms, stands)
    intact = {check.name for check in hashes if check.outcome == "match"}
    arrays = load_archive(path.parent, record, "arrays") if "file arrays" in intact else {}
    examples = load_archive(path.parent, record, "examples") if "file examples" in intact else {}
    malformed = [*malformed_arrays(record, arrays), *malformed_examples(examples)]
    if malformed:
        check = Check("stored outcomes", "mismatch", "; ".join(malformed))
        return Verification(record.id, (*hashes, check), (), alarms, stands)
    restored = restore(path, data_dir=data_dir, weights=weights, loader=loader, device=device, trust=trust)
    hashes += check_batches(restored)
    fingerprints = "fingerprints of all splits and of the attacked images"
    with naming_copies(record, path.parent):
        provenance = list(check_provenance(record, path.parent, trust=trust))
    found: list[Finding] = [
        *hashes,
        Check("data", "match", f"{restored.dataset.name}: {fingerprints}"),
        *check_description(restored, arrays),
        *provenance,
    ]
    measured: dict[str, Arrays] = {}
    draw = None if quick else np.random.default_rng(sample_seed)
    with full_precision(), random_state_kept(derive_seed(record.seed, "verification")):
        change = moved(restored)
        stochastic = change > SAME_LOGITS
        clean = list(repeat_clean_accuracy(restored, arrays, measured, change))
        shown = progress or Progress()
        again = list(
            repeat_attacks(restored, metrics, arrays, measured, shown, draw=draw, stochastic=stochastic)
        )
        repeated = {name: own["right"] for name, own in measured.items() if is_attack(name)}
        with torch.no_grad():
            robust = list(check_attacks(restored, arrays, examples, repeated, stochastic=stochastic))
    found += [*clean, *robust, *check_worst_case(record, arrays, repeated)]
    found += [*_check_arrays(record, arrays, measured, trust), *again, *check_sources(record)]
    return Verification(
        record.id,
        tuple(each for each in found if isinstance(each, Check)),
        tuple(each for each in found if isinstance(each, Unproven)),
        alarms,
        stands,
    )


def _check_arrays(
    record: Record, flat: dict[str, np.ndarray], measured: dict[str, Arrays], trust: bool
) -> Findings:
    """Compute scores, curves and alarms again from the stored arrays; where none are, from those measured now."""
    stored = unflatten(flat)
    n = record.dataset.evaluated_size
    for name, own in measured.items():
        score = record.metrics.get(name)
        value = None if score is None else score.value
        # Outcomes that differ within rounding would give other scores.
        if name not in stored and value is not None and is_mean_of(value, own["right"], len(own["right"])):
            stored[name] = own
    attacks = [name for name, score in record.metrics.items() if is_attack(name) and score.value is not None]
    missing = WORST_CASE in record.metrics and WORST_CASE not in stored
    if missing and attacks and stored.keys() >= set(attacks):
        stored[WORST_CASE] = {"right": np.logical_and.reduce([stored[name]["right"] for name in attacks])}
    yield from check_scores_and_curves(record, stored, trust=trust)
    yield from check_alarms(record, stored)
    others = sorted(
        name for name in stored if name not in (CLEAN_ACCURACY, WORST_CASE) and not is_attack(name)
    )
    if others:
        reason = f"computed from the stored arrays, which were not measured again on the {n} images"
        yield Unproven(tuple(f"arrays.{name}" for name in others), reason)
    parts = [f"arrays.{name}:{key}" for name in attacks for key in stored.get(name, {}) if key != "right"]
    if parts:
        yield Unproven(
            tuple(parts), "alarms are read from these; of an attack's arrays only outcomes ran again"
        )
