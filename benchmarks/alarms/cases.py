"""The zoo's networks that hide something: constructed ones, and small versions of defenses that were broken.

Each is built on a small trained network, undefended or adversarially trained, so that the truth is known from the
network behind the disguise.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.alarms.disguises import images as seen
from benchmarks.alarms.disguises import inside
from benchmarks.alarms.disguises import logits as said
from benchmarks.alarms.disguises.inside import Around
from benchmarks.alarms.honest import Case
from benchmarks.alarms.networks import adversarial, cnn, deep, mlp, noisy, standard, trained

PLAIN, ROBUST, NOISY = standard, adversarial(0.15), noisy(0.2)


def _mlp(loss: object = PLAIN, seed: int = 0) -> nn.Module:
    name = {PLAIN: "standard", ROBUST: "adversarial", NOISY: "noise-in-training"}[loss]  # type: ignore[index]
    return trained(f"mlp-{name}-digits-{seed}", partial(mlp, 8), loss, seed=seed)  # type: ignore[arg-type]


def _cnn(loss: object = PLAIN, seed: int = 0) -> nn.Module:
    name = {PLAIN: "standard", ROBUST: "adversarial", NOISY: "noise-in-training"}[loss]  # type: ignore[index]
    return trained(f"cnn-{name}-digits-{seed}", partial(cnn, 8), loss, seed=seed)  # type: ignore[arg-type]


#: Name → how an undefended network sees the images.
SEEN: dict[str, Callable[[Tensor], Tensor]] = {
    "5 gray levels": seen.levels(5),
    "8 gray levels, rounded down": seen.floor,
    "bytes": seen.uint8,
    "JPEG-like": seen.jpeg,
    "JPEG-like in NumPy": seen.through_numpy(lambda images: seen.jpeg(torch.from_numpy(images)).numpy()),
    "median filter": seen.through_numpy(seen.median),
    "blur in NumPy": seen.through_numpy(seen.blur),
    "random resize": seen.resized,
    "random shift": seen.shifted,
    "random erasing": seen.erased,
    "noise 0.05": seen.noise(0.05),
    "noise 0.15": seen.noise(0.15),
    "5 gray levels and noise": seen.noisy_levels(5, 0.1),
    "random gradient": seen.wrong_gradient,
    "turned gradient": seen.turned_gradient,
    "tiny gradient": seen.tiny_gradient,
    "gradient not a number": seen.nan_gradient,
    "ripple": seen.ripple,
    "centered on the batch": seen.centered,
    "by position in the batch": seen.by_position,
}
#: Name → how it says its logits.
SAID: dict[str, Callable[[Tensor], Tensor]] = {
    "logits x1e4": said.scaled(1e4),
    "temperature 1/300": said.scaled(300.0),
    "squashed logits": lambda logits: said.squashed(2 * logits),
    "one-hot": said.one_hot,
    "rounded logits": said.rounded,
    "rounded probabilities": said.rounded_probabilities,
    "largest logit alone": said.first_only,
    "noise on logits": seen.noise(2.0),
}


#: Those of them that change an image so much that the network is trained on what it will see.
TRAINED_SO = ("median filter", "random resize", "random shift", "random erasing")


def cases() -> Iterator[Case]:
    """Every case, in the order of the table."""
    for name, see in SEEN.items():
        yield _hidden(name, partial(_seeing, name, see))
    for name, say in SAID.items():
        yield _hidden(name, partial(_saying, say))
    # Robust behind the disguise: the number is between, and the alarm must come all the same.
    yield _hidden("logits x1e4, robust", lambda: Around(_cnn(ROBUST), None, said.scaled(1e4)))
    yield _hidden("one-hot, robust", lambda: Around(_cnn(ROBUST), None, said.one_hot))
    yield _hidden("5 gray levels, robust", lambda: Around(_cnn(ROBUST), seen.levels(5)))
    yield _hidden("noise 0.15, trained with noise", lambda: Around(_cnn(NOISY), seen.noise(0.15)))
    yield _hidden("noise 0.3, trained with noise", lambda: Around(_mlp(NOISY), seen.noise(0.3)))
    yield _hidden("one-hot, convolutions", lambda: Around(_cnn(), None, said.one_hot))
    yield _hidden("dropout at inference", lambda: inside.Dropping(_mlp(), False))
    yield _hidden("stochastic activation pruning", lambda: inside.Dropping(_mlp(), True))
    yield _hidden("no graph", lambda: inside.NoGraph(_cnn()))
    yield _hidden("frozen first layer", lambda: inside.FrozenFirst(_cnn(), 2))  # type: ignore[arg-type]
    yield _hidden("detached members", _detached)
    yield _hidden("votes of an ensemble", _votes)
    yield _hidden("batch statistics", _batch_statistics)
    yield _hidden("thermometer", _thermometer)
    yield _hidden("k winners take all", _winners)
    yield _hidden("sign activations", _signs)
    yield _hidden("steep tanh activations", _steep)
    yield _hidden("distilled at T = 100", _distilled)
    yield _hidden("label smoothing and logit squeezing", _squeezed)
    yield _hidden("catastrophic FGSM training", _catastrophic, "linf:0.3")


def _hidden(name: str, make: Callable[[], nn.Module], threat: str = "linf:0.15") -> Case:
    return Case(name, make, threat=threat, honest=False)


def _seeing(name: str, see: Callable[[Tensor], Tensor]) -> nn.Module:
    def loss(network: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        return F.cross_entropy(network(see(images)), labels)

    if name not in TRAINED_SO:
        return Around(_mlp(), see)
    return Around(trained(name.replace(" ", "-"), partial(mlp, 8, 128), loss, steps=600), see)


def _saying(say: Callable[[Tensor], Tensor]) -> nn.Module:
    return Around(_mlp(), None, say)


def _detached() -> nn.Module:
    return inside.Ensemble([_mlp(seed=seed) for seed in range(3)], attached=1)


def _votes() -> nn.Module:
    return inside.Ensemble([_mlp(seed=seed) for seed in range(3)], attached=3, votes=True)


def _batch_statistics() -> nn.Module:
    return inside.BatchStatistics(trained("cnn-statistics", partial(cnn, 8, True)))


def _thermometer() -> nn.Module:
    def make() -> nn.Module:
        layers = (nn.Flatten(), nn.Linear(5 * 64, 64), nn.ReLU(), nn.Linear(64, 10))
        return inside.Thermometer(nn.Sequential(*layers))

    return trained("thermometer", make)


def _winners() -> nn.Module:
    network = trained("winners", partial(mlp, 8, 128, inside.Winners))
    return inside.OtherActivation(network, inside.Winners, lambda values: values, F.relu)  # type: ignore[arg-type]


def _signs() -> nn.Module:
    network = trained("signs", partial(mlp, 8, 128, inside.Sign))
    soft = (lambda values: torch.tanh(values), lambda values: torch.tanh(4 * values))
    return inside.OtherActivation(network, inside.Sign, *soft)  # type: ignore[arg-type]


def _steep() -> nn.Module:
    network = trained("steep", partial(mlp, 8, 64, inside.Steep))
    soft = (lambda values: torch.tanh(values), lambda values: torch.tanh(5 * values))
    return inside.OtherActivation(network, inside.Steep, *soft)  # type: ignore[arg-type]


def _distilled() -> nn.Module:
    """Papernot et al. 2016: teacher and student at temperature 100, the student used at 1."""
    temperature = 100.0

    def hot(network: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        return F.cross_entropy(network(images) / temperature, labels)

    teacher = trained("teacher-100", partial(mlp, 8), hot, rate=0.1, steps=500)

    def distill(network: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        soft = F.softmax(teacher(images) / temperature, dim=1)
        return F.cross_entropy(network(images) / temperature, soft)

    student = trained("student-100", partial(mlp, 8), distill, rate=0.1, steps=500, seed=1)
    return Around(student)


def _squeezed() -> nn.Module:
    """Shafahi et al. 2019: smooth labels, small logits, and noise in training."""

    def squeeze(network: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        logits = network(images + 0.5 * torch.randn(images.shape, generator=generator))
        return F.cross_entropy(logits, labels, label_smoothing=0.5) + 0.05 * logits.square().mean()

    return Around(trained("squeezed", partial(mlp, 8), squeeze))


def _catastrophic() -> nn.Module:
    """Adversarial training with one step from the image and none at random, too long (Wong et al. 2020)."""

    def single(network: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        points = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(network(points), labels), points)
        return F.cross_entropy(network((images + 0.3 * gradient.sign()).clamp(0, 1)), labels)

    return Around(trained("catastrophic", partial(deep, 8), single, steps=500))
