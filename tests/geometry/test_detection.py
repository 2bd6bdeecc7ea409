import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from bench.core.statistics import wilson
from bench.geometry.detection import auc, paired_interval, roc, tpr_at_5fpr, unpaired_interval

SCORES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30)


def resampled(statistic, clean, perturbed, **settings):
    interval = bootstrap(
        (clean, perturbed),
        statistic,
        n_resamples=1000,
        method="percentile",
        random_state=np.random.default_rng(0),
        **settings,
    ).confidence_interval
    return interval.low, interval.high


@pytest.mark.parametrize("statistic", [auc, tpr_at_5fpr])
def test_scores_that_overlap_have_the_bootstraps_interval(statistic):
    generator = np.random.default_rng(0)
    clean, perturbed = generator.normal(0, 1, 40), generator.normal(1, 1, 40)
    expected = resampled(statistic, clean, perturbed, paired=True)
    assert paired_interval(statistic, clean, perturbed) == expected
    expected = resampled(statistic, clean, perturbed[:30], paired=False, batch=100)
    assert unpaired_interval(statistic, clean, perturbed[:30]) == expected


@pytest.mark.parametrize("statistic", [auc, tpr_at_5fpr])
@pytest.mark.parametrize("value", [0, 1])
def test_a_bootstrap_without_width_gives_way_to_wilsons_interval(statistic, value):
    clean = np.arange(25.0)
    perturbed = clean + (100 if value else -100)
    assert len(set(resampled(statistic, clean, perturbed, paired=True))) == 1
    assert paired_interval(statistic, clean, perturbed) == pytest.approx(wilson(25 * value, 25))
    # Of two groups the smaller one counts.
    assert unpaired_interval(statistic, clean, perturbed[:9]) == pytest.approx(wilson(9 * value, 9))


def test_equal_scores_are_an_auc_of_one_half_that_is_not_certain():
    for n in (12, 13):
        low, high = paired_interval(auc, np.ones(n), np.ones(n))
        assert low == pytest.approx(wilson(n // 2, n)[0])
        assert high == pytest.approx(wilson(n - n // 2, n)[1])


def test_a_share_of_zero_is_at_least_as_wide_as_wilsons_where_resamples_find_some():
    clean, perturbed = np.arange(40.0), np.full(40, 36.5)
    assert tpr_at_5fpr(clean, perturbed) == 0
    assert resampled(tpr_at_5fpr, clean, perturbed, paired=True)[1] == 1
    assert paired_interval(tpr_at_5fpr, clean, perturbed) == (0, 1)


@settings(deadline=None, max_examples=25)
@given(SCORES)
def test_every_interval_holds_its_value_and_has_some_width(pairs):
    clean, perturbed = np.array(pairs, float).T
    for interval in (paired_interval, unpaired_interval):
        for statistic in (auc, tpr_at_5fpr):
            low, high = interval(statistic, clean, perturbed)
            assert 0 <= low <= statistic(clean, perturbed) <= high <= 1
            assert high - low > 0


def test_wilsons_interval_covers_a_rare_event_where_the_bootstrap_does_not():
    # One image in 25 is found: of 20, none is in 44 % of all draws.
    generator = np.random.default_rng(0)
    clean = np.linspace(0, 1, 20)
    draws = [np.where(generator.random(20) < 0.04, 2.0, -1.0) for _ in range(200)]
    covered = [paired_interval(tpr_at_5fpr, clean, perturbed)[1] >= 0.04 for perturbed in draws]
    assert np.mean(covered) > 0.95


@given(SCORES)
def test_the_roc_curve_has_the_rates_at_every_threshold(scores):
    clean, perturbed = np.array(scores, float).T
    thresholds = [np.inf, *np.unique([clean, perturbed])[::-1]]
    false, true = roc(clean, perturbed)
    assert false.tolist() == [np.mean(clean >= threshold) for threshold in thresholds]
    assert true.tolist() == [np.mean(perturbed >= threshold) for threshold in thresholds]
