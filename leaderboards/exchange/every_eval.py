"""Results as aggregate files of Every Eval Ever, schema 0.3.0: one file for each trained network."""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bench.core.limits import range_of
from bench.core.names import TIME_PER_EPOCH, TIME_PER_EPOCH_RATIO
from bench.core.record import Score
from bench.core.standing import standing
from bench.version import __version__
from leaderboards.board import Board
from leaderboards.entry import Entry
from leaderboards.result import Result
from leaderboards.text import plain

SCHEMA = "0.3.0"
SOURCE = "regionbench"
#: Scores whose ends are quartiles, and no confidence interval.
_QUARTILES = (TIME_PER_EPOCH, TIME_PER_EPOCH_RATIO)


def evaluation_logs(
    boards: Iterable[Board], titles: Mapping[str, str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The path and the content of a file for every trained network of the boards.

    Args:
        titles: score → title.
    """
    for board in boards:
        for entry in board.entries:
            for result in entry.results:
                # The name must be a UUID of version 4; this one depends on the record alone.
                name = uuid.UUID(bytes=bytes.fromhex(result.digest)[:16], version=4)
                yield f"data/{SOURCE}/{SOURCE}/{entry.page}/{name}.json", _log(board, entry, result, titles)


def _log(board: Board, entry: Entry, result: Result, titles: Mapping[str, str]) -> dict[str, Any]:
    record = result.record
    moment = f"{result.created.timestamp():.0f}"
    stands = standing(record)
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"{SOURCE}-{record.battery.name}/{entry.page}/{moment}",
        "evaluation_timestamp": result.created.isoformat(),
        "retrieved_timestamp": moment,
        "source_metadata": {
            "source_name": SOURCE,
            "source_type": "evaluation_run",
            "source_organization_name": SOURCE,
            "evaluator_relationship": "first_party" if record.training else "third_party",
            "additional_details": {
                "record": record.id,
                "record_sha256": result.digest,
                "alarms_raised": ", ".join(stands.raised) or "none",
                "in_doubt": plain(stands.in_doubt),
            },
        },
        "eval_library": {
            "name": SOURCE,
            "version": record.provenance.versions.get(SOURCE, __version__),
            "additional_details": {"battery": f"{record.battery.name} {record.battery.version}"},
        },
        "model_info": {
            "name": f"{record.defense.name} on {record.model}",
            "id": f"{SOURCE}/{entry.page}",
            "developer": SOURCE if record.training else "unknown",
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown",
                "defense": record.defense.name,
                "architecture": record.model,
                "parameters": str(record.parameters),
                "seed": str(record.seed),
                "hyperparameters": json.dumps(record.defense.hyperparameters, sort_keys=True),
            },
        },
        "evaluation_results": [
            _result(board, result, name, score, titles.get(name, name))
            for name, score in record.metrics.items()
            if score.value is not None
        ],
    }


def _result(board: Board, result: Result, name: str, score: Score, title: str) -> dict[str, Any]:
    record = result.record
    least, most = range_of(name, score.unit)
    metric: dict[str, Any] = {
        "metric_id": f"{SOURCE}.{name}",
        "metric_name": title,
        "metric_unit": "proportion" if score.unit == "fraction" else score.unit,
        "lower_is_better": score.higher_is_better is False,
        "score_type": "continuous",
        "min_score": min(least, score.value or 0.0),
        "max_score": max(most, score.value or 0.0),
    }
    if score.higher_is_better is None:
        metric["additional_details"] = {"direction": "neither direction is better"}
    return {
        "evaluation_result_id": f"{record.id}/{name}",
        "evaluation_name": board.title,
        "source_data": {
            "dataset_name": board.dataset,
            "source_type": "other",
            "source_id": record.dataset.fingerprint,
            "additional_details": {
                "attacked_images": str(record.dataset.evaluated_size),
                "attacked_images_sha256": record.dataset.evaluated_fingerprint,
                "threat": f"{record.threat.norm}:{record.threat.eps}",
            },
        },
        "metric_config": metric,
        "score_details": {"score": score.value, **_uncertainty(name, score)},
    }


def _uncertainty(name: str, score: Score) -> dict[str, Any]:
    found: dict[str, Any] = {}
    uncertainty: dict[str, Any] = {} if score.n is None else {"num_samples": score.n}
    if score.low is not None and score.high is not None:
        if name in _QUARTILES:
            found["details"] = {"lower_quartile": repr(score.low), "upper_quartile": repr(score.high)}
        else:
            ends = {"lower": score.low, "upper": score.high, "confidence_level": 0.95}
            uncertainty["confidence_interval"] = ends
    if uncertainty:
        found["uncertainty"] = uncertainty
    return found
