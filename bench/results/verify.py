"""Check a record against its files, its stored arrays, and its weights on its data.

Scores, alarms and curves are computed again from the stored arrays. A robust accuracy without stored outcomes is
not checked unless its attack runs again, and such a record does not match.

Other hardware and other batch sizes round differently. Images whose predicted class depends on rounding are
forgiven, and each check states how many.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from bench.core.guards import full_precision, random_state_kept
from bench.core.names import CLEAN_ACCURACY, ROBUST_ACCURACY
from bench.core.progress import Progress
from bench.core.randomness import derive_seed
from bench.core.record import RECORD, load_record
from bench.results.restore import restore
from bench.results.verification.attack_outcomes import check_attacks, check_worst_case
from bench.results.verification.batches import check_batches
from bench.results.verification.check import Check
from bench.results.verification.files import (
    check_hashes,
    load_archive,
    malformed_arrays,
    malformed_examples,
)
from bench.results.verification.recompute import check_stored_arrays
from bench.results.verification.repeat import (
    AGAIN,
    metric_to_repeat,
    repeat_attack,
    repeat_clean_accuracy,
)


@dataclass(frozen=True)
class Verification:
    """Every check of one record."""

    record: str
    checks: tuple[Check, ...]

    @property
    def matches(self) -> bool:
        """Whether no check contradicts the record and every robust accuracy was checked."""
        outcomes = [check.outcome for check in self.checks]
        return "mismatch" not in outcomes and "match" in outcomes and not self.unchecked

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Names of the robust accuracies that could not be checked."""
        return tuple(
            check.name
            for check in self.checks
            if check.name.startswith(ROBUST_ACCURACY)
            and not check.name.endswith(AGAIN)
            and check.outcome == "not checked"
        )

    @property
    def verdict(self) -> str:
        """All checks in a few words: "match", "MISMATCH", or what was not checked."""
        if self.matches:
            return "match"
        outcomes = {check.name: check.outcome for check in self.checks}
        if "mismatch" in outcomes.values():
            return "MISMATCH"
        if not self.unchecked:
            return "nothing was checked"
        clean = "matches" if outcomes.get(CLEAN_ACCURACY) == "match" else "not checked"
        names = ", ".join(name.removeprefix(ROBUST_ACCURACY) for name in self.unchecked)
        return f"clean accuracy {clean}; robust accuracies not checked: {names}"

    def as_json(self) -> dict[str, Any]:
        """The verification as plain JSON."""
        checks = [asdict(check) for check in self.checks]
        return {"record": self.record, "matches": self.matches, "verdict": self.verdict, "checks": checks}


def verify(
    path: Path,
    *,
    attacks: Sequence[str] = (),
    data_dir: Path | None = None,
    weights: Path | None = None,
    loader: str | None = None,
    device: str = "auto",
    trust: bool = False,
    progress: Progress | None = None,
) -> Verification:
    """Check a record against its files, and against its weights on its data.

    Args:
        path: the record, or its folder.
        attacks: attacks to run again with the record's seed, such as "pgd20" or "autoattack".
        data_dir, weights, loader, device, trust: as for `restore`.
        progress: shows progress; silent by default.

    Raises:
        UserError: for an unknown attack, or when record, weights or data are missing or unreadable.
    """
    path = path / RECORD if path.is_dir() else path
    record = load_record(path, check_values=False)
    metrics = [metric_to_repeat(name, record) for name in attacks]
    hashes = list(check_hashes(record, path.parent, weights))
    if any(check.name == "file weights" and check.outcome == "mismatch" for check in hashes):
        return Verification(record.id, tuple(hashes))
    intact = {check.name for check in hashes if check.outcome == "match"}
    arrays = load_archive(path.parent, record, "arrays") if "file arrays" in intact else {}
    examples = load_archive(path.parent, record, "examples") if "file examples" in intact else {}
    malformed = [*malformed_arrays(record, arrays), *malformed_examples(examples)]
    if malformed:
        return Verification(record.id, (*hashes, Check("stored outcomes", "mismatch", "; ".join(malformed))))
    restored = restore(path, data_dir=data_dir, weights=weights, loader=loader, device=device, trust=trust)
    hashes += check_batches(restored)
    fingerprints = "fingerprints of all splits and of the attacked images"
    data = Check("data", "match", f"{restored.dataset.name}: {fingerprints}")
    again, repeated = [], {}
    with full_precision(), random_state_kept(derive_seed(record.seed, "verification")):
        with torch.no_grad():
            clean = repeat_clean_accuracy(restored, arrays)
        for metric in metrics:
            check, right = repeat_attack(restored, metric, arrays, progress or Progress())
            again.append(check)
            if check.outcome == "match":
                repeated[metric.name] = right
        with torch.no_grad():
            robust = list(check_attacks(restored, arrays, examples, repeated))
    robust += check_worst_case(record, arrays, repeated)
    stored = check_stored_arrays(record, arrays)
    return Verification(record.id, (*hashes, data, clean, *robust, *stored, *again))
