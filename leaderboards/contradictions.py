"""What a record says against itself: no board shows such a record."""

from collections.abc import Iterator, Mapping

import numpy as np

from bench.core.data_defaults import defaults_of
from bench.core.front import front_of, hypervolume
from bench.core.limits import range_problems
from bench.core.names import CLEAN_ACCURACY, ROBUST_ACCURACY, WORST_CASE
from bench.core.record import Front, Record, Score, Search

ROUNDING = 1e-9
#: The array that says which test images were attacked.
INDEX = "test_index"
#: Alarms of networks whose answer to an image is not always the same, by their names in `bench.evaluation.alarms`.
UNSTABLE = ("randomised output", "predictions depend on the batch")


def contradictions(record: Record, arrays: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Numbers of a record that contradict each other or its arrays, one line each.

    Args:
        arrays: as `read_arrays` gives them, at least those that `is_looked_at` names.
    """
    yield from _order(record)
    yield from _sizes(record)
    yield from _against_arrays(record, arrays)


def is_looked_at(name: str) -> bool:
    """Whether `contradictions` looks at an array of this name."""
    return name == INDEX or _is_outcome(name)


def _is_outcome(name: str) -> bool:
    # A colon marks what else a metric kept: METRIC:ARRAY.
    return ":" not in name and (name == CLEAN_ACCURACY or name.startswith(ROBUST_ACCURACY))


def other_settings(record: Record) -> Iterator[str]:
    """Threat, data, seed, network and defense that are not those of the stored settings, one line each."""
    config = record.provenance.config
    threat, data = config.get("threat"), config.get("dataset")
    if "threat" in config and threat is None and isinstance(data, str):
        threat = defaults_of(data).threat
    if isinstance(threat, str):
        norm, _, eps = threat.rpartition(":")
        if (norm.strip().lower() or "linf", eps.strip()) != (record.threat.norm, record.threat.eps):
            yield f"threat is {record.threat.norm}:{record.threat.eps}, its settings say {threat}"
    if isinstance(data, str) and ":" not in data and data != record.dataset.name:
        yield f"dataset.name is {record.dataset.name}, its settings say {data}"
    seeds = config.get("seeds")
    if isinstance(seeds, list) and record.seed not in seeds:
        yield f"seed is {record.seed}, its settings say {', '.join(map(str, seeds))}"
    for name, value in (("model", record.model), ("defense", record.defense.name)):
        said = config.get(name)
        if isinstance(said, str) and said != value and not _is_written_otherwise(name, said):
            yield f"{name} is {value}, its settings say {said}"


def _is_written_otherwise(name: str, said: str) -> bool:
    """Whether a defense is composed: the parts of one may stand in another order in its name."""
    return name == "defense" and any(sign in said for sign in "+(:")


def _order(record: Record) -> Iterator[str]:
    worst = _value(record, WORST_CASE)
    clean = record.metrics.get(CLEAN_ACCURACY)
    for name, score in record.metrics.items():
        if not name.startswith(ROBUST_ACCURACY) or score.value is None:
            continue
        if worst is not None and name != WORST_CASE and worst > score.value + ROUNDING:
            yield f"{WORST_CASE} is above {name}: {worst:g} > {score.value:g}"
        if clean is not None and not _is_unstable(record) and _more_correct(score, clean):
            yield f"{name} counts more images as correct than {CLEAN_ACCURACY} does"


def _more_correct(attacked: Score, clean: Score) -> bool:
    """The attacked images are among the clean ones, so no more of them can be right."""
    if attacked.value is None or clean.value is None or attacked.n is None or clean.n is None:
        return False
    return round(attacked.value * attacked.n) > round(clean.value * clean.n) + _ties(attacked.n)


def _is_unstable(record: Record) -> bool:
    """Whether an alarm says that two passes over the same images may give different classes."""
    return any(alarm.name in UNSTABLE and alarm.raised for alarm in record.alarms)


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
    if search is not None and search.front is not None:
        yield from _front(search, search.front)


def _front(search: Search, front: Front) -> Iterator[str]:
    """What cannot be in the front of a search."""
    points = front.points
    where = "defense.search.front"
    if search.best_trial not in [point.trial for point in points]:
        yield f"{where} does not hold trial {search.best_trial}, which was chosen"
    for point in points:
        for kind, accuracy, right, images in (
            ("clean", point.clean_accuracy, point.clean_right, front.clean_images),
            ("robust", point.robust_accuracy, point.robust_right, front.robust_images),
        ):
            if images and abs(accuracy - right / images) > ROUNDING:
                yield f"{where}: {right} of {images} images are no {kind} accuracy of {accuracy:g}"
    merits = [(point.robust_accuracy, point.clean_accuracy, -(point.cost or 0)) for point in points]
    if len(front_of(merits)) < len(points):
        yield f"{where} holds a setting that another one beats"
    area = front.hypervolume.value
    accuracies = np.array([merit[:2] for merit in merits])
    if area is not None and points and abs(area - hypervolume(*accuracies.T[::-1])) > ROUNDING:
        yield f"{where}.hypervolume is not that of its points"
    yield from range_problems(where, "fraction", area, front.hypervolume.low, front.hypervolume.high)


def _against_arrays(record: Record, arrays: Mapping[str, np.ndarray]) -> Iterator[str]:
    n = record.dataset.evaluated_size
    correct = {name: array for name, array in arrays.items() if _is_outcome(name)}
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
    clean = _clean_subset(correct.get(CLEAN_ACCURACY), arrays.get(INDEX), n)
    worst = correct.get(WORST_CASE)
    for name, array in sorted(correct.items()):
        if name == CLEAN_ACCURACY:
            continue
        if clean is not None and not _is_unstable(record) and (array & ~clean).sum() > _ties(n):
            yield f"array {name} counts images as correct that are wrong without an attack"
        if worst is not None and (worst & ~array).any():
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
