"""The plane through three images, and the decision regions that it intersects (P1, figure 1)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError
from bench.core.gradients import cached_rows
from bench.core.guards import evaluating, random_state_kept
from bench.geometry.regions import find_regions, pack

#: Three images count as collinear when the height of their triangle is below this share of its longest side.
_FLAT = 1e-6


@dataclass(frozen=True)
class Plane:
    """x₀ + a·u + b·v with orthonormal u and v, so that distances in the plane are ℓ2 distances of images.

    Attributes:
        origin: x₀, the first image, float64 [C, H, W].
        axes: u and v, float64 [2, C, H, W]; u points to the second image, and the third has b > 0.
        corners: (a, b) of the three images, float64 [3, 2], on the CPU.
    """

    origin: Tensor
    axes: Tensor
    corners: Tensor

    def points(self, places: Tensor) -> Tensor:
        """The images at coordinates (a, b) [M, 2]: float64 [M, C, H, W]."""
        return self.origin + torch.einsum("mk,kchw->mchw", places.to(self.axes), self.axes)

    def window(
        self, resolution: int, margin: float = 0.25
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Centers of square cells along a and b [resolution], in a square around the three images.

        Args:
            resolution: number of cells along each side.
            margin: margin on every side, as a share of the larger extent of the three images.
        """
        corners = self.corners.numpy()
        low, high = corners.min(axis=0), corners.max(axis=0)
        side = (high - low).max() * (1 + 2 * margin)
        cells = ((np.arange(resolution) + 0.5) / resolution - 0.5) * side
        middle = (low + high) / 2
        return middle[0] + cells, middle[1] + cells


@dataclass(frozen=True)
class PlaneRegions:
    """Decision regions and classes in a window of a plane; rows are indexed by b, columns by a.

    Attributes:
        region: int64 [rows, columns], the decision region of each cell's center; region 0 has the most cells.
        predicted: int64 [rows, columns], its predicted class.
        at_corners: int64 [3], the regions of the three images; those that occur in no cell are numbered from
            `count`.
        count: number of regions among the cells.
    """

    region: NDArray[np.int64]
    predicted: NDArray[np.int64]
    at_corners: NDArray[np.int64]
    count: int


def plane_through(images: Tensor) -> Plane:
    """The plane through three images.

    Args:
        images: [3, C, H, W].

    Raises:
        UserError: when there are not three images, or they are collinear.

    Source: P1, figure 1.
    """
    if images.dim() != 4 or len(images) != 3:
        raise UserError(f"expected three images [3, C, H, W], got shape {tuple(images.shape)}")
    first, second, third = images.double().flatten(1)
    across, up = second - first, third - first
    longest = max(across.norm().item(), up.norm().item(), (third - second).norm().item())
    length = across.norm()
    u = across / length.clamp_min(torch.finfo(length.dtype).tiny)
    along = up @ u
    height = (up - along * u).norm()
    if not (length > _FLAT * longest and height > _FLAT * longest):
        raise UserError("expected three images that span a plane; two are equal, or all lie on a line")
    v = (up - along * u) / height
    corners = torch.tensor(
        [[0.0, 0.0], [length.item(), 0.0], [along.item(), height.item()]], dtype=torch.double
    )
    return Plane(images[0].double(), torch.stack([u, v]).view(2, *images.shape[1:]), corners)


def read_plane(
    classifier: AnyClassifier,
    plane: Plane,
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    *,
    batch_size: int = 500,
) -> PlaneRegions:
    """The decision region (sign pattern of the features) and the class at the center of every cell.

    Cells may lie outside the pixel box. Regions narrower than a cell can be missed, so the count depends on the
    resolution.

    Args:
        classifier: with a feature layer; used in eval mode and left as it was.
        plane: see `plane_through`.
        a, b: centers of the cells along the two axes.
        batch_size: images per pass.

    Raises:
        UserError: when the network has no feature layer, or its features are NaN.
    """
    grid = np.stack(np.meshgrid(a, b), axis=-1).reshape(-1, 2)
    places = torch.cat([torch.from_numpy(grid), plane.corners])
    patterns, predicted = [], []
    with evaluating(classifier), random_state_kept(0), torch.no_grad():
        for some in places.split(cached_rows(plane.origin, batch_size)):
            logits, features = classifier.forward_with_features(plane.points(some).float())
            patterns.append(pack(features))
            predicted.append(logits.argmax(dim=1).cpu().numpy())
    ids = find_regions(np.concatenate(patterns)).ids
    cells = len(grid)
    # Only the cells count towards the sizes, not the corners; the largest region becomes number 0.
    sizes = np.bincount(ids[:cells], minlength=int(ids.max()) + 1)
    numbers = np.empty_like(sizes)
    numbers[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    shape = len(b), len(a)
    return PlaneRegions(
        numbers[ids[:cells]].reshape(shape),
        np.concatenate(predicted)[:cells].reshape(shape),
        numbers[ids[cells:]],
        int(np.count_nonzero(sizes)),
    )
