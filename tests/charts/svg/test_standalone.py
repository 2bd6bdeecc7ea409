"""A chart as an SVG file of its own."""

import xml.etree.ElementTree as ElementTree

import pytest

from bench.charts import Axis, Bars, Chart, Line, Panel, Points
from bench.charts.svg.standalone import is_drawable, standalone

LINES = Panel(
    title="A & B",
    x=Axis(label="x < 1"),
    marks=[Line(name="first", x=[0, 1], y=[1, 2]), Points(name="second", x=[0.5], y=[1.5], labels=["p"])],
)


@pytest.mark.parametrize("panels", [1, 2, 5])
def test_the_file_is_xml_with_every_panel_and_key_and_both_themes(panels: int) -> None:
    chart = Chart(name="c", title="C", panels=[LINES] * panels)
    text, width, height = standalone(chart)
    root = ElementTree.fromstring(text)
    assert (root.get("width"), root.get("height")) == (str(width), str(height))
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert texts.count("A & B") == panels
    assert {"first", "second", "x < 1", "p"} <= set(texts)
    assert "prefers-color-scheme: dark" in text
    assert standalone(chart)[0] == text


def test_other_marks_are_left_to_pictures() -> None:
    bars = Chart(name="b", title="B", panels=[Panel(marks=[Bars(categories=["a"], values=[1.0])])])
    assert not is_drawable(bars)
    assert is_drawable(Chart(name="c", title="C", panels=[LINES]))
