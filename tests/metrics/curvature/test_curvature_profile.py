import numpy as np
import pytest

from bench.core.intervals import proportion_interval
from metrics.curvature.curvature_profile import CurvatureProfile
from metrics.evaluation import NotMeasurable
from tests.metrics.curvature.networks import Ball, Saddle, evaluate


def test_curvature_of_a_ball_seen_from_inside_is_negative_of_that_from_outside(make_record):
    evaluation = evaluate(Ball())
    metric = CurvatureProfile(images=40)
    measured = metric.measure(evaluation)
    inside = evaluation.labels[measured["test_index"] - 100].numpy() == 1
    # F = f_predicted − f_other falls outwards from inside: curvature −1/R there.
    assert np.allclose(measured["mean"], np.where(inside, -1, 1) / 0.4, rtol=0.02)
    assert np.allclose(measured["perturbed_mean"], np.where(inside, 1, -1) / 0.4, rtol=0.02)
    assert np.allclose(measured["curvatures"], measured["mean"][:, None], rtol=0.02)
    scores = metric.reduce(measured)
    outside = int((~inside).sum())
    assert scores["curvature_sign/clean"].value == outside / 40
    assert scores["curvature_sign/perturbed"].value == 1 - outside / 40
    assert (scores["curvature_sign/clean"].low, scores["curvature_sign/clean"].high) == proportion_interval(
        outside, 40
    )
    assert "f_predicted − f_other" in scores["curvature_profile"].reason
    profile, sign = metric.charts(measured, make_record())
    assert profile.panels[0].marks[0].x == list(range(1, 12))
    assert sign.panels[0].marks[0].values[0] == pytest.approx(100 * outside / 40)


def test_the_profile_names_its_ends_where_lanczos_knows_no_more(make_record):
    metric = CurvatureProfile(images=5, full_up_to=0, spectrum_up_to=0, extremes=2)
    measured = metric.measure(evaluate(Saddle()))
    assert measured["curvatures"].shape == (5, 4)
    assert np.isfinite(measured["curvatures"]).any()
    assert np.isfinite(metric.reduce(measured)["curvature_profile"].value)
    lines = [
        mark for mark in metric.charts(measured, make_record())[0].panels[0].marks if mark.kind == "line"
    ]
    assert [line.x for line in lines] == [[1, 2], [10, 11]]
    assert [line.name for line in lines] == ["the lowest", "the highest"]


def test_the_whole_spectrum_is_drawn_where_only_its_ends_were_needed_and_no_score_moves(make_record):
    whole, ends = (
        CurvatureProfile(images=5, full_up_to=0, spectrum_up_to=up_to, extremes=2) for up_to in (1024, 0)
    )
    first, second = (metric.measure(evaluate(Saddle())) for metric in (whole, ends))
    assert first["curvatures"].shape == (5, 11)
    assert np.array_equal(first["mean"], second["mean"])
    assert np.array_equal(first["perturbed_mean"], second["perturbed_mean"])
    assert whole.settings() == ends.settings()
    assert whole.reduce(first) == ends.reduce(second)
    (line, _) = whole.charts(first, make_record())[0].panels[0].marks
    assert (line.name, line.x) == ("principal curvatures", list(range(1, 12)))


def test_with_every_image_misclassified_there_is_no_profile():
    evaluation = evaluate(Ball())
    evaluation.labels = 1 - evaluation.labels
    with pytest.raises(NotMeasurable, match="no test image is classified correctly"):
        CurvatureProfile().measure(evaluation)
