"""Compare what a record says of its network, data and images with the restored ones."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bench.core.names import dataset_label
from bench.evaluation.describe import result_id
from bench.results.restore import Restored
from bench.results.verification.check import Check, Findings, first_few, outcome_of


def check_description(restored: Restored, arrays: Mapping[str, np.ndarray]) -> Findings:
    """Compare number of weights, feature site, data and identifier with those of the restored network and data.

    Args:
        arrays: as stored with the record; `test_index` and `labels` name the attacked images.
    """
    problems = [*_differing_fields(restored), *_differing_images(restored, arrays)]
    what = "network, data, identifier and attacked images are those that the record describes"
    yield Check("description", outcome_of(not problems), first_few(problems, "; ") or what)


def _differing_fields(restored: Restored) -> Iterator[str]:
    record, classifier, dataset = restored.record, restored.classifier, restored.dataset
    found: dict[str, tuple[Any, Any]] = {
        "parameters": (record.parameters, sum(each.numel() for each in classifier.parameters())),
        "feature_site": (record.feature_site, classifier.site),
        "dataset.name": (dataset_label(record.dataset.name), dataset_label(dataset.name)),
        "dataset.shape": (tuple(record.dataset.shape), tuple(dataset.shape)),
        "dataset.classes": (list(record.dataset.classes), list(dataset.classes)),
        "dataset.train_size": (record.dataset.train_size, len(dataset.train)),
        "dataset.validation_size": (record.dataset.validation_size, len(dataset.validation)),
        "dataset.test_size": (record.dataset.test_size, len(dataset.test)),
        "id": (record.id, _identifier(restored)),
    }
    for name, (theirs, ours) in found.items():
        if theirs != ours:
            yield f"{name} is {theirs!r} in the record, {ours!r} here"


def _identifier(restored: Restored) -> str:
    record = restored.record
    return result_id(
        record.provenance.run,
        record.seed,
        record.battery.name,
        record.battery.version,
        classifier=restored.classifier,
        data=restored.dataset.fingerprint,
        evaluated=record.dataset.evaluated_fingerprint,
        threat=restored.threat,
        network=record.provenance.config.get("network"),
    )


def _differing_images(restored: Restored, arrays: Mapping[str, np.ndarray]) -> Iterator[str]:
    n = restored.record.dataset.evaluated_size
    expected = {
        "test_index": np.arange(n),
        "labels": restored.dataset.test.labels[:n].cpu().numpy(),
    }
    for name, values in expected.items():
        if name in arrays and not np.array_equal(arrays[name], values):
            yield f"array {name} is not that of the {n} attacked images"
