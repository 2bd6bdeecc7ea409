"""The passes that "fast" leaves out change no outcome."""

import logging

import pyautoattack.autoattack as package
import pytest
import torch

from bench.attacks.autoattack import autoattack
from bench.attacks.autoattack_fast import spare_passes
from bench.core.threat import Threat
from tests.attacks.test_autoattack import SHAPE, Counting, Custom, data, small_cnn
from tests.shortened import shorten_autoattack

EPS = {"Linf": 0.02, "L2": 0.15}


def make_suite(classifier, norm="Linf", version="standard", spared=True):
    suite = package.AutoAttack(classifier, norm=norm, eps=EPS[norm], seed=1, version=version)
    suite.apgd.logger = suite.apgd_targeted.logger = logging.getLogger("test")
    for attack in (suite.apgd, suite.apgd_targeted):
        attack.n_iter = 20
    suite.square.n_queries = 150
    if spared:
        spare_passes(suite)
    return suite


def right_images(classifier, count=16):
    images, labels = data(classifier, count + 1)
    return images[1:], labels[1:]


def wrong(classifier, images, labels):
    with torch.no_grad():
        return classifier(images).argmax(dim=1) != labels


class Alone(Custom):
    """A network whose logits of an image are the same, bit for bit, in every batch."""

    def __init__(self, classifier):
        super().__init__(lambda x: torch.cat([classifier(one.view(1, *SHAPE)) for one in x]), classes=10)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("loss", ["ce", "dlr", "targeted"])
def test_images_that_leave_apgd_change_nothing_for_those_that_stay(norm, loss):
    classifier = Counting(Alone(small_cnn()))
    images, labels = right_images(classifier)
    found, last, passes = {}, {}, {}
    for spared in (False, True):
        suite = make_suite(classifier, norm, spared=spared)
        apgd = suite.apgd_targeted if loss == "targeted" else suite.apgd
        apgd.loss = "dlr-targeted" if loss == "targeted" else loss
        apgd.init_hyperparam(images)
        apgd.y_target = (labels + 1) % 10
        before = classifier.forwards
        torch.manual_seed(0)
        last[spared], right, _, points = apgd.attack_single_run(images, labels)
        found[spared], passes[spared] = right.bool(), classifier.forwards - before
        broken = ~found[spared]
        assert torch.equal(wrong(classifier, points, labels), broken)
        assert Threat(norm.lower(), str(EPS[norm])).allows(points, images).all()
    assert torch.equal(found[True], found[False])
    assert found[True].any()
    assert not found[True].all()
    assert torch.equal(last[True][found[True]], last[False][found[True]]), "points of the highest loss"
    assert passes[True] < passes[False]


def test_a_run_of_apgd_ends_with_its_last_image():
    classifier = Counting(small_cnn())
    images, labels = right_images(classifier)
    suite = make_suite(classifier)
    suite.apgd.eps = 0.5
    adversarial = suite.apgd.perturb(images, labels)
    assert wrong(classifier, adversarial, labels).all()
    assert classifier.forwards < 5 * len(images), "of 21 passes for each image"
    assert suite.apgd.model is classifier, "the package's attack has its own network again"


def test_images_that_are_wrong_by_rounding_alone_stay():
    def barely(x):
        level = 1 + x.mean(dim=1, keepdim=True)
        return level * torch.tensor([[1.0, 1 + 2e-7, 0.5, 0.2]])

    classifier = Counting(Custom(barely))
    images = torch.rand(3, *SHAPE)
    suite = make_suite(classifier)
    suite.apgd.loss = "ce"
    suite.apgd.init_hyperparam(images)
    _, right, _, _ = suite.apgd.attack_single_run(images, torch.zeros(3, dtype=torch.long))
    assert not right.any()
    assert classifier.forwards == 3 * (1 + suite.apgd.n_iter)


def test_passes_whose_mean_is_attacked_are_all_taken():
    network = small_cnn(classes=4)
    images, labels = right_images(network, 5)
    classifier = Counting(network)
    suite = make_suite(classifier, version="rand")
    suite.apgd.loss, suite.apgd.n_iter = "ce", 2
    suite.apgd.init_hyperparam(images)
    suite.apgd.attack_single_run(images, labels)
    assert classifier.forwards == 5 * 20 * 3


def test_square_classifies_nothing_twice_and_ends_where_it_would():
    network = Alone(small_cnn())
    seen = []

    def watched(x):
        seen.extend(one.numpy().tobytes() for one in x)
        return network.formula(x)

    images, labels = right_images(network)
    ends, queries, passes = {}, {}, {}
    for spared in (False, True):
        seen.clear()
        square = make_suite(Custom(watched, classes=10), spared=spared).square
        square.init_hyperparam(images)
        torch.manual_seed(0)
        queries[spared], ends[spared] = square.attack_single_run(images, labels)
        passes[spared] = len(seen)
        assert (len(set(seen)) == len(seen)) == spared
    assert torch.equal(ends[True], ends[False])
    assert torch.equal(queries[True], queries[False])
    assert passes[True] < 0.8 * passes[False]
    broken = wrong(network, ends[True], labels)
    assert broken.any()
    assert not broken.all()


def test_equal_images_have_candidates_of_their_own():
    network = Alone(small_cnn())
    images, labels = right_images(network, 1)
    images, labels = images.repeat(4, 1, 1, 1), labels.repeat(4)
    ends = []
    for spared in (False, True):
        square = make_suite(network, spared=spared).square
        square.init_hyperparam(images)
        torch.manual_seed(0)
        ends.append(square.attack_single_run(images, labels)[1])
    assert torch.equal(*ends)


@pytest.mark.parametrize("threat", [Threat("linf", "0.02"), Threat("l2", "0.15")], ids=str)
def test_fast_breaks_the_images_that_exact_breaks(threat, monkeypatch):
    shorten_autoattack(monkeypatch, queries=40, steps=6)
    classifier = small_cnn()
    images, labels = data(classifier, 40)
    exact, fast = (
        autoattack(classifier, images, labels, threat, seed=1, passes=passes) for passes in ("exact", "fast")
    )
    assert torch.equal(fast.broken, exact.broken)
    assert torch.equal(wrong(classifier, fast.adversarial, labels), fast.broken)
    assert threat.allows(fast.adversarial, images).all()
    assert fast.forwards < exact.forwards
    assert 1 < exact.broken.sum() < 40
