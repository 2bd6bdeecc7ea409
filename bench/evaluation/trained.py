"""A network that was trained from Python, with what its record needs to say."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.classifier import Classifier
from bench.data import Dataset
from bench.evaluation.describe import Trained

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class TrainedNetwork:
    """What `bench.train` returns and `bench.evaluate` takes.

    Attributes:
        network: trained, in eval mode; a `torch.nn.Module` from images in [0, 1] to logits.
        name: of the network in the record.
        dataset: that it was trained on, in its splits.
        trained: defense, recipe and history, for the record.
    """

    network: Classifier
    name: str
    dataset: Dataset
    trained: Trained

    def to_frame(self) -> "pandas.DataFrame":
        """One row for each epoch: losses, validation accuracies, seconds, and what the defense reports."""
        import pandas

        return pandas.DataFrame(self.trained.history).set_index("epoch")
