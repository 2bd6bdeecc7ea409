"""Alarms as SARIF 2.1.0: a rule for each alarm, a result for each record that it was raised or checked on."""

from collections.abc import Iterable
from typing import Any

from bench.version import __version__
from leaderboards.board import Board
from leaderboards.entry import Entry
from leaderboards.result import Result

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
#: Whether an alarm was raised → level and kind of its result.
_KINDS = {True: ("warning", "fail"), False: ("none", "pass"), None: ("none", "notApplicable")}


def sarif_log(boards: Iterable[Board]) -> dict[str, Any]:
    """All alarms of the boards as one log; locations are the records as the site publishes them."""
    found = [
        (board, entry, result) for board in boards for entry in board.entries for result in entry.results
    ]
    names = sorted({alarm.name for _, _, result in found for alarm in result.record.alarms})
    rules = {name: at for at, name in enumerate(names)}
    results = [each for board, entry, result in found for each in _results(board, entry, result, rules)]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "regionbench",
                        "semanticVersion": __version__,
                        "rules": [_rule(name) for name in names],
                    }
                },
                "results": results,
            }
        ],
    }


def _rule(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "shortDescription": {"text": name},
        "defaultConfiguration": {"level": "warning"},
    }


def _results(board: Board, entry: Entry, result: Result, rules: dict[str, int]) -> Iterable[dict[str, Any]]:
    for alarm in result.record.alarms:
        level, kind = _KINDS[alarm.raised]
        numbers = {name: value for name, value in alarm.numbers.items() if value is not None}
        yield {
            "ruleId": alarm.name,
            "ruleIndex": rules[alarm.name],
            "level": level,
            "kind": kind,
            "message": {"text": alarm.message or alarm.name},
            "locations": [
                {
                    "physicalLocation": {"artifactLocation": {"uri": f"records/{result.file}"}},
                    "logicalLocations": [
                        {"name": result.record.id, "fullyQualifiedName": f"{board.title}/{entry.page}"}
                    ],
                }
            ],
            "partialFingerprints": {"record/v1": result.digest},
            "properties": {"numbers": numbers, "board": board.title, "seed": result.record.seed},
        }
