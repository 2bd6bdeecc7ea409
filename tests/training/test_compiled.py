"""Passes through compiled kernels. How fast they are, `python -m benchmarks.gpu` measures."""

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.attacks import maximise
from bench.core.classifier import Classifier, WrappedClassifier
from bench.core.errors import UserError
from bench.core.randomness import make_generator
from bench.core.threat import Threat
from bench.data import Split
from bench.models import build
from bench.training import compiled
from bench.training.compiled import COMPILED, CompiledPasses
from bench.training.device import training_layout
from bench.training.graph import Stepper
from bench.training.recipe import make_recipe
from defenses import get
from defenses.base import Training

BATCH = 8
IMAGES = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
SPLIT = Split((255 * IMAGES).to(torch.uint8), torch.arange(20) % 3)


def network(model: str = "cnn6(width=0.125)") -> Classifier:
    built = build(model, input_shape=(1, 8, 8), num_classes=3, seed=0)
    assert isinstance(built, Classifier)
    return built.train()


def losses(precision: str, defense: str, classifier: Classifier) -> list[float]:
    """The losses of three steps, the last of them on a smaller batch."""
    training = Training(classifier, SPLIT, Threat("linf", "1/10"), 1, 0, BATCH)
    objective = get(defense).make({"steps": 2} if defense == "at" else {}).objective(training)
    recipe = make_recipe("strong,batch_size=8,lr=0.01")
    optimizer = recipe.make_optimizer(classifier.parameters())
    stepper = Stepper(objective, classifier, precision, BATCH)
    with training_layout(precision, classifier):
        objective.begin_epoch(1)
        batches = [SPLIT.batch(index) for index in torch.arange(20).split(BATCH)]
        return [float(stepper(optimizer, *batch, 0.01)) for batch in batches]


def pretend_to_compile(monkeypatch: pytest.MonkeyPatch, forward: Callable[..., Any]) -> None:
    """Let `forward` take the place of what the compiler makes of a pass; it gets that pass first."""

    def pretend(original: Callable[[Tensor], Tensor], **options: Any) -> Callable[[Tensor], Tensor]:
        return lambda images: forward(original, images)

    monkeypatch.setattr(compiled.torch, "compile", pretend)


def test_whole_batches_alone_take_compiled_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, bool]] = []

    def forward(original: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        sizes.append((len(images), next(classifier.parameters()).requires_grad))
        return original(images)

    pretend_to_compile(monkeypatch, forward)
    classifier = network()
    names = list(classifier.state_dict())
    found = losses(COMPILED, "at", classifier)
    # Two steps of the attack, without gradients of weights, and then the update.
    assert sizes == 2 * [(BATCH, False), (BATCH, False), (BATCH, True)]
    assert "forward" not in vars(classifier.backbone)
    assert list(classifier.state_dict()) == names
    assert all(weight.requires_grad for weight in classifier.parameters())
    assert found == losses("bf16", "at", network())


@pytest.mark.parametrize(
    "error", [RuntimeError("torch.compile does not support double backward"), RuntimeError("out of memory")]
)
def test_what_the_compiler_refuses_is_said_in_a_line(
    error: RuntimeError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(original: object, images: object) -> Tensor:
        raise error

    pretend_to_compile(monkeypatch, forward)
    expected = UserError if "compile" in str(error) else RuntimeError
    with pytest.raises(expected) as raised:
        losses(COMPILED, "standard", network())
    if expected is UserError:
        assert (
            str(raised.value) == f"this training cannot be compiled: {error}; give --precision bf16 or fp32"
        )


def test_a_plug_in_and_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in = WrappedClassifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), (1, 8, 8), 3)
    with pytest.raises(UserError, match="networks of this package; give --precision bf16"):
        CompiledPasses(plug_in)
    monkeypatch.setattr(compiled, "count", lambda: 2)
    with pytest.raises(UserError, match="one process; give --precision bf16 under torchrun"):
        CompiledPasses(network())


needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")


@needs_compiler
@pytest.mark.slow
def test_compiled_passes_have_the_same_gradients_and_statistics() -> None:
    """In float32, where rounding is small; steps in bfloat16 repeat bit by bit."""
    eager, fast = (network("resnet18(width=0.125)") for _ in range(2))
    images, labels = SPLIT.batch(slice(0, BATCH))
    threat, passes = Threat("linf", "1/10"), CompiledPasses(fast)
    for classifier, block in ((eager, nullcontext), (fast, passes)):
        with block():
            attacked = maximise(classifier, images, labels, threat, make_generator("compiled"), steps=2)
            nn.functional.cross_entropy(classifier(attacked), labels).backward()
        assert all(weight.grad is not None for weight in classifier.parameters())
    for (name, weight), other in zip(eager.named_parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(other.grad, weight.grad, rtol=1e-3, atol=1e-4, msg=name)
    for (name, buffer), counterpart in zip(eager.named_buffers(), fast.buffers(), strict=True):
        torch.testing.assert_close(counterpart, buffer, msg=name)

    first, second = (losses(COMPILED, "at", network("resnet18(width=0.125)")) for _ in range(2))
    assert first == second


@needs_compiler
@pytest.mark.slow
def test_a_defense_that_differentiates_twice_is_refused() -> None:
    with pytest.raises(UserError, match=r"this training cannot be compiled: .*double backward"):
        losses(COMPILED, "jacobian", network())
