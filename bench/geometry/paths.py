"""Paths that stay in one classification region (classification regions, §III, algorithm 1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.deepfool import deepfool
from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError
from bench.core.guards import evaluating
from bench.core.predictor import Predictor


@dataclass(frozen=True)
class Path:
    """A piecewise linear path between two points.

    Attributes:
        anchors: [A, C, H, W] from the first point to the second; only these two where no path was found.
        found: whether every sample of every segment lies in the region.
        length: length of the path divided by that of the straight segment; 1 for a straight path.
        deviation: largest distance of an anchor from the straight segment, divided by the length of that segment.
    """

    anchors: Tensor
    found: bool
    length: float
    deviation: float

    @property
    def straight(self) -> bool:
        """Whether the straight segment itself stays in the region."""
        return self.found and len(self.anchors) == 2


@dataclass(frozen=True)
class Paths:
    """The path of every pair."""

    paths: list[Path]


@dataclass(frozen=True)
class _Segment:
    """A segment of the path of a pair, from the position `low` to `high` in [0, 1], both binary fractions."""

    pair: int
    start: Tensor
    end: Tensor
    low: float = 0.0
    high: float = 1.0

    def halves(self, point: Tensor) -> tuple["_Segment", "_Segment"]:
        """The two segments that result from replacing the midpoint by a point."""
        between = (self.low + self.high) / 2
        return (
            _Segment(self.pair, self.start, point, self.low, between),
            _Segment(self.pair, point, self.end, between, self.high),
        )


def find_paths(
    classifier: AnyClassifier,
    starts: Tensor,
    ends: Tensor,
    *,
    max_depth: int = 20,
    samples: int = 20,
    max_anchors: int = 1000,
    max_iter: int = 50,
    batch_size: int = 500,
) -> Paths:
    """Search for a path from each start to its end within the region that contains both.

    A segment is accepted when `samples` points spread evenly over its interior have the label of the pair. A
    rejected segment is halved: its midpoint, projected into the region by targeted DeepFool where its label
    differs, becomes an anchor, and both halves are checked. The search for a pair fails when a midpoint cannot be
    projected (its label is checked after the projection), when a segment is still rejected after `max_depth`
    halvings, or when the path needs more than `max_anchors` anchors.

    We depart from algorithm 1 in two points. It inserts the midpoint before it checks the segment; we check first,
    so that a straight path has no further anchors. And we process the segments of all pairs at one depth together.

    Args:
        classifier: used in eval mode and left as it was.
        starts, ends: [B, C, H, W], with the same predicted label in each pair; they may lie outside the pixel box.
        max_depth: the largest number of halvings; a path close to the boundary may need many.
        max_anchors: the largest number of anchors, which could double with every halving.
        samples: points per segment; a gap narrower than 1/(samples + 1) of a segment can be missed.
        max_iter: the largest number of DeepFool steps of a projection.
        batch_size: images per pass.

    Raises:
        UserError: for starts and ends of different shapes or labels, or settings below 1.
    """
    if starts.shape != ends.shape or starts.dim() != 4:
        raise UserError(
            f"expected as many starts as ends, [B, C, H, W], got {tuple(starts.shape)} and {tuple(ends.shape)}"
        )
    if min(max_depth, samples, max_anchors) < 1:
        raise UserError(
            f"expected max_depth, samples and max_anchors from 1, got {max_depth}, {samples} and {max_anchors}"
        )
    predict = Predictor(classifier, batch_size)
    with evaluating(classifier):
        labels = predict(starts)
        if not torch.equal(labels, predict(ends)):
            raise UserError("expected pairs of one predicted label, got some whose ends lie in two regions")
        kept: list[dict[float, Tensor]] = [
            {0.0: start, 1.0: end} for start, end in zip(starts, ends, strict=True)
        ]
        segments = [_Segment(pair, starts[pair], ends[pair]) for pair in range(len(starts))]
        lost: set[int] = set()
        for _ in range(max_depth):
            bent = _rejected(predict, segments, labels, samples)
            if not bent:
                break
            pairs = torch.tensor([segment.pair for segment in bent], device=labels.device)
            middles = torch.stack([(segment.start + segment.end) / 2 for segment in bent])
            projected = deepfool(
                classifier, middles, targets=labels[pairs], max_iter=max_iter, batch_size=batch_size
            )
            arrived = predict(projected.perturbed) == labels[pairs]
            lost.update(pairs[~arrived].tolist())
            bends = pairs.bincount(minlength=len(kept)).tolist()
            lost.update(pair for pair, more in enumerate(bends) if len(kept[pair]) + more > max_anchors)
            segments = _bend(bent, projected.perturbed, kept, lost)
        else:
            lost.update(segment.pair for segment in _rejected(predict, segments, labels, samples))
    paths = [
        _path(torch.stack([anchors[place] for place in sorted(anchors)]), pair not in lost)
        for pair, anchors in enumerate(kept)
    ]
    return Paths(paths)


def _bend(
    segments: Sequence[_Segment], points: Tensor, kept: Sequence[dict[float, Tensor]], lost: set[int]
) -> list[_Segment]:
    """Halve every segment whose pair is not lost; the point between the halves becomes an anchor."""
    halves: list[_Segment] = []
    for segment, point in zip(segments, points, strict=True):
        if segment.pair not in lost:
            first, second = segment.halves(point)
            kept[segment.pair][first.high] = point
            halves += [first, second]
    return halves


def _rejected(
    predict: Predictor, segments: Sequence[_Segment], labels: Tensor, samples: int
) -> list[_Segment]:
    """Segments with a sample whose label differs from the label of the pair."""
    rejected: list[_Segment] = []
    at_once = max(1, predict.batch_size // samples)
    for first in range(0, len(segments), at_once):
        some = segments[first : first + at_once]
        starts = torch.stack([segment.start for segment in some]).unsqueeze(1)
        ends = torch.stack([segment.end for segment in some]).unsqueeze(1)
        share = torch.arange(1, samples + 1, device=starts.device, dtype=starts.dtype) / (samples + 1)
        points = starts.lerp(ends, share.view(1, -1, 1, 1, 1))
        found = predict(points.flatten(0, 1)).view(len(some), samples)
        own = labels[[segment.pair for segment in some]].unsqueeze(1)
        inside = (found == own).all(dim=1).tolist()
        rejected += [segment for segment, fine in zip(some, inside, strict=True) if not fine]
    return rejected


def _path(anchors: Tensor, found: bool) -> Path:
    if not found:
        return Path(anchors[[0, -1]], False, float("nan"), float("nan"))
    flat = anchors.flatten(1).double()
    straight = flat[-1] - flat[0]
    whole = straight.norm()
    if len(anchors) == 2 or whole == 0:
        return Path(anchors, True, 1.0, 0.0)
    length = flat.diff(dim=0).norm(dim=1).sum() / whole
    from_start = flat - flat[0]
    along = ((from_start @ straight) / whole**2).clamp(0, 1)
    deviation = (from_start - along[:, None] * straight).norm(dim=1).amax() / whole
    return Path(anchors, True, length.item(), deviation.item())


@dataclass(frozen=True)
class CrossSection:
    """Predicted classes on a strip along a path.

    Attributes:
        along: position on the path [X], as the length from its start in pixel units.
        across: signed distance from the path [Y], in the same unit.
        labels: int64 [Y, X].
        corners: positions of the anchors on the path [A], in the unit of `along`.
    """

    along: Tensor
    across: Tensor
    labels: Tensor
    corners: Tensor


def cross_section(
    predict: Predictor,
    anchors: Tensor,
    aside: Tensor,
    *,
    reach: float,
    columns: int = 80,
    rows: int = 41,
) -> CrossSection:
    """The classes around a path: one plane per segment, spanned by the segment and `aside`, joined at the anchors.

    Args:
        predict: images to classes.
        anchors: [A, C, H, W], A at least 2; the path is the horizontal middle line.
        aside: [C, H, W], the paper's r(x₁); its component along a segment is removed.
        reach: width of the strip on either side, in pixel units.
        columns, rows: number of points along and across.

    Source: Fawzi et al., Classification regions of deep neural networks, figure 2.
    """
    lengths = anchors.diff(dim=0).flatten(1).norm(dim=1)
    corners = torch.cat([lengths.new_zeros(1), lengths.cumsum(dim=0)])
    along = torch.linspace(0, 1, columns, device=anchors.device) * corners[-1]
    across = torch.linspace(-reach, reach, rows, device=anchors.device)
    segment = (torch.searchsorted(corners, along, right=True) - 1).clamp(0, len(lengths) - 1)
    strips = []
    for place, part in zip(along, segment.tolist(), strict=True):
        length = lengths[part].clamp_min(torch.finfo(anchors.dtype).tiny)
        tangent = (anchors[part + 1] - anchors[part]) / length
        normal = aside - (aside * tangent).sum() * tangent
        normal = normal / normal.norm().clamp_min(torch.finfo(anchors.dtype).tiny)
        base = anchors[part] + (place - corners[part]) * tangent
        strips.append(predict(base + across.view(-1, 1, 1, 1) * normal))
    return CrossSection(along, across, torch.stack(strips, dim=1), corners)
