"""Charts of several networks as one: on one scale, nothing invented, nothing lost."""

import itertools
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from bench.charts import Axis, Bars, Chart, Heatmap, Histogram, Line, Mark, Panel, Points, Rule, Tiles
from bench.charts.extent import shared_axes
from bench.charts.histograms import histograms
from bench.charts.plotly.page import describe
from bench.charts.png.figure import make_figure
from bench.charts.side_by_side import OWN_RANGE, side_by_side
from bench.charts.tiling import panel_rows
from metrics.surface.decision_surface import DecisionSurface
from tests.charts.examples import MARKS, chart, heatmap, panel


def surface(end: float, **fields: Any) -> Chart:
    mark = heatmap(z=[[-1.0] * 4 + [end] * 4] * 3, scale="diverging", contour=0.0)
    return chart(panel(mark, title="random β"), **fields)


def beside(**charts: Chart) -> Chart:
    made = side_by_side(charts)
    assert made is not None
    return made


def only(kind: type, made: Chart) -> list[Any]:
    return [mark for panel in made.panels for mark in panel.marks if isinstance(mark, kind)]


def test_maps_beside_each_other_have_one_range_centered_on_zero_and_keep_their_contour() -> None:
    made = beside(natural=surface(3.0), robust=surface(0.5))
    assert [panel.title for panel in made.panels] == ["natural: random β", "robust: random β"]
    assert [(mark.low, mark.high, mark.contour) for mark in only(Heatmap, made)] == [(-3, 3, 0)] * 2
    assert made.rows == [2]
    figure = make_figure(made)
    axes = [each for each in figure.axes if each.get_subplotspec() is not None]
    assert [each.collections[0].get_clim() for each in axes] == [(-3, 3)] * 2
    assert all(len(each.collections) == 3 for each in axes)  # the map, and its contour twice
    layout = describe(made)["layout"]
    for name in ("coloraxis", "coloraxis2"):
        assert (layout[name]["cmin"], layout[name]["cmax"]) == (-3, 3)


def test_the_ends_of_a_map_are_its_own_or_those_that_are_given() -> None:
    def clim(mark: Heatmap) -> tuple[float, float]:
        drawn = make_figure(chart(panel(mark))).axes[0].collections[0].get_clim()
        told = describe(chart(panel(mark)))["layout"]["coloraxis"]
        assert drawn == (told["cmin"], told["cmax"])
        return drawn

    values = [[1.0] * 4 + [2.0] * 4] * 3
    assert clim(heatmap(z=values)) == (1, 2)
    assert clim(heatmap(z=values, low=0, high=5)) == (0, 5)
    assert clim(heatmap(z=values, scale="diverging", low=-1, high=5)) == (-5, 5)


def test_pictures_are_drawn_over_the_ends_that_are_given() -> None:
    mark = Tiles(captions=["a", "b"], values=[[[0.0, 1.0]], [[-1.0, 0.5]]], scale="diverging", low=-2, high=2)
    axes = make_figure(chart(panel(mark))).axes[0]
    assert [image.get_clim() for image in axes.images] == [(-2, 2)] * 2
    told = describe(chart(panel(mark)))
    assert {trace["coloraxis"] for trace in told["data"]} == {"coloraxis"}
    assert (told["layout"]["coloraxis"]["cmin"], told["layout"]["coloraxis"]["cmax"]) == (-2, 2)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ({"low": 1.0, "high": 1.0}, "low below high"),
        ({"low": 2.0, "high": 1.0}, "low below high"),
        ({"low": 1.0}, "or neither"),
        ({"low": 0.0, "high": 1.0, "scale": "categorical"}, "not for categories"),
    ],
)
def test_ends_of_colors_that_cannot_be_drawn_are_refused(ends: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        heatmap(**ends)
    with pytest.raises(ValidationError, match=said):
        Tiles.model_validate({"captions": ["a"], "values": [[[0.0, 1.0]]], **ends})


def test_colored_pictures_have_no_ends() -> None:
    with pytest.raises(ValidationError, match="gray pictures"):
        Tiles(captions=["a"], values=[[[[0.1, 0.2, 0.3]]]], low=0, high=1)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("name", [name for name, mark in MARKS.items() if not isinstance(mark, Tiles)])
def test_two_networks_reach_as_far_as_either_on_every_mark(name: str, log: bool) -> None:
    wide = panel(Line(x=[0.01, 50], y=[0.5, 40]), MARKS[name], log=log)
    made = beside(a=chart(panel(MARKS[name], log=log)), b=chart(wide))
    left, right = made.panels
    assert (left.x.low, left.x.high, left.y.low, left.y.high) == (
        right.x.low,
        right.x.high,
        right.y.low,
        right.y.high,
    )
    make_figure(made)
    describe(made)


def test_axes_keep_the_ends_they_were_given() -> None:
    axis = Axis(label="%", low=0, high=101)
    own = [Panel(y=axis, marks=[Line(x=[1, 2], y=[3, y])]) for y in (4, 50)]
    assert [(panel.y.low, panel.y.high) for panel in shared_axes(own)] == [(0, 101)] * 2
    (first, second) = shared_axes([Panel(marks=[Rule(x=7)]), Panel(marks=[Points(x=[1], y=[2])])])
    assert first.x == second.x
    low, high = first.x.low, first.x.high
    assert low is not None
    assert high is not None
    assert low < 1 < 7 < high


def test_histograms_are_counted_again_in_bins_of_all() -> None:
    rng = np.random.default_rng(0)
    samples = {"a": rng.normal(size=200), "b": 10 + 3 * rng.normal(size=100)}
    made = beside(**{name: chart(panel(*histograms({"norm": x}))) for name, x in samples.items()})
    first, second = only(Histogram, made)
    assert first.edges == second.edges
    for mark, values in zip((first, second), samples.values(), strict=True):
        np.testing.assert_allclose(mark.values, np.histogram(values, mark.edges)[0] / len(values))
        assert sum(mark.values) == pytest.approx(1)


def test_bars_stand_at_the_same_categories_and_a_missing_one_is_a_gap() -> None:
    one = Bars(categories=["u", "v"], values=[1, 2], low=[0, 1], high=[2, 3])
    two = Bars(categories=["v", "w"], values=[5, 6])
    left, right = only(Bars, beside(a=chart(panel(one)), b=chart(panel(two))))
    assert left.categories == right.categories == ["u", "v", "w"]
    assert (left.values, left.low, right.values) == ([1, 2, None], [0, 1, None], [None, 5, 6])


def jacobians(scale: float) -> Chart:
    images = Tiles(captions=["cat", "dog"], values=[[[0.0, 1.0]], [[1.0, 0.5]]])
    signed = Tiles(captions=["cat", "dog"], values=[[[-scale, 0.0]], [[0.1, 0.2]]], scale="diverging")
    return chart(panel(images, title="images"), panel(signed, title="J"))


def test_equal_pictures_stand_once_and_signed_ones_over_their_own_range_and_on_one_scale() -> None:
    made = beside(natural=jacobians(4.0), robust=jacobians(1.0))
    assert [panel.title for panel in made.panels] == [
        "images",
        "natural: J, each over its own range",
        "robust: J, each over its own range",
        "natural: J, on one scale",
        "robust: J, on one scale",
    ]
    assert [(mark.low, mark.high) for mark in only(Tiles, made)] == [(None, None)] * 3 + [(-4, 4)] * 2
    assert made.rows == [1, 2, 2]


@pytest.mark.parametrize("networks", range(2, 9))
def test_matching_panels_start_a_row_and_share_it_evenly(networks: int) -> None:
    both = {
        f"n{at}": chart(panel(MARKS["line"], title="a"), panel(MARKS["rule"], title="b"))
        for at in range(networks)
    }
    made = beside(**both)
    rows = panel_rows(made)
    assert [panel for row in rows for panel in row.panels] == made.panels
    for row in rows:
        assert len(row.panels) <= row.places <= 4
        assert len({panel.title.partition(": ")[2] for panel in row.panels}) == 1
    assert len(rows) == 2 * -(-networks // 4)


def test_rows_must_hold_all_panels() -> None:
    with pytest.raises(ValidationError, match="rows of 1 panels"):
        Chart.model_validate({**surface(1.0).model_dump(), "rows": [2]})


@pytest.mark.parametrize(
    "change", [{"title": "another"}, {"x": Axis(label="other units")}, {"y": Axis(label="y (s)", log=True)}]
)
def test_panels_that_show_something_else_do_not_match(change: dict[str, Any]) -> None:
    other = panel(MARKS["line"], title="one").model_copy(update=change)
    assert side_by_side({"a": chart(panel(MARKS["line"], title="one")), "b": chart(other)}) is None


def test_maps_around_other_images_do_not_match() -> None:
    def around(x: float) -> Chart:
        marks: list[Mark] = [heatmap(), Points(name="test images", x=[x], y=[0.0], labels=["cat"])]
        return chart(panel(*marks))

    assert side_by_side({"a": around(0.0), "b": around(0.0)}) is not None
    assert side_by_side({"a": around(0.0), "b": around(0.2)}) is None


def captions(*texts: str) -> str:
    made = {
        name: surface(1.0).model_copy(update={"caption": text})
        for name, text in zip("abc", texts, strict=False)
    }
    return beside(**made).caption.removesuffix(" Matching panels have the same axes and colors.")


def test_captions_say_what_is_common_once_and_name_what_differs() -> None:
    assert captions("Same. Always.", "Same. Always.") == "Same. Always."
    assert captions("Over 50 images. So.", "Over 46 images. So.") == "Over 50 (a) and 46 (b) images. So."
    assert captions("1.5% zero.", "2% zero.", "2% zero.") == "1.5% (a), 2% (b) and 2% (c) zero."
    assert captions("V. First kind. So.", "V. Second kind. So.") == "V. a: First kind. b: Second kind. So."
    assert captions(f"V. {OWN_RANGE}", f"V. {OWN_RANGE}") == "V."


def test_surfaces_say_of_their_colors_what_is_left_out_beside_each_other() -> None:
    """The sentence that `side_by_side` drops is the one that the metric writes."""
    from tests.records import make_record

    grid = np.zeros((1, 4, 3, 3))
    arrays = {
        "label": np.array([1]),
        "test_index": np.array([0]),
        "offset": np.array([-1.0, 0.0, 1.0]),
        "decision": grid,
        "loss": grid,
        "line": np.zeros((0, 4, 2)),
    }
    for made in DecisionSurface().charts(arrays, make_record()):
        assert made.caption.endswith(OWN_RANGE)


def test_a_finding_in_the_title_goes_to_the_caption() -> None:
    named = {
        name: surface(1.0).model_copy(update={"title": f"Regions: {n}"}) for name, n in (("a", 3), ("b", 5))
    }
    made = beside(**named)
    assert made.title == "Regions"
    assert made.caption.startswith("3 (a) and 5 (b). How to read it.")


def test_names_of_networks_tell_every_panel_apart() -> None:
    made = beside(natural=surface(1), robust=surface(2), third=surface(3))
    titles = [panel.title for panel in made.panels]
    assert all(one != other for one, other in itertools.combinations(titles, 2))
