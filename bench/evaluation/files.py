"""The files of a result: record, arrays by metric, adversarial examples."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.attacks.examples import KEPT
from bench.core import record as schema
from bench.core.files import sha256
from bench.core.plugin_sources import PluginSource, write_sources
from bench.core.record import ARRAYS, EXAMPLES, RECORD, WEIGHTS, Record
from bench.evaluation.resume import save_arrays
from metrics.evaluation import Arrays, Evaluation

#: Metric → array → its values.
ArraysByMetric = Mapping[str, Mapping[str, np.ndarray]]

#: Adversarial images that a result stores, over all attacks.
MOST_EXAMPLES = 50
#: Their names among the arrays of an attack's metric; they are stored in a file of their own.
EXAMPLE_ARRAYS = ("example_index", "examples")


def flatten(arrays: Mapping[str, Arrays], evaluation: Evaluation) -> Arrays:
    """The arrays of all metrics in one dictionary: accuracy masks as METRIC, the others as METRIC:ARRAY."""
    flat: Arrays = {"test_index": evaluation.test_index.numpy(), "labels": evaluation.labels.cpu().numpy()}
    for metric, own in arrays.items():
        for key, array in own.items():
            if key not in EXAMPLE_ARRAYS:
                flat[metric if key == "right" and array.ndim == 1 else f"{metric}:{key}"] = array
    return flat


def unflatten(flat: Mapping[str, np.ndarray]) -> dict[str, Arrays]:
    """The arrays of a record's file by metric: the inverse of `flatten`, without the examples."""
    arrays: dict[str, Arrays] = {}
    for name, array in flat.items():
        metric, colon, key = name.rpartition(":")
        if colon:
            arrays.setdefault(metric, {})[key] = array
        elif name not in ("test_index", "labels"):
            arrays.setdefault(name, {})["right"] = array
    return arrays


def gather_examples(arrays: Mapping[str, Arrays], evaluation: Evaluation) -> Arrays:
    """Adversarial images of all attacks: `attack` [e], `test_index` int64 [e], `image` float32 [e, C, H, W].

    At most `MOST_EXAMPLES`, evenly over the attacks; empty arrays where no attack broke an image.
    """
    attacks = {name: own for name, own in arrays.items() if own.keys() >= set(EXAMPLE_ARRAYS)}
    share = min(KEPT, MOST_EXAMPLES // max(len(attacks), 1))
    names: list[str] = []
    index, images = [np.empty(0, np.int64)], [np.empty((0, *evaluation.images.shape[1:]), np.float32)]
    for name, own in attacks.items():
        index.append(evaluation.test_index.numpy()[own["example_index"][:share]])
        images.append(own["examples"][:share])
        names += [name] * len(index[-1])
    return {
        "attack": np.array(names, dtype=np.str_),
        "test_index": np.concatenate(index),
        "image": np.concatenate(images),
    }


def write_result(
    folder: Path,
    record: Record,
    measured: Mapping[str, Arrays],
    evaluation: Evaluation,
    sources: Sequence[PluginSource] = (),
) -> Record:
    """Write arrays, examples and copies of plug-ins, and last the record, which names them and the weights.

    Returns:
        The record with its files.
    """
    save_arrays(folder / ARRAYS, flatten(measured, evaluation))
    written = {"weights": WEIGHTS, "arrays": ARRAYS}
    examples = gather_examples(measured, evaluation)
    if len(examples["attack"]):
        save_arrays(folder / EXAMPLES, examples)
        written["examples"] = EXAMPLES
    files = {kind: schema.File(path=name, sha256=sha256(folder / name)) for kind, name in written.items()}
    files |= write_sources(folder, sources)
    record = record.model_copy(update={"files": files})
    record.save(folder / RECORD)
    return record
