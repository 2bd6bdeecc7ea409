"""A chart's table: every number that is drawn is in it, and nothing else."""

import csv
import io
import math
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bench.charts import Bars, Chart, Heatmap, Line, Points, Rule, Tiles
from bench.charts.table import COLUMNS, table
from tests.charts.examples import chart, everything, hostile, panel

NUMBERS = ("x", "x_end", "y", "low", "high")
finite = st.floats(allow_nan=False, allow_infinity=False)


def rows(chart: Chart) -> list[dict[str, str]]:
    return list(csv.DictReader(table(chart).splitlines()))


def numbers(value: Any) -> Iterator[float]:
    """Every number of a chart's own JSON that is drawn as one."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        yield float(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in ("contour",):
                yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)


def test_every_number_of_every_mark_is_in_the_table() -> None:
    chart = everything()
    found = {
        float(value)
        for row in rows(chart)
        for key, value in row.items()
        if value and (key in NUMBERS or (key.startswith("z") and row["label"] != "names"))
    }
    for panel_ in chart.panels:
        for mark in panel_.marks:
            for number in numbers(mark.model_dump()):
                assert number in found, (mark.kind, number)


def test_rows_say_panel_mark_kind_and_name() -> None:
    chart = Chart(
        name="a",
        title="t",
        panels=[
            panel(Rule(x=1), title="one"),
            panel(Rule(x=1), Points(name="p", x=[2], y=[3], labels=["q"]), title="two"),
        ],
    )
    last = rows(chart)[-1]
    assert last == dict.fromkeys(COLUMNS, "") | {
        "panel": "2",
        "title": "two",
        "mark": "2",
        "kind": "points",
        "name": "p",
        "label": "q",
        "x": "2.0",
        "y": "3.0",
    }


@given(st.lists(st.tuples(finite, st.none() | finite, st.none() | finite), min_size=1, max_size=5))
def test_numbers_come_back_bit_for_bit_and_gaps_stay_empty(
    points: list[tuple[float, float | None, float | None]],
) -> None:
    x, y, low = (list(column) for column in zip(*points, strict=True))
    line = Line(x=[float(value or 0) for value in x], y=y, low=low, high=low)
    read = rows(Chart(name="a", title="t", panels=[panel(line)]))
    for row, point in zip(read, points, strict=True):
        assert [float(row[key]) if row[key] else None for key in ("x", "y", "low")] == list(point)


def test_a_map_has_a_row_for_each_row_of_cells_below_its_places_and_names() -> None:
    mark = Heatmap(x=[1, 2], y=[3, 4], z=[[0, 1], [None, 5]], scale="categorical", names=["cat", "dog"])
    read = [(row["label"], row["y"], row["z0"], row["z1"]) for row in rows(chart(panel(mark)))]
    assert read == [
        ("x", "", "1.0", "2.0"),
        ("names", "", "cat", "dog"),
        ("", "3.0", "0.0", "1.0"),
        ("", "4.0", "", "5.0"),
    ]


def test_pictures_have_a_row_for_each_row_of_pixels_and_channel() -> None:
    gray = Tiles(captions=["a"], values=[[[0.0, 1.0], [2.0, 3.0]]])
    color = Tiles(captions=["a"], values=[[[[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]]])
    assert [
        (row["label"], row["y"], float(row["z0"]), float(row["z1"])) for row in rows(chart(panel(gray)))
    ] == [
        ("a", "0", 0, 1),
        ("a", "1", 2, 3),
    ]
    assert [(row["channel"], float(row["z0"]), float(row["z1"])) for row in rows(chart(panel(color)))] == [
        ("0", 0.1, 0.4),
        ("1", 0.2, 0.5),
        ("2", 0.3, 0.6),
    ]


def test_a_map_takes_a_few_characters_for_each_cell_whatever_the_length_of_its_title() -> None:
    plane = Heatmap(x=[at / 49 for at in range(50)], y=[at / 49 for at in range(50)], z=[[1.0] * 50] * 50)
    assert len(table(chart(panel(plane, title="t" * 100)))) < 50 * 50 * 8


def test_no_cell_is_a_formula() -> None:
    bars = Bars(name="=1+1", categories=["@cmd", "+1", "-x"], values=[-1, 2, 3])
    read = rows(Chart(name="a", title="t", panels=[panel(bars, title="=cmd()")]))
    assert {row["label"][0] for row in read} | {read[0]["name"][0], read[0]["title"][0]} == {"'"}
    assert float(read[0]["y"]) == -1
    assert all(math.isfinite(float(row["y"])) for row in read)


def test_hostile_names_stay_in_their_cells() -> None:
    text = table(hostile())
    read = list(csv.reader(text.splitlines(keepends=True)))
    columns = [*COLUMNS, "z0", "z1"]
    assert {len(row) for row in csv.reader(text.split("\n")) if row} == {len(columns)}
    assert read[0] == columns


def test_the_intervals_of_points_have_their_columns() -> None:
    spread = Points(x=[1, 2], y=[3, 4], low=[2, None], high=[5, None], x_low=[0, 1], x_high=[2, 3])
    first, second = csv.DictReader(io.StringIO(table(chart(panel(spread)))))
    assert [first[name] for name in ("low", "high", "x_low", "x_high")] == ["2.0", "5.0", "0.0", "2.0"]
    assert [second[name] for name in ("low", "high", "x_low", "x_high")] == ["", "", "1.0", "3.0"]
