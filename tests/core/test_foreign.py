"""Strangers' networks: those that write into their input, and what is refused before it is used."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bench.attacks import ATTACKS
from bench.core.classifier import WrappedClassifier
from bench.core.errors import UserError
from bench.core.guards import torch_defaults
from bench.core.passes import counting
from bench.core.threat import Threat

SHAPE = (1, 4, 4)


def plain() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


class Around(nn.Module):
    """The plain network behind something that is done to its images."""

    def __init__(self, change: Callable[[Tensor], Tensor], after: Callable[[Tensor], Tensor] = lambda x: x):
        super().__init__()
        self.network, self.change, self.after = plain(), change, after

    def forward(self, images: Tensor) -> Tensor:
        return self.after(self.network(self.change(images)))


def twice_in_place(images: Tensor) -> Tensor:
    return images.mul_(2)


def behind_autograd(images: Tensor) -> Tensor:
    images.data.mul_(0.9)
    return images


def through_numpy(images: Tensor) -> Tensor:
    images.detach().numpy()[:] *= 0.9
    return images


@pytest.fixture
def images() -> Tensor:
    return torch.rand(20, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("writing", "honest"),
    [
        (Around(twice_in_place), Around(lambda x: 2 * x)),
        (Around(lambda x: x.sub_(0.0).div_(1.0)), Around(lambda x: x)),
        (nn.Sequential(nn.ReLU(inplace=True), plain()), nn.Sequential(nn.ReLU(), plain())),
    ],
)
def test_a_network_that_writes_into_its_input_is_attacked_as_one_that_does_not(
    images: Tensor, writing: nn.Module, honest: nn.Module
) -> None:
    results = []
    before, threat = images.clone(), Threat("linf", "0.1")
    for network in (writing, honest):
        classifier = WrappedClassifier(network, SHAPE, 3)
        labels = classifier(images).argmax(dim=1)
        results.append(ATTACKS["pgd20"](classifier, images, labels, threat, torch.Generator().manual_seed(0)))
        assert torch.equal(images, before)
    assert torch.equal(results[0].adversarial, results[1].adversarial)
    assert results[0].forwards == results[1].forwards
    assert results[0].backwards == results[1].backwards


def test_an_honest_network_is_given_no_copies(images: Tensor) -> None:
    seen: list[Tensor] = []
    classifier = WrappedClassifier(Around(lambda x: seen.append(x) or x), SHAPE, 3)  # type: ignore[func-returns-value]
    classifier(images)
    assert seen[-1] is images


@pytest.mark.parametrize("change", [behind_autograd, through_numpy])
def test_a_network_that_changes_its_images_unnoticed_is_refused(change: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(UserError, match=r"changes its caller's images.*instead of images.data.mul_"):
        WrappedClassifier(Around(change), SHAPE, 3)


def test_a_network_that_begins_to_write_is_stopped(images: Tensor) -> None:
    def from_five_on(some: Tensor) -> Tensor:
        return some.mul_(2) if len(some) >= 5 else some

    classifier = WrappedClassifier(Around(from_five_on), SHAPE, 3)
    classifier(images[:4].clone())
    with pytest.raises(UserError, match="changed the images that it was given"):
        classifier(images.clone())


class OneWay(torch.autograd.Function):
    """An operation whose backward pass fails."""

    @staticmethod
    def forward(ctx: object, images: Tensor) -> Tensor:
        return images.clone()

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        raise NotImplementedError("no way back")


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Around(lambda x: torch.from_numpy(x.numpy())), "require gradients: Can't call numpy"),
        (Around(lambda x: x if len(x) < 3 else x.nothing), "3 images that .*AttributeError"),
        (
            Around(lambda x: x, lambda logits: logits.squeeze()),
            r"\(1, 3\), .* gave \(3,\); is there a squeeze",
        ),
        (Around(lambda x: x, lambda logits: logits[[0, 1]]), r"expected logits of shape \(3, 3\)"),
        (Around(lambda x: x * x[1]), "two images at once, but not a single one: IndexError"),
        (Around(OneWay.apply), "cannot be differentiated: no way back"),
    ],
)
def test_what_attacks_would_stumble_over_is_refused_at_once(network: nn.Module, message: str) -> None:
    with pytest.raises(UserError, match=message):
        WrappedClassifier(network, SHAPE, 3)


def test_a_network_without_a_gradient_is_taken() -> None:
    WrappedClassifier(Around(lambda x: x.detach().round()), SHAPE, 3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("freeze", [False, True])
def test_torchscript_is_attacked_and_its_passes_are_counted(images: Tensor, freeze: bool) -> None:
    script = torch.jit.script(plain())
    classifier = WrappedClassifier(torch.jit.freeze(script) if freeze else script, SHAPE, 3)
    usual = WrappedClassifier(plain(), SHAPE, 3)
    labels, threat = usual(images).argmax(dim=1), Threat("linf", "0.1")
    first, second = (
        ATTACKS["pgd20"](one, images, labels, threat, torch.Generator().manual_seed(0))
        for one in (classifier, usual)
    )
    assert torch.equal(first.broken, second.broken)
    assert (first.forwards, first.backwards) == (second.forwards, second.backwards)
    with counting(classifier) as passes:
        classifier(images)
    assert passes.forwards == len(images)


def test_a_block_runs_in_the_defaults_of_torch_and_restores_the_callers() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad(), torch_defaults():
            assert torch.zeros(1).dtype == torch.float32
            assert torch.is_grad_enabled()
            torch.set_default_device("meta")
        assert torch.get_default_dtype() == torch.float64
        assert torch.zeros(1).device.type == "cpu"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
