"""What a network answers, where one pass in a batch does not tell."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.core.classifier import AnyClassifier

#: Passes whose votes decide what a stochastic network answers.
VOTES = 50
#: Passes whose mean guides an attack on a stochastic network.
PASSES = 20


@dataclass(frozen=True)
class Answers:
    """The answers of a network, as an attack is judged by them.

    A deterministic network answers in one float32 pass. A stochastic one answers what most of 50 passes say, drawn
    anew for every question: an image that is misclassified in a lucky pass alone is not broken. A network whose
    answer depends on the batch is asked for each image alone.

    Attributes:
        classifier: images [B, C, H, W] to logits [B, K].
        batch_size: images per pass.
        votes: passes for each image; 1 for a deterministic network.
        alone: whether each image has passes of its own.
    """

    classifier: AnyClassifier
    batch_size: int = 500
    votes: int = 1
    alone: bool = False

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """The class of each image: int64 [B]."""
        return self.votes_for(images).argmax(dim=1)

    @torch.no_grad()
    def votes_for(self, images: Tensor) -> Tensor:
        """How many passes answer each class: float [B, K]."""
        counts = torch.zeros(len(images), self.classifier.num_classes, device=images.device)
        size = 1 if self.alone else self.batch_size
        for _ in range(self.votes):
            classes = [self.classifier(some).argmax(dim=1) for some in images.split(size)]
            if classes:
                counts.scatter_add_(1, torch.cat(classes)[:, None], torch.ones_like(counts[:, :1]))
        return counts

    def wrong(self, images: Tensor, labels: Tensor) -> Tensor:
        """Which images are misclassified: bool [B]."""
        return self(images) != labels

    def degree(self, images: Tensor, labels: Tensor) -> Tensor:
        """How surely images are misclassified: float [B], above 0 where they are.

        It is 1 where one pass decides, or where the leading class is two standard errors of a tie ahead.
        """
        counts = self.votes_for(images)
        own = counts.gather(1, labels[:, None]).squeeze(1)
        ahead = counts.scatter(1, labels[:, None], -1).amax(dim=1) - own
        if self.votes == 1:
            return (ahead > 0).float()
        return ahead / (2 * (ahead + 2 * own).sqrt())

    def guide(self, network: nn.Module | None = None) -> nn.Module:
        """What an attack differentiates: `network` or the classifier, one image at a time, or in the mean."""
        guide: nn.Module = self.classifier if network is None else network
        if self.alone:
            guide = Alone(guide)
        return guide if self.votes == 1 else MeanOfPasses(guide, PASSES)


class _Around(nn.Module):
    """A network around another one, with the interface that attacks use."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.input_shape, self.num_classes = network.input_shape, network.num_classes
        self.dtype = getattr(network, "dtype", torch.float32)


class Alone(_Around):
    """Each image in a pass of its own."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K]."""
        return torch.cat([self.network(image) for image in images.split(1)])


class MeanOfPasses(_Around):
    """The mean logits of several passes of a stochastic network.

    Source: Athalye et al. 2018, section 4.2 (expectation over transformation).
    """

    def __init__(self, network: nn.Module, passes: int) -> None:
        super().__init__(network)
        self.passes = passes

    def forward(self, images: Tensor) -> Tensor:
        """Mean logits [B, K]."""
        return torch.stack([self.network(images) for _ in range(self.passes)]).mean(dim=0)
