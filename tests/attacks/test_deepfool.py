import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.attacks.deepfool import deepfool
from bench.core.classifier import Classifier
from bench.core.errors import UserError
from bench.core.guards import evaluating
from bench.core.margins import decision_function

SHAPE = (1, 4, 4)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def linear(seed, classes):
    draw = generator(seed)
    classifier = Classifier(
        nn.Flatten(), nn.Linear(16, classes), activation=nn.Identity(), site="none", input_shape=SHAPE
    )
    classifier.head.weight.data.copy_(torch.randn(classes, 16, generator=draw))
    classifier.head.bias.data.copy_(0.3 * torch.randn(classes, generator=draw))
    return classifier.eval()


def small_cnn(seed=0, classes=5):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
        return Classifier(
            backbone, nn.Linear(128, classes), activation=nn.Identity(), site="pooled", input_shape=SHAPE
        )


class Custom(nn.Module):
    """A formula as a classifier: flattened images [B, 16] to logits [B, K]."""

    def __init__(self, formula, classes=2):
        super().__init__()
        self.formula, self.num_classes, self.input_shape = formula, classes, SHAPE

    def forward(self, images):
        return self.formula(images.flatten(1))


def images_of(count=40, seed=1):
    return torch.rand(count, *SHAPE, generator=generator(seed))


def predicted(classifier, images):
    with evaluating(classifier), torch.no_grad():
        return classifier(images).argmax(dim=1)


def boundary_distances(classifier, images, labels):
    """|F_k| / ‖w_k‖ to every class k of a linear network: [B, K], infinite for the label."""
    logits = classifier(images).detach()
    weight = classifier.head.weight.detach()
    gaps = logits.gather(1, labels.unsqueeze(1)) - logits
    lengths = (weight[labels].unsqueeze(1) - weight).norm(dim=2)
    return (gaps / lengths).scatter(1, labels.unsqueeze(1), torch.inf)


def lengths(perturbation):
    return perturbation.flatten(1).norm(dim=1)


@pytest.mark.parametrize("classes", [2, 3, 10])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), overshoot=st.sampled_from([0.02, 0.1]))
def test_on_a_linear_network_r_is_the_distance_to_the_nearest_boundary_and_the_overshoot(
    classes, seed, overshoot
):
    classifier, images = linear(seed, classes), images_of()
    labels = predicted(classifier, images)
    distance, rival = boundary_distances(classifier, images, labels).min(dim=1)
    clear = distance > 1e-3  # nearer, the overshoot is lost in float32's rounding
    images, labels, distance, rival = images[clear], labels[clear], distance[clear], rival[clear]
    result = deepfool(classifier, images, overshoot=overshoot)
    assert result.found.all()
    assert torch.equal(result.labels, rival)
    assert torch.equal(result.clean_labels, labels)
    torch.testing.assert_close(lengths(result.perturbation), (1 + overshoot) * distance, rtol=2e-3, atol=1e-5)
    torch.testing.assert_close(result.perturbed, images + result.perturbation)
    assert result.forwards == 2 * len(images)
    assert result.backwards == (classes - 1) * len(images)


def test_only_the_candidates_are_looked_at():
    classifier, images = linear(4, 10), images_of()
    labels = predicted(classifier, images)
    logits = classifier(images).detach()
    second = logits.topk(2, dim=1).indices[:, 1]
    distances = boundary_distances(classifier, images, labels)
    distance = distances.gather(1, second.unsqueeze(1)).squeeze(1)
    nearest_is_second = distances.argmin(dim=1) == second
    assert not nearest_is_second.all(), "the restriction makes a difference"
    result = deepfool(classifier, images, candidates=2)
    assert result.backwards < deepfool(classifier, images).backwards
    direct = nearest_is_second
    torch.testing.assert_close(
        lengths(result.perturbation)[direct], 1.02 * distance[direct], rtol=1e-3, atol=1e-5
    )


def test_on_a_sphere_r_is_the_distance_to_the_surface():
    radius = 1.0
    center = 0.5
    classifier = Custom(
        lambda x: torch.stack((radius**2 - (x - center).square().sum(1), torch.zeros(len(x))), dim=1)
    )
    images = images_of()
    depth = (radius - lengths(images - center)).abs()
    result = deepfool(classifier, images)
    assert result.found.all()
    # Newton's steps land beyond the surface from inside and short of it from outside, by the square of the way.
    assert (lengths(result.perturbation) >= depth - 1e-5).all()
    near = depth < 0.1
    assert near.any()
    torch.testing.assert_close(lengths(result.perturbation)[near], 1.02 * depth[near], rtol=0.07, atol=1e-4)
    along = nn.functional.cosine_similarity(result.perturbation.flatten(1), (images - center).flatten(1))
    torch.testing.assert_close(along.abs(), torch.ones(40))


@pytest.mark.parametrize("clip", [False, True])
def test_found_means_the_label_changed_and_clipped_points_stay_in_the_box(clip):
    classifier, images = small_cnn(3), images_of(100)
    result = deepfool(classifier, images, clip=clip)
    assert result.found.float().mean() > 0.8
    assert torch.equal(predicted(classifier, result.perturbed), result.labels)
    assert torch.equal(predicted(classifier, images), result.clean_labels)
    assert (result.labels != result.clean_labels)[result.found].all()
    assert (result.labels == result.clean_labels)[~result.found].all()
    inside = (result.perturbed >= 0).flatten(1).all(dim=1) & (result.perturbed <= 1).flatten(1).all(dim=1)
    assert inside.all().item() is clip
    torch.testing.assert_close(images + result.perturbation, result.perturbed)


@pytest.mark.parametrize("classes", [2, 5])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_with_clipping_a_linear_network_is_fooled_wherever_the_box_holds_another_class(classes, seed):
    classifier, images = linear(seed, classes), images_of().round()  # every pixel stands at an end of the box
    labels = predicted(classifier, images)
    weight, bias = classifier.head.weight.detach(), classifier.head.bias.detach()
    # The largest f_k − f_label over the box is at the corner that the signs of the weights point to.
    gaps = weight.unsqueeze(0) - weight[labels].unsqueeze(1)
    reach = gaps.clamp_min(0).sum(dim=2) + bias - bias[labels].unsqueeze(1)
    possible = (reach > 1e-3).any(dim=1)
    result = deepfool(classifier, images, clip=True)
    assert result.found[possible].all()
    # The overshoot beyond the boundary is all that is in the way to be the nearest point of the box across it.
    for row in torch.nonzero(result.found).flatten()[:5].tolist():
        nearest = min(
            shortest_in_box(gaps[row, k], (bias - bias[labels[row]])[k], images[row].flatten())
            for k in range(classes)
            if k != labels[row]
        )
        assert lengths(result.perturbation)[row] >= nearest - 1e-4
        if classes == 2:
            assert lengths(result.perturbation)[row] <= 1.3 * nearest + 1e-3


def shortest_in_box(weight, bias, image):
    """The distance from an image to {w·x + b = 0} within the box: x = clip(image + t·w), t by bisection."""

    def value(t):
        return (weight @ (image + t * weight).clamp(0, 1) + bias).item()

    low, high = 0.0, 1e4
    if value(high) < 0:
        return float("inf")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if value(middle) < 0 else (low, middle)
    return ((image + high * weight).clamp(0, 1) - image).norm().item()


def test_a_pixel_at_the_end_of_the_box_takes_no_part_in_the_step():
    classifier = Custom(lambda x: torch.stack((2 * x[:, 1] - 1 - x[:, 0], 1 - x[:, 1]), dim=1))
    images = torch.zeros(1, *SHAPE)
    result = deepfool(classifier, images, clip=True)
    # Class 1 leads by 2 + x₀ − 3x₁; −x₀ is blocked at 0, so x₁ = 2/3 and the overshoot.
    assert result.found.all()
    expected = torch.zeros(16)
    expected[1] = 1.02 * 2 / 3
    torch.testing.assert_close(result.perturbation.flatten(), expected)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_targeted_arrives_in_the_target(seed):
    classifier, images = linear(seed, 5), images_of()
    labels = predicted(classifier, images)
    targets = torch.randint(5, (40,), generator=generator(seed))
    result = deepfool(classifier, images, targets=targets)
    assert result.found.all()
    assert torch.equal(result.labels, targets)
    assert (decision_function(classifier(result.perturbed), targets) > -1e-5).all()
    there = labels == targets
    assert (result.perturbation[there] == 0).all()
    distance = boundary_distances(classifier, images, labels).gather(1, targets.unsqueeze(1)).squeeze(1)
    assert (lengths(result.perturbation)[~there] >= distance[~there] - 1e-4).all(), "no shorter way exists"


def test_with_two_classes_the_target_makes_no_difference():
    classifier, images = linear(2, 2), images_of()
    free = deepfool(classifier, images)
    aimed = deepfool(classifier, images, targets=1 - free.clean_labels)
    torch.testing.assert_close(free.perturbation, aimed.perturbation, atol=1.1e-4, rtol=0)


@pytest.mark.parametrize(
    "formula",
    [
        lambda x: torch.stack((x[:, 0] * 0 + 1, x[:, 0] * 0), dim=1),
        lambda x: torch.tensor([1.0, 0.0]).expand(len(x), 2),
        lambda x: torch.stack((x[:, 0].detach() * 0 + 1, x[:, 0].round() * 0), dim=1),
    ],
)
def test_a_flat_network_gives_no_finding_and_no_perturbation(formula):
    result = deepfool(Custom(formula), images_of())
    assert not result.found.any()
    assert (result.perturbation == 0).all()
    assert result.forwards == 40, "nobody goes on"


def test_a_leap_to_where_the_logits_overflow_is_no_finding():
    classifier = Custom(lambda x: torch.stack((1 - 1e-30 * x[:, 0], 0 * x[:, 0] ** 2), dim=1))
    result = deepfool(classifier, images_of())
    assert not result.perturbed.abs().amax(dim=(1, 2, 3)).lt(1e29).any(), "the trap is there"
    assert not result.found.any()


def test_steps_end_at_max_iter():
    # F = 1 + s² has no zero: Newton's steps never arrive.
    classifier = Custom(lambda x: torch.stack((1 + x.sum(1) ** 2, x[:, 0] * 0), dim=1))
    result = deepfool(classifier, images_of(), max_iter=7)
    assert not result.found.any()
    assert result.forwards == 8 * 40


def test_batch_size_changes_nothing_but_rounding():
    classifier, images = small_cnn(3), images_of()
    targets = torch.arange(40) % 5
    for goals in (None, targets):
        whole = deepfool(classifier, images, targets=goals)
        parts = deepfool(classifier, images, targets=goals, batch_size=7)
        torch.testing.assert_close(whole.perturbation, parts.perturbation, atol=1e-4, rtol=1e-3)
        assert torch.equal(whole.found, parts.found)
        assert torch.equal(whole.labels, parts.labels)


def test_modes_gradients_flags_and_random_state_are_left_alone():
    classifier = small_cnn().train()
    classifier.backbone[1].eval()
    for parameter in classifier.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    modes = [module.training for module in classifier.modules()]
    gradients = [parameter.grad for parameter in classifier.parameters()]
    buffers = [buffer.clone() for buffer in classifier.buffers()]
    images = images_of()
    kept, state = images.clone(), torch.get_rng_state()
    with torch.no_grad():
        deepfool(classifier, images)
    assert [module.training for module in classifier.modules()] == modes
    assert all(
        p.grad is g and (g == 3).all() for p, g in zip(classifier.parameters(), gradients, strict=True)
    )
    assert all(torch.equal(new, old) for new, old in zip(classifier.buffers(), buffers, strict=True))
    assert torch.equal(images, kept)
    assert torch.equal(torch.get_rng_state(), state)


def test_points_outside_the_box_will_do_unless_they_are_clipped():
    classifier, images = linear(0, 3), images_of() * 4 - 2
    assert deepfool(classifier, images).found.all()
    with pytest.raises(UserError, match=r"pixels in \[0, 1\]"):
        deepfool(classifier, images, clip=True)


def test_mistakes_are_told():
    classifier, images = linear(0, 3), images_of(4)
    for match, more in (
        ("at least 2 candidate classes, got 1", {"candidates": 1}),
        ("targets from 0 to 2", {"targets": torch.full((4,), 3)}),
        ("expected finite pixels", {"images": images * torch.nan}),
        ("NaN or infinity", {"classifier": Custom(lambda x: x[:, :2] * torch.nan)}),
    ):
        with pytest.raises(UserError, match=match):
            deepfool(**{"classifier": classifier, "images": images, **more})
