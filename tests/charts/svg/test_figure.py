"""What a reader sees of a chart in a page: the SVG, its legend, its tooltips and its table."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bench.charts import Axis, Bars, Chart, Histogram, Line, Mark, Panel, Points, Rule
from bench.charts.svg.drawing import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from bench.charts.svg.figure import figure
from bench.charts.svg.panel import MANY
from bench.charts.svg.scale import Scale
from tests.charts.examples import MARKS, NASTY

numbers = st.floats(-1e9, 1e9)
points = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12)


def chart(*marks: Mark, x: Axis | None = None, y: Axis | None = None) -> Chart:
    panel = Panel(x=x or Axis(label="across"), y=y or Axis(label="up"), marks=[*marks])
    return Chart(name="example", title="What it shows", caption="How to read it.", panels=[panel])


def drawn(*marks: Mark, x: Axis | None = None, y: Axis | None = None) -> ElementTree.Element:
    """The figure, which is well-formed XML too."""
    return ElementTree.fromstring(figure(chart(*marks, x=x, y=y)))


def paths(root: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    """The paths of a kind in the drawing, not those of the legend."""
    drawing = root.find(".//svg")
    assert drawing is not None
    return [path for path in drawing.iter("path") if path.attrib["class"].split()[0] == kind]


def starts(root: ElementTree.Element, kind: str) -> list[tuple[float, float]]:
    found = [re.match(r"M(-?[\d.]+) (-?[\d.]+)", path.attrib["d"]) for path in paths(root, kind)]
    return [(float(match[1]), float(match[2])) for match in found if match]


def ticks(root: ElementTree.Element, anchor: str) -> list[str | None]:
    return [
        text.text
        for text in root.iter("text")
        if text.attrib["class"] == "tick" and text.attrib["text-anchor"] == anchor
    ]


def table(root: ElementTree.Element) -> list[list[str]]:
    rows = [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]
    assert rows
    return rows


@given(numbers, st.floats(1e-6, 1e9))
def test_ticks_are_evenly_spaced_and_enclose_the_data(low: float, span: float) -> None:
    assume(span > 1e-9 * abs(low))
    assume(not low.is_integer() or not (low + span).is_integer())  # whole numbers have whole ticks, if few
    scale = Scale(Panel(marks=[Points(x=[low, low + span], y=[0, 1])]), "x", 0, 1000)
    places = [place for place, _ in scale.ticks]
    slack = 1e-3 + 1e-6 * abs(low) / span
    assert places[0] <= scale.at(low) + slack
    assert places[-1] >= scale.at(low + span) - slack
    assert np.diff(places) == pytest.approx(np.diff(places)[0], abs=slack)
    assert 3 <= len(places) <= 9


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.001, 1, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (1, 12, ["0", "2", "4", "6", "8", "10", "12"]),
        (1, 3, ["1", "2", "3"]),
        (-0.4, 0.3, ["−0.4", "−0.2", "0", "0.2", "0.4"]),
        (0.88, 1.01, ["0.875", "0.900", "0.925", "0.950", "0.975", "1.000", "1.025"]),
        (9.82, 10.06, ["9.80", "9.85", "9.90", "9.95", "10.00", "10.05", "10.10"]),
        (5000, 20000, ["5,000", "7,500", "10,000", "12,500", "15,000", "17,500", "20,000"]),
    ],
)
def test_ticks_are_round_numbers_and_whole_for_epochs(low: float, high: float, labels: list[str]) -> None:
    assert ticks(drawn(Line(x=[low, high], y=[0.5, 0.7])), "middle") == labels


def test_a_logarithmic_axis_has_powers_of_ten_and_leaves_out_what_is_not_above_zero() -> None:
    root = drawn(Line(x=[0, 1, 100, 10000], y=[1, 2, 3, 4], markers=True), x=Axis(log=True))
    assert ticks(root, "middle") == ["1", "10", "100", "1,000", "10,000"]
    assert [x for x, _ in starts(root, "dot")] == [LEFT, (LEFT + RIGHT) / 2, RIGHT]


def test_an_axis_keeps_the_ends_and_ticks_that_the_chart_gives() -> None:
    root = drawn(
        Points(x=[1], y=[40]), x=Axis(ticks=[0, 1, 2], tick_labels=["a", "b", "c"]), y=Axis(low=0, high=100)
    )
    assert ticks(root, "middle") == ["a", "b", "c"]
    assert ticks(root, "end") == ["0", "20", "40", "60", "80", "100"]


@given(points)
def test_every_point_lies_inside_the_axes(data: list[tuple[float, float]]) -> None:
    x, y = map(list, zip(*data, strict=True))
    marks = starts(drawn(Points(x=x, y=y), Line(x=sorted(x), y=y)), "dot")
    assert len(marks) >= len(data)
    for across, up in marks:
        assert LEFT <= across <= RIGHT
        assert TOP <= up <= BOTTOM


def test_a_line_goes_through_its_points() -> None:
    (line,) = paths(drawn(Line(x=[0, 5, 10], y=[0, 50, 100])), "line")
    middle = f"{(LEFT + RIGHT) / 2:g} {(TOP + BOTTOM) / 2:g}"
    assert line.attrib["d"] == f"M{LEFT} {BOTTOM}L{middle}L{RIGHT} {TOP}"


def test_a_gap_parts_a_line_and_a_lonely_point_is_marked() -> None:
    root = drawn(Line(x=[0, 1, 2, 3, 4], y=[0, 1, None, 2, None]))
    assert len(paths(root, "line")) == 1
    assert len(paths(root, "dot")) == 1


def test_steps_hold_a_value_until_the_next() -> None:
    (line,) = paths(drawn(Line(x=[0, 10], y=[0, 100], step=True)), "line")
    assert line.attrib["d"] == f"M{LEFT} {BOTTOM}L{RIGHT} {BOTTOM}L{RIGHT} {TOP}"


def test_intervals_are_bands_around_lines_and_bars_across_points() -> None:
    line = Line(name="a", x=[0, 10], y=[50, 60], low=[0, 40], high=[100, 80])
    (band,) = paths(drawn(line), "band")
    assert band.attrib["d"].startswith(f"M{LEFT} {TOP}L")
    assert band.attrib["d"].endswith(f"L{LEFT} {BOTTOM}z")
    spread = Points(name="b", x=[5], y=[50], x_low=[0], x_high=[10], low=[0], high=[None])
    (bar,) = paths(drawn(spread, Points(x=[5], y=[0])), "bar")
    assert re.fullmatch(rf"M{LEFT} [\d.]+L{RIGHT} [\d.]+", bar.attrib["d"])


def test_lines_of_one_name_share_a_style_and_a_place_in_the_legend() -> None:
    root = drawn(
        Line(name="accuracy", x=[1, 2], y=[1, 2], detail="seed 0"),
        Line(name="loss", x=[1, 2], y=[3, 1], detail="seed 0"),
        Line(name="accuracy", x=[1, 2], y=[2, 3], detail="seed 1"),
    )
    legend = root.find("ul")
    assert legend is not None
    assert ["".join(item.itertext()).strip() for item in legend] == ["accuracy", "loss"]
    assert [path.attrib["class"] for path in paths(root, "line")] == ["line s0", "line s1", "line s0"]
    assert len({path.attrib.get("stroke-dasharray") for path in paths(root, "line")}) == 2
    assert table(root)[0] == ["across", "accuracy, seed 0", "loss, seed 0", "accuracy, seed 1"]


def test_pointing_at_a_point_tells_what_it_is_and_its_numbers() -> None:
    root = drawn(
        Points(name="net", x=[1], y=[2.5], labels=["defense"]),
        Line(name="line", detail="seed 3", x=[1, 2], y=[-1, 1200], markers=True),
    )
    tooltips = [path.findtext("title") for path in paths(root, "dot")]
    assert tooltips == ["defense, net: 1, 2.5", "line, seed 3: 1, −1", "line, seed 3: 2, 1,200"]


def test_the_table_holds_every_point_and_a_dash_where_a_line_has_none() -> None:
    root = drawn(
        Line(name="a", x=[1, 2], y=[10, 20], low=[9, None], high=[11, None]), Line(name="b", x=[2], y=[5])
    )
    assert table(root) == [["across", "a", "b"], ["1", "10.0 (9.0 to 11.0)", "—"], ["2", "20", "5"]]


def test_the_table_names_points_and_those_that_a_line_goes_through() -> None:
    root = drawn(
        Points(name="net", x=[1, 2], y=[5, 6], labels=["first", "second"], low=[4, 5], high=[6, 7]),
        Line(name="front", x=[2], y=[6]),
    )
    assert table(root) == [
        ["Point", "Series", "across", "up"],
        ["first", "net", "1", "5.0 (4.0 to 6.0)"],
        ["second", "net", "2", "6.0 (5.0 to 7.0)"],
        ["second", "front", "2", "6"],
    ]


def test_very_many_points_have_neither_tooltips_nor_a_table() -> None:
    values = [float(at) for at in range(MANY + 1)]
    root = drawn(Points(name="net", x=values, y=values, labels=["x"] * len(values)))
    (dots,) = paths(root, "dot")
    assert dots.attrib["d"].count("M") == len(values)
    assert root.find(".//title") is None
    assert root.find(".//table") is None


@pytest.mark.parametrize("data", [[(3, 7)], [(1, 0), (2, 0)], [(1, 1e-320), (2, 0)]])
def test_a_constant_and_a_single_point_can_be_drawn(data: list[tuple[float, float]]) -> None:
    x, y = map(list, zip(*data, strict=True))
    dots = starts(drawn(Line(x=x, y=y, markers=True)), "dot")
    assert len(dots) == len(data)
    assert all(TOP <= up <= BOTTOM for _, up in dots)


def test_a_rule_stands_at_its_place_with_its_name_beside_it() -> None:
    root = drawn(Line(x=[0, 10], y=[0, 1]), Rule(name="here", x=5), Rule(name="there", y=0.5))
    upright, level = paths(root, "rule")
    x, y = (LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2
    assert upright.attrib["d"] == f"M{x:g} {BOTTOM}L{x:g} {TOP}"
    assert level.attrib["d"] == f"M{LEFT} {y:g}L{RIGHT} {y:g}"
    assert [text.text for text in root.iter("text") if text.attrib["class"] == "label"] == ["here", "there"]


def test_the_name_of_a_rule_covers_no_point_where_there_is_another_place() -> None:
    scattered = Points(x=[9, 9.5, 10], y=[0.52, 0.53, 0.52], labels=["a", "b", "c"])
    root = drawn(Line(x=[0, 10], y=[0, 1]), scattered, Rule(name="mean of the others", y=0.5))
    place = next(text for text in root.iter("text") if text.text == "mean of the others")
    assert float(place.attrib["y"]) > (TOP + BOTTOM) / 2  # below its line, above which the points are
    assert place.attrib["text-anchor"] == "end"


def test_shares_have_a_tick_at_each_end() -> None:
    axis = Axis(low=0, high=1)
    root = ElementTree.fromstring(
        figure(Chart(name="c", title="C", panels=[Panel(x=axis, y=axis, marks=[Line(x=[0, 1], y=[0, 1])])]))
    )
    ticks = [node.text for node in root.iter() if node.get("class") == "tick"]
    assert ticks == ["0", "0.2", "0.4", "0.6", "0.8", "1"] * 2


def test_the_same_numbers_give_the_same_drawing() -> None:
    x, y = np.random.default_rng(0).random((2, 20)).tolist()
    labels = [f"d{at}" for at in range(20)]
    assert figure(chart(Points(x=x, y=y, labels=labels))) == figure(
        chart(Points(x=[*x], y=[*y], labels=labels))
    )


def test_names_do_not_cover_each_other_or_leave_the_drawing() -> None:
    x, y = (np.random.default_rng(2).random((2, 60)) * 0.2).tolist()
    root = drawn(Points(x=x, y=y, labels=[f"defense number {at}" for at in range(60)]))
    boxes = []
    for label in root.iter("text"):
        if label.attrib["class"] != "label":
            continue
        width = 6.6 * len(label.text or "")
        shift = {"start": 0, "middle": width / 2, "end": width}[label.attrib["text-anchor"]]
        left, foot = float(label.attrib["x"]) - shift, float(label.attrib["y"])
        boxes.append((left, foot - 10, left + width, foot + 2))
    assert len(boxes) > 3
    for at, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0
        assert top >= 0
        assert right <= WIDTH + 0.1
        assert bottom <= HEIGHT
        for other in boxes[at + 1 :]:
            beside = left >= other[2] - 0.1 or right <= other[0] + 0.1
            assert beside or bottom <= other[1] + 0.1 or top >= other[3] - 0.1


def test_a_point_on_a_line_is_named_before_its_neighbors() -> None:
    crowd = Points(x=[0, 10, 5, 5.01], y=[0, 10, 5, 5.01], labels=["", "", "off the line", "on the line"])
    root = drawn(crowd, Line(x=[5.01], y=[5.01]))
    named = [text.text for text in root.iter("text") if text.attrib["class"] == "label" and text.text]
    assert named[0] == "on the line"


def test_any_text_is_shown_as_text() -> None:
    axis = Axis(label=NASTY)
    marks = [
        Line(name=NASTY, detail=NASTY, x=[0, 1], y=[0, 1], markers=True),
        Points(name=NASTY, x=[0.5], y=[0.5], labels=[NASTY]),
        Rule(name=NASTY, x=0.5),
    ]
    hostile = Chart(
        name="hostile", title=NASTY, caption=NASTY, panels=[Panel(title=NASTY, x=axis, y=axis, marks=marks)]
    )
    text = figure(hostile)
    assert "<script" not in text
    assert "<b>" not in text
    root = ElementTree.fromstring(text)
    assert root.findtext("figcaption") == NASTY
    assert all(not name.startswith("on") and name != "style" for node in root.iter() for name in node.attrib)


@pytest.mark.parametrize("name", MARKS)
def test_every_mark_is_drawn_in_a_page(name: str) -> None:
    root = drawn(MARKS[name])
    (drawing,) = root.findall(".//div/svg")
    width, height = map(float, drawing.attrib["viewBox"].split()[2:])
    assert 0 < width <= WIDTH + 1, "larger drawings have letters too small for a phone"
    assert height >= HEIGHT or "tiles" in name
    shown = {child.tag for child in drawing}
    assert shown & {"path", "image"} or name in ("nothing", "no tiles")
    assert "nan" not in ElementTree.tostring(root, "unicode").lower()


def test_bars_and_bins_are_listed_and_pictures_are_not() -> None:
    bars = Bars(name="share", categories=["a", "b"], values=[0.5, None], low=[0.25, None], high=[0.75, None])
    assert table(drawn(bars)) == [["across", "share"], ["a", "0.50 (0.25 to 0.75)"]]
    assert table(drawn(Histogram(edges=[0, 1, 2], values=[3, 4]))) == [
        ["across", "up"],
        ["0 to 1", "3"],
        ["1 to 2", "4"],
    ]
    assert drawn(MARKS["tiles"]).find(".//table") is None


def test_names_beside_an_axis_have_room_in_two_lines_of_their_own() -> None:
    names = [f"The share of images that attack number {at} leaves" for at in range(11)]
    axis = Axis(low=-0.6, high=10.6, ticks=[float(at) for at in range(11)], tick_labels=names)
    root = drawn(Points(x=[0.0] * 11, y=axis.ticks), y=axis)
    lines = sorted(
        (float(text.attrib["y"]), float(text.attrib["x"]), text.text or "")
        for text in root.iter("text")
        if text.attrib["class"] == "tick" and text.attrib["text-anchor"] == "end"
    )
    assert len(lines) == 22
    assert all(below[0] - above[0] > 15 for above, below in pairwise(lines))
    assert all(x - 9.2 * len(text) >= 0 for _, x, text in lines)
    assert all(x > LEFT + 50 for x, _ in starts(root, "grid"))
    (drawing,) = root.findall(".//div/svg")
    assert float(drawing.attrib["viewBox"].split()[3]) > lines[-1][0] + 20
    assert table(root)[1:] == [[name, "", "0"] for name in names]


def test_the_name_of_a_rule_covers_no_bar_where_there_is_another_place() -> None:
    bars = Bars(categories=["a", "b", "c", "d"], values=[9, 1, 9, 9])
    root = drawn(bars, Rule(name="limit", y=5))
    (name,) = (text for text in root.iter("text") if text.text == "limit")
    second = Scale(Panel(x=Axis(low=-0.6, high=3.4), marks=[Rule()]), "x", LEFT, RIGHT)
    assert second.at(0.6) < float(name.attrib["x"]) - 8.2 * 5
    assert float(name.attrib["x"]) <= second.at(1.4)


def test_small_powers_of_ten_are_written_as_such() -> None:
    root = drawn(Line(x=[1e-8, 1], y=[1e-8, 1]), y=Axis(log=True))
    assert {"10⁻⁸", "10⁻⁴", "10⁰"} <= set(ticks(root, "end"))


def test_panels_have_their_titles_above_them() -> None:
    marks = [Line(x=[0, 1], y=[0, 1])]
    panels = [Panel(title=title, marks=marks) for title in ("one", "two", "")]
    root = ElementTree.fromstring(figure(Chart(name="c", title="t", panels=panels)))
    assert [title.text for title in root.iter("p")] == ["one", "two"]
    assert len(root.findall(".//div/svg")) == 3


def test_readers_who_cannot_see_it_get_title_and_caption() -> None:
    drawing = drawn(Line(x=[0, 1], y=[0, 1])).find(".//svg")
    assert drawing is not None
    assert drawing.attrib["role"] == "img"
    assert drawing.attrib["aria-label"] == "What it shows. How to read it."
