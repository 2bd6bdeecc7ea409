import numpy as np
import pytest
import torch
from torch import nn

from bench.attacks import Attack, cycles
from bench.core.threat import Threat

SHAPE = (1, 6, 6)
THREAT = Threat("linf", "1/20")


class Network(nn.Module):
    """A small convolutional network that counts the images it is asked about, and may be stochastic."""

    num_classes, input_shape = 3, SHAPE

    def __init__(self, noise=None):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.layers = nn.Sequential(
                nn.Conv2d(1, 8, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(8, 8, 3, stride=2),
                nn.ReLU(),
                nn.Flatten(),
            )
            self.head = nn.Linear(32, 3)
            # Every class is predicted somewhere.
            with torch.no_grad():
                self.head.bias -= self.head(self.layers(torch.rand(100, *SHAPE))).mean(dim=0)
        self.noise, self.passes = noise, 0

    def forward(self, images):
        self.passes += len(images)
        logits = self.head(self.layers(images))
        return logits if self.noise is None else logits + self.noise(logits)


def run(network, steps=150, step_size=1 / 80, threat=THREAT, restarts=2):
    images = torch.rand(40, *SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        labels = network.eval()(images).argmax(dim=1)
    attack = Attack("long", steps, step_size=step_size, restarts=restarts)
    return attack(network, images, labels, threat, torch.Generator().manual_seed(0))


@pytest.fixture
def every_step(monkeypatch):
    """Take every step, whatever repeats."""

    def with_every_step(*args, **kwargs):
        with monkeypatch.context() as patch:
            patch.setattr(cycles, "_random_states", lambda: [object()])
            return run(*args, **kwargs)

    return with_every_step


@pytest.mark.parametrize("steps", [40, 119, pytest.param(120, marks=pytest.mark.slow)])
@pytest.mark.parametrize("threat", [THREAT, Threat("l2", "1/5")], ids=["linf", "l2"])
def test_outcomes_are_those_of_every_step(steps, threat, every_step):
    result, expected = run(Network(), steps, threat=threat), every_step(Network(), steps, threat=threat)
    assert 0 < expected.broken.sum() < 40
    assert torch.equal(result.step, expected.step)
    assert torch.equal(result.restart, expected.restart)
    # Batches have other sizes once images are left alone, so passes round differently.
    torch.testing.assert_close(result.loss, expected.loss, rtol=1e-5, atol=1e-6)
    same = (result.adversarial - expected.adversarial).flatten(1).abs().amax(dim=1) < 1e-6
    assert same.float().mean() >= 0.95


def test_an_image_in_a_cycle_takes_no_further_steps(every_step):
    network, whole = Network(), Network()
    survivors = int((~run(network).broken).sum())
    every_step(whole)
    assert survivors > 0
    assert network.passes < whole.passes / 3


def torch_noise(logits):
    return 1e-9 * torch.randn_like(logits)


def hidden_noise(logits):
    return torch.from_numpy(np.random.default_rng().normal(0, 0.1, logits.shape).astype("float32"))


@pytest.mark.parametrize("noise", [torch_noise, hidden_noise])
def test_a_stochastic_network_takes_every_step(noise):
    # Its labels stay right, so that every image survives.
    network = Network(noise)
    network.head.weight.data.zero_()
    network.head.bias.data.copy_(torch.tensor([9.0, 0.0, 0.0]))
    run(network, steps=30, restarts=1)
    assert network.passes >= 40 * (1 + 31)


def test_a_gradient_of_zero_ends_at_once():
    network = Network()
    network.head.weight.data.zero_()
    network.head.bias.data.copy_(torch.tensor([9.0, 0.0, 0.0]))
    result = run(network, steps=1000, restarts=1)
    assert not result.broken.any()
    assert len(result.loss) == 1001
    torch.testing.assert_close(result.loss, result.loss[:1].expand(1001))
    # The labels, the clean images, the start again in float64, two iterates.
    assert network.passes <= 40 * 6


@pytest.mark.parametrize(("tail", "period"), [(0, 1), (0, 2), (3, 2), (5, 7), (37, 30), (1, 97)])
@pytest.mark.parametrize("steps", [500, 501, 1000])
def test_any_period_is_found_and_the_last_iterate_is_right(tail, period, steps):
    def iterate(time):
        return float(time if time < tail else tail + (time - tail) % period)

    found = cycles.Cycles(torch.zeros(1, 1), steps)
    trace = torch.zeros(steps + 1, 1)
    for time in range(steps + 1):
        point = torch.full((1, 1, 1, 1), iterate(time))
        trace[time] = iterate(time)
        ended = found.find(time, point, point.flatten())
        if bool(ended):
            found.end(time, ended, torch.tensor([0]))
            break
    assert time < 6 * (tail + period) + 10
    assert iterate(time) == iterate(steps)
    expected = torch.tensor([[iterate(time)] for time in range(steps + 1)])
    assert torch.equal(found.complete(trace), expected)
