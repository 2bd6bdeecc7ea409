"""What a metric may answer: arrays from `measure`, finite scores from `reduce`; anything else is one line."""

from collections.abc import Mapping

import numpy as np
from pydantic import ValidationError

from bench.core.errors import UserError
from bench.core.record import Score, describe, possible_score
from bench.core.values import shown
from metrics.base import Metric
from metrics.evaluation import Arrays


def checked_arrays(metric: Metric, arrays: object) -> Arrays:
    """The arrays that a metric measured.

    Raises:
        UserError: when they are no NumPy arrays of numbers, truth values or text, by name.
    """
    where = f"metric {metric.name!r}: measure() must give NumPy arrays by name"
    if not isinstance(arrays, Mapping):
        raise UserError(f'{where}, got {shown(arrays)}; return {{"name": numpy.asarray(…)}}')
    for name, array in arrays.items():
        if not isinstance(name, str) or not isinstance(array, np.ndarray):
            hint = ".detach().cpu().numpy()" if hasattr(array, "detach") else "numpy.asarray(…)"
            raise UserError(f"{where}, got {type(array).__name__} for {shown(name)}; give {hint}")
        if array.dtype.kind not in "biufU":
            raise UserError(f"{where}, of numbers or text, got {array.dtype} for {shown(name)}")
    return dict(arrays)


def checked_scores(metric: Metric, arrays: Arrays) -> dict[str, Score]:
    """The scores that a metric computes from its arrays.

    Raises:
        UserError: when it gives something else than scores by name, or NaN or infinity.
    """
    where = f"metric {metric.name!r}: reduce()"
    try:
        scores: object = metric.reduce(arrays)
    except ValidationError as error:
        if error.title != Score.__name__:
            raise
        raise UserError(
            f"{where}: {describe(error)}; where the quantity is not defined, give self.score(None, reason=…)"
        ) from error
    if not isinstance(scores, Mapping):
        raise UserError(
            f"{where} must give scores by name, got {shown(scores)}; return {{self.name: self.score(…)}}"
        )
    for name, score in scores.items():
        if not isinstance(name, str) or not isinstance(score, Score):
            raise UserError(
                f"{where} must give scores by name, got {shown(score)}; give self.score({shown(score)})"
            )
    return {name: possible_score(name, score) for name, score in scores.items()}
