"""Test whether convex combinations of images of a region stay in it (classification regions, §III)."""

import torch
from torch import Tensor

from bench.core.errors import UserError
from bench.core.predictor import Predictor


def mixtures_stay(
    predict: Predictor, images: Tensor, labels: Tensor, k: int, trials: int, generator: torch.Generator
) -> Tensor:
    """Whether Σ_j w_j x_j, w ~ Dirichlet(1, …, 1), lies in the region that x_1 … x_k lie in: bool [trials].

    Each trial draws a region, with probability proportional to its number of images, and k different images of it.
    Regions with fewer than k images are left out; the result is empty when no region is left.

    Args:
        predict: images to classes.
        images: [N, C, H, W].
        labels: int64 [N], their predicted classes.
        k: images in a mixture.
        trials: number of mixtures.
        generator: source of regions, images and weights, on the CPU.

    Raises:
        UserError: for k or trials below 1.

    Source: Fawzi et al., Classification regions of deep neural networks, figure 3.
    """
    if k < 1 or trials < 1:
        raise UserError(f"expected k and trials from 1, got k={k} and trials={trials}")
    sizes = labels.bincount().cpu()
    eligible = torch.where(sizes >= k, sizes, 0).double()
    if eligible.sum() == 0:
        return torch.zeros(0, dtype=torch.bool)
    members = [torch.nonzero(labels == label).flatten().cpu() for label in range(len(sizes))]
    drawn = torch.multinomial(eligible, trials, replacement=True, generator=generator)
    rows = torch.stack(
        [
            members[label][torch.randperm(len(members[label]), generator=generator)[:k]]
            for label in drawn.tolist()
        ]
    )
    # Normalized exponential variables are uniform on the simplex.
    weights = torch.empty(trials, k, dtype=torch.double).exponential_(generator=generator)
    weights = weights / weights.sum(dim=1, keepdim=True)
    stays = []
    for some, shares in zip(rows.split(predict.batch_size), weights.split(predict.batch_size), strict=True):
        mixture = torch.zeros(len(some), *images.shape[1:], device=images.device, dtype=images.dtype)
        for column in range(k):
            share = shares[:, column].to(images).view(-1, *[1] * (images.dim() - 1))
            mixture += share * images[some[:, column].to(images.device)]
        stays.append(predict(mixture) == labels[some[:, 0].to(labels.device)])
    return torch.cat(stays).cpu()
