"""Intervals and paired tests against published values and their own properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats import contingency_tables
from statsmodels.stats.proportion import confint_proportions_2indep

from bench.core.intervals import mean_interval, proportion_interval
from bench.core.statistics import mcnemar, mean_difference, paired_difference, unpaired_difference

Counts = tuple[int, int, int, int]

tables = st.tuples(*[st.integers(0, 60)] * 4).filter(lambda table: sum(table) > 1)


def outcomes(both: int, only_first: int, only_second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    sizes = (both, only_first, only_second, neither)
    return np.repeat([True, True, False, False], sizes), np.repeat([True, False, True, False], sizes)


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        ((1, 1, 7, 12), -0.507, -0.026),  # Fagerland, Lydersen & Laake 2014, airway hyper-responsiveness
        ((14, 5, 0, 22), 0.011, 0.226),  # Altman et al. 2000, Statistics with confidence, table 6.2
    ],
)
def test_paired_interval_is_newcombes_published_one(table: Counts, low: float, high: float) -> None:
    difference = paired_difference(*outcomes(*table))
    assert difference.value == pytest.approx((table[1] - table[2]) / sum(table))
    assert (difference.low, difference.high) == pytest.approx((low, high), abs=6e-4)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090)],
)
def test_unpaired_interval_is_newcombes_published_one(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    """Newcombe 1998, Statistics in Medicine 17, 873–890, table II, method 10."""
    difference = unpaired_difference(first, second)
    assert (difference.low, difference.high) == pytest.approx((low, high), abs=6e-5)


@given(tables)
def test_swapping_the_sides_turns_the_paired_interval_round(table: Counts) -> None:
    first, second = outcomes(*table)
    there, back = paired_difference(first, second), paired_difference(second, first)
    assert (there.low, there.value, there.high) == pytest.approx((-back.high, -back.value, -back.low))
    assert -1 - 1e-9 <= there.low <= there.value + 1e-9
    assert there.value - 1e-9 <= there.high <= 1 + 1e-9


@given(tables)
def test_pairing_never_widens_the_interval_of_agreeing_classifiers(table: Counts) -> None:
    both, only_first, only_second, neither = table
    if both * neither < only_first * only_second:
        return
    first, second = outcomes(*table)
    paired, n = paired_difference(first, second), sum(table)
    unpaired = unpaired_difference((int(first.sum()), n), (int(second.sum()), n))
    assert paired.high - paired.low <= unpaired.high - unpaired.low + 1e-9


@pytest.mark.slow
def test_the_paired_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    chances, n, rounds = (0.35, 0.10, 0.05, 0.50), 200, 2000
    hits = 0
    for table in generator.multinomial(n, chances, rounds):
        difference = paired_difference(*outcomes(*map(int, table)))
        hits += difference.low <= chances[1] - chances[2] <= difference.high
    # Four standard errors of the simulation below the nominal 95 %, and no gross conservatism.
    assert 0.93 < hits / rounds < 0.985


def test_two_equal_classifiers_have_no_difference_and_an_interval_around_it() -> None:
    first, _ = outcomes(30, 0, 0, 20)
    difference = paired_difference(first, first)
    assert difference.value == 0
    assert difference.low < 0 < difference.high


@given(st.integers(2, 60), st.integers(1, 4), st.integers(1, 4), st.integers(0, 1000))
def test_mean_difference_is_that_of_a_mean(n: int, first: int, second: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = generator.random((first, n)) < 0.6, generator.random((second, n)) < 0.4
    difference, each = mean_difference(a, b), a.mean(axis=0) - b.mean(axis=0)
    assert difference.value == pytest.approx(a.mean() - b.mean())
    if np.ptp(each) > 1e-9:
        low, high = mean_interval(each)
        assert (difference.low, difference.high) == pytest.approx((max(-1, low), min(1, high)))


def test_seeds_that_never_differ_may_differ_on_a_further_image() -> None:
    same = np.arange(80).reshape(2, 40) % 3 == 0
    difference, (_, reach) = mean_difference(same, same), proportion_interval(0, 40)
    assert (difference.low, difference.value, difference.high) == pytest.approx((-reach, 0, reach))


def test_other_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="same examples"):
        paired_difference(np.ones(3, bool), np.ones(4, bool))
    with pytest.raises(ValueError, match="same examples"):
        mean_difference(np.ones((2, 3), bool), np.ones((2, 4), bool))
    with pytest.raises(ValueError, match="same examples"):
        paired_difference(np.ones(0, bool), np.ones(0, bool))


@given(tables)
def test_mcnemar_counts_the_discordant_pairs_alone(table: Counts) -> None:
    _, only_first, only_second, _ = table
    p_value = mcnemar(*outcomes(*table))
    total = only_first + only_second
    assert p_value == pytest.approx(stats.binomtest(only_first, total, 0.5).pvalue if total else 1.0)
    assert p_value == contingency_tables.mcnemar([table[:2], table[2:]], exact=True).pvalue


@given(tables)
def test_unpaired_interval_is_that_of_statsmodels(table: Counts) -> None:
    """Its only interval of a difference of proportions by this method; there is none for paired data."""
    first, second = (table[0], table[0] + table[1] + 1), (table[2], table[2] + table[3] + 1)
    difference = unpaired_difference(first, second)
    expected = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff")
    assert (difference.low, difference.high) == pytest.approx(expected)
