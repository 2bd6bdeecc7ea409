"""The quantities that probes measure during a training and that studies show and regress."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

#: Quantities that a correlation study regresses on the PRS ratio.
RegressedQuantity = Literal["robust_accuracy", "final_layer_cosine", "inclusion_ratio", "sparsity"]
REGRESSED: tuple[RegressedQuantity, ...] = get_args(RegressedQuantity)


@dataclass(frozen=True)
class ProbedQuantity:
    """A quantity of a network after an epoch.

    Attributes:
        title: on charts and pages.
        history_key: its key in the rows of a training's history.
        source: the paper's figure or table that relates it to the PRS ratio.
    """

    title: str
    history_key: str
    source: str = ""

    @property
    def heading(self) -> str:
        """The title with a capital first letter."""
        return f"{self.title[0].upper()}{self.title[1:]}"


#: Name → quantity, in the order of the panels of a chart by epoch.
PROBED: Mapping[str, ProbedQuantity] = {
    "train_accuracy": ProbedQuantity("training accuracy", "train_accuracy"),
    "test_accuracy": ProbedQuantity("test accuracy", "probe_accuracy"),
    "robust_accuracy": ProbedQuantity("robust accuracy (PGD-20)", "probe_robust_accuracy", "P1, figure 4"),
    "prs_ratio": ProbedQuantity("PRS ratio", "prs_ratio"),
    "inclusion_ratio": ProbedQuantity("inclusion ratio", "inclusion_ratio", "P1, table 1"),
    "final_layer_cosine": ProbedQuantity("final-layer cosine", "final_layer_cosine", "P1, table 1"),
    "sparsity": ProbedQuantity("sparsity (share of zeros)", "sparsity", "P2, figure 12"),
}
