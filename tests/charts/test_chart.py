"""What a chart may hold, and that it comes back from disk as it was."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bench.charts import Axis, Tiles, load_chart
from bench.charts.topics import OTHERS, by_topic, topic
from bench.core.errors import UserError
from tests.charts.examples import everything


def test_a_chart_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    everything().save(tmp_path / "a.json")
    assert load_chart(tmp_path / "a.json") == everything()


@pytest.mark.parametrize(
    "values",
    [
        [[[1.0, 2.0], [3.0]]],
        [[]],
        [[[]]],
        [[[[0.1, 0.2]]]],
        [[[1.0]], [[[0.1, 0.2, 0.3]]]],
        [[[1.0]], [[2.0]], [[3.0]]],
    ],
)
def test_pictures_that_are_no_grid_of_numbers_or_colors_are_refused(values: Any) -> None:
    with pytest.raises(ValidationError):
        Tiles(captions=["a", "b"][: len(values)], values=values)


@pytest.mark.parametrize(
    "fields",
    [
        {"log": True, "low": 0},
        {"log": True, "high": -1},
        {"tick_labels": ["a"]},
        {"ticks": [1], "tick_labels": ["a", "b"]},
    ],
)
def test_an_axis_that_cannot_be_drawn_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Axis(**fields)


def test_a_file_that_is_no_chart_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"name": "A B", "title": "t", "panels": []}')
    with pytest.raises(UserError, match=r"a\.json is not a valid chart"):
        load_chart(tmp_path / "a.json")


def test_figures_stand_under_the_topic_that_their_names_begin_with() -> None:
    assert topic("detection_roc") == topic("regionsx") == OTHERS
    names = ["odd", "curvature-b", "attacks", "regions-a", "security", "training", "curvature-a", "surface-1"]
    assert list(by_topic(names).items()) == [
        ("Training, security and attacks", ["training", "security", "attacks"]),
        ("Decision regions", ["regions-a"]),
        ("Loss and decision surfaces", ["surface-1"]),
        ("Curvature", ["curvature-a", "curvature-b"]),
        (OTHERS, ["odd"]),
    ]
