"""Robust accuracy under AutoAttack."""

from collections.abc import Mapping

import numpy as np

from bench.core.attacks.autoattack import autoattack
from bench.core.record import Score, Value
from metrics.base import Arrays, Evaluation, Metric


class AutoAttack(Metric):
    """Share of the attacked test images that survive AutoAttack (Croce & Hein 2020), through `pyautoattack`.

    Args:
        version: "standard" (APGD-CE, targeted APGD-DLR, targeted FAB, Square), "plus" or "rand".
        seed: as the package's own `seed`.
        batch_size: as the package's own; with both equal the images are the package's, bit for bit.
    """

    name = "robust_accuracy/autoattack"

    def __init__(self, version: str = "standard", seed: int = 0, batch_size: int = 250) -> None:
        self.version, self.seed, self.batch_size = version, seed, batch_size

    def settings(self) -> dict[str, Value]:
        """Version, seed and batch size."""
        return {"version": self.version, "seed": self.seed, "batch_size": self.batch_size}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Per image: still right [n], the stage that broke it or "survived" [n]; stages that could not run."""
        result = autoattack(
            evaluation.classifier,
            evaluation.images,
            evaluation.labels,
            evaluation.threat,
            version=self.version,
            seed=self.seed,
            batch_size=self.batch_size,
            state_path=evaluation.scratch / "autoattack.pt" if evaluation.scratch else None,
            progress=evaluation.progress,
        )
        evaluation.forwards += result.forwards
        evaluation.backwards += result.backwards
        doubts = [f"{stage}: {warning}" for stage, warning in result.warnings.items()]
        skipped = [f"{stage}: {reason}" for stage, reason in result.skipped.items()]
        return {
            "right": (~result.broken).cpu().numpy(),
            "stage": np.array([stage or "survived" for stage in result.stage], dtype=np.str_),
            "skipped": np.asarray(skipped, dtype=np.str_),
            "warnings": np.asarray(doubts, dtype=np.str_),
        }

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Robust accuracy with its interval; the reason names stages left out and the package's own warnings."""
        notes = [f"left out: {stage}" for stage in arrays["skipped"]] + [
            f"warned: {one}" for one in arrays["warnings"]
        ]
        return {self.name: self.proportion(arrays["right"], "; ".join(notes))}
