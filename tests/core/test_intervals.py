import numpy as np
import pytest
from scipy import stats

from bench.core.intervals import mean_interval


def test_the_interval_of_a_mean_is_students():
    values = np.random.default_rng(0).normal(3, 2, 12)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((expected.low, expected.high))


def test_one_value_is_its_own_interval_and_none_has_no_mean():
    assert mean_interval(np.array([2.5])) == (2.5, 2.5)
    with pytest.raises(ValueError, match="at least 1"):
        mean_interval(np.array([]))
