"""Candidates of a comparison: the networks of one defense, from records or from a board's JSON export."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.core.errors import UserError
from bench.core.files import read_json
from bench.core.limits import exact_number
from bench.core.names import CLEAN_ACCURACY, WORST_CASE, is_accuracy
from bench.core.record import find_records, read_arrays
from bench.core.standing import VERDICT
from leaderboards.entry import Entry, Summary, board_identity, group
from leaderboards.result import read_results

BOARD_FORMAT = "regionbench.board/"


@dataclass(frozen=True)
class Candidate:
    """One side of a comparison: the networks of one defense that differ only in their training seed.

    Attributes:
        name: defense, network and seeds.
        key: equal for the same defense, network and setting on another board.
        board: the properties that results must share to be compared.
        scores: accuracies over the seeds, by metric.
        outcomes: bool [seeds, n] by metric, where every seed stores them.
        settings: the settings of each metric; empty where unknown.
        alarms: the raised alarms and what answered them, in words; "" where none is known to be raised.
        raises: whether alarms are raised, answered or not.
        in_doubt: whether a raised alarm has no answer.
        lowest: bool [seeds, n], images that nothing known broke, extra checks included; None where unknown.
    """

    name: str
    key: tuple[str, ...]
    board: Mapping[str, Any]
    scores: Mapping[str, Summary]
    outcomes: Mapping[str, np.ndarray] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    alarms: str = ""
    raises: bool = False
    in_doubt: bool = False
    lowest: np.ndarray | None = None


def read_candidates(path: Path) -> list[Candidate]:
    """Read the candidates of a record, a folder of records, or a board's JSON export.

    Raises:
        UserError: when there is no candidate, or the export is malformed.
    """
    if path.is_file():
        content = read_json(path)
        if isinstance(content, dict) and str(content.get("format", "")).startswith(BOARD_FORMAT):
            return _from_export(content, path)
    paths = find_records(path)
    results, warnings = read_results(paths, strict=path.is_file(), unattacked=True)
    if not results:
        why = warnings[0] if warnings else "expected a record, a folder of records, or a board's JSON export"
        raise UserError(f"no results in {path}: {why}")
    return [_from_entry(entry) for entry in group(results)]


def _from_entry(entry: Entry) -> Candidate:
    names = [name for name in entry.scores if is_accuracy(name)]
    board = board_identity(entry.results[0])
    stored = [read_arrays(result.path, result.record) for result in entry.results]
    outcomes = {}
    for name in names:
        arrays = [_outcomes(arrays, name) for arrays in stored]
        kept = [array for array in arrays if array is not None]
        if len(kept) == len(stored) and len({len(array) for array in kept}) == 1:
            outcomes[name] = np.stack(kept)
    # The lowest number known, which extra checks or an earlier evaluation may have found.
    if WORST_CASE in outcomes and entry.outcomes is not None:
        outcomes[WORST_CASE] = entry.outcomes
    else:
        outcomes.pop(WORST_CASE, None)
    seeds = f"seed{'s' if len(entry.seeds) > 1 else ''} {', '.join(map(str, entry.seeds))}"
    return Candidate(
        name=f"{entry.defense.name}, {entry.model}, {seeds}",
        key=_key(entry.defense.name, entry.model, entry.defense.hyperparameters, board),
        board=board,
        scores={name: entry.scores[name] for name in names},
        outcomes=outcomes,
        settings=entry.record.battery.settings,
        alarms=alarms_in_words(
            [alarm.label for alarm in entry.raised if alarm.name != VERDICT], entry.answers
        ),
        raises=any(standing.raised for standing in entry.standings),
        in_doubt=entry.in_doubt,
        lowest=entry.outcomes,
    )


def alarm_notes(a: Candidate, b: Candidate) -> Iterable[str]:
    """What each side's alarms say, where one raises any."""
    for name, side, other in (("A", a, b), ("B", b, a)):
        if side.alarms:
            doubt = "in doubt, its numbers in parentheses; " if side.in_doubt else ""
            yield f"{name}: {doubt}alarms raised: {side.alarms}"
        elif other.alarms:
            yield f"{name}: no alarm raised"


def alarms_in_words(labels: Sequence[str], answers: Sequence[str]) -> str:
    """Raised alarms and what answered them; "" without an alarm."""
    found = ", ".join(labels)
    return f"{found} ({'; '.join(answers)})" if labels and answers else found


def _outcomes(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray | None:
    """Outcomes of an accuracy on the attacked images, or None. Those of clean accuracy cover the whole test set."""
    array = arrays.get(name)
    if array is None or array.dtype != bool or array.ndim != 1:
        return None
    index = arrays.get("test_index")
    if name == CLEAN_ACCURACY:
        return array[index] if index is not None and len(index) and int(index.max()) < len(array) else None
    return array


def _from_export(content: Mapping[str, Any], path: Path) -> list[Candidate]:
    try:
        shared = ("dataset", "fingerprint", "evaluated", "norm", "eps", "battery", "version")
        board = {key: content[key] for key in shared}
        exact_number(board["eps"])
        return [
            Candidate(
                name=f"{entry['defense']}, {entry['model']}, {len(entry['seeds'])} seeds",
                key=_key(entry["defense"], entry["model"], entry["hyperparameters"], board),
                board=board,
                scores={
                    name: _summary(score) for name, score in entry["scores"].items() if is_accuracy(name)
                },
                **_alarms_from_export(entry),
            )
            for entry in content["entries"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise UserError(f"{path} is not a board of this version: {error} is missing or malformed") from None


def _alarms_from_export(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The alarms of an exported entry; exports of earlier versions say neither answers nor doubt."""
    alarms = entry.get("alarms", {})
    raised = [str(name) for name, alarm in alarms.items() if alarm["raised"] and name != VERDICT]
    answered = VERDICT in alarms
    answers = entry.get("answers", [VERDICT if answered else "no extra checks ran"])
    doubt = bool(entry.get("in_doubt", raised and not answered))
    return {"alarms": alarms_in_words(raised, answers), "raises": bool(raised), "in_doubt": doubt}


def _summary(score: Mapping[str, Any]) -> Summary:
    # What has no value is left out; earlier versions wrote null.
    for key in ("value", "low", "high"):
        if score.get(key) is not None and not 0 <= score[key] <= 1:
            raise ValueError(f"{key} = {score[key]}")
    if score.get("n") is not None and not score["n"] >= 1:
        raise ValueError(f"n = {score['n']}")
    kept = {key: score.get(key) for key in ("std", "low", "high", "n")}
    return Summary(
        mean=score.get("value"),
        higher_is_better=True,
        unit=score["unit"],
        seeds=score["seeds"],
        reason=score.get("reason") or "",
        **kept,
    )


def _key(
    defense: str, model: str, hyperparameters: Mapping[str, Any], board: Mapping[str, Any]
) -> tuple[str, ...]:
    setting = json.dumps(hyperparameters, sort_keys=True, default=str)
    return defense, model, setting, str(board["dataset"]), str(board["norm"]), str(board["eps"])
