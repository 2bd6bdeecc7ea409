"""One row of a board: the networks that differ in their training seed alone."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np

from bench.core import places
from bench.core.names import HYPERVOLUME, WORST_CASE
from bench.core.places import entry_identity, entry_page
from bench.core.record import Alarm, Defense, Record, Score, Search
from bench.core.standing import Standing, findings, standing
from leaderboards.lowest import lowest_known
from leaderboards.result import Result


@dataclass(frozen=True, slots=True)
class Summary:
    """One score of an entry, over its training seeds.

    The interval covers the choice of test images and `std` the choice of training seed; they are never
    mixed. Over several seeds the interval's ends are the means of the seeds' own ends. As all seeds share
    their test images and the standard error of a mean is at most the mean of the standard errors, that
    interval errs on the wide side.

    Attributes:
        mean: mean over the seeds that have a value; None when none has.
        std: sample standard deviation over those seeds; None for a single one.
        low, high: 95 % interval; None when a seed gives none.
        n: examples behind each seed's value (the fewest).
        unit: unit of the value.
        higher_is_better: None where neither direction is better.
        seeds: how many seeds have a value.
        reason: why seeds have none.
    """

    mean: float | None
    std: float | None
    low: float | None
    high: float | None
    n: int | None
    unit: str
    higher_is_better: bool | None
    seeds: int
    reason: str


@dataclass(frozen=True)
class EntryAlarm:
    """An alarm of an entry: in how many of its seeds it was raised and could be checked."""

    name: str
    raised: int
    checked: int
    seeds: int
    details: tuple[tuple[int, Alarm], ...]

    @property
    def findings(self) -> list[tuple[list[int], Alarm]]:
        """The distinct findings, each with its seeds."""
        found: list[tuple[list[int], Alarm]] = []
        for seed, alarm in self.details:
            same = next((seeds for seeds, other in found if other == alarm), None)
            if same is None:
                found.append(([seed], alarm))
            else:
                same.append(seed)
        return found

    @property
    def label(self) -> str:
        """The text of the badge."""
        name = self.name.replace("_", " ")
        return f"{name} ({self.raised} of {self.seeds} seeds)" if 0 < self.raised < self.seeds else name


@dataclass(frozen=True)
class Entry:
    """One row of a board and its page.

    Attributes:
        results: the newest result of every seed, by seed.
        superseded: older results for the same seeds, newest first.
    """

    results: tuple[Result, ...]
    superseded: tuple[Result, ...] = ()

    @property
    def record(self) -> Record:
        """The first seed's record; all seeds share what identifies the entry."""
        return self.results[0].record

    @property
    def defense(self) -> Defense:
        """Defense and hyper-parameters."""
        return self.record.defense

    @property
    def model(self) -> str:
        """Name of the network."""
        return self.record.model

    @property
    def seeds(self) -> tuple[int, ...]:
        """The training seeds."""
        return tuple(result.record.seed for result in self.results)

    @property
    def tuning(self) -> str:
        """Where the hyper-parameters come from."""
        if not self.defense.hyperparameters:
            return ""
        if self.defense.search is not None:
            return "tuned"
        return "defaults" if self.defense.hyperparameters == self.defense.defaults else "set by hand"

    @property
    def updated(self) -> datetime:
        """When its newest result was made, in UTC."""
        return max(result.created for result in self.results)

    @property
    def date(self) -> str:
        """The day of its newest result."""
        return self.updated.strftime("%Y-%m-%d")

    @cached_property
    def page(self) -> str:
        """File name of its page, without suffix."""
        return entry_page(self.record)

    @cached_property
    def scores(self) -> dict[str, Summary]:
        """Every metric that any seed has, by name; and the hypervolume over its searches for a front."""
        names = sorted({name for result in self.results for name in result.record.metrics})
        found = {
            name: summarize([(r.record.seed, r.record.metrics.get(name)) for r in self.results])
            for name in names
        }
        fronts = [(seeds[0], search.front.hypervolume) for search, seeds in self.searches if search.front]
        return {**found, HYPERVOLUME: summarize(fronts)} if fronts else found

    @cached_property
    def searches(self) -> list[tuple[Search, list[int]]]:
        """The different searches behind it, each with the seeds that used it."""
        found: list[tuple[Search, list[int]]] = []
        for result in self.results:
            search = result.record.defense.search
            same = next((seeds for other, seeds in found if other == search), None)
            if same is not None:
                same.append(result.record.seed)
            elif search is not None:
                found.append((search, [result.record.seed]))
        return found

    @property
    def worst_case(self) -> Summary | None:
        """The score that entries are ranked by."""
        score = self.scores.get(WORST_CASE)
        return score if score is not None and score.mean is not None else None

    @cached_property
    def outcomes(self) -> np.ndarray | None:
        """bool [seeds, n], which test images no attack broke; None unless every seed kept its arrays."""
        arrays = [result.outcomes for result in self.results if result.outcomes is not None]
        return np.stack(arrays) if len(arrays) == len(self.results) else None

    @cached_property
    def alarms(self) -> tuple[EntryAlarm, ...]:
        """Its alarms, the raised ones first."""
        details: dict[str, list[tuple[int, Alarm]]] = {}
        for result in self.results:
            for alarm in result.record.alarms:
                details.setdefault(alarm.name, []).append((result.record.seed, alarm))
        alarms = [
            EntryAlarm(
                name=name,
                raised=sum(alarm.raised is True for _, alarm in found),
                checked=sum(alarm.raised is not None for _, alarm in found),
                seeds=len(self.results),
                details=tuple(found),
            )
            for name, found in sorted(details.items())
        ]
        return tuple(sorted(alarms, key=lambda alarm: (alarm.raised == 0, alarm.name)))

    @property
    def raised(self) -> tuple[EntryAlarm, ...]:
        """The alarms that at least one seed raised."""
        return tuple(alarm for alarm in self.alarms if alarm.raised)

    @property
    def extra_data(self) -> bool | None:
        """Whether it was trained on more than the training images of the data set; None where nobody says so."""
        if self.record.training:
            return False
        stated = self.record.provenance.config.get("extra_data")
        return stated if isinstance(stated, bool) else None

    @cached_property
    def standings(self) -> tuple[Standing, ...]:
        """How the worst case of each seed stands."""
        return tuple(standing(result.record) for result in self.results)

    @property
    def in_doubt(self) -> bool:
        """Whether a raised alarm of a seed has no answer, so that the entry has no place."""
        return any(each.in_doubt for each in self.standings)

    @property
    def answers(self) -> tuple[str, ...]:
        """What answered the raised alarms, in words, or that nothing did; empty where none was raised."""
        return findings(self.seeds, self.standings)

    @property
    def unchecked(self) -> tuple[EntryAlarm, ...]:
        """The alarms that were not raised and that some seed could not check."""
        return tuple(a for a in self.alarms if not a.raised and a.checked < a.seeds)


def identity(result: Result) -> dict[str, Any]:
    """What makes two results seeds of one entry; see `entry_identity`."""
    return entry_identity(result.record)


def board_identity(result: Result) -> dict[str, Any]:
    """What results must share to be compared on one board, as plain JSON."""
    return places.board_identity(result.record)


def group(results: Iterable[Result]) -> list[Entry]:
    """Put results that differ in their seed alone into one entry, which shows the newest of each seed.

    Args:
        results: in any order; the entries do not depend on it.
    """
    together: dict[str, dict[int, list[Result]]] = {}
    for result in results:
        key = json.dumps(identity(result), sort_keys=True)
        together.setdefault(key, {}).setdefault(result.record.seed, []).append(result)
    entries = []
    for key in sorted(together):
        newest, older = [], []
        for seed in sorted(together[key]):
            ordered = sorted(together[key][seed], key=_age, reverse=True)
            newest.append(lowest_known(ordered[0], ordered[1:]))
            older += ordered[1:]
        entries.append(Entry(tuple(newest), tuple(sorted(older, key=_age, reverse=True))))
    return entries


def summarize(scores: Sequence[tuple[int, Score | None]]) -> Summary:
    """Mean and standard deviation over seeds, beside the mean of the seeds' intervals.

    Args:
        scores: (seed, score) pairs; a score is None where the record lacks the metric.
    """
    if len(scores) == 1 and (only := scores[0][1]) is not None:
        return _summary_of_one(only)
    known = [score for _, score in scores if score is not None]
    valued = [score for score in known if score.value is not None]
    values = [score.value for score in valued if score.value is not None]
    lows = [score.low for score in valued if score.low is not None]
    highs = [score.high for score in valued if score.high is not None]
    bounded = bool(values) and len(lows) == len(highs) == len(values)
    sizes = [score.n for score in valued or known if score.n is not None]
    return Summary(
        mean=statistics.fmean(values) if values else None,
        std=statistics.stdev(values) if len(values) > 1 else None,
        low=statistics.fmean(lows) if bounded else None,
        high=statistics.fmean(highs) if bounded else None,
        n=min(sizes, default=None),
        unit=known[0].unit,
        higher_is_better=known[0].higher_is_better,
        seeds=len(values),
        reason=_reason(scores),
    )


def _summary_of_one(score: Score) -> Summary:
    bounded = score.value is not None and score.low is not None and score.high is not None
    return Summary(
        mean=score.value,
        std=None,
        low=score.low if bounded else None,
        high=score.high if bounded else None,
        n=score.n,
        unit=score.unit,
        higher_is_better=score.higher_is_better,
        seeds=int(score.value is not None),
        reason=score.reason,
    )


def _reason(scores: Sequence[tuple[int, Score | None]]) -> str:
    reasons: dict[str, list[int]] = {}
    for seed, score in scores:
        text = "not in the record" if score is None else score.reason
        if text:
            reasons.setdefault(text, []).append(seed)
    parts = []
    for text, seeds in reasons.items():
        which = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}: "
        parts.append(text if len(seeds) == len(scores) else which + text)
    return "; ".join(parts)


def _age(result: Result) -> tuple[Any, str, str]:
    return result.created, result.record.id, result.digest
