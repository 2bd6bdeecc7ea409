"""A sample of `python -m benchmarks.coverage`: intervals cover the truth as often as docs/intervals.md says."""

import pytest
from scipy import stats

from benchmarks.coverage.cases import cases, coverage

ROUNDS = 400
#: Where fewer than 95 % are known to be covered at n = 10 or 40: strongly skewed values.
LESS = {
    "exponential": 0.93,
    "log-normal": 0.9,
    "beta(0.3, 3)": 0.93,
    "five levels": 0.92,
    "nine zeros in ten": 0.9,
}


@pytest.mark.slow
@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.kind}, {case.distribution}")
@pytest.mark.parametrize("n", [10, 40])
def test_an_interval_covers_the_truth_as_often_as_it_says(case, n):
    if n < case.smallest:
        pytest.skip(f"has an interval from n = {case.smallest}")
    found = coverage(case, case.after, n, ROUNDS, seed=1)
    rate = LESS.get(case.distribution, 0.95) if case.kind == "mean" else 0.95
    covered = round(found * ROUNDS)
    assert stats.binomtest(covered, ROUNDS, rate, alternative="less").pvalue > 0.001


@pytest.mark.slow
def test_student_and_the_bootstrap_covered_less_at_small_n():
    named = {(case.kind, case.distribution): case for case in cases()}
    for kind, distribution, n in (
        ("mean", "exponential", 5),
        ("AUC, pairs", "AUC 0.8", 5),
        ("TPR at 5 % FPR", "AUC 0.8", 20),
    ):
        case = named[kind, distribution]
        assert coverage(case, case.before, n, ROUNDS) < coverage(case, case.after, n, ROUNDS) - 0.02
