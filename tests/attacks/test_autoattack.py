import logging
import sys
from contextlib import contextmanager

import pyautoattack.autoattack as package
import pytest
import torch
from pyautoattack.square import SquareAttack
from torch import nn

from bench.attacks.autoattack import autoattack
from bench.attacks.autoattack_suite import make_suite
from bench.attacks.probabilities import NOTE, ProbabilitiesWarning
from bench.attacks.resume import fingerprint_of, same_run
from bench.core.classifier import Classifier
from bench.core.errors import UserError
from bench.core.guards import evaluating
from bench.core.progress import Progress
from bench.core.threat import Threat
from metrics.accuracy.autoattack import AutoAttack
from tests.shortened import shorten_autoattack

SHAPE = (1, 8, 8)
NORMS = {"linf": "Linf", "l2": "L2"}
set_version = package.AutoAttack._set_version


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def shorter(monkeypatch):
    """The package with fewer iterations, for us and for whoever calls it directly."""

    def shorten(suite, version="standard"):
        set_version(suite, version)
        suite.square.n_queries = 40
        suite.apgd.n_restarts = min(suite.apgd.n_restarts, 2)
        for attack in (suite.apgd, suite.apgd_targeted, suite.fab):
            attack.n_iter = 6

    monkeypatch.setattr(package.AutoAttack, "_set_version", shorten)


def small_cnn(seed=0, classes=10):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(128, 32),
        )  # fmt: skip
        classifier = Classifier(
            backbone, nn.Linear(32, classes), activation=nn.ReLU(), site="pre-activation", input_shape=SHAPE
        ).eval()
        with torch.no_grad():  # so that every class is predicted somewhere
            classifier.head.bias -= classifier(torch.rand(100, *SHAPE)).mean(dim=0)
        return classifier


class Custom(nn.Module):
    """A formula as a classifier: flattened images to logits [B, K]."""

    def __init__(self, formula, classes=4, shape=SHAPE):
        super().__init__()
        self.formula, self.num_classes, self.input_shape = formula, classes, shape

    def forward(self, images):
        return self.formula(images.flatten(1))


class Counting(nn.Module):
    def __init__(self, classifier):
        super().__init__()
        self.classifier = classifier
        self.num_classes, self.input_shape = classifier.num_classes, classifier.input_shape
        self.forwards = self.backwards = 0

    def forward(self, images):
        logits = self.classifier(images)
        self.forwards += len(images)
        if self.forwards > getattr(self, "dies_after", 10**9):
            raise KeyboardInterrupt
        if logits.requires_grad:
            logits.register_hook(self.count)
        return logits

    def count(self, gradient):
        self.backwards += len(gradient)


def data(classifier, count=16):
    """Images with the classifier's own labels, but for the first, which is wrong."""
    images = torch.rand(count, *classifier.input_shape, generator=torch.Generator().manual_seed(3))
    with evaluating(classifier), torch.no_grad():
        labels = classifier(images).argmax(dim=1)
    labels[0] = (labels[0] + 1) % classifier.num_classes
    return images, labels


def directly(classifier, images, labels, threat, seed, batch_size, version):
    """What the package gives by itself, with no more targets than there are classes."""
    suite = package.AutoAttack(
        classifier, norm=NORMS[threat.norm], eps=threat.radius, seed=seed, version=version
    )
    targets = min(9, classifier.num_classes - 1)
    suite.apgd_targeted.n_target_classes = suite.fab.n_target_classes = targets
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package.checks, "check_dynamic", lambda *args, **kwargs: None)
        return suite.run_standard_evaluation(images, labels, batch_size=batch_size)[0]


def same_as_the_package(threat, classes, seed, count, batch_size, version="standard"):
    classifier = small_cnn(classes=classes)
    images, labels = data(classifier, count)
    result = autoattack(classifier, images, labels, threat, seed=seed, batch_size=batch_size, version=version)
    counted = Counting(classifier)
    expected = directly(counted, images, labels, threat, seed, batch_size, version)
    assert torch.equal(result.adversarial, expected)
    with torch.no_grad():
        assert torch.equal(result.broken, classifier(expected).argmax(dim=1) != labels)
    # Before it starts the package looks at its first batch, five times more to see whether the output is random.
    checks = min(batch_size, count) * (1 if version == "rand" else 6)
    assert (result.forwards, result.backwards) == (counted.forwards - checks, counted.backwards)
    return result


@pytest.mark.parametrize("classes", [10, 5, 4])
@pytest.mark.parametrize("threat", [Threat("linf", "0.02"), Threat("l2", "0.15")], ids=str)
def test_images_are_bit_for_bit_the_packages(shorter, threat, classes):
    result = same_as_the_package(threat, classes, seed=1, count=16, batch_size=7)
    assert {"clean", "apgd-ce", "apgd-t"} <= set(result.stage), "several stages have something to do"
    assert result.settings["targets"] == min(9, classes - 1)


@pytest.mark.parametrize("version", ["plus", "rand"])
def test_other_versions_are_the_packages_too(shorter, version):
    same_as_the_package(Threat("linf", "0.02"), 4, seed=3, count=5, batch_size=3, version=version)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [pytest.param(10, marks=pytest.mark.long), 5])
@pytest.mark.parametrize(
    "threat", [pytest.param(Threat("linf", "0.02"), marks=pytest.mark.long), Threat("l2", "0.15")], ids=str
)
def test_full_runs_are_bit_for_bit_the_packages(threat, classes):
    same_as_the_package(threat, classes, seed=7, count=8, batch_size=3)


@pytest.mark.slow
def test_the_seed_matters_and_the_same_seed_gives_the_same(shorter):
    classifier, threat = small_cnn(), Threat("linf", "0.02")
    images, labels = data(classifier, 8)
    first, again, other = (
        autoattack(classifier, images, labels, threat, seed=seed).adversarial for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_stages_say_what_broke_an_image(shorter):
    classifier, threat = small_cnn(), Threat("linf", "0.02")
    images, labels = data(classifier)
    result = autoattack(classifier, images, labels, threat, seed=1)
    assert result.stage[0] == "clean"
    assert [stage != "" for stage in result.stage] == result.broken.tolist()
    assert torch.equal(result.adversarial[0], images[0])
    left = ~result.broken
    assert torch.equal(result.adversarial[left], images[left])
    assert threat.allows(result.adversarial, images, tolerance=1e-6).all()


@pytest.mark.parametrize("threat", [Threat("linf", "0.3"), Threat("l2", "1.5")], ids=str)
def test_a_network_without_gradient_is_broken_by_square(shorter, threat):
    weight = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    classifier = Custom(lambda x: (x > 0.5).float() @ weight)
    images, labels = data(classifier)
    result = autoattack(classifier, images, labels, threat, seed=0)
    assert "square" in result.stage
    assert "fab-t" not in result.stage, "no boundary can be found; the others start at random"
    assert "zero gradient" in result.warnings["apgd-t"]


def test_success_outside_the_threat_is_not_counted(shorter, monkeypatch):
    classifier = Custom(lambda x: torch.stack((x.mean(1), 1 - x.mean(1), x[:, 0] * 0, -x[:, 0]), dim=1))
    images, labels = data(classifier)
    negative = 1.0 - labels.view(-1, 1, 1, 1) * torch.ones_like(images)
    outside = {"far": 1 - negative, "out of the box": 3 - 6 * negative}
    for points in outside.values():
        assert (classifier(points).argmax(dim=1) != labels).all()

        def cheat(self, x, y, points=points):
            return points[[(images == one).flatten(1).all(1).nonzero().item() for one in x]]

        monkeypatch.setattr(package.SquareAttack, "perturb", cheat)
        result = autoattack(classifier, images, labels, Threat("linf", "1/1000"), seed=0)
        assert "square" not in result.stage
        assert not result.broken.all()


def test_nan_images_of_a_stage_are_not_counted(shorter, monkeypatch):
    classifier = small_cnn()
    images, labels = data(classifier)
    monkeypatch.setattr(package.FABAttack_PT, "perturb", lambda self, x, y: x * torch.nan)
    result = autoattack(classifier, images, labels, Threat("linf", "1/1000"), seed=0)
    assert result.stage == ["clean"] + [""] * 15


# What is left as it was found


def test_network_random_state_and_tracing_are_left_alone(shorter):
    classifier = small_cnn(classes=4).train()
    classifier.backbone[1].eval()
    classifier.head.bias.requires_grad_(False)
    for parameter in classifier.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    modes = [module.training for module in classifier.modules()]
    kept = [(parameter.grad, parameter.requires_grad) for parameter in classifier.parameters()]
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    images, labels = data(classifier)
    copies = images.clone(), labels.clone()
    state, trace = torch.get_rng_state(), sys.gettrace()
    called = dict(package.checks.funcs)
    result = autoattack(classifier, images, labels, Threat("linf", "0.02"), seed=1, batch_size=7)
    assert "fab-t" in result.stage, "the stage that gathers gradients ran"
    assert [module.training for module in classifier.modules()] == modes
    for parameter, (gradient, flag) in zip(classifier.parameters(), kept, strict=True):
        assert parameter.grad is gradient
        assert (gradient == 3).all()
        assert parameter.requires_grad is flag
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert sys.gettrace() is trace
    assert package.checks.funcs == called, "check_dynamic never ran"
    assert torch.equal(images, copies[0])
    assert torch.equal(labels, copies[1])


def test_nothing_is_printed(shorter, capfd, caplog):
    classifier = small_cnn()
    images, labels = data(classifier, 4)
    autoattack(classifier, images, labels, Threat("linf", "0.1"), seed=1)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_probabilities_instead_of_logits_are_warned_of_and_their_logarithm_is_attacked(shorter, tmp_path):
    network, threat = small_cnn(), Threat("linf", "0.02")
    classifier = Custom(lambda x: network(x.view(-1, *SHAPE)).softmax(dim=1), classes=10)
    logarithm = Custom(
        lambda x: network(x.view(-1, *SHAPE)).softmax(dim=1).clamp_min(1.1754943508222875e-38).log(),
        classes=10,
    )
    images, labels = data(network, 6)
    with pytest.warns(ProbabilitiesWarning):
        result = autoattack(classifier, images, labels, threat, seed=0, state_path=tmp_path / "state")
    assert result.warnings["output"] == NOTE
    assert torch.equal(result.adversarial, directly(logarithm, images, labels, threat, 0, 250, "standard"))
    with pytest.warns(ProbabilitiesWarning):
        again = autoattack(classifier, images, labels, threat, seed=0, state_path=tmp_path / "state")
    assert again.warnings == result.warnings


# Passes


@pytest.mark.parametrize("version", ["standard", "plus"])
def test_passes_are_counted(shorter, version):
    network = small_cnn(classes=4)
    images, labels = data(network, 8)
    classifier = Counting(network)
    result = autoattack(classifier, images, labels, Threat("linf", "0.02"), seed=0, version=version)
    assert (result.forwards, result.backwards) == (classifier.forwards, classifier.backwards)
    assert result.backwards > 0


@pytest.mark.parametrize("passes", ["fast", "bfloat16"])
def test_faster_passes_are_counted_and_leave_the_weights_where_they_were(shorter, passes):
    network = small_cnn(classes=4)
    images, labels = data(network, 20)
    classifier = Counting(network)
    before = [(weight.data_ptr(), weight.stride()) for weight in network.parameters()]
    result = autoattack(classifier, images, labels, Threat("linf", "0.02"), seed=0, passes=passes)
    assert (result.forwards, result.backwards) == (classifier.forwards, classifier.backwards)
    assert [(weight.data_ptr(), weight.stride()) for weight in network.parameters()] == before
    assert result.settings["passes"] == passes


def test_bfloat16_is_for_square_alone_and_what_it_breaks_is_broken_in_float32(shorter):
    classifier, threat = small_cnn(), Threat("linf", "0.02")
    images, labels = data(classifier, 40)
    fast = autoattack(classifier, images, labels, threat, seed=1, passes="fast")
    low = autoattack(classifier, images, labels, threat, seed=1, passes="bfloat16")
    with torch.no_grad():
        assert torch.equal(classifier(low.adversarial).argmax(dim=1) != labels, low.broken)
    assert threat.allows(low.adversarial, images).all()
    assert not (low.unconfirmed & low.broken).any()
    others = [at for at, stage in enumerate(fast.stage) if stage not in ("square", "")]
    assert len(others) > 1
    assert [low.stage[at] for at in others] == [fast.stage[at] for at in others]
    assert torch.equal(low.adversarial[others], fast.adversarial[others])


def equal_in_bfloat16(own):
    """A network whose first two logits are equal in bfloat16, `own` larger by 0.002; three images of that class."""
    network = nn.Linear(64, 4)
    with torch.no_grad():
        network.weight.zero_()
        network.weight[own, 0] = 1e-3
        network.bias.copy_(torch.tensor([0.898, 0.898, 0.0, 0.1]) + 64)
        network.bias[own] = 64.9
    classifier, images = Custom(lambda x: network(x), classes=4), torch.full((3, *SHAPE), 0.5)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        logits = classifier(images).float()
    assert torch.equal(logits[:, 0], logits[:, 1])
    return classifier, images, torch.full((3,), own)


def test_images_that_bfloat16_has_right_by_a_tie_are_not_broken(shorter):
    classifier, images, labels = equal_in_bfloat16(own=0)
    result = autoattack(classifier, images, labels, Threat("linf", "0.1"), seed=0, passes="bfloat16")
    assert not result.broken.any()
    assert not result.unconfirmed.any()


def test_square_runs_again_in_float32_where_that_denies_its_success(shorter, monkeypatch):
    # The first of equal logits wins, so bfloat16 has these images wrong.
    classifier, images, labels = equal_in_bfloat16(own=1)
    runs = []

    def perturb(attack, x, y=None):
        runs.append((len(x), attack.predict.low))
        return whole(attack, x, y)

    whole = SquareAttack.perturb
    monkeypatch.setattr(SquareAttack, "perturb", perturb)
    result = autoattack(classifier, images, labels, Threat("linf", "0.1"), seed=0, passes="bfloat16")
    assert runs == [(3, True), (3, False)]
    assert not result.broken.any()
    assert result.unconfirmed.all()


class Recorder(Progress):
    def __init__(self):
        self.bars = {}

    @contextmanager
    def task(self, name, total):
        self.bar = self.bars[name] = {"total": total, "done": 0, "notes": []}
        yield self

    def advance(self, steps=1, note=""):
        self.bar["done"] += steps
        self.bar["notes"].append(note)


def test_each_stage_has_a_bar_with_the_robust_accuracy(shorter):
    classifier, progress = small_cnn(), Recorder()
    images, labels = data(classifier)
    result = autoattack(
        classifier, images, labels, Threat("linf", "0.02"), seed=1, batch_size=5, progress=progress
    )
    assert list(progress.bars) == [f"autoattack {name}" for name in ("apgd-ce", "apgd-t", "fab-t", "square")]
    assert all(bar["done"] == bar["total"] for bar in progress.bars.values())
    robust = (~result.broken).float().mean().item()
    assert progress.bars["autoattack square"]["notes"][-1] == f"robust {robust:.1%}"


# Few classes


def test_standard_is_what_croce_and_hein_call_autoattack():
    classifier = small_cnn()
    log = logging.getLogger("test")
    suite = make_suite(
        classifier, classifier, Threat("linf", "8/255"), torch.device("cpu"), 0, "standard", log
    )
    assert suite.attacks_to_run == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert (suite.apgd.n_iter, suite.apgd.n_restarts) == (100, 1)
    targeted = suite.apgd_targeted
    assert (targeted.n_iter, targeted.n_restarts, targeted.n_target_classes) == (100, 1, 9)
    assert (suite.fab.n_iter, suite.fab.n_restarts, suite.fab.n_target_classes) == (100, 1, 9)
    assert (suite.square.n_queries, suite.square.n_restarts) == (5000, 1)
    assert targeted.loss == "dlr-targeted"


@pytest.mark.parametrize(
    ("classes", "version", "missing"),
    [(2, "standard", {"apgd-t"}), (3, "standard", {"apgd-t"}), (2, "plus", {"apgd-t", "apgd-dlr"}),
     (3, "plus", {"apgd-t"}), (4, "standard", set()), (2, "rand", {"apgd-dlr"})],
)  # fmt: skip
def test_stages_that_need_more_classes_are_left_out_with_a_word(shorter, classes, version, missing):
    classifier = small_cnn(classes=classes)
    images, labels = data(classifier, 6)
    result = autoattack(classifier, images, labels, Threat("linf", "1"), seed=0, version=version)
    assert set(result.skipped) == missing
    assert all(f"there are {classes}" in reason for reason in result.skipped.values())
    assert not set(result.stage) & missing
    assert result.broken.sum() > 1, "the others do run"


@pytest.mark.slow
@pytest.mark.parametrize("version", ["standard", pytest.param("plus", marks=pytest.mark.long)])
def test_a_thousand_classes_run(shorter, version):
    classifier = small_cnn(classes=1000)
    images, labels = data(classifier, 3)
    result = autoattack(classifier, images, labels, Threat("linf", "0.001"), seed=0, version=version)
    assert result.skipped == {}
    assert result.settings["targets"] == 9


def test_two_class_attack_finds_the_worst_case_of_a_linear_network(shorter):
    classifier = Classifier(
        nn.Flatten(), nn.Linear(64, 2), activation=nn.Identity(), site="none", input_shape=SHAPE
    )
    draw = torch.Generator().manual_seed(0)
    classifier.head.weight.data.copy_(torch.randn(2, 64, generator=draw))
    images = 0.4 + 0.2 * torch.rand(40, *SHAPE, generator=draw)
    with torch.no_grad():
        classifier.head.bias.copy_(-classifier(images).mean(dim=0))
        logits = classifier(images)
        labels = logits.argmax(dim=1)
        reach = 0.01 * (classifier.head.weight[0] - classifier.head.weight[1]).abs().sum()
        margin = (logits[:, 0] - logits[:, 1]).abs()
    result = autoattack(classifier, images, labels, Threat("linf", "1/100"), seed=0)
    clear = (margin - reach).abs() > 1e-4
    assert torch.equal(result.broken[clear], (margin < reach)[clear])
    assert not result.broken.all()
    assert result.broken.any()


def test_square_in_l2_is_left_out_for_tiny_images(shorter):
    classifier = Custom(lambda x: x[:, :4], shape=(1, 4, 4))
    images, labels = data(classifier, 4)
    result = autoattack(classifier, images, labels, Threat("l2", "0.1"), seed=0)
    assert "5x5" in result.skipped["square"]


# Out of memory


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_stage_that_runs_out_of_memory_attacks_in_halves_and_says_so(shorter, monkeypatch, error):
    network, threat = small_cnn(), Threat("linf", "0.02")
    images, labels = data(network, 8)
    perturb, sizes = package.SquareAttack.perturb, []

    def narrow(self, x, y):
        if len(x) > 2:
            raise error
        sizes.append(len(x))
        return perturb(self, x, y)

    monkeypatch.setattr(package.SquareAttack, "perturb", narrow)
    result = autoattack(network, images, labels, threat, seed=1)
    assert "in halves" in result.warnings["square"]
    assert max(sizes) <= 2
    reached = sum(stage in ("square", "") for stage in result.stage)
    assert sum(sizes) == reached > 0


def test_a_network_that_takes_few_images_at_once_gets_few(shorter):
    network, threat = small_cnn(), Threat("linf", "0.02")
    images, labels = data(network, 8)
    widths = []

    def narrow(x):
        if len(x) > 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        widths.append(len(x))
        return network(x.view(-1, *SHAPE))

    classifier = Counting(Custom(narrow, classes=10))
    result = autoattack(classifier, images, labels, threat, seed=1)
    assert max(widths) <= 3
    assert "in pieces" in result.warnings["clean"]
    assert (result.forwards, result.backwards) == (sum(widths), classifier.backwards)
    assert result.broken.sum() > 1


def test_other_errors_end_the_run(shorter, monkeypatch):
    def fail(self, x, y):
        raise RuntimeError("size mismatch")

    monkeypatch.setattr(package.SquareAttack, "perturb", fail)
    classifier = small_cnn()
    images, labels = data(classifier, 4)
    with pytest.raises(RuntimeError, match="size mismatch"):
        autoattack(classifier, images, labels, Threat("linf", "1/1000"), seed=1)


def test_eps_zero_is_clean_accuracy():
    classifier = Counting(small_cnn())
    images, labels = data(classifier.classifier)
    for threat in (Threat("linf", "0"), Threat("l2", "0")):
        before = classifier.forwards
        result = autoattack(classifier, images, labels, threat, seed=0)
        assert result.broken.tolist() == [True] + [False] * 15
        assert result.forwards == classifier.forwards - before == 16


# Going on after a kill


@pytest.mark.parametrize(
    "share", [0.1, 0.95, *(pytest.param(share, marks=pytest.mark.slow) for share in (0.005, 0.4))]
)
def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been_killed(shorter, tmp_path, share):
    network, threat, state = small_cnn(), Threat("linf", "0.02"), tmp_path / "state"
    images, labels = data(network, 10)
    settings = {"seed": 1, "batch_size": 4}
    whole = autoattack(network, images, labels, threat, **settings)
    killed, resumed, finished = Counting(network), Counting(network), Counting(network)
    killed.dies_after = share * whole.forwards
    with pytest.raises(KeyboardInterrupt):
        autoattack(killed, images, labels, threat, **settings, state_path=state)
    result = autoattack(resumed, images, labels, threat, **settings, state_path=state)
    assert torch.equal(result.adversarial, whole.adversarial)
    assert result.stage == whole.stage
    assert (result.forwards, result.backwards) == (whole.forwards, whole.backwards)
    if share > 0.01:
        assert resumed.forwards < whole.forwards
    assert killed.forwards + resumed.forwards - whole.forwards < 900, "at most one batch is done twice"
    again = autoattack(finished, images, labels, threat, **settings, state_path=state)
    assert finished.forwards == 16, "asked twice about eight images, to know it again"
    assert torch.equal(again.adversarial, whole.adversarial)


@pytest.mark.slow
def test_the_state_of_another_run_is_not_used(shorter, monkeypatch, tmp_path):
    shorten_autoattack(monkeypatch, queries=10, steps=2)
    network, threat, state = small_cnn(), Threat("linf", "0.02"), tmp_path / "state"
    images, labels = data(network, 6)
    autoattack(network, images, labels, threat, seed=1, batch_size=4, state_path=state)
    kept = state.read_bytes()
    brighter = images.clone()
    brighter[3, 0, 0, 0] += 0.01 if brighter[3, 0, 0, 0] < 0.5 else -0.01
    for change in (
        {"seed": 2}, {"batch_size": 3}, {"threat": Threat("linf", "0.0201")}, {"threat": Threat("l2", "0.1")},
        {"images": brighter}, {"labels": torch.cat((labels[:5], 9 - labels[5:]))}, {"classifier": small_cnn(2)},
        {"version": "rand"},
    ):  # fmt: skip
        given = {
            "classifier": network, "images": images, "labels": labels, "threat": threat, "seed": 1,
            "batch_size": 4,
        } | change  # fmt: skip
        state.write_bytes(kept)
        fresh, after = autoattack(**given), autoattack(**given, state_path=state)
        assert (after.forwards, after.stage) == (fresh.forwards, fresh.stage)
        assert torch.equal(after.adversarial, fresh.adversarial)


def test_a_file_that_is_no_state_is_overwritten(shorter, tmp_path):
    classifier, state = small_cnn(), tmp_path / "state"
    images, labels = data(classifier, 4)
    state.write_text("something else")
    result = autoattack(classifier, images, labels, Threat("linf", "0.1"), seed=1, state_path=state)
    assert result.forwards > 0
    assert state.read_bytes()[:9] != b"something"
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_the_fingerprint_sees_weights_buffers_and_architecture():
    classifier, threat = small_cnn(), Threat("linf", "0.1")
    images, labels = data(classifier, 4)
    prints = {fingerprint_of(classifier, images, labels, threat, {})}
    classifier.backbone[1].running_mean[0] += 1
    prints.add(fingerprint_of(classifier, images, labels, threat, {}))
    classifier.head.bias.data[0] += 1
    prints.add(fingerprint_of(classifier, images, labels, threat, {}))
    classifier.activation = nn.Tanh()
    prints.add(fingerprint_of(classifier, images, labels, threat, {}))
    assert len(prints) == 4
    assert fingerprint_of(classifier, images, labels, Threat("linf", "2/20"), {}) in prints


def test_the_fingerprint_asks_the_network_and_forgives_rounding():
    network, threat = small_cnn(), Threat("linf", "0.1")
    images, labels = data(network, 4)

    def known(change):
        whole = Custom(lambda x: change(x.view(-1, *SHAPE)), classes=10)
        return fingerprint_of(whole, images, labels, threat, {})

    plain = known(network)
    assert same_run(plain, known(lambda x: network(x) * (1 + 1e-6)))
    assert not same_run(plain, known(lambda x: network(x.flip(-1))))
    torch.manual_seed(1)
    first = known(lambda x: network(x) + torch.randn(len(x), 10))
    torch.manual_seed(2)
    assert same_run(first, known(lambda x: network(x) + torch.randn(len(x), 10)))
    assert not same_run(first, plain)
    assert same_run(known(lambda x: network(x) * torch.nan), known(lambda x: network(x) * torch.nan))


# Mistakes


def test_mistakes_are_told():
    classifier = small_cnn()
    images, labels = data(classifier, 4)
    threat = Threat("linf", "0.1")
    for match, more in (
        ("did you mean standard", {"version": "standart"}),
        ("did you mean fast", {"passes": "fsat"}),
        (r"shape \(batch, 1, 8, 8\)", {"images": torch.rand(4, 3, 8, 8)}),
        ("finite pixels", {"images": images * torch.nan}),
        (r"pixels in \[0, 1\]", {"images": images * 255}),
        ("labels from 0 to 9", {"labels": labels + 10}),
        ("divide by 255", {"images": (images * 255).to(torch.uint8)}),
        ("NaN or infinity", {"classifier": Custom(lambda x: x[:, :10] * torch.nan, classes=10)}),
        ("logits of shape", {"classifier": Custom(lambda x: x[:, :9], classes=10)}),
    ):
        given = {"classifier": classifier, "images": images, "labels": labels, **more}
        with pytest.raises(UserError, match=match):
            autoattack(**given, threat=threat, seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"version": "foo"}, "unknown AutoAttack version 'foo'"),
        ({"passes": "bf16"}, "unknown kind of passes 'bf16'"),
        ({"seed": "a"}, "expected a whole number as seed, got 'a'"),
        ({"batch_size": 0}, "expected a batch size from 1 on, got 0"),
    ],
)
def test_settings_that_cannot_be_are_refused_where_they_are_given(settings, message):
    with pytest.raises(UserError, match=message):
        AutoAttack(**settings)
    classifier = small_cnn()
    images, labels = data(classifier, 2)
    with pytest.raises(UserError, match=message):
        autoattack(classifier, images, labels, Threat("linf", "0.1"), **{"seed": 0, **settings})
