from metrics.curvature.convexity import Convexity
from tests.metrics.curvature.networks import Ball, Constant, Half, evaluate, scores_of


def test_regions_of_parallel_planes_are_convex_and_the_outside_of_a_ball_is_not():
    convex = scores_of(Convexity(trials=100), evaluate(Half(), classes=3))
    assert convex.keys() == {"convexity", *(f"convexity/k{k}" for k in range(3, 11))}
    assert all(score.value == 1 for score in convex.values() if score.n)
    outside = scores_of(Convexity(trials=300), evaluate(Ball(), spread=0.25))
    assert outside["convexity/k10"].value < outside["convexity"].value < 1
    assert outside["convexity"].n == 300


def test_sizes_that_no_region_reaches_have_no_value(make_record):
    metric = Convexity(trials=10)
    measured = metric.measure(evaluate(Constant(), count=4))
    scores = metric.reduce(measured)
    assert [scores[f"convexity/k{k}"].value for k in (3, 4)] == [1, 1]
    assert scores["convexity/k5"].value is None
    assert "5 of the test images" in scores["convexity/k5"].reason
    (chart,) = metric.charts(measured, make_record())
    assert chart.panels[0].marks[0].x == [2, 3, 4]
