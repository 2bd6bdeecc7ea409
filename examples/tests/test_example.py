"""The contract suite over this package's defense, metric and network."""

import pytest
from regionbench_example.input_noise import InputNoise
from regionbench_example.mean_margin import MeanMargin
from regionbench_example.two_layers import two_layers

from bench.testing import DEFENSE_CHECKS, METRIC_CHECKS, NETWORK_CHECKS

CHECKS = [
    *((check, InputNoise) for check in DEFENSE_CHECKS),
    *((check, MeanMargin) for check in METRIC_CHECKS),
    *((check, two_layers) for check in NETWORK_CHECKS),
]


@pytest.mark.parametrize(("check", "part"), CHECKS, ids=[check.__name__ for check, _ in CHECKS])
def test_contract(check, part):
    """Every promise of `bench.testing`."""
    check(part)
