"""Pictures of charts: every mark, nothing invented where a value is missing, and the same bytes each time."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from matplotlib import style
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from bench.charts import Axis, Bars, Chart, Heatmap, Histogram, Line, Panel, Points, Rule
from bench.charts.palette import COLORS
from bench.charts.png.figure import draw, make_figure
from bench.charts.png.sizes import png_size
from bench.charts.tiling import cell_edges, panel_columns, tile_columns
from tests.charts.examples import MARKS, chart, everything, heatmap, hostile, panel


def axes_of(figure: Figure) -> list:
    """The axes of panels, without those of color bars."""
    return [axes for axes in figure.axes if axes.get_subplotspec() is not None]


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("name", MARKS)
def test_every_mark_is_drawn_on_any_axes_without_a_warning(name: str, log: bool, tmp_path: Path) -> None:
    draw(chart(panel(MARKS[name], log=log)), tmp_path / "a.png")
    size = png_size(tmp_path / "a.png")
    assert size is not None
    assert min(size) > 100


@pytest.mark.slow
def test_the_same_chart_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw(everything(), tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.slow
def test_one_drawing_gives_svg_and_pdf_too_always_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw(hostile(), *(tmp_path / f"{name}{suffix}" for suffix in (".png", ".svg", ".pdf")))
    for suffix in (".png", ".svg", ".pdf"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    alone = tmp_path / "alone.png"
    draw(hostile(), alone)
    assert alone.read_bytes() == (tmp_path / "a.png").read_bytes()
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in (tmp_path / "a.svg").read_text()


def test_names_that_mean_something_to_matplotlib_are_only_text(tmp_path: Path) -> None:
    draw(hostile(), tmp_path / "a.png")
    assert png_size(tmp_path / "a.png") is not None


def test_a_line_breaks_where_a_value_is_missing_and_shows_a_lonely_one() -> None:
    (axes,) = axes_of(make_figure(chart(panel(Line(x=[0, 1, 2, 3, 4], y=[1, None, 3, 4, None])))))
    (line,) = axes.lines
    np.testing.assert_array_equal(line.get_ydata(), [1, np.nan, 3, 4, np.nan])
    assert line.get_markevery() == [0]


def test_what_a_logarithmic_axis_cannot_show_is_a_gap() -> None:
    (axes,) = axes_of(make_figure(chart(panel(Line(x=[0, 1, 2], y=[1, 0, -1]), log=True))))
    (line,) = axes.lines
    assert np.isnan(line.get_xdata()[0])
    np.testing.assert_array_equal(np.isnan(line.get_ydata()), [False, True, True])
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_a_missing_bar_is_no_bar_of_height_zero_and_intervals_stand_at_their_values() -> None:
    (axes,) = axes_of(
        make_figure(
            chart(
                panel(
                    Bars(categories=["u", "v", "w"], values=[1, None, 3], low=[0, None, 2], high=[2, None, 5])
                )
            )
        )
    )
    bars = [patch.get_height() for patch in axes.patches]
    assert bars == [1, 3]
    segments = [segment for bar in axes.containers[1:] for segment in bar[2][0].get_segments()]
    assert [(low[1], high[1]) for low, high in segments] == [(0, 2), (2, 5)]


def test_bars_of_several_marks_stand_side_by_side_at_their_own_categories() -> None:
    one, two = (
        Bars(name="1", categories=["a", "b"], values=[1, 2]),
        Bars(name="2", categories=["b"], values=[3]),
    )
    (axes,) = axes_of(make_figure(chart(panel(one, two))))
    middles = [patch.get_x() + patch.get_width() / 2 for patch in axes.patches]
    assert [round(middle) for middle in middles] == [0, 1, 1]
    assert middles[1] + axes.patches[1].get_width() / 2 < middles[2]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]


def test_a_diverging_map_is_centered_on_zero_and_carries_unit_and_contour() -> None:
    figure = make_figure(
        chart(panel(heatmap(z=[[-1.0] * 4 + [3.0] * 4] * 3, scale="diverging", contour=0.0)))
    )
    (axes,) = axes_of(figure)
    assert axes.collections[0].get_clim() == (-3, 3)
    assert [bar.get_ylabel() for bar in axes.child_axes] == ["logits"]
    assert len(axes.collections) > 1  # the contour
    (plain,) = axes_of(make_figure(chart(panel(heatmap(contour=9.0)))))
    assert len(plain.collections) == 1  # no such value: no contour


def test_equal_integers_have_equal_colors_in_every_panel() -> None:
    def colors(values: list[float]) -> list[str]:
        mark = Heatmap(x=[0, 1], y=[0], z=[values], scale="categorical")
        (axes,) = axes_of(make_figure(chart(panel(mark))))
        drawn = axes.collections[0]
        return [to_hex(color) for color in drawn.to_rgba(drawn.get_array()).reshape(-1, 4)]

    assert colors([4, 7])[0] == colors([2, 4])[1]
    assert len(set(colors([0, 1]))) == 2


def test_named_categories_stand_in_the_legend() -> None:
    figure = make_figure(chart(panel(MARKS["classes"])))
    assert not figure.legends
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b", "c"]


def test_the_legends_of_maps_stand_under_their_own_panels_and_hide_nothing(tmp_path: Path) -> None:
    def classes(*names: str) -> Panel:
        mark = Heatmap(x=[0, 1, 2], y=[0, 1], z=[[0, 1, 2]] * 2, scale="categorical", names=list(names))
        return panel(mark, x={"label": "x"}, square=True)

    with style.context(["default"]):
        figure = make_figure(chart(classes("a", "b", "c"), classes("d", "e", "f"), panel(MARKS["line"])))
        figure.draw_without_rendering()
    first, second, _ = axes_of(figure)
    for axes, names in ((first, "abc"), (second, "def")):
        legend = axes.get_legend()
        assert [text.get_text() for text in legend.get_texts()] == list(names)
        box, own = legend.get_window_extent(), axes.get_window_extent()
        assert box.y1 < axes.xaxis.label.get_window_extent().y0
        assert box.y0 >= 0
        assert own.x0 <= (box.x0 + box.x1) / 2 <= own.x1
    assert first.get_legend().get_window_extent().x1 < second.get_legend().get_window_extent().x0


def test_stacked_bars_stand_on_each_other() -> None:
    bars = [
        Bars(name=name, categories=["x", "y"], values=values, stacked=True)
        for name, values in (("low", [1, 2]), ("high", [3, None]), ("top", [5, 6]))
    ]
    (axes,) = axes_of(make_figure(chart(panel(*bars))))
    drawn = [(bar.get_center()[0], bar.get_y(), bar.get_height()) for bar in axes.patches]
    assert np.allclose(drawn, [(0, 0, 1), (1, 0, 2), (0, 1, 3), (0, 4, 5), (1, 2, 6)])
    assert axes.get_ylim()[1] > 9


def test_a_name_looks_the_same_in_every_panel_and_stands_once_in_the_legend() -> None:
    first = panel(Line(name="a", x=[0], y=[1]), Line(name="b", x=[0], y=[1]))
    second = panel(Line(name="b", x=[0], y=[1]), Rule(name="_c", x=0))
    figure = make_figure(chart(first, second))
    left, right = axes_of(figure)
    assert left.lines[1].get_color() == right.lines[0].get_color() == COLORS[1]
    assert left.lines[0].get_linestyle() != left.lines[1].get_linestyle()
    assert [text.get_text().strip() for text in figure.legends[0].get_texts()] == ["a", "b", "_c"]


def test_axes_show_labels_ends_and_ticks() -> None:
    axis = Axis(label="class", low=-1, high=3, ticks=[0, 2], tick_labels=["cat", "dog"])
    made = Chart(name="a", title="t", panels=[Panel(x=axis, square=True, marks=[Points(x=[0, 2], y=[0, 1])])])
    (axes,) = axes_of(make_figure(made))
    assert axes.get_xlabel() == "class"
    assert axes.get_xlim() == (-1, 3)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["cat", "dog"]
    assert axes.get_aspect() == 1


def test_a_histogram_keeps_its_edges() -> None:
    (axes,) = axes_of(make_figure(chart(panel(Histogram(edges=[0, 1, 4], values=[2, 3])))))
    stairs = axes.patches[0].get_data()
    assert (stairs.values.tolist(), stairs.edges.tolist()) == ([2, 3], [0, 1, 4])


@pytest.mark.parametrize(("panels", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3), (7, 3)])
def test_rows_hold_three_panels_at_most(panels: int, columns: int) -> None:
    made = [panel(Rule(x=0)) for _ in range(panels)]
    assert panel_columns(made) == columns
    assert panel_columns([*made, panel(MARKS["tiles"])]) == 1  # a wide grid of pictures wants a row


def test_tiles_form_a_grid_that_holds_them_all() -> None:
    for pictures in range(1, 100):
        assert 1 <= tile_columns(pictures) <= 12
    (axes,) = axes_of(make_figure(chart(panel(MARKS["tiles"]))))
    places = [(image.get_extent()[0], image.get_extent()[3]) for image in axes.images]
    assert len(set(places)) == 10


def test_cells_meet_half_way_between_their_centres() -> None:
    assert cell_edges([0, 1, 3]) == [-0.5, 0.5, 2, 4]
    assert cell_edges([5]) == [4.5, 5.5]
    np.testing.assert_allclose(cell_edges([1, 100], log=True), [0.1, 10, 1000])


def test_a_file_that_is_no_png_has_no_size(tmp_path: Path) -> None:
    for at, content in enumerate([b"", b"GIF89a" * 9, b"\x89PNG\r\n\x1a\n"]):
        (tmp_path / f"{at}").write_bytes(content)
        assert png_size(tmp_path / f"{at}") is None


def test_a_damaged_png_and_one_that_would_fill_the_memory_have_no_size(tmp_path: Path) -> None:
    draw(chart(panel(MARKS["line"])), tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    length, width, kind = whole[8:12], (2**31 - 1).to_bytes(4, "big"), whole[12:16]
    huge = kind + width + width + whole[24:29]
    bomb = whole[:8] + length + huge + zlib.crc32(huge).to_bytes(4, "big") + whole[33:]
    for content in (whole[:20], whole[:40], whole[:30] + b"\xff" + whole[31:], bomb):
        (tmp_path / "bad.png").write_bytes(content)
        assert png_size(tmp_path / "bad.png") is None
