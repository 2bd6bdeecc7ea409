"""Small networks that the zoo is built of, trained in seconds and kept in an ignored folder."""

import hashlib
import inspect
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.core.guards import random_state_kept
from bench.data import Dataset, Split, load

#: Where weights and measurements are kept.
CACHE = Path(__file__).resolve().parents[2] / ".zoo"
#: A folder with MNIST; held-out networks on it are then measured too.
MNIST = "REGIONBENCH_MNIST"
#: ε of the ℓ∞ threat on each data set.
EPS = {"digits": 0.15, "digits16": 0.15, "mnist": 0.2}
STEPS, BATCH = 250, 256


@cache
def data(name: str) -> Dataset:
    """The digits, the digits at 16x16, or MNIST where the environment says where it is."""
    if name == "mnist":
        return load("mnist", data_dir=Path(os.environ[MNIST]), test_size=200)
    digits = load("digits")
    return digits if name == "digits" else _enlarged(digits)


def _enlarged(digits: Dataset) -> Dataset:
    def larger(split: Split) -> Split:
        images = F.interpolate(split.images.float(), size=16, mode="bilinear", align_corners=False)
        return Split(images.round().to(torch.uint8), split.labels)

    splits = (larger(split) for split in (digits.train, digits.validation, digits.test))
    return Dataset("digits16", digits.classes, *splits)


def mlp(side: int, width: int = 64, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    """One hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(side * side, width), activation(), nn.Linear(width, 10))


def deep(side: int) -> nn.Module:
    """Three hidden layers."""
    layers = [
        nn.Linear(side * side, 64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 32),
        nn.ReLU(),
    ]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(32, 10))


def cnn(side: int, norm: bool = False, drop: float = 0.0) -> nn.Module:
    """Two strided convolutions."""
    norms = [nn.BatchNorm2d(8)] if norm else []
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        *norms,
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        *([nn.Dropout(drop)] if drop else []),
        nn.Linear(16 * (side // 4) ** 2, 10),
    )


#: Network, images, labels and a generator to the loss of a training step.
Loss = Callable[[nn.Module, Tensor, Tensor, torch.Generator], Tensor]


def standard(network: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Cross-entropy."""
    return F.cross_entropy(network(images), labels)


def perturbed(
    network: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator, eps: float, steps: int
) -> Tensor:
    """Images perturbed by projected gradient descent in the ℓ∞ ball, written out here on its own."""
    noise = torch.rand(images.shape, generator=generator) * 2 - 1
    points = (images + eps * noise).clamp(0, 1)
    for _ in range(steps):
        points = points.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(network(points), labels), points)
        points = images + (points + 2.5 * eps / steps * gradient.sign() - images).clamp(-eps, eps)
        points = points.clamp(0, 1)
    return points.detach()


def adversarial(eps: float, steps: int = 5) -> Loss:
    """Adversarial training (Madry et al. 2018)."""

    def loss(network: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        return standard(network, perturbed(network, images, labels, generator, eps, steps), labels, generator)

    return loss


def trades(eps: float, beta: float = 3.0) -> Loss:
    """Cross-entropy, and the divergence of the perturbed output from the clean one (Zhang et al. 2019)."""

    def loss(network: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        points, clean = perturbed(network, images, labels, generator, eps, 5), network(images)
        apart = F.kl_div(F.log_softmax(network(points), 1), F.softmax(clean, 1), reduction="batchmean")
        return F.cross_entropy(clean, labels) + beta * apart

    return loss


def noisy(sigma: float) -> Loss:
    """Cross-entropy on images with Gaussian noise; none at inference."""

    def loss(network: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        return standard(
            network, images + sigma * torch.randn(images.shape, generator=generator), labels, generator
        )

    return loss


def trained(
    name: str,
    make: Callable[[], nn.Module],
    loss: Loss = standard,
    *,
    dataset: str = "digits",
    seed: int = 0,
    steps: int = STEPS,
    rate: float = 5e-3,
    decay: float = 0.0,
) -> nn.Module:
    """A network after some hundred steps of Adam, from the cache where it is there.

    Args:
        name: of the file in the cache.
        make: the network with fresh weights.
        loss: of a step.
        dataset, seed, steps, rate, decay: of the training.
    """
    with random_state_kept(seed):
        network = make()
        key = f"{network} {dataset} {seed} {steps} {rate} {decay} {inspect.getsource(loss)} {_settings(loss)}"
        path = CACHE / "weights" / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}.pt"
        if path.exists():
            network.load_state_dict(torch.load(path, weights_only=True))
            return network.eval().requires_grad_(False)
        images, labels = data(dataset).train.batch(slice(None))
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.Adam(network.parameters(), rate, weight_decay=decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        network.train()
        for _ in range(steps):
            rows = torch.randint(len(labels), (BATCH,), generator=generator)
            optimizer.zero_grad()
            loss(network, images[rows], labels[rows], generator).backward()
            optimizer.step()
            schedule.step()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    torch.save(network.state_dict(), temporary)
    temporary.replace(path)
    return network.eval().requires_grad_(False)


def _settings(loss: Loss) -> str:
    """What a loss was made with."""
    cells = getattr(loss, "__closure__", None) or ()
    return str([cell.cell_contents for cell in cells if isinstance(cell.cell_contents, int | float)])
