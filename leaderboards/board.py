"""One board: entries that may be compared, their ranks, and the protocol they share."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from bench.core.names import WORST_CASE, dataset_label, short_hash, slug
from bench.core.record import NORM_SIGNS
from leaderboards.columns import COLUMNS, PARTS, Column
from leaderboards.entry import Entry, board_identity, foreign_network, group
from leaderboards.rank import Rank, order, rank
from leaderboards.result import Result
from leaderboards.text import plain


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
        """Every result on the board that no newer one supersedes."""
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
        return min(
            (result.record.threat.eps.strip() for result in self.results), key=lambda eps: (len(eps), eps)
        )

    @property
    def radius(self) -> float:
        """ε as a float."""
        return float(self.results[0].eps)

    @property
    def threat(self) -> str:
        """Norm and ε for reading."""
        return f"{NORM_SIGNS[self.norm]}, ε = {self.eps}"

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
        return tuple(
            c
            for c in COLUMNS
            if c.metric == WORST_CASE or any(_has(entry, c.metric) for entry in self.entries)
        )

    @property
    def empty_columns(self) -> tuple[Column, ...]:
        """The columns that no entry has a value for."""
        return tuple(column for column in COLUMNS if column not in self.columns)

    @property
    def spanners(self) -> list[tuple[str, str, list[Column]]]:
        """Neighboring columns under one heading: heading, part and columns."""
        return [
            (*key, list(found)) for key, found in groupby(self.columns, key=lambda c: (c.spanner, c.part))
        ]

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
        """The battery's settings; a name appears once for each value that entries have."""
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
        """Entry page → the settings that distinguish the entry from others of the same defense and network."""
        together: dict[tuple[str, str], list[Entry]] = {}
        for entry in self.entries:
            together.setdefault((entry.defense.name, entry.model), []).append(entry)
        return {entry.page: _difference(entry, found) for found in together.values() for entry in found}

    @property
    def compares_intervals(self) -> bool:
        """Whether some rank was decided by intervals, because per-image outcomes are missing."""
        return (
            any(entry.worst_case and entry.outcomes is None for entry in self.entries)
            and len(self.entries) > 1
        )


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


def _has(entry: Entry, metric: str) -> bool:
    return metric in entry.scores and entry.scores[metric].mean is not None


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
    recipe: dict[str, Any] = foreign_network(entry.record)
    if training:
        recipe = {**training.recipe, "epochs": training.epochs, "precision": training.precision}
    return {name: plain(value) for name, value in {**recipe, **entry.defense.hyperparameters}.items()}
