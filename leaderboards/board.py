"""What one board holds: entries that may be compared, their ranks, and the protocol they share."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from leaderboards.charts import Chart, Dot, Interval, scatter_chart
from leaderboards.entry import Entry, Summary, board_identity, group
from leaderboards.rank import Rank, order, rank
from leaderboards.result import WORST_CASE, Result
from leaderboards.text import NORMS, dataset_label, is_percent, plain, short_hash, slug


@dataclass(frozen=True)
class Column:
    """A metric's place in the table.

    Attributes:
        metric: its name in the record.
        title: the words over the column.
        spanner: the words over it and its neighbours; "" for none.
        part: which columns are shown and hidden together.
        better: "higher" or "lower"; "" where neither is better.
        meaning: one sentence for readers.
    """

    metric: str
    title: str
    spanner: str
    part: str
    better: str
    meaning: str


COLUMNS = (
    Column("clean_accuracy", "Clean %", "", "", "higher", "Accuracy on unchanged test images."),
    *(
        Column(
            f"robust_accuracy/{attack}",
            title,
            "Accuracy under attack, %",
            "attacks",
            "higher",
            f"Share of the attacked test images that {title} does not break.",
        )
        for attack, title in (
            ("fgsm", "FGSM"),
            ("bim", "BIM"),
            ("pgd20", "PGD-20"),
            ("pgd100", "PGD-100"),
            ("cw", "C&W"),
            ("autoattack", "AutoAttack"),
        )
    ),
    Column(WORST_CASE, "Worst case %", "", "", "higher", "Share of the attacked test images that no attack breaks."),
    Column(
        "prs_ratio",
        "PRS ratio",
        "Decision regions",
        "regions",
        "",
        "Decision regions that hold training images, divided by the number of training images.",
    ),
    Column(
        "inclusion_ratio",
        "Inclusion",
        "Decision regions",
        "regions",
        "",
        "Share of the test images that fall into a region which holds training images.",
    ),
    Column(
        "detection_auc",
        "Literal",
        "Detection AUC",
        "detection",
        "higher",
        "How well the curvature test tells attacked images from clean ones, as the paper writes it.",
    ),
    Column(
        "detection_auc_calibrated",
        "Calibrated",
        "Detection AUC",
        "detection",
        "higher",
        "The same with the test's direction and threshold calibrated.",
    ),
    Column(
        "time_per_epoch",
        "Seconds",
        "Time per epoch",
        "time",
        "lower",
        "Median over the epochs, on the hardware that the entry names.",
    ),
    Column(
        "time_per_epoch_ratio",
        "Ratio",
        "Time per epoch",
        "time",
        "lower",
        "Time per epoch relative to standard training, measured in the same process.",
    ),
)

PARTS = {
    "attacks": "Single attacks",
    "regions": "Decision regions",
    "detection": "Detection",
    "time": "Time",
}


@dataclass(frozen=True)
class Setting:
    """One part of the battery's settings, and how many entries ran with it."""

    name: str
    text: str
    entries: int


@dataclass(frozen=True)
class Board:
    """Entries that share dataset, threat, battery version and test subset, best first."""

    entries: tuple[Entry, ...]
    ranks: tuple[Rank, ...]

    @cached_property
    def results(self) -> tuple[Result, ...]:
        """Every result in force on the board."""
        return tuple(result for entry in self.entries for result in entry.results)

    @property
    def identity(self) -> dict[str, Any]:
        """What the entries share."""
        return board_identity(self.results[0])

    @property
    def page(self) -> str:
        """File name of its page, without suffix."""
        names = (self.dataset, self.norm, self.eps, self.battery, self.version, f"n{self.n}")
        return "-".join(slug(str(name), 24) for name in names) + "-" + short_hash(self.identity)

    @property
    def dataset(self) -> str:
        """Name of the data set, without folders."""
        return dataset_label(self.results[0].record.dataset.name)

    @property
    def norm(self) -> str:
        """Norm of the threat as records name it."""
        return self.results[0].record.threat.norm

    @cached_property
    def eps(self) -> str:
        """ε as it was written; the shortest way where entries write the same number differently."""
        return min((result.record.threat.eps.strip() for result in self.results), key=lambda eps: (len(eps), eps))

    @property
    def radius(self) -> float:
        """ε as a float."""
        return float(self.results[0].eps)

    @property
    def threat(self) -> str:
        """Norm and ε for reading."""
        return f"{NORMS[self.norm]}, ε = {self.eps}"

    @property
    def battery(self) -> str:
        """Name of the battery."""
        return self.results[0].record.battery.name

    @property
    def version(self) -> str:
        """Version of the battery."""
        return self.results[0].record.battery.version

    @property
    def n(self) -> int:
        """Test images that the attacks ran on."""
        return self.results[0].record.dataset.evaluated_size

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns that at least one entry has a value for, and always the one it is sorted by."""
        return tuple(c for c in COLUMNS if c.metric == WORST_CASE or any(map(_has(c.metric), self.entries)))

    @property
    def empty_columns(self) -> tuple[Column, ...]:
        """The columns that no entry has a value for."""
        return tuple(column for column in COLUMNS if column not in self.columns)

    @property
    def spanners(self) -> list[tuple[str, str, list[Column]]]:
        """Neighbouring columns under one heading: heading, part and columns."""
        return [(*key, list(found)) for key, found in groupby(self.columns, key=lambda c: (c.spanner, c.part))]

    @property
    def parts(self) -> dict[str, str]:
        """The parts that a reader may hide."""
        return {part: title for part, title in PARTS.items() if any(c.part == part for c in self.columns)}

    @cached_property
    def newest(self) -> str:
        """The day of the newest result."""
        return max(result.created for result in self.results).strftime("%Y-%m-%d")

    @cached_property
    def settings(self) -> list[Setting]:
        """The battery's settings; a name comes twice when entries differ in it."""
        found: dict[tuple[str, str], set[str]] = {}
        for entry in self.entries:
            for result in entry.results:
                for name, value in result.record.battery.settings.items():
                    text = plain(value) if not isinstance(value, dict) or value else "defaults"
                    found.setdefault((name, text), set()).add(entry.page)
        return [Setting(name, text, len(pages)) for (name, text), pages in sorted(found.items())]

    @property
    def settings_agree(self) -> bool:
        """Whether every entry ran with the same settings."""
        return all(setting.entries == len(self.entries) for setting in self.settings) and len(
            {setting.name for setting in self.settings}
        ) == len(self.settings)

    @cached_property
    def versions(self) -> dict[str, list[str]]:
        """Library → the versions that results ran with."""
        found: dict[str, set[str]] = {}
        for result in self.results:
            for name, version in result.record.provenance.versions.items():
                found.setdefault(name, set()).add(version)
        return {name: sorted(found[name]) for name in sorted(found)}

    @cached_property
    def qualifiers(self) -> dict[str, str]:
        """Entry page → what tells the entry from others of the same defense and network."""
        together: dict[tuple[str, str], list[Entry]] = {}
        for entry in self.entries:
            together.setdefault((entry.defense.name, entry.model), []).append(entry)
        return {entry.page: _difference(entry, found) for found in together.values() for entry in found}

    @property
    def compares_intervals(self) -> bool:
        """Whether some place was decided by intervals, for want of per-image outcomes."""
        return any(entry.worst_case and entry.outcomes is None for entry in self.entries) and len(self.entries) > 1

    @cached_property
    def charts(self) -> list[Chart]:
        """Robust accuracy against what it costs, and against the PRS ratio."""
        plans: tuple[tuple[str, str, str, str, bool, bool], ...] = (
            ("clean_accuracy", "Robust against clean accuracy", "Clean accuracy, %", "accuracy", True, False),
            ("time_per_epoch", "Robust accuracy against training time", "Seconds per epoch", "time", False, False),
            ("prs_ratio", "Robust accuracy against the PRS ratio", "PRS ratio", "PRS ratio", False, True),
        )
        charts = []
        for metric, title, x_label, word, front, trend in plans:
            dots = self._dots(metric)
            if len(dots) > 1:
                charts.append(
                    scatter_chart(
                        title,
                        f"{len(dots)} entries: worst-case accuracy against {word}, one point an entry, "
                        "bars are 95 % intervals.",
                        dots,
                        x_label,
                        "Worst-case accuracy, %",
                        front=front,
                        trend=trend,
                    )
                )
        return charts

    def _dots(self, metric: str) -> list[Dot]:
        dots = []
        for entry in self.entries:
            x, y = entry.scores.get(metric), entry.worst_case
            if x is not None and x.mean is not None and y is not None and y.mean is not None:
                scale = 100 if is_percent(metric, x.unit) else 1
                intervals = _interval(x, scale), _interval(y, 100)
                dots.append(Dot(entry.defense.name, entry.model, scale * x.mean, 100 * y.mean, *intervals))
        return dots


def make_boards(results: Iterable[Result]) -> list[Board]:
    """Sort results into boards, and the boards by data set, norm, ε, battery and size, largest subset first."""
    together: dict[str, list[Entry]] = {}
    for entry in group(results):
        together.setdefault(json.dumps(board_identity(entry.results[0]), sort_keys=True), []).append(entry)
    boards = []
    for key in sorted(together):
        entries = order(together[key])
        boards.append(Board(tuple(entries), tuple(rank(entries))))
    return sorted(boards, key=lambda b: (b.dataset, b.norm, b.radius, b.battery, b.version, -b.n, b.page))


def _has(metric: str) -> Any:
    return lambda entry: metric in entry.scores and entry.scores[metric].mean is not None


def _interval(score: Summary, scale: float) -> Interval | None:
    return None if score.low is None or score.high is None else (scale * score.low, scale * score.high)


def _difference(entry: Entry, similar: list[Entry]) -> str:
    if len(similar) == 1:
        return ""
    settings = [_settings(one) for one in similar]
    names = sorted({name for one in settings for name in one})
    differing = [name for name in names if len({one.get(name, "–") for one in settings}) > 1]
    own = _settings(entry)
    shown = [f"{name} = {own[name]}" for name in differing if name in own]
    return ", ".join(shown[:3]) + (", …" if len(shown) > 3 else "")


def _settings(entry: Entry) -> dict[str, str]:
    training = entry.record.training
    recipe = {**training.recipe, "precision": training.precision} if training else {}
    return {name: plain(value) for name, value in {**recipe, **entry.defense.hyperparameters}.items()}
