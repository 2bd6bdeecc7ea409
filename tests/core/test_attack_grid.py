import numpy as np
import pytest
import torch

from bench.core.attacks import grid
from bench.core.attacks.grid import attack_grid, find_attacks, scaled_threats
from bench.core.errors import UserError
from bench.core.randomness import make_generator
from bench.core.threat import Threat
from tests.metrics.toys import identity, split

MARGINS = np.array([0.4, 0.2, 0.1, 0.05, -0.1])


def toy():
    """Class 1 images whose logits are (0, margin): an image withstands ε exactly where its margin is larger."""
    return split(np.stack([MARGINS, np.zeros(5)], axis=1), [1] * 5)


def run(threats, index=None, batch_size=3, attacks=("fgsm", "pgd20", "cw")):
    return attack_grid(
        identity(2),
        toy(),
        torch.arange(5) if index is None else torch.as_tensor(index, dtype=torch.long),
        find_attacks(attacks),
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
    found = run(scaled_threats(Threat.parse("0.15"), []), [])
    assert found.right.shape == (3, 2, 0)
    assert (found.forwards, found.backwards) == (0, 0)


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
    with pytest.raises(UserError, match="at least one attack"):
        find_attacks([])
