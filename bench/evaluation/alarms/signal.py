"""The alarm that there is nothing to measure: a network that guesses, or a search that could not choose."""

import numpy as np

from bench.core.names import CLEAN_ACCURACY
from bench.core.record import Alarm, Search
from bench.core.standing import NO_SIGNAL
from bench.evaluation.alarms.make import not_run
from bench.evaluation.files import ArraysByMetric

#: Clean accuracy must be above chance by so many standard errors.
ABOVE_CHANCE_ERRORS = 2
WHAT_TO_CHANGE = "more images, more epochs, a smaller ε, or --set warmup=… where the defense has one"


def no_signal(measured: ArraysByMetric, num_classes: int, search: Search | None = None) -> Alarm:
    """Clean accuracy is at chance, or no trial of the search was robust, so that its choice means nothing."""
    if CLEAN_ACCURACY not in measured:
        return not_run(NO_SIGNAL, "clean accuracy")
    right = measured[CLEAN_ACCURACY]["right"]
    clean, chance = float(right.mean()), 1 / num_classes
    error = float(np.sqrt(chance * (1 - chance) / len(right)))
    tied = tied_at_zero(search)
    reasons = [
        *(
            [f"clean accuracy {clean:.1%} is at chance"]
            if clean <= chance + ABOVE_CHANCE_ERRORS * error
            else []
        ),
        *(["no trial of the search was robust, so its choice means nothing"] if tied else []),
    ]
    best = {} if search is None else {"best_trial": search.best_value}
    return Alarm(
        name=NO_SIGNAL,
        raised=bool(reasons),
        message=f"{'; '.join(reasons)}: try {WHAT_TO_CHANGE}" if reasons else f"clean accuracy {clean:.1%}",
        numbers={"clean": clean, "chance": chance, **best},
    )


def tied_at_zero(search: Search | None) -> bool:
    """Whether the best trial of a search, and with it every other, has no robustness on the validation images."""
    return search is not None and search.complete > 0 and search.best_value == 0
