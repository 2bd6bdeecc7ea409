from types import SimpleNamespace

import numpy as np
import pyautoattack.autoattack as package
import pytest
import torch
from torch import nn

from bench.attacks import grid
from bench.attacks.autoattack import autoattack
from bench.attacks.grid import AUTOATTACK, attack_grid, find_attacks, find_grid_attacks, scaled_threats
from bench.core.classifier import WrappedClassifier
from bench.core.errors import UserError
from bench.core.passes import PassCount, counting
from bench.core.randomness import make_generator
from bench.core.threat import Threat
from bench.data import Split
from metrics.accuracy.autoattack import AutoAttack
from tests.metrics.toys import identity, split

MARGINS = np.array([0.4, 0.2, 0.1, 0.05, -0.1])


def toy():
    """Class 1 images whose logits are (0, margin): an image withstands ε exactly where its margin is larger."""
    return split(np.stack([MARGINS, np.zeros(5)], axis=1), [1] * 5)


def run(threats, index=None, batch_size=3, attacks=("fgsm", "pgd20", "cw"), classifier=None):
    return attack_grid(
        classifier or identity(2),
        toy(),
        torch.arange(5) if index is None else torch.as_tensor(index, dtype=torch.long),
        find_grid_attacks(attacks),
        threats,
        lambda name: make_generator(0, name),
        batch_size=batch_size,
    )


def test_a_linear_network_withstands_every_attack_below_its_margin_and_none_above():
    threats = scaled_threats(Threat.parse("0.15"), ["1/2", "3"])
    assert [threat.radius for threat in threats] == pytest.approx([0, 0.075, 0.15, 0.45])
    expected = [[margin > threat.radius for margin in MARGINS] for threat in threats]
    right = run(threats).right
    assert right.shape == (3, 4, 5)
    for attack in right:
        assert attack.tolist() == expected


def test_logits_are_those_of_the_clean_images():
    logits = run(scaled_threats(Threat.parse("0.1"), [])).logits
    assert torch.allclose(logits[:, 1], torch.tensor(MARGINS).float(), atol=1 / 255)
    assert not logits[:, 0].any()


def test_images_are_found_by_their_position():
    threats = scaled_threats(Threat.parse("0.15"), [])
    assert torch.equal(run(threats, [4, 0]).right, run(threats).right[:, :, [4, 0]])


def test_no_image_gives_empty_results_without_a_pass():
    classifier = identity(2)
    with counting(classifier) as passes:
        found = run(scaled_threats(Threat.parse("0.15"), []), [], classifier=classifier)
    assert found.right.shape == (3, 2, 0)
    assert passes == PassCount(0, 0)


def test_results_do_not_depend_on_how_many_images_are_attacked_at_once(monkeypatch):
    threats = scaled_threats(Threat.parse("0.12"), ["1/2"])
    whole = run(threats)
    monkeypatch.setattr(grid, "AT_ONCE", 2)
    assert torch.equal(run(threats, batch_size=1).right, whole.right)


def test_the_threat_itself_is_among_its_multiples_and_none_is_doubled():
    threat = Threat.parse("8/255")
    threats = scaled_threats(threat, ["1", "1/2", "0.5", "2/4"])
    assert len(threats) == 3
    assert threat in threats


def test_linf_never_exceeds_the_whole_box():
    assert scaled_threats(Threat.parse("0.6"), ["2", "3"])[-1].radius == 1


@pytest.mark.parametrize("factors", [["a"], ["1/0"], ["-1"]])
def test_factors_that_are_no_multiples_are_told(factors):
    with pytest.raises(UserError, match="multiples of ε"):
        scaled_threats(Threat.parse("0.1"), factors)


def test_unknown_attacks_are_told():
    with pytest.raises(UserError, match="did you mean pgd"):
        find_attacks(["pgd2"])
    for find in (find_attacks, find_grid_attacks):
        with pytest.raises(UserError, match="at least one attack"):
            find([])
    with pytest.raises(UserError, match="did you mean autoattack"):
        find_grid_attacks(["autoatack"])
    # Its single iterates are nobody's to look at.
    with pytest.raises(UserError, match="unknown attack 'autoattack'"):
        find_attacks(["autoattack"])


class Curved(nn.Module):
    """Three classes whose borders are no planes."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 5)
        with torch.no_grad():
            self.linear.weight.copy_(torch.linspace(-1, 1, 10).reshape(5, 2).sin())
            self.linear.bias.copy_(torch.linspace(-0.3, 0.3, 5))

    def forward(self, images):
        return self.linear(images.flatten(1) - 0.5).mul(4).sin()


def test_autoattack_is_seeded_and_batched_as_its_metric(monkeypatch):
    metric = AutoAttack()
    wanted = (metric.version, metric.seed, metric.batch_size, "fast")
    assert wanted == (AUTOATTACK.version, AUTOATTACK.seed, AUTOATTACK.batch_size, metric.passes)
    set_version = package.AutoAttack._set_version

    def shorten(suite, version="standard"):
        set_version(suite, version)
        suite.square.n_queries = 20
        for attack in (suite.apgd, suite.apgd_targeted, suite.fab):
            attack.n_iter = 3

    monkeypatch.setattr(package.AutoAttack, "_set_version", shorten)
    classifier = WrappedClassifier(Curved(), (1, 1, 2), 5).eval()
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (40, 2))
    images, _ = split(points, [0] * 40).batch(slice(None))
    labels = classifier(images).argmax(dim=1)
    data = Split(split(points, [0] * 40).images, labels)
    threats = scaled_threats(Threat.parse("0.1"), ["1/2"])
    state = torch.get_rng_state()
    found = attack_grid(
        classifier,
        data,
        torch.arange(40),
        find_grid_attacks(["autoattack"]),
        threats,
        lambda name: make_generator(0),
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert found.right[0, 0].all()
    for column in (1, 2):
        result = autoattack(classifier, images, labels, threats[column], seed=0)
        assert torch.equal(found.right[0, column], ~result.broken)
    assert 0 < found.right[0, 1].float().mean() < 1
    assert found.notes == {}


def test_a_randomized_network_meets_the_version_for_such_networks(monkeypatch):
    asked = []

    def ask(classifier, images, labels, threat, *, version, **_):
        asked.append(version)
        return SimpleNamespace(
            broken=torch.zeros(len(images), dtype=torch.bool),
            skipped={},
            warnings={},
        )

    class Noisy(nn.Module):
        def forward(self, images):
            return torch.rand(len(images), 2) + 1

    monkeypatch.setattr(grid, "autoattack", ask)
    noisy = WrappedClassifier(Noisy(), (1, 1, 2), 2).eval()
    threats = scaled_threats(Threat.parse("0.1"), [])
    attacks = find_grid_attacks(["autoattack"])
    found = attack_grid(noisy, toy(), torch.arange(5), attacks, threats, lambda name: make_generator(0))
    assert asked == ["rand"]
    assert "version rand instead of standard" in found.notes["autoattack"][0]
