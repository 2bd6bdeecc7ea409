"""Charts in Chromium: drawn from disk, without network, in both themes and on a phone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.charts import Chart, Heatmap, Points
from bench.charts.png.figure import draw
from bench.charts.sheet import write_sheet
from bench.charts.side_by_side import side_by_side
from tests.browser import NEEDS_CHROMIUM, PHONE, Visit, contrast
from tests.charts.examples import MARKS, chart, everything, hostile, panel

pytestmark = [*NEEDS_CHROMIUM, pytest.mark.slow]


@pytest.fixture(scope="module")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sheet")
    lines = chart(
        panel(MARKS["band"], MARKS["rule"], title="one"), panel(MARKS["bars"], title="two"), name="lines"
    )
    own = chart(
        panel(
            MARKS["heat map"],
            title="a title that is far too long to stand in one line on any phone",
            square=True,
        ),
        panel(MARKS["signed tiles"], title="pictures"),
        name="beside",
    )
    together = side_by_side(dict.fromkeys(("natural", "robust", "third", "fourth"), own))
    assert together is not None
    charts = [everything(), hostile(), lines, together, _maps()]
    for one in charts:
        draw(one, folder / f"{one.name}.png")
        one.save(folder / f"{one.name}.json")
    write_sheet(folder, charts, "Figures </title><b>", {"Threat": "<i>"})
    return folder


def _maps() -> Chart:
    """Categorical maps of which one has no names, around labeled points."""
    places = [0.0, 5.0, 10.0]
    points = Points(name="images", x=[0.0, 10.0], y=[0.0, 0.0], labels=["image 1 (a cat)", "image 2 (a dog)"])
    meant = ([], ["another region", "of image 1 (a cat)", "of image 2 (a dog)"], ["cat", "dog", "bird"])
    return chart(
        *(
            panel(
                Heatmap(x=places, y=places, z=[[0, 1, 2]] * 3, scale="categorical", names=names),
                points,
                title=f"map {at}",
                square=True,
                x={"label": "along the plane (ℓ2, pixels in [0, 1])"},
                y={"label": "across it (ℓ2, pixels in [0, 1])"},
            )
            for at, names in enumerate(meant)
        ),
        name="maps",
    )


@pytest.fixture
def visit(chromium: Any, sheet: Path) -> Iterator[Any]:
    opened: list[Visit] = []

    def open_page(name: str, **options: Any) -> Visit:
        opened.append(Visit(chromium, (sheet / f"{name}.html").as_uri(), **options))
        return opened[-1]

    yield open_page
    for one in opened:
        one.context.close()


PAGES = ["index", "everything", "hostile", "lines", "beside", "maps"]


@pytest.mark.parametrize("name", PAGES)
def test_no_page_complains_or_leaves_its_folder(visit: Any, sheet: Path, name: str) -> None:
    opened = visit(name)
    if name != "index":
        assert opened.page.locator(".plot .main-svg").count() > 0
    opened.page.wait_for_timeout(200)
    assert opened.complaints == []
    assert all(url.startswith((sheet.as_uri(), "data:")) for url in opened.requests), opened.requests


@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_wider_than_a_phone(visit: Any, name: str) -> None:
    opened = visit(name, viewport=PHONE)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_every_panel_is_drawn_but_one_without_pictures(visit: Any) -> None:
    assert visit("everything").page.locator(".plot .cartesianlayer > .subplot").count() == len(MARKS) - 1


def test_panels_stand_below_each_other_on_a_phone(visit: Any) -> None:
    def tops(opened: Visit) -> list[float]:
        titles = opened.page.locator(".plot .annotation-text", has_text="one").or_(
            opened.page.locator(".plot .annotation-text", has_text="two")
        )
        return [title.bounding_box()["y"] for title in titles.all()]

    wide, narrow = tops(visit("lines")), tops(visit("lines", viewport=PHONE))
    assert wide[0] == wide[1]
    assert narrow[1] > narrow[0] + 200


@pytest.mark.parametrize("width", [1200, 400])
def test_maps_are_equally_large_and_no_text_leaves_the_page_or_covers_another(visit: Any, width: int) -> None:
    opened = visit("maps", viewport={"width": width, "height": 900})
    sizes = [box.bounding_box() for box in opened.page.locator(".plot .heatmaplayer image").all()]
    assert len(sizes) == 3
    assert all(abs(size["width"] - sizes[0]["width"]) < 2 for size in sizes)
    shown = (".annotation-text", ".textpoint text", 'text[class$="title"]')
    texts = opened.page.locator(", ".join(f".plot {each}" for each in shown))
    boxes = [text.bounding_box() for text in texts.all()]
    # Titles, legends of two maps, axes, and two labels in each map.
    assert len(boxes) == 3 + 2 + 6 + 6
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    for at, box in enumerate(boxes):
        for other in boxes[:at]:
            across = min(box["x"] + box["width"], other["x"] + other["width"]) - max(box["x"], other["x"])
            down = min(box["y"] + box["height"], other["y"] + other["height"]) - max(box["y"], other["y"])
            assert min(across, down) < 2, (box, other)


@pytest.mark.parametrize(("width", "abreast"), [(1400, 4), (1000, 2), (390, 1)])
def test_networks_stand_in_even_rows_that_start_anew_for_every_panel(
    visit: Any, width: int, abreast: int
) -> None:
    opened = visit("beside", viewport={"width": width, "height": 900})
    titles = opened.page.locator(".plot .annotation-text", has_text="phone").all()
    assert len(titles) == 4
    boxes = [title.bounding_box() for title in titles]
    ends = [box["y"] + box["height"] for box in boxes]
    assert [sum(abs(end - other) < 3 for other in ends) for end in ends] == [abreast] * 4
    for box in boxes:
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_hostile_text_is_shown_and_makes_no_element(visit: Any) -> None:
    opened = visit("hostile")
    shown = opened.page.locator(".plot .xtitle").first.text_content()
    assert shown.startswith("</script><!--<script>alert(1)</script>")
    assert opened.page.locator(".plot b, .plot script").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_of_a_chart_has_the_contrast_of_wcag_aa(visit: Any, scheme: str) -> None:
    opened = visit("lines", color_scheme=scheme)
    colors = opened.page.evaluate(
        "[getComputedStyle(document.querySelector('.plot .xtitle')).fill,"
        " getComputedStyle(document.body).backgroundColor]"
    )
    assert contrast(colors) >= 4.5


def test_a_chart_follows_a_change_of_theme(visit: Any) -> None:
    opened = visit("lines", color_scheme="light")
    fill = "getComputedStyle(document.querySelector('.plot .xtitle')).fill"
    before = opened.page.evaluate(fill)
    opened.page.emulate_media(color_scheme="dark")
    opened.page.wait_for_function(f"{fill} !== {before!r}")


def test_pointing_at_a_bar_tells_its_value_with_the_unit(visit: Any) -> None:
    opened = visit("lines")
    box = opened.page.locator(".plot .bars .point").first.bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    opened.page.wait_for_selector(".hoverlayer .hovertext")
    assert "y (s): 1" in opened.page.locator(".hoverlayer .hovertext").first.text_content()


def test_without_a_script_picture_and_table_are_there(visit: Any) -> None:
    opened = visit("lines", java_script_enabled=False)
    assert opened.page.get_by_role("link", name="Table (CSV)").is_visible()
    assert opened.page.get_by_text("The chart is drawn by a script").is_visible()
