"""One board: entries that may be compared, their ranks, and the protocol they share."""

import json
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from bench.core.errors import unknown_name
from bench.core.names import SUSPICIOUS, TIME_PER_EPOCH, TIME_PER_EPOCH_RATIO, dataset_label, short_hash, slug
from bench.core.record import threat_title
from leaderboards.columns import COLUMNS, MAIN, OF_SEARCHES, PARTS, Column, own_column
from leaderboards.entry import Entry, board_identity, group
from leaderboards.rank import Rank, order, rank
from leaderboards.result import Result
from leaderboards.settings import qualifiers
from leaderboards.text import count, duration, plain

#: A page holds all rows of a board of so many entries, and of a larger one so many rows.
MOST_ON_PAGE, FIRST_ON_PAGE = 3_000, 500
#: Most columns that a selection of metrics gets without being asked.
MOST_OWN = 8


@dataclass(frozen=True)
class Setting:
    """One part of the battery's settings, and how many entries ran with it."""

    name: str
    text: str
    entries: int


@dataclass(frozen=True)
class Board:
    """Entries that share dataset, threat, battery version and test subset, best first.

    Attributes:
        asked: scores that get a column beside those of `COLUMNS`.
        distinction: what tells it from another board of the same data set and threat; "" for the largest evaluation
            where one is larger than all others.
    """

    entries: tuple[Entry, ...]
    ranks: tuple[Rank, ...]
    asked: tuple[str, ...] = ()
    distinction: str = ""

    @cached_property
    def results(self) -> tuple[Result, ...]:
        """Every result on the board that no newer one supersedes."""
        return tuple(result for entry in self.entries for result in entry.results)

    @property
    def large(self) -> bool:
        """Whether its page holds its first rows alone; a script makes the others from its data."""
        return len(self.entries) > MOST_ON_PAGE

    @property
    def on_page(self) -> tuple[Entry, ...]:
        """The entries whose rows its page holds."""
        return self.entries[:FIRST_ON_PAGE] if self.large else self.entries

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What the entries share."""
        return board_identity(self.results[0])

    @cached_property
    def page(self) -> str:
        """File name of its page, without suffix."""
        names = (self.dataset, self.norm, self.eps, self.battery, self.version, f"n{self.n}")
        return "-".join(slug(str(name), 24) for name in names) + "-" + short_hash(self.identity)

    @cached_property
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
        return threat_title(self.norm, self.eps)

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
    def title(self) -> str:
        """Its name, which no other board of the site has."""
        return ", ".join(filter(None, (self.dataset, self.threat, self.distinction)))

    @cached_property
    def ranked(self) -> bool:
        """Whether it judges robustness; a selection of metrics does not."""
        return not self.battery.startswith("selected-") and any(entry.worst_case for entry in self.entries)

    @cached_property
    def measured(self) -> list[str]:
        """The metrics that its battery ran, by name."""
        return sorted(self.results[0].record.battery.settings) or ["metrics without settings"]

    @cached_property
    def main_columns(self) -> tuple[Column, ...]:
        """The columns of every screen: worst case, clean accuracy and cost."""
        cost = TIME_PER_EPOCH_RATIO if self.has(TIME_PER_EPOCH_RATIO) else TIME_PER_EPOCH
        found = {column.metric: column for column in COLUMNS}
        return tuple(found[metric] for metric in (*MAIN, cost))

    @cached_property
    def more_columns(self) -> tuple[Column, ...]:
        """The other columns that at least one entry has a value for."""
        known = (*COLUMNS, *OF_SEARCHES)
        usual = (c for c in known if c not in self.main_columns and self.has(c.metric))
        return (*usual, *(own_column(metric, self.entries) for metric in self.own_metrics))

    @cached_property
    def own_metrics(self) -> list[str]:
        """Scores with a column of their own: those asked for, and those that a selection was made of."""
        usual = {column.metric for column in (*COLUMNS, *OF_SEARCHES)}
        found = list(self.asked)
        if self.battery.startswith("selected-"):
            names = sorted({name for entry in self.entries for name in entry.scores})
            main = [name for name in names if not any(name.startswith(f"{other}/") for other in names)]
            # What answered an alarm is no score of the selection.
            found += [name for name in main if name not in usual and not name.startswith(SUSPICIOUS)][
                :MOST_OWN
            ]
        return [metric for metric in dict.fromkeys(found) if metric not in usual and self.has(metric)]

    def has(self, metric: str) -> bool:
        """Whether an entry has a value of this score."""
        return any(metric in entry.scores and entry.scores[metric].mean is not None for entry in self.entries)

    @property
    def empty_columns(self) -> tuple[Column, ...]:
        """The columns that no entry has a value for."""
        return tuple(column for column in COLUMNS if column not in self.main_columns + self.more_columns)

    @property
    def choices(self) -> dict[str, list[Column]]:
        """The columns that a reader may choose, by part."""
        found: dict[str, list[Column]] = {}
        for column in self.more_columns:
            found.setdefault(PARTS.get(column.part, "Accuracy"), []).append(column)
        return found

    @cached_property
    def reach(self) -> int:
        """The end of the axis of interval bars, in per cent."""
        ends = [score.high or score.mean or 0.0 for entry in self.entries if (score := entry.worst_case)]
        return next(end for end in (5, 10, 20, 40, 60, 80, 100, 10**9) if 100 * max(ends, default=1.0) <= end)

    @cached_property
    def bands(self) -> list[tuple[int, bool]]:
        """For each entry, the number of its group of shared places, and whether it begins it."""
        bands: list[tuple[int, bool]] = []
        for at, each in enumerate(self.ranks):
            starts = at == 0 or each.place != self.ranks[at - 1].place
            bands.append((bands[-1][0] + starts if bands else 0, starts))
        return bands

    @cached_property
    def newest(self) -> str:
        """The day of the newest result."""
        return max(result.created for result in self.results).strftime("%Y-%m-%d")

    @cached_property
    def budget(self) -> str:
        """What its networks were given, the fewest to the most, and what all took, each on its own hardware."""
        records = [result.record for result in self.results]
        trained = [record.cost.train_seconds for record in records if record.cost.train_seconds is not None]
        parts = [f"{_between({record.dataset.train_size for record in records})} training images"]
        if epochs := {record.training.epochs for record in records if record.training}:
            parts.append(f"{_between(epochs)} epochs")
        if trained:
            parts.append(f"{duration(sum(trained))} of training")
        parts.append(f"{duration(sum(record.cost.evaluate_seconds for record in records))} of evaluation")
        return ", ".join(parts)

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
        return qualifiers(self.entries)

    @cached_property
    def by_defense(self) -> dict[str, list[Entry]]:
        """The entries of each defense."""
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            found.setdefault(entry.defense.name, []).append(entry)
        return found

    @property
    def compares_intervals(self) -> bool:
        """Whether some rank was decided by intervals, because per-image outcomes are missing."""
        return (
            any(entry.worst_case and entry.outcomes is None for entry in self.entries)
            and len(self.entries) > 1
        )


def make_boards(results: Iterable[Result], asked: tuple[str, ...] = ()) -> list[Board]:
    """Sort results into boards, these by data set and threat, largest evaluation first, then newest battery.

    Args:
        results: in any order.
        asked: scores that get a column beside the usual ones.

    Raises:
        UserError: for a score that no result has.
    """
    results = list(results)
    known = {name for result in results for name in result.record.metrics}
    for metric in asked:
        if metric not in known:
            raise unknown_name("score in these records", metric, known)
    together: dict[str, list[Entry]] = {}
    for entry in group(results):
        together.setdefault(json.dumps(board_identity(entry.results[0]), sort_keys=True), []).append(entry)
    boards = []
    for key in sorted(together):
        entries = order(together[key])
        boards.append(Board(tuple(entries), tuple(rank(entries)), asked))
    boards.sort(key=lambda b: (b.dataset, b.norm, b.radius, -b.n, b.battery, *_newest(b.version), b.page))
    return _distinguished(boards)


def _between(numbers: Set[int]) -> str:
    return "–".join(f"{number:,}" for number in sorted({min(numbers), max(numbers)}))


def _newest(version: str) -> tuple[int, str]:
    """What sorts later versions of a battery first."""
    return -int(version) if version.isdecimal() and len(version) < 19 else 0, version


def _hash_of(board: Board, boards: Sequence[Board]) -> str:
    """Digits of the hash on the protocol card that tells boards apart, else of all that they can differ in."""
    for word, part in (("subset", "evaluated"), ("data", "fingerprint")):
        if len({each.identity[part][:6] for each in boards}) == len(boards):
            return f"{word} {board.identity[part][:6]}"
    return f"data {short_hash(board.identity)[:6]}"


def _distinguished(boards: list[Board]) -> list[Board]:
    """The boards with a title each: by battery, images and, where these agree, digits of a hash."""
    alike: dict[str, list[Board]] = {}
    for board in boards:
        alike.setdefault(board.title.casefold(), []).append(board)
    named = []
    for board in boards:
        others = alike[board.title.casefold()]
        words = f"{board.battery} {board.version}, {count(board.n, 'image')}"
        same = [
            each
            for each in others
            if (each.battery, each.version, each.n) == (board.battery, board.version, board.n)
        ]
        if len(same) > 1:
            words += f", {_hash_of(board, same)}"
        named.append(replace(board, distinction=words) if len(others) > 1 else board)
    return named
