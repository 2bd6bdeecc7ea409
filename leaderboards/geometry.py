"""The geometry of decision regions, surfaces and boundaries, beside the worst case; without a ranking."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.core.names import (
    DETECTION_AUC,
    DETECTION_AUC_CALIBRATED,
    INCLUSION_RATIO,
    PRS_RATIO,
    WORST_CASE,
    short_hash,
    slug,
)
from bench.core.record import Score
from leaderboards.board import Board
from leaderboards.entry import Entry, Summary, identity, summarize
from leaderboards.figure_files import Picture, ShownFigure
from leaderboards.result import Result
from leaderboards.settings import qualifiers

#: What is measured of a network without looking at its shape does not make it a row.
COMMON = {PRS_RATIO, INCLUSION_RATIO, DETECTION_AUC, DETECTION_AUC_CALIBRATED}
#: The ratio over layers; `prs_by_layer/LAYER` is that of one.
BY_LAYER = "prs_by_layer"


@dataclass(frozen=True)
class Quantity:
    """A score of the geometry: its name, the words over its column, what it is, and the topic it belongs to."""

    metric: str
    title: str
    meaning: str
    topic: str


_TOPICS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "Decision regions": (
        (PRS_RATIO, "PRS ratio", "Regions that hold training images, over the number of training images."),
        (BY_LAYER, "PRS, all layers", "Mean PRS ratio over all layers."),
        (INCLUSION_RATIO, "Inclusion", "Share of the test images in a region that holds training images."),
        (
            "major_region/share",
            "In major regions",
            "Share of training images in the major region of their class.",
        ),
        ("region_health/live_units", "Live units", "Share of feature units that take both signs."),
        (
            "final_layer_cosine",
            "Cosine",
            "Mean cosine similarity between the final layer’s weights of different classes.",
        ),
        ("logit_motion", "Cosine of logits", "Mean cosine between the logits before and after an attack."),
        ("sparsity", "Sparsity", "Share of activations that are exactly zero, mean over the layers."),
        (
            "region_distance",
            "Distance AUC",
            "How well the distance to the major region’s mean tells broken images.",
        ),
        (
            "region_plane",
            "Regions in a plane",
            "Mean number of decision regions in a window of a plane of images.",
        ),
    ),
    "Decision surface": (
        ("decision_function", "L", "Mean decision function L = Z_t − max Z_i over test images, in logits."),
        ("input_jacobian", "‖J‖₁", "Mean ℓ1 norm of the input gradient of L, in logits per pixel."),
        ("input_hessian", "‖H‖₁", "Mean sum of the absolute second derivatives in the input."),
        (
            "decision_surface",
            "Way to L = 0",
            "Median ℓ∞ distance to the decision boundary along the gradient’s sign.",
        ),
    ),
    "Curvature": (
        ("curvature_profile", "Curvature", "Mean principal curvature of the boundary near clean images."),
        (
            "curvature_sign/clean",
            "Positive, clean",
            "Share of clean images with positive mean curvature nearby.",
        ),
        ("curvature_sign/perturbed", "Positive, attacked", "The same near perturbed images."),
        (
            "shared_directions",
            "Shared directions",
            "Share of a perturbation in the span of directions of high curvature.",
        ),
        ("paths", "Joined by paths", "Share of pairs of points of one region that a path within it joins."),
        ("convexity", "Convex mixtures", "Share of mixtures of images of one region that stay in it."),
        (
            DETECTION_AUC,
            "Detection",
            "AUC of the curvature detector against DeepFool, as the paper writes it.",
        ),
        (DETECTION_AUC_CALIBRATED, "Calibrated", "The same with direction and threshold calibrated."),
        (
            "detection_auc/attacker_aware",
            "Attacker knows",
            "AUC of the detector against an attacker who knows it.",
        ),
    ),
}
QUANTITIES = tuple(Quantity(*one, topic) for topic, several in _TOPICS.items() for one in several)


@dataclass(frozen=True)
class Network:
    """One trained network: every score of its records, from the largest evaluation that has it."""

    seed: int
    scores: dict[str, Score]


@dataclass(frozen=True)
class Row:
    """The networks that differ in their seed alone.

    Attributes:
        entry: the entry with the largest evaluation, whose page the row links to.
        networks: one for each seed.
        entries: every entry of these networks, largest evaluation first.
    """

    entry: Entry
    networks: tuple[Network, ...]
    entries: tuple[Entry, ...]

    @cached_property
    def scores(self) -> dict[str, Summary]:
        """Every score over the seeds."""
        names = sorted({name for network in self.networks for name in network.scores})
        pairs = {name: [(each.seed, each.scores.get(name)) for each in self.networks] for name in names}
        return {name: summarize(found) for name, found in pairs.items()}

    @property
    def worst_case(self) -> Summary | None:
        """The worst case of its largest evaluation."""
        score = self.scores.get(WORST_CASE)
        return score if score is not None and score.mean is not None else None

    @cached_property
    def layers(self) -> list[tuple[str, float]]:
        """Each layer of the first network with its PRS ratio, in the order of the layers."""
        start = f"{BY_LAYER}/"
        return [
            (name.removeprefix(start), score.value)
            for name, score in self.networks[0].scores.items()
            if name.startswith(start) and score.value is not None
        ]


@dataclass(frozen=True)
class GeometryBoard:
    """Networks of one data set and threat."""

    title: str
    page: str
    rows: tuple[Row, ...]

    @cached_property
    def columns(self) -> tuple[Quantity, ...]:
        """The quantities that at least one row has."""
        return tuple(one for one in QUANTITIES if any(_has(row, one.metric) for row in self.rows))

    @cached_property
    def qualifiers(self) -> dict[str, str]:
        """Entry page → what tells a row from others of its defense and network."""
        return qualifiers(row.entry for row in self.rows)

    @property
    def networks(self) -> int:
        """How many networks its rows are of."""
        return sum(len(row.networks) for row in self.rows)

    def measured(self, columns: Iterable[Quantity]) -> list[Row]:
        """The rows that have at least one of these quantities."""
        return [row for row in self.rows if any(_has(row, column.metric) for column in columns)]

    @property
    def topics(self) -> dict[str, list[Quantity]]:
        """The columns by topic."""
        found: dict[str, list[Quantity]] = {}
        for column in self.columns:
            found.setdefault(column.topic, []).append(column)
        return found


def geometry_boards(boards: Sequence[Board]) -> list[GeometryBoard]:
    """The geometry of every data set and threat of which some network has more than the scores of every battery."""
    together: dict[str, list[tuple[Board, Entry]]] = {}
    for board in boards:
        for entry in board.entries:
            together.setdefault(_place(board), []).append((board, entry))
    found = []
    for key in sorted(together):
        first = together[key][0][0]
        rows = _rows(entry for _, entry in together[key])
        if any(_has(row, one.metric) for row in rows for one in QUANTITIES if one.metric not in COMMON):
            page = (
                "-".join(slug(text, 24) for text in (first.dataset, first.norm, first.eps))
                + f"-{short_hash(key)}"
            )
            found.append(GeometryBoard(f"{first.dataset}, {first.threat}", page, tuple(rows)))
    return _distinguished(sorted(found, key=lambda each: (each.title, each.page)))


def _distinguished(found: list[GeometryBoard]) -> list[GeometryBoard]:
    titles = [each.title for each in found]
    return [
        each
        if titles.count(each.title) == 1
        else GeometryBoard(f"{each.title}, data {each.page[-8:]}", each.page, each.rows)
        for each in found
    ]


def _place(board: Board) -> str:
    shared = {name: board.identity[name] for name in ("dataset", "fingerprint", "norm", "eps")}
    return json.dumps(shared, sort_keys=True)


def _rows(entries: Iterable[Entry]) -> list[Row]:
    together: dict[str, list[Entry]] = {}
    for entry in entries:
        own = {name: value for name, value in identity(entry.results[0]).items() if name != "board"}
        together.setdefault(json.dumps(own, sort_keys=True), []).append(entry)
    rows = []
    for key in sorted(together):
        same = sorted(together[key], key=lambda each: (-_size(each.results[0]), each.page))
        rows.append(Row(same[0], tuple(_networks(same)), tuple(same)))
    return sorted(rows, key=_order)


def _networks(entries: Sequence[Entry]) -> Iterable[Network]:
    by_seed: dict[int, list[Result]] = {}
    for result in sorted((r for entry in entries for r in entry.results), key=lambda r: (_size(r), r.digest)):
        by_seed.setdefault(result.record.seed, []).append(result)
    for seed in sorted(by_seed):
        scores: dict[str, Score] = {}
        for result in by_seed[seed]:
            scores |= {
                name: score for name, score in result.record.metrics.items() if score.value is not None
            }
        yield Network(seed, scores)


def _size(result: Result) -> int:
    return result.record.dataset.evaluated_size


def _order(row: Row) -> tuple[Any, ...]:
    """By the names of defense and network: the table ranks nothing."""
    return row.entry.defense.name, row.entry.model, row.entry.page


def _has(row: Row, metric: str) -> bool:
    return metric in row.scores


def pairs(board: GeometryBoard, metric: str) -> list[tuple[Row, float, float]]:
    """Row, score and worst case of every network that has both."""
    found = []
    for row in board.rows:
        for network in row.networks:
            x, y = network.scores.get(metric), network.scores.get(WORST_CASE)
            if x is not None and y is not None and x.value is not None and y.value is not None:
                found.append((row, x.value, y.value))
    return found


#: Figures that networks are shown side by side by: a plane of regions, surfaces, layers and curvatures.
PICTURES = (
    "regions-plane-1",
    "surface-decision-1",
    "surface-loss-1",
    "surface-profiles",
    "curvature-profile",
    "regions-by-layer",
)


def gallery(
    board: GeometryBoard, figures: Mapping[str, Sequence[ShownFigure]]
) -> dict[str, list[tuple[Row, Picture]]]:
    """Title of a figure → the picture of each row that has it, for figures that two rows have.

    Args:
        figures: entry page → its figures.
    """
    found: dict[str, list[tuple[Row, Picture]]] = {}
    for name in PICTURES:
        shown: dict[str, tuple[str, Row, Picture]] = {}
        for row in board.rows:
            for entry in row.entries:
                own = next((each for each in figures.get(entry.page, ()) if each.name == name), None)
                if own is not None:
                    shown.setdefault(row.entry.page, (own.title, row, own.pictures[0]))
        if len(shown) > 1:
            found[_shared([title for title, _, _ in shown.values()])] = [
                (row, picture) for _, row, picture in shown.values()
            ]
    return found


def _shared(titles: Sequence[str]) -> str:
    """The title of all: it ends with a number where that is each network's own."""
    return titles[0] if len({*titles}) == 1 else re.sub(r":? \d+$", "", titles[0])
