"""A linear network of two classes, whose distance to the boundary has a closed form, and others around it."""

import torch
from torch import Tensor, nn

from bench.core.classifier import WrappedClassifier
from bench.core.threat import Threat

SHAPE = (1, 4, 4)


class Linear(nn.Module):
    """Logits (0, w·x − b)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 2)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            weight = torch.randn(16, generator=generator)
            self.layer.weight.copy_(torch.stack((torch.zeros(16), weight)))
            self.layer.bias.copy_(torch.stack((torch.zeros(()), -weight.sum() / 2)))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1))
        return logits


def classifier(module: nn.Module) -> WrappedClassifier:
    return WrappedClassifier(module.eval(), SHAPE, 2)


def some_images(n: int = 40) -> tuple[Tensor, Tensor]:
    """Images far from the edges of the pixel box, and the network's answers."""
    images = 0.3 + 0.4 * torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1))
    return images, Linear()(images).argmax(dim=1)


def distances(images: Tensor, threat: Threat) -> Tensor:
    """The distance of each image to the boundary, |w·x − b| over the dual norm of w."""
    logits = Linear()(images).detach()
    weight = Linear().layer.weight[1].detach()
    return (logits[:, 1] - logits[:, 0]).abs() / weight.norm(p=1 if threat.norm == "linf" else 2)
