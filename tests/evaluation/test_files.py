"""The files of a result."""

import numpy as np

from bench.evaluation.files import unflatten


def test_arrays_come_back_by_metric() -> None:
    flat = {
        "test_index": np.arange(2),
        "labels": np.arange(2),
        "clean_accuracy": np.array([True]),
        "robust_accuracy/pgd20:step": np.array([1]),
        "some.module:Metric:values": np.array([2.0]),
    }
    assert {metric: list(own) for metric, own in unflatten(flat).items()} == {
        "clean_accuracy": ["right"],
        "robust_accuracy/pgd20": ["step"],
        "some.module:Metric": ["values"],
    }
