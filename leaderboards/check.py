"""Check a submitted record for contradictions."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from bench.charts import load_chart
from bench.core.errors import UserError
from bench.core.names import CLEAN_ACCURACY, ROBUST_ACCURACY, WORST_CASE
from bench.core.record import RECORD, Record, Score, is_beside, load_record, read_arrays
from leaderboards.result import created_at, exact_eps

BOUNDS = {
    "fraction": (0.0, 1.0),
    "AUC": (0.0, 1.0),
    "seconds": (0.0, math.inf),
    "ratio": (0.0, math.inf),
    "count": (0.0, math.inf),
}
ANY = (-math.inf, math.inf)
ROUNDING = 1e-9


def check(path: Path) -> list[str]:
    """Check a record against its schema, the files beside it and itself.

    Args:
        path: the record's JSON file, or the folder that holds `record.json`.

    Returns:
        One line for each problem; empty when there is none.
    """
    if path.is_dir():
        path = path / RECORD
    try:
        record = load_record(path)
        outside = [file.path for file in record.files.values() if not is_beside(file.path)]
        if outside:
            return [f"files must lie in the record's own folder, got {outside[0]!r}"]
        load_record(path, check_files=True)
        exact_eps(path, record)
        created_at(path, record)
        arrays = read_arrays(path, record)
    except UserError as error:
        return [str(error)]
    return [
        *_ranges(record),
        *_order(record),
        *_sizes(record),
        *_curves(record),
        *_against_arrays(record, arrays),
        *_figures(path.parent / "figures"),
    ]


def _figures(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.json")):
        try:
            load_chart(path)
        except UserError as error:
            yield str(error)


def _ranges(record: Record) -> Iterator[str]:
    for name, score in record.metrics.items():
        least, most = BOUNDS.get(score.unit, ANY)
        for part, number in (("value", score.value), ("low", score.low), ("high", score.high)):
            if number is not None and not least <= number <= most:
                yield f"{name}: {part} must lie in [{least:g}, {most:g}] for a {score.unit}, got {number:g}"
        if score.value is not None and score.low is not None and score.value < score.low - ROUNDING:
            yield f"{name}: its interval starts above the value, {score.low:g} > {score.value:g}"
        if score.value is not None and score.high is not None and score.value > score.high + ROUNDING:
            yield f"{name}: its interval ends below the value, {score.high:g} < {score.value:g}"


def _order(record: Record) -> Iterator[str]:
    worst = _value(record, WORST_CASE)
    for name in (CLEAN_ACCURACY, WORST_CASE):
        if _value(record, name) is None:
            yield f"{name} has no value, so the record cannot be ranked"
    clean = record.metrics.get(CLEAN_ACCURACY)
    for name, score in record.metrics.items():
        if not name.startswith(ROBUST_ACCURACY) or score.value is None:
            continue
        if worst is not None and name != WORST_CASE and worst > score.value + ROUNDING:
            yield f"{WORST_CASE} is above {name}: {worst:g} > {score.value:g}"
        if clean is not None and _more_correct(score, clean):
            yield f"{name} counts more images as correct than {CLEAN_ACCURACY} does"


def _more_correct(attacked: Score, clean: Score) -> bool:
    """The attacked images are among the clean ones, so no more of them can be right."""
    if attacked.value is None or clean.value is None or attacked.n is None or clean.n is None:
        return False
    return round(attacked.value * attacked.n) > round(clean.value * clean.n) + _ties(attacked.n)


def _ties(n: int) -> int:
    """Images whose class may differ between two passes, as batches of another size round differently."""
    return max(1, n // 1000)


def _sizes(record: Record) -> Iterator[str]:
    data, training, search = record.dataset, record.training, record.defense.search
    if not 0 < data.evaluated_size <= data.test_size:
        yield f"dataset.evaluated_size must lie in 1 … {data.test_size} (the test set), got {data.evaluated_size}"
    clean = record.metrics.get(CLEAN_ACCURACY)
    if clean is not None and (clean.n or 0) > data.test_size:
        yield f"{CLEAN_ACCURACY}: n must be at most the {data.test_size} test images, got {clean.n}"
    for name, score in record.metrics.items():
        if name.startswith(ROBUST_ACCURACY) and score.value is not None and score.n != data.evaluated_size:
            yield f"{name}: n must be the {data.evaluated_size} attacked test images, got {score.n}"
    if training is not None and not 1 <= training.epoch_of_weights <= training.epochs:
        yield f"training.epoch_of_weights must lie in 1 … {training.epochs}, got {training.epoch_of_weights}"
    if search is not None and search.complete + search.pruned + search.failed > search.trials:
        yield f"defense.search counts more ends than its {search.trials} trials"


def _curves(record: Record) -> Iterator[str]:
    for name, curve in record.curves.items():
        for point in curve.points:
            low = point.value if point.low is None else point.low
            high = point.value if point.high is None else point.high
            if not low - ROUNDING <= point.value <= high + ROUNDING:
                yield f"curve {name}: the value at {point.x:g} lies outside its interval"
            if name == "security" and not 0 <= point.value <= 1:
                yield f"curve {name}: accuracy must lie in [0, 1], got {point.value:g} at {point.x:g}"


def _against_arrays(record: Record, arrays: Mapping[str, np.ndarray]) -> Iterator[str]:
    n = record.dataset.evaluated_size
    # A colon marks what else a metric kept: METRIC:ARRAY.
    accuracies = (name for name in arrays if ":" not in name)
    correct = {
        name: arrays[name]
        for name in accuracies
        if name == CLEAN_ACCURACY or name.startswith(ROBUST_ACCURACY)
    }
    for name, array in sorted(correct.items()):
        if array.dtype != bool or array.ndim != 1 or not len(array):
            yield f"array {name} must be bool [n], got {array.dtype} {list(array.shape)}"
            return
        if name != CLEAN_ACCURACY and len(array) != n:
            yield f"array {name} must hold the {n} attacked test images, got {len(array)}"
            return
        value = _value(record, name)
        if value is None or abs(array.mean() - value) > 0.5 / len(array):
            yield f"array {name} has mean {array.mean():g}, the record says {value}"
    clean = _clean_subset(correct.get(CLEAN_ACCURACY), arrays.get("test_index"), n)
    worst = correct.get(WORST_CASE)
    for name, array in sorted(correct.items()):
        if name != CLEAN_ACCURACY and clean is not None and (array & ~clean).sum() > _ties(n):
            yield f"array {name} counts images as correct that are wrong without an attack"
        if name != CLEAN_ACCURACY and worst is not None and (worst & ~array).any():
            yield f"array {WORST_CASE} counts images as correct that {name} breaks"


def _clean_subset(clean: np.ndarray | None, index: np.ndarray | None, n: int) -> np.ndarray | None:
    if clean is None or len(clean) == n:
        return clean
    fits = index is not None and index.shape == (n,) and index.dtype.kind in "iu"
    if index is None or not fits or not ((index >= 0) & (index < len(clean))).all():
        return None
    return clean[index]


def _value(record: Record, name: str) -> float | None:
    score = record.metrics.get(name)
    return None if score is None else score.value
