import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F

from bench.core.errors import UserError
from bench.core.passes import counting
from bench.geometry.curvature import (
    gradient_difference,
    mean_curvature,
    second_derivative,
    second_difference,
    smoothed,
    step_length,
)

ESTIMATORS = ("second_difference", "gradient_difference", "softplus")
RADIUS = 2.0


class Against(nn.Module):
    """Logits (0, F_1, F_2, …) of functions of flat points; class 0 is predicted where all are negative."""

    def __init__(self, *functions):
        super().__init__()
        self.functions = functions

    def forward(self, images):
        values = [function(images.flatten(1)) for function in self.functions]
        return torch.stack([torch.zeros_like(values[0]), *values], dim=1)


class Network(nn.Module):
    """A small ReLU network whose ReLUs are a layer, a function and an in-place layer."""

    def __init__(self, classes=3):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.pool, self.hidden, self.head = nn.MaxPool2d(2), nn.Linear(16, 8), nn.Linear(8, classes)
        self.layer, self.in_place = nn.ReLU(), nn.ReLU(inplace=True)
        self.seen = 0

    def forward(self, images):
        self.seen += len(images)
        hidden = self.pool(self.layer(self.norm(self.conv(images)))).flatten(1)
        return self.head(self.in_place(F.relu(self.hidden(hidden)) - 0.1))


def ball(points):
    return points.square().sum(dim=1) - RADIUS**2


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def points_at(norms, dtype=torch.double):
    points = torch.randn(len(norms), 1, 3, 4, generator=generator(5), dtype=torch.double)
    scale = torch.as_tensor(norms, dtype=torch.double) / points.flatten(1).norm(dim=1)
    return (points * scale.view(-1, 1, 1, 1)).to(dtype)


def principal_curvatures(function, point):
    """Eigenvalues of the Hessian on the tangent space of a level set, over the length of the gradient (§IV)."""
    gradient = torch.autograd.functional.jacobian(function, point).flatten()
    hessian = torch.autograd.functional.hessian(function, point).reshape(len(gradient), len(gradient))
    # The first column of the complete QR factor is ±n, the others span the tangent space.
    tangent = torch.linalg.qr(gradient[:, None] / gradient.norm(), mode="complete").Q[:, 1:]
    return torch.linalg.eigvalsh(tangent.T @ hessian @ tangent) / gradient.norm()


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Network().eval()


@pytest.fixture
def images():
    return torch.rand(6, 1, 4, 4, generator=generator(1))


@pytest.mark.parametrize("sign", [1, -1])
def test_every_principal_curvature_of_a_sphere_is_one_over_its_radius(sign):
    point = torch.tensor([0.6, 0.0, 0.8], dtype=torch.double) * RADIUS
    curvatures = principal_curvatures(lambda z: sign * (z.square().sum() - RADIUS**2), point)
    assert torch.allclose(curvatures, torch.full((2,), sign / RADIUS, dtype=torch.double))


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=5))
def test_principal_curvatures_of_a_paraboloid_are_its_coefficients(coefficients):
    k = torch.tensor(coefficients, dtype=torch.double)
    origin = torch.zeros(len(k) + 1, dtype=torch.double)
    curvatures = principal_curvatures(lambda z: z[0] + 0.5 * (k * z[1:] ** 2).sum(), origin)
    assert torch.allclose(curvatures, k.sort().values)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_mean_divides_the_trace_by_the_dimension_of_the_tangent_space(estimator):
    k = torch.tensor([2, 1, -0.5, -3, 0.25], dtype=torch.double)
    paraboloid = Against(lambda z: z[:, 0] + 0.5 * (k * z[:, 1:] ** 2).sum(dim=1))
    origin = torch.zeros(1, 1, 2, 3, dtype=torch.double)
    result = mean_curvature(
        paraboloid, origin, generator(), directions=200_000, estimator=estimator, batch_size=50_000
    )
    tangent, whole_space = k.sum() / 5, k.sum() / 6
    assert abs(result.score - tangent) < 3 * result.standard_error
    assert abs(result.score - whole_space) > 3 * result.standard_error


def relu_sum(x):
    kinks, weights = torch.tensor([-0.3, 0.1, 0.8]), torch.tensor([1.0, -2.0, 0.5])
    return (weights * (x - kinks).relu()).sum(dim=1, keepdim=True)


def test_estimators_differ_over_the_kinks_of_a_relu_sum():
    origin, unit = torch.zeros(1, 1), torch.ones(1, 1)
    arguments = (relu_sum, origin, relu_sum(origin), unit, 1.0)
    assert second_difference(*arguments).item() == pytest.approx(-1.0)
    assert gradient_difference(*arguments).item() == pytest.approx(-0.25)
    assert second_derivative(*arguments).item() == 0


@pytest.mark.parametrize(("shape", "step"), [((3, 32, 32), 1.083), ((1, 28, 28), 0.547)])
def test_step_grows_with_the_root_of_the_dimension(shape, step):
    assert step_length(math.prod(shape)) == pytest.approx(step, abs=5e-4)
    assert step_length(math.prod(shape), 2.0) == 2 * step_length(math.prod(shape))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.double])
def test_curvature_of_concentric_spheres_is_one_over_their_radius(estimator, dtype):
    norms = torch.tensor([0.5, 1.0, 1.9, 2.1, 4.0])
    result = mean_curvature(
        Against(ball), points_at(norms, dtype), generator(), directions=5, estimator=estimator
    )
    expected = torch.where(norms < RADIUS, 1, -1) / norms
    assert torch.allclose(result.score, expected.double(), rtol=1e-5 if dtype == torch.double else 5e-3)
    assert result.predicted.tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_two_orientations_have_opposite_signs(estimator, network, images):
    first, second = (
        mean_curvature(
            network, images, generator(), directions=8, estimator=estimator, orientation=orientation
        )
        for orientation in ("algorithm2", "section2")
    )
    assert torch.equal(first.score, -second.score)
    assert torch.equal(first.standard_error, second.standard_error)
    assert torch.equal(first.recovered, second.recovered)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_linear_boundaries_have_no_curvature(estimator):
    torch.manual_seed(0)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).double()
    result = mean_curvature(linear, points_at([0.5, 1, 2]), generator(), directions=5, estimator=estimator)
    assert torch.allclose(result.score, torch.zeros(3, dtype=torch.double), atol=1e-12)
    assert not result.skipped.any()


def test_algorithm_2_tells_a_pocket_from_what_surrounds_it_and_recovers_the_label():
    # Class 0 is a pocket inside class 1; class 2 lies far behind a plane.
    classifier = Against(ball, lambda z: z[:, 0] - 100)
    points = points_at([0.4, 0.8, 1.2, 1.6, 2.4, 3.0, 3.6, 4.2])
    inside = torch.tensor([True] * 4 + [False] * 4)
    result = mean_curvature(classifier, points, generator(), directions=10)
    assert torch.equal(result.perturbed(), inside)
    assert roc_auc_score(inside, result.score) == 1
    assert (result.recovered[inside] == 1).all()


@pytest.mark.parametrize("orientation", ["algorithm2", "section2"])
def test_the_recovered_label_is_algorithm_2s_in_either_orientation(orientation):
    # F_1 = ½‖x‖² − 1 bends one way, F_2 = −½‖x‖² − 1 + x₀ the other: class 1 has the positive curvature.
    quadratic = Against(
        lambda z: z.square().sum(dim=1) / 2 - 1, lambda z: z[:, 0] - z.square().sum(dim=1) / 2 - 1
    )
    result = mean_curvature(
        quadratic, points_at([0.3, 0.6, 0.9]), generator(), directions=10, orientation=orientation
    )
    assert result.predicted.tolist() == [0, 0, 0]
    assert result.recovered.tolist() == [1, 1, 1]


def test_score_is_the_mean_over_the_other_classes(network, images):
    result = mean_curvature(network, images, generator(), directions=9)
    own = result.per_class.gather(1, result.predicted[:, None])
    assert own.isnan().all()
    assert torch.allclose(result.per_class.nansum(dim=1) / 2, result.score)
    assert torch.equal(result.recovered, result.per_class.nan_to_num(-math.inf).argmax(dim=1))


@pytest.mark.parametrize("estimator", ["second_difference", "gradient_difference"])
def test_small_steps_agree_with_the_exact_hessian_of_a_smooth_network(estimator):
    torch.manual_seed(0)
    smooth = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    points = points_at([0.5, 1.0, 1.5])
    exact = mean_curvature(smooth, points, generator(), directions=20, estimator="softplus")
    result = mean_curvature(smooth, points, generator(), directions=20, estimator=estimator, h_scale=1e-2)
    assert torch.allclose(result.score, exact.score, rtol=1e-4)
    assert torch.allclose(result.standard_error, exact.standard_error, rtol=1e-3)


def test_exact_estimate_tends_to_the_trace_of_the_projected_hessian():
    torch.manual_seed(0)
    smooth = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    points = points_at([0.5, 1.0, 1.5])
    result = mean_curvature(
        smooth, points, generator(), directions=20_000, estimator="softplus", batch_size=8000
    )
    for row, point in enumerate(points):
        k = int(result.predicted[row])
        means = [
            principal_curvatures(
                lambda z, i=i, k=k: smooth(z[None])[0, i] - smooth(z[None])[0, k], point
            ).mean()
            for i in range(3)
            if i != k
        ]
        assert abs(sum(means) / 2 - result.score[row]) < 4 * result.standard_error[row]


def test_smoothing_is_softplus_in_place_of_every_relu_and_changes_nothing(network, images):
    class Softplus(Network):
        def forward(self, images):
            hidden = self.pool(F.softplus(self.norm(self.conv(images)), beta=5)).flatten(1)
            return self.head(F.softplus(F.softplus(self.hidden(hidden), beta=5) - 0.1, beta=5))

    by_hand = Softplus().eval()
    by_hand.load_state_dict(network.state_dict())
    before = network(images)
    assert torch.equal(smoothed(network, 5.0)(images), by_hand(images))
    assert torch.equal(network(images), before)
    assert not torch.allclose(smoothed(network, 5.0)(images), before)


def test_smoothing_tends_to_the_network(network, images):
    assert torch.allclose(smoothed(network, 1e5)(images), network(images), atol=1e-4)


@pytest.mark.parametrize("activation", [nn.LeakyReLU(), nn.ReLU6(), nn.PReLU(), nn.Hardtanh()])
def test_other_activations_with_kinks_are_not_smoothed_in_silence(activation, images):
    network = nn.Sequential(nn.Flatten(), activation, nn.Linear(16, 3))
    with pytest.raises(UserError, match="ReLU"):
        mean_curvature(network, images, generator(), estimator="softplus")


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_scores_do_not_depend_on_the_batches(estimator, network, images):
    network, images = network.double(), images.double()
    with counting(network) as at_once:
        whole = mean_curvature(network, images, generator(), directions=3, estimator=estimator)
    for batch_size in (1, 5, 24):
        with counting(network) as passes:
            split = mean_curvature(
                network, images, generator(), directions=3, estimator=estimator, batch_size=batch_size
            )
        assert torch.allclose(split.score, whole.score)
        assert torch.allclose(split.standard_error, whole.standard_error)
        assert passes == at_once


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 9), st.integers(2, 12), st.integers(2, 5), st.integers(1, 30))
def test_second_differences_take_as_many_forwards_as_stated(count, directions, classes, batch_size):
    network = Network(classes).eval()
    images = torch.rand(count, 1, 4, 4, generator=generator(1))
    with counting(network) as passes:
        mean_curvature(network, images, generator(), directions=directions, batch_size=batch_size)
    assert network.seen == passes.forwards == count * (2 * directions + 2 * (classes - 1) + 1)
    assert passes.backwards == count * (classes - 1)


@pytest.mark.parametrize("estimator", ["gradient_difference", "softplus"])
def test_directional_derivatives_are_counted(estimator, network, images):
    with counting(network) as passes:
        mean_curvature(network, images, generator(), directions=6, estimator=estimator)
    assert network.seen == passes.forwards
    assert passes.backwards == 6 * (2 * (6 + 2) + 2)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_images_without_a_normal_are_skipped_and_counted(estimator):
    # Beyond |x| = 3 every logit is constant.
    classifier = Against(lambda z: (9 - z.square().sum(dim=1)).clamp_min(0))
    result = mean_curvature(classifier, points_at([1.0, 3.5, 2.0, 8.0]), generator(), estimator=estimator)
    assert result.skipped.tolist() == [False, True, False, True]
    for values in (result.score, result.standard_error):
        assert torch.equal(values.isnan(), result.skipped)
    assert result.per_class[result.skipped].isnan().all()
    assert result.recovered.tolist() == [0, -1, 0, -1]
    assert not result.perturbed(-math.inf)[result.skipped].any()


def test_standard_error_is_that_of_the_mean_over_directions(network, images):
    runs = [
        mean_curvature(network.double(), images[:2].double(), generator(seed), directions=16)
        for seed in range(200)
    ]
    spread = torch.stack([run.score for run in runs]).std(dim=0)
    stated = torch.stack([run.standard_error for run in runs]).square().mean(dim=0).sqrt()
    # The standard deviation of 200 draws is itself known to about 5 %.
    assert torch.allclose(spread, stated, rtol=0.2)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_network_gradients_and_random_state_are_left_as_found(estimator, network, images):
    network.train()
    network.norm.eval()
    network.head.bias.requires_grad_(False)
    state, modes = copy.deepcopy(network.state_dict()), [module.training for module in network.modules()]
    flags = [parameter.requires_grad for parameter in network.parameters()]
    random_state = torch.get_rng_state()
    with torch.no_grad():
        mean_curvature(network, images, generator(), directions=3, estimator=estimator)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == flags
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not images.requires_grad


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"estimator": "second_diference"}, "did you mean second_difference"),
        ({"orientation": "algorithm"}, "did you mean algorithm2"),
        ({"directions": 1}, "at least 2 directions"),
        ({"h_scale": 0.0}, "h_scale above 0"),
        ({"beta": -1.0}, "beta above 0"),
        ({"batch_size": 0}, "batch_size above 0"),
    ],
)
def test_mistakes_are_told_in_one_line(wrong, message, network, images):
    with pytest.raises(UserError, match=message) as caught:
        mean_curvature(network, images, generator(), **wrong)
    assert "\n" not in str(caught.value)


def test_one_class_has_no_boundary(images):
    with pytest.raises(UserError, match="2 classes"):
        mean_curvature(nn.Sequential(nn.Flatten(), nn.Linear(16, 1)), images, generator())


@pytest.mark.parametrize("shape", [(0, 1, 4, 4), (3, 1, 1, 1)])
def test_images_need_two_pixels(shape, network):
    with pytest.raises(UserError, match="2 pixels"):
        mean_curvature(network, torch.zeros(shape), generator())
