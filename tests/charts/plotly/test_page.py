"""Interactive pages: what plotly is told, and that no text ever becomes markup or script."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.charts import Axis, Bars, Chart, Heatmap, Histogram, Line, Panel, Points, Rule
from bench.charts.plotly.page import ASSETS, describe, division, page, write_assets
from tests.charts.examples import MARKS, NASTY, chart, everything, hostile, panel


class Page(HTMLParser):
    """The elements of a page, and the data block of each chart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: list[str] = []
        self.words = ""
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag == "script" and dict(attrs).get("type") == "application/json"

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.blocks.append(data)
        else:
            self.words += data


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("name", MARKS)
def test_plotly_knows_every_word_that_it_is_told(name: str, log: bool) -> None:
    told = describe(chart(panel(MARKS[name], log=log)))
    # Plotly raises an error for a word that it does not know, and json for what is no number.
    figure = go.Figure({"data": told["data"], "layout": told["layout"]})
    assert [trace.type for trace in figure.data] == [trace.get("type", "scatter") for trace in told["data"]]
    json.dumps(told, allow_nan=False)


@given(st.text(max_size=40))
def test_any_title_leaves_one_data_block_that_reads_back(text: str) -> None:
    made = Chart(
        name="a", title=text, caption=text, panels=[panel(Line(name=text, x=[0], y=[1]), title=text)]
    )
    found = Page(page(made))
    (block,) = found.blocks
    assert json.loads(block) == json.loads(json.dumps(describe(made)))
    assert not re.search("[<>&\u2028\u2029]", block)


def test_hostile_text_makes_no_element_and_no_template() -> None:
    found, plain = Page(page(hostile(), back=(NASTY, NASTY), links={NASTY: NASTY})), Page(page(everything()))
    scripts = [attributes for tag, attributes in found.tags if tag == "script"]
    assert [script.get("src") or script.get("type") for script in scripts] == [
        "theme.js",
        "application/json",
        "plotly.min.js",
        "charts.js",
    ]
    assert {tag for tag, _ in found.tags} - {tag for tag, _ in plain.tags} <= {"nav", "a", "ul", "li"}
    assert NASTY in found.words
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]


def test_plotly_gets_no_markup_no_formula_and_no_template_of_a_submitter() -> None:
    def strings(value: Any, key: str = "") -> list[tuple[str, str]]:
        if isinstance(value, dict):
            return [found for name, item in value.items() for found in strings(item, name)]
        if isinstance(value, list | tuple):
            return [found for item in value for found in strings(item, key)]
        return [(key, value)] if isinstance(value, str) else []

    seen = 0
    for key, text in strings(describe(hostile())):
        ours = re.sub(r"<(br|/?b|/?extra)>", "", text) if key == "hovertemplate" else text
        assert "<" not in ours, (key, text)
        assert "$" not in ours, (key, text)
        if key == "hovertemplate":
            assert not re.search(r"%\{x\}", text), text  # ours carry a number format
        seen += "alert(1)" in text
    assert seen > 10


def test_pages_ask_for_nothing_but_the_files_beside_them() -> None:
    found = Page(
        page(everything(), assets="../", links={"CSV": "everything.csv"}, back=("index.html", "All"))
    )
    targets = [attributes.get(name) for _, attributes in found.tags for name in ("src", "href")]
    assert {target for target in targets if target} == {
        "../charts.css",
        "../plotly.min.js",
        "../charts.js",
        "../theme.js",
        "data:,",
        "everything.csv",
        "index.html",
    }


def test_assets_are_written_once_for_a_folder(tmp_path: Path) -> None:
    write_assets(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(ASSETS)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_assets(tmp_path)
    assert first == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert first["plotly.min.js"].startswith(b"/**\n* plotly.js")


def traces(*marks: Any, **fields: Any) -> list[dict[str, Any]]:
    return describe(chart(panel(*marks, **fields)))["data"]


def test_gaps_stay_gaps_and_bands_break_with_them() -> None:
    line = Line(name="a", x=[0, 1, 2, 3], y=[1, None, 3, 4], low=[0, None, 2, 3], high=[2, None, 4, 5])
    band, drawn = traces(line)
    assert drawn["y"] == [1, None, 3, 4]
    assert band["x"] == [0, 0, None, 2, 3, 3, 2]
    assert band["y"] == [2, 0, None, 4, 5, 3, 2]


def test_what_a_logarithmic_axis_cannot_show_is_a_gap_and_its_ends_are_exponents() -> None:
    axis = Axis(log=True, low=0.01, high=10)
    made = Chart(name="a", title="t", panels=[Panel(x=axis, marks=[Line(x=[0, 1], y=[0, 1])])])
    told = describe(made)
    assert told["data"][0]["x"] == [None, 1]
    assert told["data"][0]["y"] == [0, 1]
    assert told["layout"]["xaxis"]["range"] == pytest.approx([math.log10(0.01), 1])


def test_hover_names_axes_with_their_units_and_the_interval() -> None:
    template = traces(Line(name="PGD", x=[0], y=[1], low=[0], high=[2]))[1]["hovertemplate"]
    assert template == (
        "<b>PGD</b><br>x (m): %{x:.4g}<br>y (s): %{y:.4g}<br>"
        "from %{customdata[0]:.4g} to %{customdata[1]:.4g}<extra></extra>"
    )
    assert "logits: %{z:.4g}" in traces(MARKS["heat map"])[0]["hovertemplate"]


def test_one_name_stands_once_in_the_legend_and_unnamed_marks_never() -> None:
    both = chart(
        panel(Line(name="a", x=[0], y=[1]), Line(x=[0], y=[1])),
        panel(Line(name="a", x=[0], y=[1]), Rule(name="r", x=0)),
    )
    told = describe(both)
    shown = [item["name"] for item in [*told["data"], *told["layout"]["shapes"]] if item.get("showlegend")]
    assert shown == ["a", "r"]
    assert describe(chart(panel(Line(x=[0], y=[1]))))["layout"]["showlegend"] is False


def test_equal_integers_have_equal_colors_and_hover_tells_the_class() -> None:
    told = describe(chart(panel(MARKS["classes"])))
    (drawn,) = told["data"]
    assert drawn["z"][0] == [0, 0, 1, 1, 2, 2, None, 2]
    assert drawn["text"][0] == ["a", "a", "b", "b", "c", "c", "", "c"]
    scale = told["layout"]["coloraxis"]
    assert (scale["cmin"], scale["cmax"], len(scale["colorscale"])) == (-0.5, 23.5, 48)
    stops = [color for _, color in scale["colorscale"]]
    assert told["panels"][0]["categories"] == [("a", stops[0]), ("b", stops[2]), ("c", stops[4])]
    assert told["panels"][0]["coloraxis"] is None


def test_a_neutral_category_is_gray_in_map_and_legend() -> None:
    mark = Heatmap(x=[0, 1], y=[0], z=[[0, 1]], scale="categorical", names=["none", "b"], neutral=0)
    told = describe(chart(panel(mark)))
    (first, gray), (second, color) = told["panels"][0]["categories"]
    assert (first, second) == ("none", "b")
    channels = {gray[at : at + 2] for at in (1, 3, 5)}
    assert len(channels) == 1
    assert told["layout"]["coloraxis"]["colorscale"][0][1] == gray != color


def test_stacked_bars_stand_on_each_other_in_one_place_and_hover_tells_their_own_value() -> None:
    bars = [
        Bars(name=name, categories=["x", "y"], values=values, stacked=True)
        for name, values in (("low", [1, 2]), ("high", [3, None]), ("top", [5, 6]))
    ]
    drawn = traces(*bars)
    assert [trace["base"] for trace in drawn] == [[0, 0], [1, 2], [4, 2]]
    assert {trace["offsetgroup"] for trace in drawn} == {"stack"}
    assert drawn[2]["customdata"] == [[5], [6]]
    assert "customdata[0]" in drawn[2]["hovertemplate"]


@pytest.mark.parametrize(
    ("axis", "marks", "ends"),
    [
        ({"low": 0, "high": 1}, [Line(x=[0, 1], y=[0, 1])], (-0.02, 1.02)),
        ({"low": 0, "high": 100}, [Line(x=[0, 1], y=[0, 1])], (-2, 102)),
        ({"low": 0, "high": 1}, [Bars(categories=["a"], values=[1])], (0, 1.02)),
        ({"low": 0, "high": 101}, [Line(x=[0, 1], y=[0, 1])], (-2.02, 101)),
        ({"low": 3, "high": 7}, [Line(x=[0, 1], y=[3, 7])], (3, 7)),
    ],
)
def test_marks_at_the_ends_of_shares_have_room(
    axis: dict[str, float], marks: list[Any], ends: tuple[float, float]
) -> None:
    told = describe(chart(panel(*marks, y=axis)))
    assert told["layout"]["yaxis"]["range"] == pytest.approx(ends)


def test_labels_turn_away_from_the_sides() -> None:
    heatmap = Heatmap(x=[0, 10], y=[0, 10], z=[[0, 1], [1, 2]])
    points = Points(x=[0, 5, 10, 10], y=[5, 5, 5, -4.9], labels=["a", "b", "c", "d"])
    drawn = traces(heatmap, points)[-1]
    assert drawn["textposition"] == ["top right", "top center", "bottom left", "top left"]
    assert drawn["cliponaxis"] is False


def test_a_contour_is_drawn_where_its_value_occurs_and_the_map_is_held_once() -> None:
    kinds = [trace["type"] for trace in traces(MARKS["heat map"])]
    assert kinds == ["heatmap", "contour", "contour"]
    assert all("z" not in trace for trace in traces(MARKS["heat map"])[1:])
    assert not any(trace["showlegend"] for trace in traces(MARKS["heat map"])[1:])
    assert [trace["type"] for trace in traces(MARKS["flat heat map"])] == ["heatmap"]


def test_a_histogram_is_drawn_as_stairs_from_zero_to_zero() -> None:
    stairs, hover = traces(Histogram(edges=[0, 1, 3], values=[2, 5]))
    assert stairs["x"] == [0, 0, 1, 1, 3, 3]
    assert stairs["y"] == [0, 2, 2, 5, 5, 0]
    assert hover["text"] == ["0 to 1", "1 to 3"]


def test_a_point_keeps_its_label() -> None:
    (drawn,) = traces(Points(x=[1], y=[2], labels=["cat"]))
    assert (drawn["text"], drawn["mode"]) == (["cat"], "markers+text")


def test_a_division_holds_no_address() -> None:
    assert "http" not in division(everything())


def test_a_cell_of_an_unknown_class_is_shown_by_its_number() -> None:
    (drawn,) = traces(Heatmap(x=[0], y=[0, 1], z=[[0], [9]], scale="categorical", names=["cat"]))
    assert drawn["text"] == [["cat"], ["9"]]
