from metrics.regions.prs_ratio import PRSRatio
from tests.metrics.regions.quadrants import QUADRANTS, evaluate, scores


def test_four_points_in_three_quadrants_have_prs_ratio_three_quarters():
    score = scores(PRSRatio(), evaluate(QUADRANTS, QUADRANTS))["prs_ratio"]
    assert (score.value, score.n) == (0.75, 4)
    assert score.low is score.high is None
