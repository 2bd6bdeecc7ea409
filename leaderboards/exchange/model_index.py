"""Entries as the `model-index` of a model card on the Hugging Face Hub: one YAML file for each entry."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bench.core.names import slug
from leaderboards.board import Board
from leaderboards.entry import Entry, Summary
from leaderboards.text import is_percent


def model_indexes(boards: Iterable[Board], titles: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The path and the content of a file for every entry; accuracies are in per cent.

    Args:
        titles: score → title; scores without one are left out.
    """
    for board in boards:
        for entry in board.entries:
            results = [
                _result(board, entry, name, titles[name], score)
                for name, score in entry.scores.items()
                if name in titles and score.mean is not None
            ]
            if results:
                index = [{"name": f"{entry.defense.name} on {entry.model}", "results": results}]
                yield f"{entry.page}.yaml", {"model-index": index}


def _result(board: Board, entry: Entry, name: str, title: str, score: Summary) -> dict[str, Any]:
    scale = 100 if is_percent(name, score.unit) else 1

    def written(value: float | None) -> float | None:
        return None if value is None else float(f"{scale * value:.6g}")

    metric: dict[str, Any] = {
        "type": "accuracy" if scale == 100 else slug(name),
        "value": written(score.mean),
        "name": f"{title}, %" if scale == 100 else f"{title}, {score.unit}",
    }
    if score.low is not None and score.high is not None:
        metric["config"] = f"interval {written(score.low)} to {written(score.high)}"
    return {
        "task": {"type": "image-classification", "name": "Image classification under attack"},
        "dataset": {
            "type": slug(board.dataset),
            "name": f"{board.title}, battery {board.battery} {board.version}",
            "split": "test",
        },
        "metrics": [metric],
    }
