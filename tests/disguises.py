"""A network that is honestly robust, and the same behind what makes attacks stumble."""

from typing import Any

import torch
from torch import Tensor, nn

from bench.attacks import maximise
from bench.core.classifier import WrappedClassifier
from bench.core.threat import Threat
from bench.data import Dataset

THREAT = Threat("linf", "0.1")


def train_honest(digits: Dataset, threat: Threat = THREAT) -> nn.Module:
    """A small network, adversarially trained and nothing else; takes seconds."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    classifier = WrappedClassifier(network, digits.shape, digits.num_classes)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    images, labels = digits.train.batch(slice(None))
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        attacked = maximise(
            classifier, images, labels, threat, generator, steps=4, step_size=threat.radius / 2
        )
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(attacked), labels).backward()
        optimizer.step()
    return network


class Disguised(nn.Module):
    """The honest network behind something that an attack on its gradients stumbles over."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def see(self, images: Tensor) -> Tensor:
        return images

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.see(images))


class Saturated(Disguised):
    """Logits so large that the softmax is one or zero."""

    def forward(self, images: Tensor) -> Tensor:
        return 1e4 * self.network(images)


class Steep(Disguised):
    """Logits ten times as large: the loss of a surviving image is still on its way after a hundred steps."""

    def forward(self, images: Tensor) -> Tensor:
        return 10 * self.network(images)


class Jagged(Disguised):
    """Pixels with a ripple that is finer than a step: most steps lead astray, and many find what few do not."""

    def see(self, images: Tensor) -> Tensor:
        return images + 0.1 * torch.sin(100 * images)


class LargestAlone(Disguised):
    """The largest logit, and zeros."""

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits * (logits == logits.amax(dim=1, keepdim=True))


class HalfDetached(Disguised):
    """Half of every logit has no gradient, and that of the other half is of the mirrored image."""

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.detach()) + 0.5 * self.network(images.flip(3))
        return logits


class OtherInLowPrecision(Disguised):
    """The opposite answer under autocast, so that low precision breaks what float32 does not."""

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return -logits if torch.is_autocast_enabled("cpu") else logits


class Quantised(Disguised):
    """Nine grey levels; rounding has the gradient zero."""

    def see(self, images: Tensor) -> Tensor:
        return (8 * images).round() / 8


class Randomised(Disguised):
    """Noise on every pixel, other noise at every pass."""

    def see(self, images: Tensor) -> Tensor:
        return images + 0.1 * torch.randn_like(images)


class CenteredOnBatch(Disguised):
    """Half of the mean image of the batch is taken away."""

    def see(self, images: Tensor) -> Tensor:
        return images - 0.5 * images.mean(dim=0, keepdim=True)


class ByPosition(Disguised):
    """Every other image of a batch is seen brighter, whichever that is."""

    def see(self, images: Tensor) -> Tensor:
        even = torch.arange(len(images), device=images.device) % 2 == 0
        return torch.where(even.view(-1, 1, 1, 1), images, (1.5 * images).clamp(max=1))


class TinyGradient(Disguised):
    """The same function with a gradient too small for float32."""

    def see(self, images: Tensor) -> Tensor:
        return images.detach() + 1e-60 * (images - images.detach())


class OnlyAtCleanPixels(Disguised):
    """A gradient at grey levels that cameras give, none between them: the first step is the only good one."""

    def see(self, images: Tensor) -> Tensor:
        clean = ((255 * images - (255 * images).round()).abs() < 1e-3).flatten(1).all(dim=1)
        return torch.where(clean.view(-1, 1, 1, 1), images, images.detach())


class _Misleading(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        return images.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(gradients[0].shape, generator=generator, dtype=gradients[0].dtype)


class Masked(Disguised):
    """A first layer whose gradient points anywhere."""

    def see(self, images: Tensor) -> Tensor:
        seen: Tensor = _Misleading.apply(images)  # type: ignore[no-untyped-call]
        return seen
