"""A chart as an SVG file of its own."""

import base64
import io
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from bench.charts import Axis, Bars, Chart, Heatmap, Histogram, Line, Mark, Panel, Points, Tiles
from bench.charts.palette import map_colors
from bench.charts.svg.standalone import standalone
from tests.charts.examples import MARKS, chart, everything, hostile, panel

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


def shapes(mark: Mark, **fields: object) -> list[ElementTree.Element]:
    """Every element of a drawing of one mark."""
    return list(ElementTree.fromstring(standalone(chart(panel(mark, **fields)))[0]).iter())


def paths(elements: list[ElementTree.Element], kind: str) -> list[str]:
    return [each.get("d", "") for each in elements if kind in each.get("class", "").split()]


def pixels(element: ElementTree.Element) -> np.ndarray:
    content = base64.b64decode(element.get("href", "").removeprefix("data:image/png;base64,"))
    return np.array(Image.open(io.BytesIO(content)).convert("RGBA"))


def images(elements: list[ElementTree.Element]) -> list[ElementTree.Element]:
    return [each for each in elements if each.tag.endswith("}image")]


@pytest.mark.parametrize("name", MARKS)
def test_every_mark_is_drawn_inside_its_file_and_always_alike(name: str) -> None:
    for log in (False, True):
        made = chart(panel(MARKS[name], log=log, title=name))
        text, width, height = standalone(made)
        assert standalone(made)[0] == text
        for each in ElementTree.fromstring(text).iter():
            assert "nan" not in (each.get("d") or "") + (each.get("x") or "") + (each.get("width") or "")
        assert 0 < width < 2000
        assert 0 < height < 2000


def test_everything_and_any_text_is_a_file_without_markup_of_its_own() -> None:
    for made in (everything(), hostile()):
        text, *_ = standalone(made)
        assert "<script" not in text
        assert "<b>" not in text
        for each in ElementTree.fromstring(text).iter():
            assert not [name for name in each.attrib if name == "style" or name.startswith("on")]
            assert each.get("href", "data:image/png;base64,").startswith("data:image/png;base64,")


def test_a_map_has_a_pixel_for_each_cell_as_it_lies_on_the_axes() -> None:
    z: list[list[float | None]] = [[0, 1, None], [2, 3, 4]]
    mark = Heatmap(x=[0, 1, 2], y=[0, 1], z=z, scale="categorical", names=list("abcde"))
    elements = shapes(mark)
    (image,) = images(elements)
    colors = [tuple(int(color[at : at + 2], 16) for at in (1, 3, 5)) for color in map_colors(mark)]
    shown = pixels(image)
    # The lowest row of the map is the last one of its picture.
    assert shown.shape[:2] == (2, 3)
    assert [tuple(pixel[:3]) for pixel in shown[0]] == [colors[2], colors[3], colors[4]]
    assert [tuple(pixel[:3]) for pixel in shown[1, :2]] == [colors[0], colors[1]]
    assert shown[1, 2, 3] == 0
    keys = [each.text for each in elements if each.get("class") == "key"]
    assert keys == list("abcde")


def test_cells_of_unequal_size_keep_their_place() -> None:
    mark = Heatmap(x=[0, 1, 9], y=[0, 1], z=[[0, 1, 2], [0, 1, 2]], scale="categorical")
    (image,) = images(shapes(mark))
    row = [tuple(pixel) for pixel in pixels(image)[0]]
    # Edges lie at −0.5, 0.5, 5 and 13.
    shares = [row.count(color) / len(row) for color in dict.fromkeys(row)]
    assert np.allclose(shares, [1 / 13.5, 4.5 / 13.5, 8 / 13.5], atol=0.01)


def test_a_continuous_map_has_a_color_bar_with_its_unit_and_its_contour() -> None:
    x = np.linspace(-1, 1, 9).tolist()
    mark = Heatmap(x=x, y=x, z=[list(x)] * 9, scale="diverging", contour=0.0, unit="logits")
    elements = shapes(mark, square=True)
    field, bar = images(elements)
    assert float(field.get("width", 0)) == pytest.approx(float(field.get("height", 0)), abs=0.2)
    assert float(bar.get("x", 0)) > float(field.get("x", 0)) + float(field.get("width", 0))
    left, right = pixels(field)[0, 0], pixels(field)[0, -1]
    assert left[2] > left[0]
    assert right[0] > right[2]
    assert tuple(pixels(bar)[0, 0]) == tuple(right)
    (unit,) = (float(each.get("y", 0)) for each in elements if each.text == "logits")
    right_of = [each for each in elements if each.tag.endswith("text") and each.get("text-anchor") == "start"]
    ticks = [float(each.get("y", 0)) for each in right_of if each.text != "logits"]
    assert min(ticks) - unit > 14
    (contour,) = paths(elements, "contour")
    middle = float(field.get("x", 0)) + float(field.get("width", 0)) / 2
    assert [float(point.split()[0]) for point in contour[1:].split("L")] == pytest.approx(
        [middle] * 9, abs=0.11
    )


def test_bars_have_their_heights_and_their_intervals_and_stacked_ones_stand_on_each_other() -> None:
    mark = Bars(name="m", categories=["u", "v"], values=[1, 2], low=[0.5, 1.5], high=[1.5, 2.5])
    elements = shapes(mark)
    ends = [[float(each) for each in re.findall(r"[\d.]+(?=V|H)", d)] for d in paths(elements, "block")[:2]]
    heights = [foot - head for foot, head, *_ in ends]
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.3)
    assert len(paths(elements, "whisker")) == 2
    stacked = [Bars(name=name, categories=["u"], values=[1], stacked=True) for name in "ab"]
    text, *_ = standalone(chart(panel(*stacked)))
    lower, upper = (
        [float(each) for each in re.findall(r"(?<=V)[\d.]+", d)]
        for d in paths(list(ElementTree.fromstring(text).iter()), "block")[:2]
    )
    assert upper[1] == lower[0]


def test_long_names_below_bars_are_turned_and_stay_in_the_drawing() -> None:
    names = [f"{at}. a rather long name" for at in range(8)]
    text, _, height = standalone(chart(panel(Bars(categories=names, values=[1.0] * 8))))
    turned = [each for each in ElementTree.fromstring(text).iter() if each.get("transform")]
    assert len(turned) == 8
    for each in turned:
        shown = each.text or ""
        assert float(each.get("x", 0)) - 0.57 * 7.2 * len(shown) >= -1
        assert float(each.get("y", 0)) + 0.82 * 7.2 * len(shown) < height


def test_a_histogram_is_its_stairs_on_the_axis() -> None:
    elements = shapes(Histogram(name="h", edges=[0, 1, 2], values=[1, 3]))
    (area,) = [d for d in paths(elements, "area") if not d.startswith("M0 0H20")]
    foot, first, second, last = (float(each) for each in re.findall(r"(?<=V)[\d.]+|(?<= )[\d.]+(?=V)", area))
    assert foot == last
    assert foot - second == pytest.approx(3 * (foot - first), abs=0.3)


def test_small_pictures_have_their_captions_in_full_lines() -> None:
    mark = Tiles(
        captions=["a short one", "five words in two lines"], values=np.eye(4)[None].repeat(2, 0).tolist()
    )
    elements = shapes(mark)
    assert len(images(elements)) == 2
    texts = [each.text for each in elements if each.tag.endswith("}text")]
    assert "a short one" in texts
    assert "x (m)" not in texts
