"""What to assume for a data set when the user says nothing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetDefaults:
    """The usual threat of a data set, and how long to train and to search on it.

    Epochs: the PRS experiments warm up for 50 epochs, half of an assumed 100 (P1, section 4.2). The 300
    epochs of P1's study over many models belong to that study, not to every training. The 8x8 digits need
    only 20. Trials: Optuna's sampler draws its first ten at random, so 20 leave it ten to choose; on the
    digits ten show a search within minutes.

    Args:
        threat: as `Threat.parse` reads it.
        epochs: of one training.
        trials: of one search.
    """

    threat: str
    epochs: int = 100
    trials: int = 20


DEFAULTS = {
    "digits": DatasetDefaults("linf:0.2", epochs=20, trials=10),
    "mnist": DatasetDefaults("linf:0.3"),
    "fashion-mnist": DatasetDefaults("linf:0.1"),
}

COLOUR_IMAGES = DatasetDefaults("linf:8/255")


def defaults_of(name: str) -> DatasetDefaults:
    """The defaults of a data set; those of color images, CIFAR-10's, for every name without its own."""
    return DEFAULTS.get(name, COLOUR_IMAGES)
