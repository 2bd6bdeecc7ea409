"""Which trial of a search is chosen: the most robust of those whose clean accuracy reaches a floor."""

from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from bench.training.validation import CLEAN_LOSS

#: Attribute of a trial: its clean accuracy on the validation images.
CLEAN = "clean_accuracy"


def find_floor(ended: Sequence[FrozenTrial], clean_floor: float | None) -> float:
    """The clean accuracy that a setting must reach.

    Args:
        ended: trials that are over, by their numbers.
        clean_floor: as given; None takes that of the first trial less 0.10.
    """
    if clean_floor is not None:
        return clean_floor
    # Relative to the defaults; where training with those failed, to the highest clean accuracy of any trial.
    known = [float(trial.user_attrs[CLEAN]) for trial in ended if CLEAN in trial.user_attrs]
    first = ended[0].user_attrs.get(CLEAN) if ended else None
    return max(0.0, float(max(known, default=0.0) if first is None else first) - CLEAN_LOSS)


def choose(ended: Sequence[FrozenTrial], clean_floor: float | None) -> FrozenTrial | None:
    """The chosen trial; None where no trial is complete.

    Where all trials are below the floor, it is the closest one. The earlier trial wins ties, and so do the
    defaults. With several objectives the higher clean accuracy comes before that, and then the lower cost, so that
    the chosen trial is on the front.
    """
    complete = [trial for trial in ended if trial.state == TrialState.COMPLETE]
    floor = find_floor(ended, clean_floor)
    # `max` takes the first of equals.
    return max(complete, key=lambda trial: _merit(trial, floor), default=None)


def _merit(trial: FrozenTrial, floor: float) -> tuple[float, ...]:
    robust_accuracy, *rest = trial.values
    clean, cost = rest[:1], rest[1:]
    return (min(trial.user_attrs[CLEAN] - floor, 0.0), robust_accuracy, *clean, *(-each for each in cost))


def robust(trial: FrozenTrial) -> float:
    """The robust accuracy of a complete trial on the validation images; 0 where it has none."""
    return trial.values[0] if trial.values else 0.0
