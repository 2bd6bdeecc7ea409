"""Default threat, epochs and search trials of each data set."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetDefaults:
    """Default threat, training epochs and search trials of a data set.

    Epochs: the PRS experiments warm up for 50 epochs, half of an assumed 100 (P1, section 4.2). P1's study over
    many models trains for 300, which is a setting of that study alone. The 8x8 digits need only 20.
    Trials: Optuna's sampler draws its first ten settings at random, so 20 trials leave it ten to choose. On the
    digits, ten trials show a search within minutes.

    Args:
        threat: in the syntax of `Threat.parse`.
        epochs: epochs of one training.
        trials: trials of one search.
    """

    threat: str
    epochs: int = 100
    trials: int = 20


DEFAULTS = {
    "digits": DatasetDefaults("linf:0.2", epochs=20, trials=10),
    "mnist": DatasetDefaults("linf:0.3"),
    "fashion-mnist": DatasetDefaults("linf:0.1"),
}

COLOR_IMAGES = DatasetDefaults("linf:8/255")


def defaults_of(name: str) -> DatasetDefaults:
    """Defaults of a data set; a name without an entry gets those of color images, CIFAR-10's."""
    return DEFAULTS.get(name, COLOR_IMAGES)
