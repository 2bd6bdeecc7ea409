import math

import numpy as np
import pytest
import torch
from torch import nn

from bench.core.classifier import WrappedClassifier
from bench.core.errors import UserError
from bench.core.statistics import wilson
from bench.core.threat import Threat
from bench.data import Dataset, Split
from bench.geometry.paths import Path
from metrics.curvature.convexity import Convexity
from metrics.curvature.curvature_profile import CurvatureProfile
from metrics.curvature.paths import SCENARIOS, Connectivity
from metrics.curvature.paths import _example_rank as example_rank
from metrics.curvature.shared_directions import NOISE, PROJECTED, SharedDirections
from metrics.evaluation import Evaluation, NotMeasurable

SHAPE = (1, 3, 4)


class Ball(nn.Module):
    """Class 1 inside a ball around the centre of the pixel box, class 0 outside."""

    def __init__(self, radius=0.4):
        super().__init__()
        self.radius, self.seen = radius, 0

    def forward(self, images):
        self.seen += len(images)
        inside = self.radius**2 - (images.flatten(1) - 0.5).square().sum(dim=1)
        return torch.stack([torch.zeros_like(inside), inside], dim=1)


class Ridge(nn.Module):
    """A boundary x₀ = ½ that bends along x₁ and x₂ alone."""

    def forward(self, images):
        flat = images.flatten(1) - 0.5
        value = flat[:, 0] + flat[:, 1].square() - 0.7 * flat[:, 2].square()
        return torch.stack([torch.zeros_like(value), value], dim=1)


class Saddle(nn.Module):
    """A boundary that bends differently along every axis but x₀."""

    def forward(self, images):
        flat = images.flatten(1) - 0.5
        value = flat[:, 0] + (torch.linspace(-1, 1, 11) * flat[:, 1:].square()).sum(dim=1)
        return torch.stack([torch.zeros_like(value), value], dim=1)


class Half(nn.Module):
    """Three classes divided by parallel planes."""

    def forward(self, images):
        value = images.flatten(1).sum(dim=1) - 6
        return torch.stack([-value, torch.full_like(value, 0.5), value], dim=1)


class Constant(nn.Module):
    def forward(self, images):
        return torch.tensor([0.0, 1.0]).expand(len(images), 2)


def evaluate(module, count=40, classes=2, labels=None, spread=0.25):
    draws = torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(0))
    lengths = torch.linspace(0.1, 0.7, count).view(-1, 1, 1, 1)
    images = (0.5 + spread / 0.25 * lengths * draws / draws.flatten(1).norm(dim=1).view(-1, 1, 1, 1)).clamp(
        0, 1
    )
    classifier = WrappedClassifier(module, SHAPE, classes).eval()
    if labels is None:
        with torch.no_grad():
            labels = classifier(images).argmax(dim=1)
    pixels = (images * 255).round().to(torch.uint8)
    split = Split(pixels, labels)
    return Evaluation(
        classifier=classifier,
        dataset=Dataset("toy", ("a", "b", "c")[:classes], split, split, split),
        threat=Threat.parse("0.1"),
        images=images,
        labels=labels,
        test_index=torch.arange(count) + 100,
        batch_size=30,
    )


def scores_of(metric, evaluation):
    return metric.reduce(metric.measure(evaluation))


def test_every_pair_of_a_half_space_is_joined_by_its_straight_line():
    scores = scores_of(Connectivity(pairs=10), evaluate(Half(), classes=3))
    for scenario in ("", "/adversarial", "/random"):
        assert scores[f"paths{scenario}"].value == 1
        assert scores[f"paths/straight{scenario}"].value == 1
        assert scores[f"paths/length{scenario}"].value == 1
        assert (scores[f"paths{scenario}"].low, scores[f"paths{scenario}"].high) == wilson(10, 10)


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
    assert (scores["curvature_sign/clean"].low, scores["curvature_sign/clean"].high) == wilson(outside, 40)
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


@pytest.mark.parametrize("metric", [CurvatureProfile(images=5), SharedDirections()])
def test_a_constant_network_has_no_boundary(metric):
    with pytest.raises(NotMeasurable):
        metric.measure(evaluate(Constant()))


def test_with_every_image_misclassified_there_is_no_profile():
    evaluation = evaluate(Ball())
    evaluation.labels = 1 - evaluation.labels
    with pytest.raises(NotMeasurable, match="no test image is classified correctly"):
        CurvatureProfile().measure(evaluation)


def test_directions_along_which_every_boundary_bends_are_found_and_are_where_noise_is_not_harmless(
    make_record,
):
    metric = SharedDirections(train_images=10, per_image=2, count=3, directions=200)
    measured = metric.measure(evaluate(Ridge()))
    axes = np.eye(12)[[1, 2]]
    assert (np.linalg.norm(measured["basis"][:2] @ axes.T, axis=1) > 0.9).all()
    scores = metric.reduce(measured)
    assert scores["shared_directions/curvature"].value > 1
    assert scores["shared_directions"].n == 40
    m, d = measured["basis"].shape
    # E‖P_S v‖ for a unit v; its square has the Beta(m/2, (d − m)/2) distribution.
    logs = [math.lgamma(x / 2) for x in (m + 1, d, m, d + 1)]
    expected = math.exp(logs[0] + logs[1] - logs[2] - logs[3])
    spread = math.sqrt((m / d - expected**2) / 40)
    assert abs(scores["shared_directions/random"].value - expected) < 4 * spread
    assert measured["changed_inside"].shape == (len(NOISE), 40)
    for name in ("noise_inside", "noise_outside"):
        score = scores[f"shared_directions/{name}"]
        assert 0 <= score.low <= score.value <= score.high <= 1
    charts = metric.charts(measured, make_record())
    assert [chart.name for chart in charts] == [
        *("curvature-shared-directions", "curvature-noise", "curvature-projection")
    ]


def test_noise_in_the_span_of_the_only_direction_that_matters_changes_classes_and_other_noise_does_not():
    arrays = {
        "basis": np.eye(12)[:1],
        "used": np.array([4]),
        "relative_curvature": np.zeros((0, 1)),
        "changed_inside": np.tile([[True, False]], (len(NOISE), 1)),
        "changed_outside": np.zeros((len(NOISE), 2), bool),
        **{f"projection/{kind}": np.zeros(0) for kind in ("adversarial", "random", "difference", "gradient")},
    }
    scores = SharedDirections().reduce(arrays)
    assert scores["shared_directions/noise_inside"].value == 0.5
    assert scores["shared_directions/noise_outside"].value == 0
    assert scores["shared_directions"].value is None
    assert scores["shared_directions/curvature"].value is None


@pytest.mark.parametrize(
    "metric",
    [
        Connectivity(pairs=4),
        Convexity(trials=10),
        CurvatureProfile(images=4),
        SharedDirections(train_images=4, test_images=10, curved_images=3, directions=5),
    ],
    ids=lambda metric: metric.name,
)
def test_passes_are_counted_and_measuring_twice_gives_the_same(metric):
    evaluation, again = evaluate(Ball()), evaluate(Ball())
    evaluation.classifier.module.seen = 0
    state = torch.get_rng_state()
    first, second = metric.measure(evaluation), metric.measure(again)
    assert evaluation.forwards == evaluation.classifier.module.seen
    assert all(np.array_equal(first[key], second[key], equal_nan=True) for key in first)
    assert torch.equal(torch.get_rng_state(), state)
    assert metric.name in metric.reduce(first)
    assert metric.settings()


@pytest.mark.parametrize(
    ("make", "wrong", "message"),
    [
        (Connectivity, {"pairs": 0}, "pairs=0"),
        (Connectivity, {"max_depth": 0}, "max_depth=0"),
        (Convexity, {"largest": 1}, "largest from 2"),
        (CurvatureProfile, {"directions": 1}, "directions from 2"),
        (SharedDirections, {"count": 0}, "count=0"),
        (SharedDirections, {"train_images": 0}, "train_images=0"),
    ],
)
def test_mistakes_are_told(make, wrong, message):
    with pytest.raises(UserError, match=message):
        make(**wrong)


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


def test_one_value_has_no_interval():
    path = {"found": [True], "straight": [True], "length": [1.5], "failed": [0]}
    paths = {f"{kind}/{name}": np.array(value) for kind in SCENARIOS for name, value in path.items()}
    profile = {"mean": [2.0], "perturbed_mean": [-1.0], "attacked": [1], "h": [0.1]}
    directions = {
        "basis": np.eye(1, 4),
        "used": np.array([1]),
        "relative_curvature": np.array([[3.0]]),
        "changed_inside": np.zeros((len(NOISE), 1), bool),
        "changed_outside": np.zeros((len(NOISE), 1), bool),
        **{f"projection/{kind}": np.array([0.5]) for kind in PROJECTED},
    }
    scores = {
        **Connectivity().reduce(paths),
        **CurvatureProfile().reduce({name: np.array(value) for name, value in profile.items()}),
        **SharedDirections().reduce(directions),
    }
    expected = {"paths/length": 1.5, "curvature_profile": 2.0, "shared_directions": 0.5}
    for name, value in {**expected, "shared_directions/curvature": 3.0}.items():
        assert (scores[name].value, scores[name].n) == (value, 1)
        assert scores[name].low is scores[name].high is None
