import math
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.attacks import ATTACKS, Attack, maximise, pgd
from bench.attacks.losses import LOSSES, forecast
from bench.attacks.probabilities import NOTE, ProbabilitiesWarning, are_probabilities, logits_of
from bench.attacks.steps import step_length
from bench.core.classifier import Classifier
from bench.core.errors import UserError
from bench.core.guards import evaluating, frozen
from bench.core.margins import decision_function
from bench.core.progress import Progress
from bench.core.threat import Threat

SHAPE = (1, 4, 4)
LINF, L2 = Threat("linf", "1/10"), Threat("l2", "3/10")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def linear(weight, bias):
    """Logits W·x + b of flattened images."""
    classes, width = weight.shape
    assert width == 16
    classifier = Classifier(
        nn.Flatten(), nn.Linear(16, classes), activation=nn.Identity(), site="none", input_shape=SHAPE
    )
    classifier.head.weight.data.copy_(weight)
    classifier.head.bias.data.copy_(bias)
    return classifier.eval()


def random_linear(seed, classes=2):
    # Small weights: float32 cross-entropy rounds the gradient of a confident network.
    draw = generator(seed)
    return linear(0.2 * torch.randn(classes, 16, generator=draw), 0.06 * torch.randn(classes, generator=draw))


def balanced(seed, images):
    """A linear network with two classes whose boundary runs through the middle of the images."""
    classifier = random_linear(seed)
    with torch.no_grad():
        logits = classifier(images)
        classifier.head.bias[0] -= (logits[:, 0] - logits[:, 1]).median()
    return classifier


def small_cnn(seed=0, classes=5):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()
        )
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


def images_of(count=40, seed=1, low=0.0, high=1.0):
    return low + (high - low) * torch.rand(count, *SHAPE, generator=generator(seed))


def predicted(classifier, images):
    with evaluating(classifier), torch.no_grad():
        return classifier(images).argmax(dim=1)


def dual_norm(threat, direction):
    return direction.abs().sum() if threat.norm == "linf" else direction.norm()


# Known answers


@pytest.mark.parametrize("threat", [LINF, L2], ids=str)
@pytest.mark.parametrize(
    "attack",
    [
        ATTACKS["fgsm"],
        ATTACKS["bim"],
        ATTACKS["pgd20"],
        ATTACKS["cw"],
        ATTACKS["adaptive"],
        Attack("margin", 3, 1.0, "margin", False),
    ],
    ids=lambda attack: attack.name,
)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_linear_network_loses_exactly_eps_times_the_dual_norm(attack, threat, seed):
    classifier = random_linear(seed)
    images = images_of(low=0.35, high=0.65)  # no ball reaches the pixel box
    labels = predicted(classifier, images)
    weight = classifier.head.weight[0] - classifier.head.weight[1]
    margin = decision_function(classifier(images), labels).detach()
    worst = margin - threat.radius * dual_norm(threat, weight.detach())
    result = attack(classifier, images, labels, threat, generator(seed))
    # A random start in an ℓ2 ball comes to the worst point only in the limit.
    slack = 0.03 if attack.random_start and threat.norm == "l2" else 1e-3
    clear = worst.abs() > slack
    assert torch.equal(result.broken[clear], worst[clear] < 0)
    left = decision_function(classifier(result.adversarial), labels)[~result.broken]
    torch.testing.assert_close(left, worst[~result.broken], atol=slack, rtol=0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), eps=st.integers(1, 100))
def test_fgsm_on_a_linear_network_finds_the_worst_corner_of_ball_and_box(seed, eps):
    classifier, threat = random_linear(seed), Threat("linf", f"{eps}/100")
    images = images_of(seed=seed)
    labels = predicted(classifier, images)
    rival = 1 - labels
    toward = (classifier.head.weight[rival] - classifier.head.weight[labels]).detach().view_as(images)
    corner = (images + threat.radius * toward.sign()).clamp(0, 1)
    worst = decision_function(classifier(corner), labels).detach()
    result = ATTACKS["fgsm"](classifier, images, labels, threat, generator())
    clear = worst.abs() > 1e-4
    assert torch.equal(result.broken[clear], worst[clear] < 0)
    torch.testing.assert_close(result.adversarial, corner)


def test_the_loss_of_survivors_rises_by_step_times_dual_norm():
    classifier = random_linear(3)
    images = images_of(low=0.2, high=0.8)
    labels = predicted(classifier, images)
    weight = (classifier.head.weight[0] - classifier.head.weight[1]).detach()
    attack = Attack("margin", steps=4, step_size=0.04, loss="margin", random_start=False)
    result = attack(classifier, images, labels, Threat("linf", "1/5"), generator())
    assert 0 < result.broken.sum() < 40
    margin = decision_function(classifier(images), labels).detach()[~result.broken].mean()
    expected = -margin + 0.04 * weight.abs().sum() * torch.arange(5)
    torch.testing.assert_close(result.loss, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("loss", ["ce", "margin", "dlr", "scaled-ce"])
@pytest.mark.parametrize("threat", [Threat("linf", "0.06"), Threat("l2", "0.2")], ids=str)
def test_targeted_attack_succeeds_only_where_the_target_is_predicted(threat, loss):
    classifier = random_linear(5, classes=4)
    images = images_of(count=200, low=0.3, high=0.7)
    labels = predicted(classifier, images)
    labels[:10] = (labels[:10] + 1) % 4
    targets = (labels + 2) % 4
    result = Attack("targeted", 10, loss=loss)(
        classifier, images, labels, threat, generator(), targets=targets
    )
    attacked = result.broken & (result.restart >= 0)
    assert torch.equal(predicted(classifier, result.adversarial)[attacked], targets[attacked])
    assert 0 < attacked.sum() < len(images) - 10
    assert (result.step[:10] == 0).all(), "wrong without attack counts as broken"
    assert torch.equal(result.adversarial[:10], images[:10])


@pytest.mark.parametrize("threat", [Threat("linf", "0.02"), Threat("l2", "0.06")], ids=str)
def test_targeted_attack_on_two_classes_is_the_untargeted_one(threat):
    images = images_of(count=100, low=0.35, high=0.65)
    classifier = balanced(6, images)
    labels = predicted(classifier, images)
    worst = decision_function(classifier(images), labels) - threat.radius * dual_norm(
        threat, (classifier.head.weight[0] - classifier.head.weight[1]).detach()
    )
    attack = Attack("margin", 3, 1.0, "margin", False)
    result = attack(classifier, images, labels, threat, generator(), targets=1 - labels)
    clear = worst.abs() > 1e-3
    assert 0 < result.broken.sum() < 100
    assert torch.equal(result.broken[clear], worst[clear] < 0)


def worst_in_ball_and_box(images, toward, radius):
    """max v·δ over ‖δ‖₂ ≤ ε with x + δ in [0, 1], by its dual: δ(λ) = clip(v/λ), λ by bisection."""
    low, high, v = -images.flatten(1), 1 - images.flatten(1), toward.flatten(1)
    most, least = torch.full((len(v), 1), 1e6), torch.full((len(v), 1), 1e-9)
    for _ in range(100):
        middle = (most * least).sqrt()
        long = (v / middle).clamp(low, high).norm(dim=1, keepdim=True) > radius
        least, most = torch.where(long, middle, least), torch.where(long, most, middle)
    return (v * (v / most).clamp(low, high)).sum(dim=1)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), eps=st.integers(10, 250))
def test_l2_attacks_never_go_beyond_the_worst_case_in_ball_and_box(seed, eps):
    classifier, threat = random_linear(seed), Threat("l2", f"{eps}/100")
    images = images_of(seed=seed)
    labels = predicted(classifier, images)
    toward = (classifier.head.weight[1 - labels] - classifier.head.weight[labels]).detach()
    margin = decision_function(classifier(images), labels).detach().double()
    worst = margin - worst_in_ball_and_box(images.double(), toward.double(), threat.radius)
    result = Attack("margin", 60, 0.1, "margin")(classifier, images, labels, threat, generator(seed))
    assert (worst[result.broken] < 1e-4).all()
    left = ~result.broken
    found = decision_function(classifier(result.adversarial), labels).detach().double()
    assert (found[left] > worst[left] - 1e-4).all()


@pytest.mark.parametrize(
    ("step_size", "steps", "length"),
    [("auto", 20, 0.0125), ("auto", 1, 0.1), ("paper", 20, 2 / 255), (0.03, 7, 0.03)],
)
def test_step_length(step_size, steps, length):
    assert step_length(step_size, steps, LINF) == pytest.approx(length)


# What an iteration counts for


def test_the_last_update_is_looked_at():
    weight = torch.zeros(2, 16)
    weight[0, 0] = 1.0
    classifier = linear(weight, torch.tensor([0.0, 0.265]))
    images = torch.full((1, *SHAPE), 0.5)
    # The margin is x₀ − 0.265, so x₀ = 0.25 is the first iterate across, after five steps of 0.05.
    steps = {n: Attack("steps", n, 0.05, "margin", random_start=False) for n in (4, 5, 6)}
    broken = {
        n: attack(classifier, images, torch.tensor([0]), Threat("linf", "0.4"), generator()).step.item()
        for n, attack in steps.items()
    }
    assert broken == {4: -1, 5: 5, 6: 5}


def spike(flat):
    """Class 1 where 0.58 < x₀ < 0.62, class 0 elsewhere; without `flat`, class 1 pulls x₀ upwards everywhere."""
    slope = 0.0 if flat else 1.0

    def formula(x):
        inside = ((x[:, 0] - 0.6).abs() < 0.02).float()
        return torch.stack((2 - 4 * inside - slope * x[:, 0], slope * x[:, 0]), dim=1)

    return Custom(formula)


def test_the_iterate_that_broke_it_is_returned_and_not_the_last():
    images = torch.full((1, *SHAPE), 0.5)
    attack = Attack("through", 6, 0.05, "margin", random_start=False)
    result = attack(spike(flat=False), images, torch.tensor([0]), Threat("linf", "0.4"), generator())
    assert result.step.tolist() == [2]
    assert result.adversarial[0, 0, 0, 0].item() == pytest.approx(0.6)
    last = maximise(
        spike(flat=False), images, torch.tensor([0]), Threat("linf", "0.4"), generator(),
        steps=6, step_size=0.05, loss="margin", random_start=False,
    )  # fmt: skip
    assert last[0, 0, 0, 0].item() == pytest.approx(0.8), "training goes on with every image"


def test_what_a_restart_broke_stays_broken_and_later_restarts_attack_the_rest():
    classifier, threat = spike(flat=True), Threat("linf", "0.3")
    images, labels = torch.full((100, *SHAPE), 0.5), torch.zeros(100, dtype=torch.int64)
    draw = generator(7)
    starts = torch.stack([threat.random_start(images, draw) for _ in range(6)])
    lands = (predicted(classifier, starts.flatten(0, 1)) == 1).view(6, 100)
    first = torch.where(lands.any(dim=0), lands.float().argmax(dim=0), -1)
    result = Attack("restarts", 2, restarts=6)(classifier, images, labels, threat, generator(7))
    assert torch.equal(result.restart, first)
    assert len(set(first.tolist())) > 3, "several restarts have something to do"
    hit = first >= 0
    assert torch.equal(result.adversarial[hit], starts[first[hit], hit.nonzero().squeeze(1)])
    assert (result.step[hit] == 0).all()
    assert torch.equal(result.broken, hit)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    norm=st.sampled_from(["linf", "l2"]),
    eps=st.sampled_from(["0", "1/255", "8/255", "0.3", "1"]),
    loss=st.sampled_from(["ce", "margin", "dlr", "scaled-ce"]),
    steps=st.integers(1, 5),
    step_size=st.sampled_from(["auto", "paper", 0.7]),
    random_start=st.booleans(),
)
def test_results_stay_in_ball_and_box_and_broken_means_misclassified(
    seed, norm, eps, loss, steps, step_size, random_start
):
    classifier, threat = small_cnn(seed).eval(), Threat(norm, eps)
    images = images_of(seed=seed)
    images[0], images[1] = 0.0, 1.0
    labels = predicted(classifier, images)
    labels[:5] = (labels[:5] + 1) % 5
    attack = Attack("any", steps, step_size, loss, random_start)
    result = attack(classifier, images, labels, threat, generator(seed))
    assert threat.allows(result.adversarial, images, tolerance=1e-6).all()
    wrong = predicted(classifier, result.adversarial) != labels
    assert torch.equal(wrong, result.broken)
    clean = predicted(classifier, images) != labels
    assert torch.equal(result.adversarial[clean], images[clean])
    assert (result.step[clean] == 0).all()
    assert (result.restart[clean] == -1).all()
    if eps == "0":
        assert torch.equal(result.broken, clean)


def test_success_outside_the_threat_is_not_counted(monkeypatch):
    classifier = random_linear(2)
    images = images_of(low=0.4, high=0.6)
    labels = predicted(classifier, images)
    weak = Threat("linf", "1/1000")
    for cheat in (
        lambda points, gradient, origin, threat, length: (origin + 0.3 * gradient.sign()).clamp(0, 1),
        lambda points, gradient, origin, threat, length: origin + 3 * gradient.sign(),
    ):
        monkeypatch.setattr(pgd, "ascend", cheat)
        outside = ATTACKS["bim"](classifier, images, labels, weak, generator())
        assert (predicted(classifier, outside.adversarial) != labels).any()
        margin = decision_function(classifier(images), labels)
        assert not outside.broken[margin > 0.02].any()


def test_batch_size_changes_nothing_but_rounding():
    classifier = small_cnn(4).eval()
    images = images_of(count=50)
    labels = predicted(classifier, images)
    attack = Attack("restarts", 8, restarts=2)
    results = [
        attack(classifier, images, labels, Threat("l2", "0.4"), generator(), batch_size=size)
        for size in (1, 7, 500)
    ]
    assert 0 < results[0].broken.sum() < 50
    for other in results[1:]:
        assert torch.equal(other.step, results[0].step)
        assert torch.equal(other.restart, results[0].restart)
        torch.testing.assert_close(other.adversarial, results[0].adversarial, atol=1e-4, rtol=0)


# Zero gradients


def test_a_success_in_bfloat16_counts_only_where_float32_misclassifies_too():
    classifier = small_cnn()
    images = images_of(80)
    labels = predicted(classifier, images)
    exact = Attack("a", steps=10)(classifier, images, labels, LINF, generator())
    rounded = Attack("a", steps=10)(classifier, images, labels, LINF, generator(), bf16=True)
    assert 0 < int(rounded.broken.sum()) < len(images)
    assert torch.equal(predicted(classifier, rounded.adversarial) != labels, rounded.broken)
    assert LINF.allows(rounded.adversarial, images).all()
    assert int((exact.broken != rounded.broken).sum()) <= 2


def test_what_float32_classifies_correctly_goes_on_after_bfloat16():
    # A class that bfloat16 alone sees: the margin is below its rounding everywhere in the ball.
    classifier = linear(torch.full((2, 16), 0.5), torch.tensor([1.0, 1.0 - 2**-12]))
    images = images_of(6)
    result = Attack("a", steps=3)(classifier, images, torch.zeros(6).long(), LINF, generator(), bf16=True)
    assert not result.broken.any()


def test_zero_gradient_in_float32_and_confirmed_in_float64():
    images, labels = torch.full((3, *SHAPE), 0.5), torch.zeros(3, dtype=torch.int64)
    weight = torch.zeros(2, 16)
    weight[1, 0] = 1.0

    def flags(loss, gap):
        attack = Attack("once", 1, loss=loss, random_start=False)
        result = attack(linear(weight, torch.tensor([gap, 0.0])), images, labels, LINF, generator())
        assert result.broken.sum() == 0
        return bool(result.zero_gradient_float32.all()), bool(result.zero_gradient.all())

    assert flags("ce", 500.0) == (True, False), "exp(−500) is above zero in float64"
    assert flags("ce", 2000.0) == (True, True)
    assert flags("margin", 500.0) == (False, False)


@pytest.mark.parametrize("threat", [LINF, L2], ids=str)
def test_a_network_without_a_way_back_to_the_pixels_has_zero_gradients_and_stays_where_it_is(threat):
    classifier = Custom(lambda x: torch.stack((x[:, 0].detach() * 0 + 1, x[:, 0].detach()), dim=1))
    images, labels = images_of(low=0.3, high=0.6), torch.zeros(40, dtype=torch.int64)
    result = ATTACKS["bim"](classifier, images, labels, threat, generator())
    assert result.zero_gradient.all()
    assert not result.broken.any()
    assert torch.equal(result.adversarial, images)


def test_zero_gradient_is_not_asked_of_images_that_are_wrong_anyway():
    classifier = Custom(lambda x: torch.stack((x[:, 0] * 0 + 2, x[:, 0] * 0), dim=1))
    result = ATTACKS["fgsm"](classifier, images_of(2), torch.tensor([0, 1]), LINF, generator())
    assert result.zero_gradient.tolist() == [True, False]


def test_a_network_that_knows_float32_alone_keeps_the_float32_finding():
    fixed = torch.zeros(16, 2)
    classifier = Custom(lambda x: x @ fixed + torch.tensor([2.0, 0.0]))
    result = ATTACKS["fgsm"](classifier, images_of(2), torch.tensor([0, 0]), LINF, generator())
    assert result.zero_gradient.all()


def test_the_l2_step_keeps_its_length_where_squares_of_the_gradient_underflow():
    strong, images = random_linear(8), images_of(low=0.3, high=0.7)
    weak = linear(strong.head.weight.detach() * 1e-25, strong.head.bias.detach() * 1e-25)
    labels = predicted(strong, images)
    attack = Attack("margin", 2, 0.05, loss="margin", random_start=False)
    results = [attack(classifier, images, labels, L2, generator()) for classifier in (strong, weak)]
    torch.testing.assert_close(results[0].adversarial, results[1].adversarial)
    left = ~results[0].broken
    torch.testing.assert_close(
        L2.distance(results[0].adversarial, images)[left].float(), torch.full((40,), 0.1)[left]
    )


@pytest.mark.parametrize("threat", [LINF, L2], ids=str)
def test_a_gradient_of_nan_moves_nothing(threat):
    images, labels = torch.full((1, *SHAPE), 0.25), torch.tensor([0])
    classifier = Custom(lambda x: torch.stack((1 + (x[:, 0] - 0.25).pow(2).sqrt(), x[:, 1]), dim=1))
    points = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(classifier(points)[:, 0].sum(), points)
    assert gradient.isnan().any(), "the trap is there"
    result = ATTACKS["bim"](classifier, images, labels, threat, generator())
    assert result.adversarial.isfinite().all()
    assert result.adversarial[0, 0, 0, 0] == 0.25
    assert result.adversarial[0, 0, 0, 1] > 0.25


# What is left as it was found


def attack_it(classifier, images, labels):
    return ATTACKS["pgd20"](classifier, images, labels, LINF, generator())


def train_on_it(classifier, images, labels):
    return maximise(classifier, images, labels, LINF, generator(), steps=3)


both = pytest.mark.parametrize("work", [attack_it, train_on_it])


@both
def test_each_module_keeps_its_own_mode_and_batch_norm_its_statistics(work):
    classifier = small_cnn().train()
    classifier.backbone[1].eval()  # a batch norm frozen by hand
    modes = [module.training for module in classifier.modules()]
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    images = images_of()
    work(classifier, images, predicted(classifier, images))
    assert [module.training for module in classifier.modules()] == modes
    assert True in modes
    assert False in modes
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


@both
def test_parameter_gradients_and_flags_are_left_alone(work):
    classifier = small_cnn()
    classifier.head.bias.requires_grad_(False)
    for parameter in classifier.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    kept = [(parameter.grad, parameter.requires_grad) for parameter in classifier.parameters()]
    images = images_of()
    work(classifier, images, predicted(classifier, images))
    for parameter, (gradient, flag) in zip(classifier.parameters(), kept, strict=True):
        assert parameter.grad is gradient
        assert (gradient == 3).all()
        assert parameter.requires_grad is flag


@both
def test_the_global_random_state_is_left_alone_even_by_a_network_that_draws(work):
    classifier = Custom(lambda x: x[:, :2] + 0.1 * torch.randn(len(x), 2))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    work(classifier, images_of(), torch.zeros(40, dtype=torch.int64))
    assert torch.equal(torch.get_rng_state(), before)


@both
def test_images_and_grad_mode_are_left_alone(work):
    classifier, images = small_cnn(), images_of()
    before, labels = images.clone(), predicted(classifier, images)
    with torch.no_grad():
        work(classifier, images, labels)
        assert not torch.is_grad_enabled()
    assert torch.equal(images, before)
    assert not images.requires_grad


class Viewing(nn.Module):
    """A network that flattens its maps with `view`, which does not run with channels innermost."""

    num_classes, input_shape = 3, (2, 4, 4)

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.convolution, self.linear = nn.Conv2d(2, 5, 3, padding=1), nn.Linear(80, 3)

    def forward(self, images):
        return self.linear(self.convolution(images).relu().view(len(images), -1))


class Flattening(Viewing):
    def forward(self, images):
        return self.linear(self.convolution(images).relu().flatten(1))


def test_weights_keep_their_layout_and_networks_that_need_the_plain_one_get_it():
    images = torch.rand(30, 2, 4, 4, generator=generator())
    results = []
    for network in (Viewing(), Flattening()):
        labels = predicted(network, images)
        before = [(weight.data_ptr(), weight.stride()) for weight in network.parameters()]
        counted = Counting(network)
        results.append(ATTACKS["pgd20"](counted, images, labels, Threat("linf", "0.1"), generator()))
        assert [(weight.data_ptr(), weight.stride()) for weight in network.parameters()] == before
        assert results[-1].forwards == counted.forwards
        assert 0 < results[-1].broken.sum() < 30
    torch.testing.assert_close(results[0].adversarial, results[1].adversarial, atol=1e-4, rtol=0)


def test_what_a_network_draws_depends_on_the_generator_alone():
    classifier = Custom(lambda x: x[:, :2] + 0.1 * torch.randn(len(x), 2))
    labels = torch.zeros(40, dtype=torch.int64)
    found = []
    for seed, state in ((1, 5), (1, 6), (2, 5)):
        torch.manual_seed(state)
        found.append(ATTACKS["bim"](classifier, images_of(), labels, LINF, generator(seed)).step.tolist())
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_a_network_that_draws_has_its_clean_accuracy_at_eps_zero():
    classifier = Counting(Custom(lambda x: x[:, :2] + 0.3 * torch.randn(len(x), 2)))
    labels = torch.zeros(40, dtype=torch.int64)
    result = ATTACKS["cw100x5"](classifier, images_of(), labels, Threat("linf", "0"), generator(3))
    torch.manual_seed(generator(3).initial_seed())
    clean = classifier.classifier(images_of()).argmax(dim=1) != labels
    assert torch.equal(result.broken, clean)
    assert 0 < clean.sum() < 40
    assert (result.forwards, result.backwards) == (40, 0)


def test_modes_come_back_when_the_network_fails():
    def fail(x):
        raise RuntimeError("no")

    classifier = Custom(fail).train()
    with pytest.raises(RuntimeError, match="no"):
        ATTACKS["fgsm"](classifier, images_of(), torch.zeros(40, dtype=torch.int64), LINF, generator())
    assert classifier.training


def test_frozen_gives_every_parameter_its_own_flag_back():
    classifier = small_cnn()
    classifier.head.weight.requires_grad_(False)
    flags = [parameter.requires_grad for parameter in classifier.parameters()]
    with frozen(classifier):
        assert not any(parameter.requires_grad for parameter in classifier.parameters())
    assert [parameter.requires_grad for parameter in classifier.parameters()] == flags


# The inner maximisation


def test_training_gets_the_worst_corner_of_every_image_broken_or_not():
    classifier = random_linear(11)
    images = images_of(low=0.35, high=0.65)
    labels = predicted(classifier, images)
    weight = (classifier.head.weight[1 - labels] - classifier.head.weight[labels]).detach()
    corner = images + LINF.radius * weight.sign().view_as(images)
    points = maximise(classifier, images, labels, LINF, generator(), steps=10)
    torch.testing.assert_close(points, corner)
    assert not points.requires_grad
    wrong = predicted(classifier, points) != labels
    assert wrong.any()
    assert not wrong.all()


def test_train_mode_lets_batch_norm_move_and_eval_mode_does_not():
    images, labels = images_of(), torch.zeros(40, dtype=torch.int64)
    for mode, moved in (("eval", False), ("train", True)):
        classifier = small_cnn().train()
        before = classifier.backbone[1].running_mean.clone()
        maximise(classifier, images, labels, LINF, generator(), steps=2, mode=mode)
        assert torch.equal(classifier.backbone[1].running_mean, before) is not moved
        assert classifier.training


def test_attack_and_inner_maximisation_take_the_same_steps():
    classifier = small_cnn(9).eval()
    images = images_of()
    labels = predicted(classifier, images)
    for threat in (Threat("linf", "1/255"), Threat("l2", "1/50")):
        result = Attack("same", 4)(classifier, images, labels, threat, generator())
        points = maximise(classifier, images, labels, threat, generator(), steps=4)
        left = ~result.broken
        assert left.any()
        torch.testing.assert_close(result.adversarial[left], points[left])


# Passes


class Counting(nn.Module):
    """Counts images forwards, and backwards through the logits."""

    def __init__(self, classifier, most=10**9, draws=False):
        super().__init__()
        self.classifier, self.most, self.draws = classifier, most, draws
        self.num_classes, self.input_shape = classifier.num_classes, classifier.input_shape
        self.forwards = self.backwards = 0

    def forward(self, images):
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if self.draws:
            torch.rand(())
        logits = self.classifier(images)
        self.forwards += len(images)
        if logits.requires_grad:
            logits.register_hook(self.count)
        return logits

    def count(self, gradient):
        self.backwards += len(gradient)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_survivor_costs_a_forward_and_a_backward_a_step_and_the_last_look(attack):
    weight = torch.zeros(2, 16)
    weight[0, 0] = 0.1
    # A network that draws random numbers may answer otherwise at an iterate that repeats, so every step is taken.
    classifier = Counting(linear(weight, torch.tensor([5.0, 0.0])), draws=True)
    result = attack(
        classifier, images_of(10), torch.zeros(10, dtype=torch.int64), LINF, generator(), batch_size=4
    )
    clean = 10 if attack.random_start else 0
    assert result.forwards == classifier.forwards == clean + 10 * attack.restarts * (attack.steps + 1)
    assert result.backwards == classifier.backwards == 10 * attack.restarts * attack.steps


def test_passes_are_counted_while_images_leave():
    classifier = Counting(small_cnn(4))
    images = images_of()
    result = ATTACKS["pgd20"](
        classifier, images, predicted(classifier, images), L2, generator(), batch_size=7
    )
    extra = 40  # the call of `predicted`
    assert (result.forwards, result.backwards) == (classifier.forwards - extra, classifier.backwards)
    assert 0 < result.backwards < 40 * 20


def test_broken_images_leave_the_batch():
    weight = torch.zeros(2, 16)
    weight[0, 0] = 1.0
    classifier = Counting(linear(weight, torch.tensor([0.0, 0.45])))
    images = torch.cat((torch.full((5, *SHAPE), 0.5), torch.full((3, *SHAPE), 0.99)))
    attack = Attack("steps", 4, 0.06, "margin", random_start=False)
    result = attack(classifier, images, torch.zeros(8, dtype=torch.int64), Threat("linf", "0.3"), generator())
    assert result.step.tolist() == [1] * 5 + [-1] * 3
    assert result.forwards == 8 + 8 + 3 * 3, "clean, first step, then the survivors alone"
    assert result.backwards == 8 + 3 + 2 * 3, (
        "who is expected to fall at the first step is not differentiated there"
    )


@pytest.mark.parametrize("guess", [torch.ones_like, torch.zeros_like], ids=["all fall", "none falls"])
@pytest.mark.parametrize("name", ["pgd20", "cw", "adaptive"])
def test_a_wrong_guess_of_who_falls_costs_passes_and_no_result(monkeypatch, name, guess):
    classifier, images = small_cnn(4).eval(), images_of()
    labels, threat = predicted(classifier, images), Threat("linf", "0.02")
    expected = ATTACKS[name](classifier, images, labels, threat, generator())
    monkeypatch.setattr(pgd, "forecast", lambda name, losses, margins, gains: guess(losses, dtype=torch.bool))
    counted = Counting(classifier)
    result = ATTACKS[name](counted, images, labels, threat, generator())
    assert 0 < result.broken.sum() < len(images)
    assert result.step.tolist() == expected.step.tolist()
    assert result.restart.tolist() == expected.restart.tolist()
    torch.testing.assert_close(result.adversarial, expected.adversarial, atol=1e-5, rtol=0)
    assert (result.forwards, result.backwards) == (counted.forwards, counted.backwards)
    if guess is torch.ones_like:
        assert result.forwards > expected.forwards
    else:
        assert result.backwards >= expected.backwards


@pytest.mark.parametrize("loss", ["ce", "margin", "dlr", "scaled-ce"])
def test_the_forecast_is_exact_where_two_classes_share_the_probability_and_logits_are_linear(loss):
    draw = torch.Generator().manual_seed(1)
    # The third class keeps DLR defined and takes no probability.
    slopes = torch.randn(3, 5, generator=draw)
    slopes[2] = 0
    points = torch.randn(400, 5, generator=draw, requires_grad=True)
    step = torch.randn(400, 5, generator=draw)
    logits = lambda at: at @ slopes.T - torch.tensor([0.0, 0.0, 40.0])  # noqa: E731
    labels = logits(points).argmax(dim=1)
    losses = LOSSES[loss](logits(points), labels)
    (gradient,) = torch.autograd.grad(losses.sum(), points)
    falls = logits(points + step).argmax(dim=1) != labels
    margins = decision_function(logits(points), labels).detach()
    guessed = forecast(loss, losses.detach(), margins, (gradient * step).sum(dim=1))
    assert 0.1 < falls.float().mean() < 0.9
    # DLR is divided by a spread that the step changes: right in sign to first order alone.
    assert (guessed == falls).float().mean() >= (0.97 if loss == "dlr" else 1)


def test_the_forecast_says_no_where_the_loss_has_no_gradient():
    assert forecast("ce", torch.zeros(1), torch.full((1,), 200.0), torch.zeros(1)).tolist() == [False]


class Drawing(nn.Module):
    """Adds noise to logits and remembers how often each image was looked at."""

    def __init__(self, classifier):
        super().__init__()
        self.classifier, self.seen = classifier, []
        self.num_classes, self.input_shape = classifier.num_classes, classifier.input_shape

    def forward(self, images):
        self.seen.append(len(images))
        logits = self.classifier(images)
        return logits + torch.randn_like(logits)


def test_a_network_that_draws_is_not_asked_twice_at_one_iterate(monkeypatch):
    monkeypatch.setattr(
        pgd, "forecast", lambda name, losses, *rest: torch.ones_like(losses, dtype=torch.bool)
    )
    network = Drawing(linear(torch.tensor([[0.1], [0.0]]).expand(2, 16).clone(), torch.tensor([50.0, 0.0])))
    attack = Attack("steps", 6, loss="margin", random_start=False)
    result = attack(network, images_of(10), torch.zeros(10, dtype=torch.int64), LINF, generator())
    assert not result.broken.any()
    assert network.seen == [10] * 8, "seven iterates, and once more where it was found to draw"
    assert result.forwards == 80


def test_inference_mode_is_refused_for_there_every_network_looks_robust():
    classifier, images = small_cnn(4), images_of()
    labels = predicted(classifier, images)
    with torch.inference_mode(), pytest.raises(UserError, match=r"use torch.no_grad\(\) there"):
        ATTACKS["pgd20"](classifier, images, labels, LINF, generator())
    with torch.inference_mode():
        made = images.clone()
    with pytest.raises(UserError, match=r"for images made in torch\.inference_mode"):
        ATTACKS["pgd20"](classifier, made, labels, LINF, generator())


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True])
def test_a_batch_size_that_is_no_number_of_images_is_refused(batch_size):
    classifier, images = small_cnn(4), images_of()
    with pytest.raises(UserError, match="expected a batch size from 1 on"):
        ATTACKS["bim"](
            classifier, images, predicted(classifier, images), LINF, generator(), batch_size=batch_size
        )


class NoDouble(nn.Module):
    """Flat logits, and something else than a RuntimeError in float64."""

    num_classes, input_shape = 2, SHAPE

    def forward(self, images):
        assert images.dtype == torch.float32
        return torch.tensor([3.0, 1.0]).expand(len(images), 2) + 0 * images.flatten(1).sum(
            dim=1, keepdim=True
        )


def test_a_network_that_refuses_float64_does_not_end_the_attack():
    images = images_of(5)
    result = ATTACKS["pgd20"](NoDouble(), images, torch.zeros(5, dtype=torch.int64), LINF, generator())
    assert result.zero_gradient.all()
    assert not result.broken.any()


def test_logits_of_another_type_are_refused():
    classifier, images = small_cnn(4), images_of(3)

    class Half(nn.Module):
        num_classes, input_shape = classifier.num_classes, SHAPE

        def forward(self, images):
            return classifier(images).half()

    with pytest.raises(UserError, match=r"expected logits in torch.float32, the network gave torch.float16"):
        ATTACKS["bim"](Half(), images, torch.zeros(3, dtype=torch.int64), LINF, generator())


def test_out_of_memory_halves_the_batch_and_goes_on():
    classifier = small_cnn(4).eval()
    images = images_of()
    labels = predicted(classifier, images)
    whole = ATTACKS["bim"](classifier, images, labels, L2, generator())
    narrow = Counting(classifier, most=6)
    halved = ATTACKS["bim"](narrow, images, labels, L2, generator())
    assert torch.equal(halved.step, whole.step)
    torch.testing.assert_close(halved.adversarial, whole.adversarial, atol=1e-4, rtol=0)
    assert halved.forwards == narrow.forwards


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
    ids=["cpu", "cublas", "python"],
)
def test_every_way_of_running_out_of_memory_halves_the_batch(error):
    widths = []

    def formula(x):
        if len(x) > 6:
            raise error
        widths.append(len(x))
        return x[:, :2] * torch.tensor([1.0, 0.5])

    result = ATTACKS["bim"](
        Custom(formula), images_of(40), torch.zeros(40, dtype=torch.int64), LINF, generator(), batch_size=39
    )
    assert max(widths) == 4, "39 → 19 → 9 → 4"
    assert result.forwards == sum(widths)


def test_other_errors_are_not_taken_for_want_of_memory():
    sizes = []

    def formula(x):
        sizes.append(len(x))
        raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match="size mismatch"):
        ATTACKS["fgsm"](Custom(formula), images_of(), torch.zeros(40, dtype=torch.int64), LINF, generator())
    assert sizes == [40]


def test_out_of_memory_with_one_image_is_told():
    classifier = Counting(small_cnn(), most=0)
    with pytest.raises(torch.OutOfMemoryError):
        ATTACKS["fgsm"](classifier, images_of(), torch.zeros(40, dtype=torch.int64), LINF, generator())


class Recorder(Progress):
    def __init__(self):
        self.total, self.done, self.notes = None, 0.0, []

    @contextmanager
    def task(self, name, total):
        self.total = total
        yield self

    def advance(self, steps=1, note=""):
        self.done += steps
        self.notes.append(note)


@pytest.mark.parametrize("eps", ["1/255", "1"])
def test_the_bar_comes_to_its_end(eps):
    classifier, bar = small_cnn(4).eval(), Recorder()
    images = images_of()
    attack = Attack("restarts", 5, restarts=3)
    labels = predicted(classifier, images)
    attack(classifier, images, labels, Threat("linf", eps), generator(), batch_size=7, progress=bar)
    assert bar.done == pytest.approx(bar.total)
    assert "robust 100.0%" in bar.notes


# Losses that see where cross-entropy does not


@pytest.mark.parametrize("scale", [1e6, 1e-6])
def test_adaptive_breaks_what_cross_entropy_cannot_see(scale):
    images, threat = images_of(count=100, low=0.35, high=0.65), Threat("linf", "0.02")
    classifier = balanced(2, images)
    labels = predicted(classifier, images)
    margin = decision_function(classifier(images), labels).detach()
    weight = (classifier.head.weight[0] - classifier.head.weight[1]).detach()
    worst = margin - threat.radius * dual_norm(threat, weight)
    clear = worst.abs() > 1e-3
    assert 5 < (worst < 0).sum() < 95
    with torch.no_grad():
        classifier.head.weight.mul_(scale)
        classifier.head.bias.mul_(scale)
    for attack in (ATTACKS["adaptive"], Attack("alone", 50, loss="scaled-ce")):
        result = attack(classifier, images, labels, threat, generator())
        assert torch.equal(result.broken[clear], worst[clear] < 0)
        assert not result.zero_gradient_float32.any()
    if scale > 1:
        blind = ATTACKS["pgd20"](classifier, images, labels, threat, generator())
        assert blind.broken.sum() < (worst < 0).sum() / 2
        assert blind.zero_gradient_float32.any()


def test_restarts_take_the_losses_in_turn():
    seen = []
    classifier = linear(torch.zeros(2, 16), torch.tensor([3.0, 1.0]))
    attack = Attack("both", 2, loss="margin+scaled-ce", restarts=3)
    images, labels = images_of(4), torch.zeros(4, dtype=torch.int64)
    for restarts in (2, 3):
        one = Attack("both", 2, loss="margin+scaled-ce", restarts=restarts)
        seen.append(one(classifier, images, labels, LINF, generator()).loss.tolist())
    last_scaled, last_margin = seen
    assert last_margin == [-2.0, -2.0, -2.0]
    assert last_scaled == pytest.approx([math.log1p(math.exp(-1))] * 3)
    assert attack.settings()["loss"] == "margin+scaled-ce"


# Networks that end in a softmax


def test_probabilities_are_attacked_through_their_logarithm_and_told():
    network, images = small_cnn(4).eval(), images_of()
    labels = predicted(network, images)
    softmax = Custom(lambda x: network(x.view(-1, *SHAPE)).softmax(dim=1), classes=5)
    threat = Threat("linf", "0.03")
    expected = ATTACKS["pgd20"](network, images, labels, threat, generator())
    assert expected.notes == []
    with pytest.warns(ProbabilitiesWarning, match="pass the network without its softmax"):
        result = ATTACKS["pgd20"](softmax, images, labels, threat, generator())
    assert result.notes == [NOTE]
    assert torch.equal(result.step, expected.step)
    torch.testing.assert_close(result.adversarial, expected.adversarial, atol=1e-5, rtol=0)
    assert (result.forwards, result.backwards) == (expected.forwards, expected.backwards)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 50), classes=st.integers(2, 1000))
def test_probabilities_are_told_from_logits(seed, rows, classes):
    logits = 5 * torch.randn(rows, classes, generator=generator(seed))
    assert are_probabilities(logits.softmax(dim=1))
    assert not are_probabilities(logits)
    assert not are_probabilities(logits.abs() + 1)
    assert not are_probabilities(logits.log_softmax(dim=1))
    assert torch.equal(logits_of(logits.softmax(dim=1)).argmax(dim=1), logits.softmax(dim=1).argmax(dim=1))
    torch.testing.assert_close(logits_of(logits.softmax(dim=1)).softmax(dim=1), logits.softmax(dim=1))


# Mistakes


def refused(match, classifier=None, images=None, labels=None, attack=ATTACKS["bim"], **more):
    images = images_of(4) if images is None else images
    labels = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels
    with pytest.raises(UserError, match=match):
        attack(classifier or random_linear(0), images, labels, LINF, generator(), **more)


def test_unusable_images_are_refused():
    refused("divide by 255", images=(images_of(4) * 255).to(torch.uint8))
    refused("call .float", images=images_of(4).double())
    refused(r"expected images of shape \(batch, 1, 4, 4\), got \(4, 3, 4, 4\)", images=torch.rand(4, 3, 4, 4))
    refused("expected images of shape", images=torch.rand(4, 16))
    refused("expected finite pixels", images=torch.full((4, *SHAPE), torch.nan))
    refused(r"expected pixels in \[0, 1\], got 0 to 255", images=images_of(4).round() * 255)
    refused("at least one image", images=images_of(0))


def test_unusable_labels_and_targets_are_refused():
    refused("labels from 0 to 1, got 0 to 2", labels=torch.tensor([0, 1, 2, 0]))
    refused("labels from 0 to 1, got -1 to 1", labels=torch.tensor([0, 1, -1, 0]))
    refused(r"labels int64 of shape \(4,\)", labels=torch.zeros(3, dtype=torch.int64))
    refused("labels int64", labels=torch.zeros(4))
    refused("targets from 0 to 1", targets=torch.full((4,), 2))
    refused("targets that differ", targets=torch.tensor([1, 1, 0, 1]))


def test_unusable_logits_are_refused():
    refused("logits of shape", classifier=Custom(lambda x: x[:, :3]))
    refused("logits of shape", classifier=Custom(lambda x: (x[:, :2], x)))
    refused("NaN or infinity", classifier=Custom(lambda x: x[:, :2] * torch.nan))
    refused("NaN or infinity", classifier=Custom(lambda x: x[:, :2] / 0))
    for loss in ("ce", "margin", "dlr"):
        # NaN in a logit that is neither the label's nor the best other one.
        odd = Custom(lambda x: x[:, :4] * torch.tensor([9.0, 5.0, 1.0, torch.nan]), classes=4)
        refused("NaN or infinity", classifier=odd, attack=Attack("nan", 1, loss=loss))


def test_senseless_settings_are_refused():
    refused("at least 3 classes", attack=Attack("dlr", 1, loss="dlr"))
    for settings_, match in (
        ({"steps": 0}, "at least 1 step"),
        ({"steps": 1, "restarts": 0}, "1 restart"),
        ({"steps": 1, "loss": "marign"}, "did you mean margin"),
        ({"steps": 1, "loss": "margin+c"}, "unknown loss"),
        ({"steps": 1, "loss": "margin+ce"}, "need a restart each, got 1"),
        ({"steps": 1, "step_size": "fast"}, "auto, paper or above 0"),
        ({"steps": 1, "step_size": -0.1}, "auto, paper or above 0"),
        ({"steps": 1, "step_size": float("nan")}, "auto, paper or above 0"),
        ({"steps": 1, "restarts": 2, "random_start": False}, "without a random start"),
    ):
        with pytest.raises(UserError, match=match):
            Attack("bad", **settings_)


def test_the_named_attacks_are_those_of_the_papers():
    found = {
        name: (attack.steps, attack.loss, attack.random_start, attack.restarts)
        for name, attack in ATTACKS.items()
    }
    assert found == {
        "fgsm": (1, "ce", False, 1),
        "bim": (5, "ce", False, 1),
        "pgd20": (20, "ce", True, 1),
        "pgd100": (100, "ce", True, 1),
        "cw": (10, "margin", True, 1),
        "cw100x5": (100, "margin", True, 5),
        "adaptive": (50, "margin+scaled-ce", True, 4),
    }
    assert ATTACKS["cw"].settings() == {
        "steps": 10, "step_size": "auto", "loss": "margin", "random_start": True, "restarts": 1,
    }  # fmt: skip
