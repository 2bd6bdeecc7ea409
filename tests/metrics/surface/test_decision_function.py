import pytest

from bench.core.intervals import proportion_interval
from metrics.surface.decision_function import DecisionFunction
from tests.metrics.surface.networks import MARGINS, TEST, run
from tests.metrics.toys import evaluate


def test_the_decision_function_of_a_linear_network_by_hand():
    evaluation = evaluate(TEST, TEST)
    arrays, scores, (chart,) = run(DecisionFunction(attack="bim"), evaluation)
    assert arrays["clean"] == pytest.approx(MARGINS, abs=1e-6)
    assert scores["decision_function"].value == pytest.approx(MARGINS.mean(), abs=1e-6)
    share = scores["decision_function/positive"]
    assert (share.value, share.low, share.high) == (0.75, *proportion_interval(3, 4))
    # An ε of 0.1 takes the third image across and the others 0.1 nearer; the wrong one stays where it is.
    assert arrays["attacked"][[0, 1, 3]] == pytest.approx(MARGINS[[0, 1, 3]] - [0.1, 0.1, 0], abs=1e-6)
    assert MARGINS[2] - 0.1 <= arrays["attacked"][2] <= 0
    assert scores["decision_function/attacked_positive"].value == 0.5
    assert [mark.kind for mark in chart.panels[0].marks] == ["histogram", "histogram", "rule"]
