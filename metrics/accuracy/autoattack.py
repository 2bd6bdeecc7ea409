"""Robust accuracy under AutoAttack."""

from collections.abc import Mapping

import numpy as np
import torch

from bench.attacks.autoattack import Passes, check_settings
from bench.attacks.examples import first_broken
from bench.core.checks import SAME_LOGITS, moved_between
from bench.core.names import CLEAN_ACCURACY
from bench.core.record import Score, Value
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation


class AutoAttack(Metric):
    """Share of the attacked test images that survive AutoAttack (Croce & Hein 2020), through `pyautoattack`.

    A network whose logits change between two passes is attacked with the version "rand", whatever `version` says.

    Args:
        version: "standard" (APGD-CE, targeted APGD-DLR, targeted FAB, Square), "plus" or "rand".
        seed, batch_size: as for the package itself.
        passes: "exact" takes the package's own and finds its adversarial images, bit for bit. "fast" breaks the
            same images, up to rounding; "bfloat16" may leave some. See `bench.attacks.autoattack.autoattack`.

    Raises:
        UserError: for settings that AutoAttack cannot work with.
    """

    name = "robust_accuracy/autoattack"
    titles = {"robust_accuracy/autoattack": "AutoAttack"}
    batteries = {"quick": {}, "standard": {}, "full": {}, "indicators": {}}

    def __init__(
        self, version: str = "standard", seed: int = 0, batch_size: int = 250, passes: Passes = "fast"
    ) -> None:
        check_settings(version, seed, batch_size, passes)
        self.version, self.seed, self.batch_size, self.passes = version, seed, batch_size, passes

    def settings(self) -> dict[str, Value]:
        """Version, seed and batch size, and the kind of passes where it can change which images break."""
        settings: dict[str, Value] = {
            "version": self.version,
            "seed": self.seed,
            "batch_size": self.batch_size,
        }
        return settings | {"passes": self.passes} if self.passes == "bfloat16" else settings

    def measure(self, evaluation: Evaluation) -> Arrays:
        """For each image, whether it is still classified correctly and the stage that broke it or "survived" [n].

        Also the version and the kind of passes that ran, the stages that could not run, how far logits moved
        between two passes [1] where that was measured, whether each image was broken in low precision alone [n],
        and a few adversarial images with their positions.
        """
        moved = self._moved(evaluation) if self.version != "rand" else None
        version = "rand" if moved is not None and moved > SAME_LOGITS else self.version
        result = evaluation.autoattack(
            version=version, seed=self.seed, batch_size=self.batch_size, passes=self.passes
        )
        evaluation.passes.add(result.resumed)
        doubts = [f"{stage}: {warning}" for stage, warning in result.warnings.items()]
        if version != self.version:
            doubts.insert(
                0, f"output changes between passes by {moved:.1e}: version rand instead of {self.version}"
            )
        skipped = [f"{stage}: {reason}" for stage, reason in result.skipped.items()]
        return {
            "right": (~result.broken).cpu().numpy(),
            "stage": np.array([stage or "survived" for stage in result.stage], dtype=np.str_),
            "version": np.array(version, dtype=np.str_),
            "passes": np.array(self.passes, dtype=np.str_),
            **({} if moved is None else {"between_passes": np.array([moved], dtype=np.float32)}),
            "unconfirmed": result.unconfirmed.cpu().numpy(),
            "skipped": np.asarray(skipped, dtype=np.str_),
            "warnings": np.asarray(doubts, dtype=np.str_),
            **first_broken(result.broken, result.adversarial, evaluation.images),
        }

    @torch.no_grad()
    def _moved(self, evaluation: Evaluation) -> float:
        """How far logits move between two passes, relative to the largest of them."""
        if CLEAN_ACCURACY in evaluation.measured:
            return float(evaluation.measured[CLEAN_ACCURACY]["between_passes"][0])
        some = evaluation.images[: self.batch_size]
        first, second = evaluation.classifier(some), evaluation.classifier(some)
        return moved_between(first, second)

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Robust accuracy with its interval; the reason lists stages left out and the package's warnings."""
        notes = [f"left out: {stage}" for stage in arrays["skipped"]] + [
            f"warned: {one}" for one in arrays["warnings"]
        ]
        return {self.name: self.proportion(arrays["right"], "; ".join(notes))}
