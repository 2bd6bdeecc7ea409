import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from bench.charts import Heatmap, Tiles
from bench.core.classifier import WrappedClassifier
from bench.core.errors import UserError
from bench.core.margins import decision_function
from bench.core.statistics import wilson
from bench.core.threat import Threat
from bench.data import Dataset, Split
from metrics.evaluation import Evaluation, NotMeasurable
from metrics.regions.region_plane import RegionPlane
from metrics.surface.decision_function import DecisionFunction
from metrics.surface.decision_surface import DecisionSurface
from metrics.surface.input_hessian import InputHessian
from metrics.surface.input_jacobian import InputJacobian
from tests.metrics.toys import Counting, empty, evaluate, identity, split
from tests.records import make_record

SMALL = {
    "decision_function": DecisionFunction(images=6),
    "input_jacobian": InputJacobian(images=6, shown=3),
    "input_hessian": InputHessian(images=3),
    "decision_surface": DecisionSurface(
        images=2, half=3, line_images=5, parameter_images=4, parameter_half=2
    ),
    "region_plane": RegionPlane(planes=2, resolution=9),
}
HESSIANS = ("ce_exact", "finite_difference", "softplus")

#: Logits are (0, z_0): L = ±z_0, right but for the last. Seen from the image, the boundary is |z_0| away.
POINTS, LABELS = [[0.4, 0], [-0.3, 0.1], [0.05, 0.2], [0.2, 0]], [1, 0, 1, 0]
TEST = split(POINTS, LABELS)
FIRST = ((np.array(POINTS)[:, 0] + 0.5) * 255).round() / 255 - 0.5
MARGINS = np.where(np.array(LABELS) == 1, FIRST, -FIRST)


class Constant(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(2, classes)
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            self.head.bias.copy_(torch.arange(classes).flip(0))

    def forward(self, images):
        return self.head(images.flatten(1)[:, :2] * 0)


class Sums(nn.Module):
    """A network whose logits come from no linear layer, with nothing to train."""

    def forward(self, images):
        return torch.stack([images.flatten(1).sum(dim=1), images.square().flatten(1).sum(dim=1)], dim=1)


def data(shape=(1, 4, 5), classes=3, count=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, *shape), generator=generator, dtype=torch.uint8)
    return Split(images, torch.randint(classes, (count,), generator=generator))


def network(shape, classes, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(shape[0], 3, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(3 * shape[1] * shape[2], 8),
            nn.ReLU(),
            nn.Linear(8, classes),
        )


def wrapped(module, test, classes, *, eps="linf:0.1", batch_size=5, right=False):
    shape = tuple(test.images.shape[1:])
    classifier = WrappedClassifier(module, shape, classes).eval()
    if right:
        with torch.no_grad():
            test = Split(test.images, classifier(test.batch(slice(None))[0]).argmax(dim=1))
    images, labels = test.batch(slice(None))
    names = tuple(f"class {number}" for number in range(classes))
    return Evaluation(
        classifier=classifier,
        dataset=Dataset("toy", names, test, test, test),
        threat=Threat.parse(eps),
        images=images,
        labels=labels,
        test_index=torch.arange(len(labels)),
        batch_size=batch_size,
    )


def record(evaluation):
    threat = {"norm": evaluation.threat.norm, "eps": evaluation.threat.eps}
    return make_record(dataset={"classes": list(evaluation.dataset.classes)}, threat=threat)


def run(metric, evaluation):
    arrays = metric.measure(evaluation)
    return arrays, metric.reduce(arrays), metric.charts(arrays, record(evaluation))


def assert_whole(scores, name):
    """Every score has a value within its interval, or a reason."""
    assert name in scores
    for score in scores.values():
        assert score.n is not None
        if score.value is not None and score.low is not None and score.high is not None:
            assert score.low - 1e-9 <= score.value <= score.high + 1e-9


@pytest.mark.parametrize("metric", SMALL.values(), ids=SMALL)
@pytest.mark.parametrize(
    ("shape", "classes", "eps"),
    [((1, 4, 5), 2, "linf:0.1"), ((3, 8, 6), 12, "l2:0.5")],
)
def test_any_wrapped_network_gives_scores_and_charts_and_is_left_as_it_was(metric, shape, classes, eps):
    evaluation = wrapped(network(shape, classes), data(shape, classes), classes, eps=eps)
    before = {name: value.clone() for name, value in evaluation.classifier.state_dict().items()}
    state = torch.random.get_rng_state()
    _, scores, charts = run(metric, evaluation)
    assert_whole(scores, metric.name)
    assert charts
    assert len({chart.name for chart in charts}) == len(charts)
    for name, value in evaluation.classifier.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.requires_grad for parameter in evaluation.classifier.parameters())
    assert all(parameter.grad is None for parameter in evaluation.classifier.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("metric", SMALL.values(), ids=SMALL)
def test_the_batch_size_changes_nothing_but_rounding(metric):
    small, large = (
        metric.measure(wrapped(network((1, 4, 5), 3), data(), 3, batch_size=size, right=True))
        for size in (2, 500)
    )
    assert small.keys() == large.keys()
    for name, values in small.items():
        np.testing.assert_allclose(values, large[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("metric", SMALL.values(), ids=SMALL)
def test_a_constant_network_gives_defined_results(metric):
    evaluation = wrapped(Constant(3), data(), 3)
    arrays, scores, charts = run(metric, evaluation)
    assert_whole(scores, metric.name)
    assert charts
    expected = {"input_jacobian": 0, "input_hessian": 0, "decision_surface": None, "region_plane": 1}
    if metric.name in expected:
        assert scores[metric.name].value == expected[metric.name]
    assert all(np.isfinite(value).all() for name, value in arrays.items() if name == "line")


@pytest.mark.parametrize("metric", SMALL.values(), ids=SMALL)
def test_no_image_is_not_measurable(metric):
    with pytest.raises(NotMeasurable):
        metric.measure(evaluate(TEST, empty(2)))


@pytest.mark.parametrize("metric", SMALL.values(), ids=SMALL)
def test_passes_are_counted_in_images(metric):
    counting = Counting(network((1, 4, 5), 3))
    evaluation = wrapped(counting, data(), 3)
    counting.seen = 0
    metric.measure(evaluation)
    assert evaluation.forwards == counting.seen
    assert (evaluation.backwards > 0) == (metric.name != "region_plane")


@pytest.mark.parametrize("metric", SMALL.values(), ids=SMALL)
def test_fewer_images_than_asked_for_are_all_used(metric):
    evaluation = wrapped(network((1, 4, 5), 3), data(count=3), 3, right=True)
    _, scores, _ = run(metric, evaluation)
    score = scores[metric.name]
    assert score.n == (2 if metric.name == "region_plane" else 3)


@pytest.mark.parametrize("metric", SMALL.values(), ids=SMALL)
def test_when_all_is_misclassified_the_results_are_defined(metric):
    evaluation = wrapped(network((1, 4, 5), 2), data(classes=2), 2, right=True)
    evaluation.labels = 1 - evaluation.labels
    _, scores, charts = run(metric, evaluation)
    assert_whole(scores, metric.name)
    assert charts
    if metric.name == "decision_surface":
        assert scores[metric.name].value is None
        assert "correctly" in scores[metric.name].reason
    if metric.name == "decision_function":
        assert scores[metric.name].value < 0
        assert scores[f"{metric.name}/positive"].value == 0


def test_the_decision_function_of_a_linear_network_by_hand():
    evaluation = evaluate(TEST, TEST)
    arrays, scores, (chart,) = run(DecisionFunction(attack="bim"), evaluation)
    assert arrays["clean"] == pytest.approx(MARGINS, abs=1e-6)
    assert scores["decision_function"].value == pytest.approx(MARGINS.mean(), abs=1e-6)
    share = scores["decision_function/positive"]
    assert (share.value, share.low, share.high) == (0.75, *wilson(3, 4))
    # An ε of 0.1 takes the third image across and the others 0.1 nearer; the wrong one stays where it is.
    assert arrays["attacked"][[0, 1, 3]] == pytest.approx(MARGINS[[0, 1, 3]] - [0.1, 0.1, 0], abs=1e-6)
    assert MARGINS[2] - 0.1 <= arrays["attacked"][2] <= 0
    assert scores["decision_function/attacked_positive"].value == 0.5
    assert [mark.kind for mark in chart.panels[0].marks] == ["histogram", "histogram", "rule"]


def test_the_jacobian_of_a_linear_network_by_hand():
    evaluation = evaluate(TEST, TEST)
    arrays, scores, charts = run(InputJacobian(shown=2), evaluation)
    # J = ±(1, 0): the norms are 1, half of the entries are zero, and the margin is L/ε.
    assert [scores[name].value for name in ("input_jacobian", "input_jacobian/l2")] == [1, 1]
    assert scores["input_jacobian/near_zero"].value == 0.5
    assert arrays["first_order_margin"] == pytest.approx(MARGINS / 0.1, abs=1e-5)
    assert scores["input_jacobian/first_order_margin"].value == pytest.approx(
        np.median(MARGINS) / 0.1, abs=1e-5
    )
    robust = scores["input_jacobian/first_order_robust"]
    assert (robust.value, robust.low, robust.high) == (0.5, *wilson(2, 4))
    assert arrays["jacobian"].reshape(2, 2).tolist() == [[1, 0], [-1, 0]]
    assert arrays["entries"].sum() == 4
    assert arrays["zero_entries"].item() == 4
    statistics, pictures = charts
    assert sum(statistics.panels[0].marks[0].values) == 0.5
    tiles = pictures.panels[1].marks[0]
    assert isinstance(tiles, Tiles)
    assert tiles.scale == "diverging"
    assert tiles.values[0] == [[1, 0]]


def test_colour_images_are_shown_in_colour_and_their_jacobians_summed():
    evaluation = wrapped(network((3, 70, 5), 3), data((3, 70, 5)), 3)
    arrays, _, charts = run(InputJacobian(shown=2), evaluation)
    images, jacobians = (panel.marks[0].values for panel in charts[1].panels)
    assert np.shape(images) == (2, 35, 3, 3)
    assert np.allclose(jacobians, arrays["jacobian"][:, :, ::2, ::2].sum(axis=1))


def test_no_picture_is_drawn_where_none_is_wanted():
    _, _, charts = run(InputJacobian(shown=0), evaluate(TEST, TEST))
    assert [chart.name for chart in charts] == ["surface-jacobian-statistics"]


def test_the_hessian_of_a_linear_network_by_hand():
    _, scores, _ = run(InputHessian(), evaluate(TEST, TEST))
    p = 1 / (1 + np.exp(-MARGINS))
    curvature = p * (1 - p)
    assert scores["input_hessian"].value == pytest.approx(curvature.mean(), rel=1e-5)
    assert scores["input_hessian/largest_eigenvalue"].value == pytest.approx(curvature.mean(), rel=1e-5)
    zeros = scores["input_hessian/near_zero_eigenvalues"]
    assert (zeros.value, zeros.low, zeros.high) == (0.5, None, None)
    assert "at least (d − K + 1)/d are zero" in zeros.reason
    assert "all 4 values are equal: no interval" in zeros.reason
    bound = 0.1 * (1 - p) + 0.01 * curvature / 2
    assert scores["input_hessian/bound"].value == pytest.approx(bound.mean(), rel=1e-5)
    change = np.log1p(np.exp(0.1 - MARGINS)) - np.log1p(np.exp(-MARGINS))
    assert scores["input_hessian/change"].value == pytest.approx(change.mean(), rel=1e-4)
    held = np.count_nonzero(change <= bound + 1e-5)
    assert scores["input_hessian/bound_holds"].value == held / 4


@pytest.mark.parametrize("hessian", HESSIANS)
def test_every_score_says_which_hessian_was_used(hessian):
    evaluation = wrapped(network((1, 4, 5), 3), data(), 3)
    metric = InputHessian(images=2, hessian=hessian)
    _, scores, charts = run(metric, evaluation)
    assert all(hessian in score.reason for score in scores.values())
    assert all(hessian in chart.caption for chart in charts)
    assert metric.settings()["hessian"] == hessian
    assert ("step" in metric.settings()) == (hessian == "finite_difference")
    assert ("beta" in metric.settings()) == (hessian == "softplus")


@pytest.mark.parametrize("hessian", ["finite_difference", "softplus"])
def test_on_a_linear_network_the_bound_of_the_decision_function_is_met(hessian):
    arrays, scores, _ = run(InputHessian(hessian=hessian), evaluate(TEST, TEST))
    assert arrays["second_order"] == pytest.approx(0, abs=1e-6)
    assert arrays["change"] == pytest.approx([0.1] * 4, rel=1e-4)
    assert scores["input_hessian/bound"].value == pytest.approx(0.1, rel=1e-5)
    assert scores["input_hessian/bound_holds"].value == 1
    assert scores["input_hessian/near_zero_eigenvalues"].value == 1


@pytest.mark.parametrize("hessian", ["finite_difference", "softplus"])
def test_a_hessian_that_would_not_fit_is_not_measurable(hessian):
    evaluation = wrapped(Constant(2), data((3, 64, 64), 2, 1), 2)
    with pytest.raises(NotMeasurable, match="use ce_exact"):
        InputHessian(hessian=hessian).measure(evaluation)
    assert run(InputHessian(), evaluation)[1]["input_hessian"].value == 0


def test_a_network_that_cannot_be_smoothed_is_not_measurable():
    module = nn.Sequential(nn.Flatten(), nn.Linear(20, 4), nn.LeakyReLU(), nn.Linear(4, 3))
    evaluation = wrapped(module, data(), 3)
    with pytest.raises(NotMeasurable, match="softplus"):
        InputHessian(hessian="softplus").measure(evaluation)


def test_distances_of_a_linear_network_are_its_margins():
    arrays, scores, charts = run(DecisionSurface(half=10, parameter_images=0), evaluate(TEST, TEST))
    right = MARGINS[:3]
    assert arrays["line"].shape == (3, 4, 11)
    for name in ("decision_surface", "decision_surface/untargeted"):
        assert scores[name].value == pytest.approx(np.median(right), abs=1e-5)
        assert scores[name].n == 3
    # J = ±(1, 0): random signs, turned so that L falls, cross where the gradient does.
    assert scores["decision_surface/random"].value == pytest.approx(np.median(right), abs=1e-5)
    # L(x + jβ) = L − j‖J‖₁.
    expected = right[:, None] - 0.05 * np.arange(11)
    assert arrays["line"][:, 3] == pytest.approx(expected, abs=1e-5)
    assert arrays["decision"].shape == arrays["loss"].shape == (2, 4, 21, 21)
    assert arrays["decision"][0, 3, 10] == pytest.approx(right[0] - 0.05 * (np.arange(21) - 10), abs=1e-5)
    assert [chart.name for chart in charts] == [
        "surface-decision-1",
        "surface-loss-1",
        "surface-decision-2",
        "surface-loss-2",
        "surface-profiles",
    ]


def test_images_that_do_not_cross_within_the_window_leave_no_median():
    _, scores, _ = run(DecisionSurface(half=1, parameter_images=0), evaluate(TEST, TEST))
    assert scores["decision_surface"].value is None
    assert "1 of 3 cross within 0.05" in scores["decision_surface"].reason


def test_the_maps_stand_upright_and_decision_surfaces_mark_the_boundary():
    evaluation = wrapped(network((1, 4, 5), 3), data(), 3, right=True)
    arrays, _, charts = run(SMALL["decision_surface"], evaluation)
    by_name = {chart.name: chart for chart in charts}
    for kind, contour in (("decision", 0.0), ("loss", None)):
        for at, panel in enumerate(by_name[f"surface-{kind}-1"].panels):
            heatmap = panel.marks[0]
            assert isinstance(heatmap, Heatmap)
            assert heatmap.contour == contour
            # z[row][column] at (α = x[column], β = y[row]).
            assert heatmap.z[1][5] == pytest.approx(float(arrays[kind][0, at, 5, 1]))
            assert "β" in panel.y.label
    weights = [panel.marks[0] for panel in by_name["surface-parameters"].panels]
    assert [heatmap.contour for heatmap in weights] == [None, 0, None, 0]
    assert weights[0].z[0][3] == pytest.approx(float(arrays["parameter_loss"][3, 0]))
    assert weights[2].z[0][3] == pytest.approx(float(arrays["parameter_gradient_loss"][3, 0]))


def test_the_middle_of_every_surface_is_the_function_itself():
    evaluation = wrapped(network((1, 4, 5), 3), data(), 3, right=True)
    arrays, _, _ = run(SMALL["decision_surface"], evaluation)
    margins = decision_function(evaluation.classifier(evaluation.images), evaluation.labels).detach().numpy()
    for number, index in enumerate(arrays["test_index"]):
        assert arrays["decision"][number, :, 3, 3] == pytest.approx([margins[index]] * 4, abs=1e-6)
    for kind in ("parameter", "parameter_gradient"):
        assert arrays[f"{kind}_decision"][2, 2] == pytest.approx(margins[:4].mean(), abs=1e-6)
    # Along α alone both surfaces are the same line; along the gradient L falls faster than along random β.
    assert np.array_equal(arrays["parameter_decision"][:, 2], arrays["parameter_gradient_decision"][:, 2])
    assert arrays["parameter_gradient_decision"][2, 3] < arrays["parameter_decision"][2, 3]
    assert arrays["line"][:, :, 0] == pytest.approx(np.repeat(margins[:5, None], 4, axis=1), abs=1e-6)


def test_colour_images_take_steps_of_one_grey_level():
    evaluation = wrapped(network((3, 4, 5), 3), data((3, 4, 5)), 3)
    arrays = SMALL["decision_surface"].measure(evaluation)
    assert np.diff(arrays["offset"]) == pytest.approx([1 / 255] * 6)


def test_a_network_without_weights_has_surfaces_around_images_alone():
    evaluation = wrapped(Sums(), data(classes=2), 2)
    arrays, _, charts = run(SMALL["decision_surface"], evaluation)
    assert "parameter_loss" not in arrays
    assert "surface-parameters" not in [chart.name for chart in charts]


def test_a_plane_needs_a_feature_layer():
    with pytest.raises(NotMeasurable, match="feature layer"):
        RegionPlane().measure(wrapped(Sums(), data(classes=2), 2))


def test_regions_of_an_identity_network_are_the_quadrants_of_its_plane():
    corners = split([[-0.4, -0.4], [0.4, -0.4], [-0.4, 0.4]], [0, 1, 2])
    weight = [[-1, -1], [1, 0], [0, 1]]
    evaluation = evaluate(corners, corners, identity(2, weight))
    arrays, scores, (chart,) = run(RegionPlane(planes=1, resolution=10), evaluation)
    assert scores["region_plane"].value == 4
    assert scores["region_plane"].n == 1
    # One training image a class.
    assert scores["region_plane/training"].value is None
    assert "among 3" in scores["region_plane/training"].reason
    assert sorted(arrays["label"][0].tolist()) == [0, 1, 2]
    assert len(set(arrays["corner_region"][0].tolist())) == 3
    regions, own, classes = (panel.marks[0] for panel in chart.panels)
    assert np.array_equal(regions.z, arrays["region"][0])
    assert np.array_equal(classes.z, arrays["predicted"][0])
    for number, region in enumerate(arrays["corner_region"][0], 1):
        assert np.array_equal(np.array(own.z) == number, arrays["region"][0] == region)
    assert len(own.names) == 4
    assert (regions.neutral, own.neutral, classes.neutral) == (None, 0, None)


def test_the_images_of_a_plane_are_of_three_classes_where_there_are_three():
    evaluation = wrapped(network((1, 4, 5), 4), data(classes=4, count=30), 4)
    arrays = RegionPlane(planes=6, resolution=2).measure(evaluation)
    assert all(len(set(labels)) == 3 for labels in arrays["label"].tolist())
    assert len({tuple(index) for index in arrays["test_index"].tolist()}) > 1
    few = wrapped(network((1, 4, 5), 2), data(classes=2, count=30), 2)
    arrays = RegionPlane(planes=6, resolution=2).measure(few)
    assert all(len(set(labels)) == 2 for labels in arrays["label"].tolist())
    assert all(len(set(index)) == 3 for index in arrays["test_index"].tolist())


def test_planes_through_training_images_are_of_one_class_and_charts_say_which_images_they_are():
    train = data(classes=4, count=20, seed=1)
    evaluation = wrapped(network((1, 4, 5), 4), data(classes=4, count=9), 4)
    alone = RegionPlane(planes=3, resolution=5).measure(evaluation)
    evaluation.dataset = replace(evaluation.dataset, train=train)
    arrays, scores, charts = run(RegionPlane(planes=3, resolution=5), evaluation)
    test_planes = [name for name in alone if not name.startswith("training/")]
    assert all(np.array_equal(arrays[name], alone[name]) for name in test_planes)
    index, labels = arrays["training/index"], arrays["training/label"]
    assert index.shape == (3, 3)
    assert np.array_equal(labels, train.labels.numpy()[index])
    assert all(len(set(own)) == 1 for own in labels.tolist())
    assert all(len(set(own)) == 3 for own in index.tolist())
    assert scores["region_plane/training"].value == arrays["training/count"].mean()
    assert scores["region_plane/training"].n == 3
    assert len({chart.name for chart in charts}) == 6
    shown = charts[3]
    assert "three training images of one class" in shown.title
    expected = f"Training images {', '.join(map(str, index[0].tolist()))}, all of class class {labels[0, 0]}"
    assert expected in shown.caption
    assert shown.panels[0].marks[1].labels == [f"image {at}" for at in index[0]]
    # The corners of the plane are the images themselves.
    images, _ = train.batch(torch.from_numpy(index[0]))
    distance = (images[1] - images[0]).norm().item()
    assert np.linalg.norm(np.diff(arrays["training/corner"][0, :2], axis=0)) == pytest.approx(distance)


def test_images_that_share_a_region_share_its_name():
    evaluation = wrapped(Constant(3), data(), 3)
    arrays, _, charts = run(RegionPlane(planes=1, resolution=4), evaluation)
    index = arrays["training/index"][0]
    heatmap = charts[1].panels[1].marks[0]
    assert heatmap.names[1] == "of " + " and ".join(f"image {at}" for at in index)
    assert np.all(np.array(heatmap.z) == 1)


def test_without_training_images_the_planes_of_test_images_are_measured_alone():
    evaluation = wrapped(network((1, 4, 5), 3), data(), 3)
    evaluation.dataset = replace(evaluation.dataset, train=evaluation.dataset.train.take(0))
    _, scores, charts = run(RegionPlane(planes=2, resolution=5), evaluation)
    assert scores["region_plane"].value is not None
    assert scores["region_plane/training"].value is None
    assert scores["region_plane/training"].reason == "there are no training images"
    assert len(charts) == 2


def test_images_on_a_line_or_too_few_span_no_plane():
    line = split([[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]], [0, 1, 1])
    for images in (line, split(POINTS[:2], LABELS[:2])):
        with pytest.raises(NotMeasurable, match="span a plane"):
            RegionPlane().measure(evaluate(images, images))


@pytest.mark.parametrize(
    "make",
    [
        lambda: DecisionFunction(attack="pgd"),
        lambda: DecisionFunction(images=0),
        lambda: InputJacobian(images=0),
        lambda: InputJacobian(threshold=0),
        lambda: InputHessian(hessian="exact"),
        lambda: InputHessian(images=0),
        lambda: InputHessian(step=-1),
        lambda: InputHessian(beta=math.nan),
        lambda: DecisionSurface(half=0),
        lambda: DecisionSurface(parameter_images=-1),
        lambda: RegionPlane(planes=0),
        lambda: RegionPlane(resolution=1),
    ],
)
def test_mistakes_are_told(make):
    with pytest.raises(UserError):
        make()
