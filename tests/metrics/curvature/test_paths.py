import torch

from bench.core.intervals import proportion_interval
from bench.geometry.paths import Path
from metrics.curvature.convexity import Convexity
from metrics.curvature.paths import SCENARIOS, Connectivity
from metrics.curvature.paths import _example_rank as example_rank
from tests.metrics.curvature.networks import Ball, Constant, Half, evaluate, scores_of


def test_every_pair_of_a_half_space_is_joined_by_its_straight_line():
    scores = scores_of(Connectivity(pairs=10), evaluate(Half(), classes=3))
    for scenario in ("", "/adversarial", "/random"):
        assert scores[f"paths{scenario}"].value == 1
        assert scores[f"paths/straight{scenario}"].value == 1
        assert scores[f"paths/length{scenario}"].value == 1
        assert (scores[f"paths{scenario}"].low, scores[f"paths{scenario}"].high) == proportion_interval(
            10, 10
        )


def test_pairs_outside_a_ball_are_joined_around_it():
    evaluation = evaluate(Ball())
    measured = Connectivity(pairs=15).measure(evaluation)
    scores = Connectivity(pairs=15).reduce(measured)
    assert scores["paths"].value == 1
    outside = measured["images/label"] == 0
    bent = ~measured["images/straight"]
    assert not (bent & ~outside).any(), "a ball is convex, what surrounds it is not"
    assert (measured["images/length"][bent] > 1).all()
    assert (measured["images/anchors"][bent] > 2).all()


def test_fewer_images_than_pairs_are_all_used_and_counted():
    scores = scores_of(Connectivity(pairs=500), evaluate(Half(), count=12, classes=3))
    assert scores["paths"].n <= 12
    assert scores["paths/random"].n == 12


def test_a_constant_network_is_one_region_and_has_no_image_of_another():
    scores = scores_of(Connectivity(pairs=5), evaluate(Constant()))
    assert scores["paths"].value == scores["paths/random"].value == 1
    for name in ("paths/adversarial", "paths/straight/adversarial", "paths/length/adversarial"):
        assert scores[name].value is None
        assert scores[name].n == 0
        assert scores[name].reason


def test_all_misclassified_images_still_lie_in_regions():
    evaluation = evaluate(Half(), classes=3)
    evaluation.labels = (evaluation.labels + 1) % 3
    assert scores_of(Connectivity(pairs=5), evaluation)["paths"].value == 1
    assert scores_of(Convexity(trials=20), evaluation)["convexity"].value == 1


def test_path_figures_show_the_straight_line_and_the_bent_one(make_record):
    evaluation = evaluate(Ball())
    measured = Connectivity(pairs=15).measure(evaluation)
    (chart,) = Connectivity().charts(measured, make_record(dataset={"classes": ["a", "b"]}))
    straight, bent = (panel.marks[0].z for panel in chart.panels)
    middle = len(straight) // 2
    assert len(set(straight[middle])) == 2, "the straight line leaves the region"
    ends = chart.panels[1].marks[1].x
    assert len(set(bent[middle])) == 1, "the path does not"
    assert ends[0] == 0
    assert len(ends) > 2


def bent(deviation):
    return Path(torch.zeros(3, 1, 1, 1), found=True, length=1.0, deviation=deviation)


def test_the_most_bent_path_is_drawn_and_two_images_first_where_theirs_is_bent_visibly():
    candidates = [("images", bent(0.004)), ("random", bent(0.2)), ("adversarial", bent(0.1))]
    assert max(candidates, key=lambda pair: example_rank(*pair)) == candidates[1]
    candidates += [("images", bent(0.006)), ("images", bent(0.03))]
    assert max(candidates, key=lambda pair: example_rank(*pair)) == candidates[-1]


def test_the_path_figure_names_its_pair_and_how_far_it_bends(make_record):
    record = make_record(dataset={"classes": ["a", "b", "c"]})
    measured = Connectivity(pairs=15).measure(evaluate(Ball()))
    most = max(measured["images/deviation"])
    assert most >= 0.005
    assert measured["section/deviation"].item() == most
    (chart,) = Connectivity().charts(measured, record)
    assert f"x₂ is {SCENARIOS['images']}" in chart.caption
    assert f"by {most:.2g} of its length" in chart.caption
    older = {key: value for key, value in measured.items() if key != "section/scenario"}
    assert Connectivity().charts(older, record)[0].caption.endswith("were joined.")
    straight = Connectivity(pairs=5).measure(evaluate(Half(), classes=3))
    assert "all of them by the straight line" in Connectivity().charts(straight, record)[0].caption


def test_every_scenario_says_what_its_second_point_is():
    scores = scores_of(Connectivity(pairs=2), evaluate(Half(), classes=3))
    assert all(
        what in scores[f"paths/straight{tail}"].reason
        for tail, what in (
            ("", SCENARIOS["images"]),
            ("/adversarial", SCENARIOS["adversarial"]),
            ("/random", SCENARIOS["random"]),
        )
    )
