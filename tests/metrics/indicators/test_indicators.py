"""Indicators against values that follow by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from bench.core.classifier import Classifier, WrappedClassifier
from bench.core.errors import UserError
from bench.core.threat import Threat
from bench.evaluation.metric_answers import checked_scores
from metrics.evaluation import NotMeasurable
from metrics.indicators.certified_accuracy import CertifiedAccuracy
from metrics.indicators.fosc import FOSC, stationarity
from metrics.indicators.generalization_gap import GeneralizationGap
from metrics.indicators.local_complexity import LocalComplexity, frame
from metrics.indicators.margin_consistency import MarginConsistency
from metrics.indicators.neural_collapse import NeuralCollapse
from metrics.indicators.probabilistic_robustness import ProbabilisticRobustness
from metrics.indicators.rdi import RDI, class_spread
from tests.metrics.toys import empty, evaluate, identity, split

ALL = [
    CertifiedAccuracy(),
    FOSC(),
    LocalComplexity(),
    MarginConsistency(),
    NeuralCollapse(),
    ProbabilisticRobustness(samples=5),
    RDI(),
]


def run(metric, evaluation):
    arrays = metric.measure(evaluation)
    return arrays, metric.reduce(arrays)


def single(value, label=1):
    """A test image whose first pixel is 1/2 + `value`; logits of `identity` are (0, `value`)."""
    return split([[value, 0.0]], [label])


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_no_image_is_not_measurable(metric):
    with pytest.raises(NotMeasurable):
        metric.measure(evaluate(single(0.1), empty(2)))


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_measuring_twice_gives_the_same_and_leaves_the_network_as_it_was(metric):
    test = split([[0.3, 0.1], [-0.2, 0.2], [0.1, -0.4], [-0.35, 0.0]], [1, 0, 1, 0])
    evaluation = evaluate(test, test, relu_network())
    before = {name: value.clone() for name, value in evaluation.classifier.state_dict().items()}
    first, second = metric.measure(evaluation), metric.measure(evaluation)
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])
    for name, value in evaluation.classifier.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(weight.requires_grad and weight.grad is None for weight in evaluation.classifier.parameters())
    assert evaluation.forwards > 0


def relu_network():
    """Z = (z_0, −z_0) of the image minus 1/2, ReLU, logits (0, relu(z_0) − relu(−z_0)) = (0, z_0)."""
    first, head = nn.Linear(2, 2), nn.Linear(2, 2)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        first.bias.zero_()
        head.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, -1.0]]))
        head.bias.zero_()
    return Classifier(
        nn.Sequential(nn.Flatten(), first),
        head,
        activation=nn.ReLU(),
        site="pre-activation",
        input_shape=(1, 1, 2),
        mean=[0.5],
    ).eval()


def test_local_complexity_counts_the_units_whose_boundary_the_points_straddle():
    """Both units change sign where r·|v_i0| exceeds |z_0| for some v_i; two directions span the plane."""
    test = split([[0.0, 0.1], [0.4, 0.1]], [1, 1])
    _, scores = run(LocalComplexity(directions=2, radius=0.05), evaluate(test, test, relu_network()))
    assert scores["local_complexity"].value == pytest.approx(
        1.0
    )  # 2 units at the first image, none at the second
    assert scores["local_complexity/share"].value == pytest.approx(0.5)


def test_local_complexity_takes_twice_as_many_passes_as_directions():
    test = split([[0.1, 0.1], [0.4, 0.1], [0.3, 0.2]], [1, 1, 1])
    evaluation = evaluate(test, test, relu_network(), batch_size=8)
    LocalComplexity(directions=2).measure(evaluation)
    assert evaluation.forwards == 1 + 3 * 4  # one finds the layers


def test_a_frame_is_orthonormal_and_has_no_more_directions_than_dimensions():
    drawn = frame(5, 9, torch.Generator().manual_seed(0))
    assert torch.allclose(drawn @ drawn.T, torch.eye(5), atol=1e-6)


@pytest.mark.parametrize(("eps", "distance"), [("linf:0.05", 1.0), ("l2:0.05", math.sqrt(2))])
def test_input_margins_are_distances_to_the_plane_in_the_norm_of_the_threat(eps, distance):
    """Logits (0, z_0 + z_1): the boundary is (z_0 + z_1)/2 away in ℓ∞ and /√2 in ℓ2."""
    points = [[0.1, 0.02], [0.2, 0.1], [0.05, 0.05], [-0.1, -0.12], [0.02, 0.01]]
    test = split(points, [1, 1, 1, 0, 1])
    network = identity(2, [[0.0, 0.0], [1.0, 1.0]])
    arrays, scores = run(MarginConsistency(), evaluate(test, test, network, eps=eps))
    margins = np.abs(((np.array(points) + 0.5) * 255).round() / 255 - 0.5).sum(axis=1)
    np.testing.assert_allclose(arrays["logit_margin"], margins, atol=1e-5)
    expected = margins / 2 if eps.startswith("linf") else margins / math.sqrt(2)
    # FAB's overshoot lets points end a little behind the boundary.
    np.testing.assert_allclose(arrays["input_margin"], expected, rtol=0.06)
    assert scores["margin_consistency"].value == 1.0
    assert distance > 0


def test_margin_consistency_of_a_constant_network_has_no_value():
    test = split([[0.1, 0.0], [0.2, 0.0], [0.3, 0.0]], [1, 1, 1])
    _, scores = run(MarginConsistency(), evaluate(test, test, identity(2, [[0.0, 0.0], [0.0, 0.0]])))
    assert scores["margin_consistency"].value is None


def test_rdi_of_two_pairs_of_points():
    """Centers (1, 0) and (5, 0), each two points 1 away: IntraD = 1, InterD = 4, RDI = 3/4."""
    features = torch.tensor([[0.0, 0], [2, 0], [4, 0], [6, 0]])
    scores = RDI().reduce(class_spread(features, torch.tensor([3, 3, 7, 7])))
    assert scores["rdi"].value == pytest.approx(3 / 4)
    assert (scores["rdi/intra"].value, scores["rdi/inter"].value) == (1.0, 4.0)
    spread = class_spread(torch.tensor([[-4.0], [6], [0], [0]]), torch.tensor([0, 0, 1, 1]))
    assert checked_scores(RDI(), spread)["rdi"].value == pytest.approx((1 - 2.5) / 2.5)


def test_rdi_needs_two_predicted_classes():
    _, scores = run(RDI(), evaluate(single(0.3), split([[0.3, 0], [0.2, 0]], [1, 1])))
    assert scores["rdi"].value is None
    assert "two classes" in scores["rdi"].reason


def test_fosc_is_the_papers_formula_where_the_box_does_not_bind_and_zero_at_the_corner():
    generator = torch.Generator().manual_seed(0)
    origin = torch.full((4, 1, 2, 3), 0.5)
    gradient = torch.randn(origin.shape, generator=generator)
    for threat in (Threat.parse("linf:0.1"), Threat.parse("l2:0.2")):
        points = threat.random_start(origin, generator)
        left, extent = stationarity(points, origin, gradient, threat)
        g, move = gradient.double().flatten(1), (points - origin).double().flatten(1)
        dual = g.abs().sum(dim=1) if threat.norm == "linf" else g.norm(dim=1)
        assert torch.allclose(left, threat.radius * dual - (move * g).sum(dim=1), atol=1e-6)
        assert torch.allclose(extent, 2 * threat.radius * dual, atol=1e-6)
        assert ((left >= 0) & (left <= extent)).all()
    corner = origin + 0.1 * gradient.sign()
    assert torch.allclose(
        stationarity(corner, origin, gradient, Threat.parse("linf:0.1"))[0],
        torch.zeros(4).double(),
        atol=1e-6,
    )


def test_fosc_of_pgd_on_a_linear_network_is_zero_and_of_a_flat_one_has_no_relative_value():
    test = split([[0.3, 0], [-0.2, 0.1]], [1, 0])
    _, scores = run(FOSC(), evaluate(test, test))
    assert scores["fosc"].value == pytest.approx(0, abs=1e-6)
    assert scores["fosc/relative"].value == pytest.approx(0, abs=1e-5)
    _, flat = run(FOSC(), evaluate(test, test, identity(2, [[0.0, 0.0], [0.0, 0.0]])))
    assert (flat["fosc"].value, flat["fosc/relative"].value) == (0.0, None)


def test_probabilistic_robustness_is_the_share_of_the_ball_on_the_right_side():
    """z_0 is 0.3, at the boundary, and 0.05 in a ball of radius 0.1: all, half and three quarters."""
    test = split([[0.3, 0], [0.0, 0], [13 / 255, 0]], [1, 1, 1])
    metric = ProbabilisticRobustness(samples=2000, rho=0.2)
    arrays, scores = run(metric, evaluate(test, test, batch_size=500))
    share = arrays["right"] / 2000
    offset = round(0.5 * 255) / 255 - 0.5  # pixels come in steps of 1/255
    near = round((13 / 255 + 0.5) * 255) / 255 - 0.5
    np.testing.assert_allclose(share, [1, 0.5 + 5 * offset, 0.5 + 5 * near], atol=0.04)
    assert scores["probabilistic_robustness/accuracy"].value == pytest.approx(1 / 3)
    assert (
        ProbabilisticRobustness(rho=0.1)
        .reduce({"right": np.array([90]), "samples": np.array([100])})["probabilistic_robustness/accuracy"]
        .value
        == 1.0
    )


def test_certified_accuracy_of_a_linear_network_is_its_robust_accuracy():
    """L = ±z_0, so an image is robust exactly where |z_0| > ε; here 0.3 and 0.05, and 0.2 of the other class."""
    test = split([[0.3, 0], [0.05, 0], [0.2, 0]], [1, 1, 0])
    arrays, scores = run(CertifiedAccuracy(), evaluate(test, test))
    assert arrays["right"].tolist() == [True, False, False]
    first = round(0.8 * 255) / 255 - 0.5
    assert arrays["margin"][0] == pytest.approx(first - 0.1, abs=1e-6)
    assert scores["certified_accuracy/unstable"].value is None


def test_units_are_unstable_where_the_box_reaches_zero():
    test = split([[0.3, 0], [0.05, 0]], [1, 1])
    evaluation = evaluate(test, test, relu_network())
    _, scores = run(CertifiedAccuracy(), evaluation)
    assert scores["certified_accuracy/unstable"].value == pytest.approx(0.5)
    assert evaluation.forwards == 3 * 2


def test_a_network_with_an_unknown_operation_is_refused_by_its_name():
    network = nn.Sequential(nn.Flatten(), nn.Softsign(), nn.Linear(2, 2))
    test = split([[0.3, 0]], [1])
    with pytest.raises(NotMeasurable, match="Softsign"):
        CertifiedAccuracy().measure(evaluate(test, test, WrappedClassifier(network, (1, 1, 2), 2).eval()))


def test_neural_collapse_is_one_where_class_means_are_the_weights():
    """Features are z = image − 1/2 and the weights are ±e_0, as are the class means, clean and attacked."""
    test = split([[0.3, 0], [0.4, 0], [-0.3, 0], [-0.4, 0]], [1, 1, 0, 0])
    network = identity(2, [[-1.0, 0.0], [1.0, 0.0]])
    _, scores = run(NeuralCollapse(), evaluate(test, test, network, eps="0.05"))
    assert scores["neural_collapse"].value == pytest.approx(1, abs=1e-3)
    assert scores["neural_collapse/attacked"].value > 0.9
    turned = identity(2, [[1.0, 0.0], [-1.0, 0.0]])
    assert run(NeuralCollapse(), evaluate(test, test, turned, eps="0.05"))[1]["neural_collapse"].value == (
        pytest.approx(-1, abs=1e-3)
    )


def test_the_gap_is_the_difference_of_two_accuracies():
    train, test = split([[0.3, 0], [0.2, 0]], [1, 1]), split([[0.3, 0], [0.2, 0]], [1, 0])
    _, scores = run(GeneralizationGap(), evaluate(train, test))
    assert scores["generalization_gap"].value == 0.5
    assert scores["generalization_gap/train"].value == 1.0
    _, better = run(GeneralizationGap(), evaluate(test, train))
    checked = checked_scores(GeneralizationGap(), GeneralizationGap().measure(evaluate(test, train)))
    assert checked == better
    assert checked["generalization_gap"].value == -0.5


@pytest.mark.parametrize(
    "make",
    [
        lambda: CertifiedAccuracy(images=0),
        lambda: FOSC(steps=0),
        lambda: LocalComplexity(radius=0),
        lambda: MarginConsistency(images=0),
        lambda: ProbabilisticRobustness(rho=1),
        lambda: ProbabilisticRobustness(factor="0"),
        lambda: ProbabilisticRobustness(factor="many"),
        lambda: NeuralCollapse(images=0),
    ],
)
def test_mistakes_are_told(make):
    with pytest.raises(UserError):
        make()
