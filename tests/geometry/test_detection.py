import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.core.intervals import proportion_interval
from bench.geometry.detection import (
    FEWEST_FOR_THRESHOLD,
    auc,
    auc_interval,
    bounds_threshold,
    roc,
    tpr_at_5fpr,
    tpr_interval,
)

SCORES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30)


def delong(clean: np.ndarray, perturbed: np.ndarray, paired: bool) -> tuple[float, float]:
    """The interval by its definition, over all pairs of scores."""
    difference = perturbed[:, None] - clean
    wins = (difference > 0) + 0.5 * (difference == 0)
    value, of_perturbed, of_clean = wins.mean(), wins.mean(axis=1), wins.mean(axis=0)
    apart = np.hypot(stats.sem(of_perturbed), stats.sem(of_clean))
    error = stats.sem(of_perturbed + of_clean) if paired else apart
    t = stats.t.ppf(0.975, min(wins.shape) - 1)
    ends = np.log(value / (1 - value)) + np.array([-t, t]) * error / (value * (1 - value))
    return tuple(1 / (1 + np.exp(-ends)))


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 1000), st.sampled_from([0, 1]))
def test_the_interval_of_an_auc_is_delongs_on_the_logit_scale(m, n, seed, digits):
    generator = np.random.default_rng(seed)
    clean, perturbed = generator.normal(0, 1, m).round(digits), generator.normal(0.5, 1, n).round(digits)
    if 0 < auc(clean, perturbed) < 1:
        expected = delong(clean, perturbed, paired=False)
        if expected[0] < expected[1]:
            assert auc_interval(clean, perturbed, paired=False) == pytest.approx(expected)
        size = min(m, n)
        pairs = clean[:size], perturbed[:size]
        if 0 < auc(*pairs) < 1 and np.ptp(delong(*pairs, paired=True)) > 1e-9:
            assert auc_interval(*pairs, paired=True) == pytest.approx(delong(*pairs, paired=True))


@pytest.mark.parametrize("value", [0, 1])
def test_separated_scores_have_the_interval_of_a_share(value):
    clean = np.arange(25.0)
    perturbed = clean + (100 if value else -100)
    assert auc_interval(clean, perturbed, paired=True) == proportion_interval(25 * value, 25)
    # Of two groups the smaller one counts.
    assert auc_interval(clean, perturbed[:9], paired=False) == proportion_interval(9 * value, 9)


def test_equal_scores_are_an_auc_of_one_half_that_is_not_certain():
    for n in (12, 13):
        low, high = auc_interval(np.ones(n), np.ones(n), paired=True)
        assert low == proportion_interval(n // 2, n)[0]
        assert high == proportion_interval(n - n // 2, n)[1]


@settings(deadline=None, max_examples=25)
@given(SCORES)
def test_every_interval_holds_its_value_and_has_some_width(pairs):
    clean, perturbed = np.array(pairs, float).T
    for paired in (True, False):
        low, high = auc_interval(clean, perturbed, paired=paired)
        assert 0 <= low <= auc(clean, perturbed) <= high <= 1
        assert high - low > 0
    clean, perturbed = np.resize(clean, 60), np.resize(perturbed, 60)
    low, high = tpr_interval(clean, perturbed)
    assert 0 <= low <= tpr_at_5fpr(clean, perturbed) <= high <= 1
    assert high - low > 0


@given(st.integers(FEWEST_FOR_THRESHOLD + 1, 200), st.integers(0, 1000))
def test_the_threshold_flags_at_most_5_percent_of_further_clean_scores(n, seed):
    # Of n exchangeable scores, each is in turn the further one: it is flagged exactly for the k largest.
    scores = np.random.default_rng(seed).permutation(n).astype(float)
    flagged = [tpr_at_5fpr(np.delete(scores, at), scores[[at]]) for at in range(n)]
    assert sum(flagged) == np.floor(0.05 * n + 1e-9)


def test_a_threshold_needs_19_clean_scores_and_72_bound_it():
    perturbed = np.full(30, 100.0)
    with pytest.raises(ValueError, match="at least 19 clean scores, got 18"):
        tpr_at_5fpr(np.arange(18.0), perturbed)
    assert tpr_at_5fpr(np.arange(19.0), perturbed) == 1
    assert [bounds_threshold(n) for n in (19, 71, 72)] == [False, False, True]
    assert 1 - 0.95**71 < 0.975 < 1 - 0.95**72
    assert tpr_interval(np.arange(71.0), perturbed) == (0, 1)
    assert tpr_interval(np.arange(72.0), perturbed) == pytest.approx(proportion_interval(30, 30))


def test_an_interval_shows_the_threshold_and_the_share_apart():
    # The clean scores do not touch the perturbed ones, or the perturbed ones are all alike.
    clean = np.arange(100.0)
    share = np.where(np.arange(50) < 20, 1000.0, -1.0)
    assert tpr_interval(clean, share) == pytest.approx(proportion_interval(20, 50))
    assert tpr_at_5fpr(clean, np.full(50, 95.5)) == 1
    assert tpr_interval(clean, np.full(50, 95.5)) == (0, 1)


@given(SCORES)
def test_the_roc_curve_has_the_rates_at_every_threshold(scores):
    clean, perturbed = np.array(scores, float).T
    thresholds = [np.inf, *np.unique([clean, perturbed])[::-1]]
    false, true = roc(clean, perturbed)
    assert false.tolist() == [np.mean(clean >= threshold) for threshold in thresholds]
    assert true.tolist() == [np.mean(perturbed >= threshold) for threshold in thresholds]
