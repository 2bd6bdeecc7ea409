"""Figures in Chromium, light and dark: letters that stand out, no white slab, nothing without a value."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.charts import Axis, Chart, Points
from leaderboards.build import build
from tests.browser import NEEDS_CHROMIUM, Visit, contrast
from tests.charts.examples import MARKS, chart, panel
from tests.records import make_arrays, make_record, write_record

pytestmark = [*NEEDS_CHROMIUM, pytest.mark.slow]

PAPER = {"light": "rgb(252, 252, 249)", "dark": "rgb(20, 22, 25)"}

TEXTS = """() => [...document.querySelectorAll("text")].map(text => {
  const box = text.getBoundingClientRect();
  const all = document.documentElement.getBoundingClientRect();
  const inside = box.left >= -1 && box.top >= -1 && box.right <= all.right + 1 && box.bottom <= all.bottom + 1;
  return [text.textContent, getComputedStyle(text).fill, inside];
})"""


def charts() -> list[Chart]:
    """A chart for each mark, and one with names beside an axis."""
    named = Axis(ticks=[0, 1], tick_labels=["the first of two names", "second"])
    beside = panel(Points(x=[1, 2], y=[0, 1]), y=named)
    drawn = {name: panel(mark) for name, mark in MARKS.items() if name not in ("nothing", "no tiles")}
    return [chart(each, name=name.replace(" ", "-")) for name, each in [*drawn.items(), ("names", beside)]]


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of an entry with all of them."""
    folder = tmp_path_factory.mktemp("drawn")
    arrays = make_arrays()
    path = write_record(folder / "r", make_record(arrays), arrays)
    for each in charts():
        each.save(path.parent / "figures" / f"{each.name}.json")
    site = build([path], folder / "site")
    assert not site.left_out
    (page,) = (folder / "site" / "entries").glob("*.html")
    return page


@pytest.fixture(params=["light", "dark"])
def opened(request: Any, chromium: Any, entry: Path) -> Iterator[tuple[str, Visit]]:
    visit = Visit(chromium, entry.as_uri(), color_scheme=request.param)
    yield request.param, visit
    visit.context.close()


def test_letters_of_figures_stand_out_and_say_values(opened: tuple[str, Visit], entry: Path) -> None:
    scheme, visit = opened
    drawings = sorted((entry.parent.parent / "figures").rglob("*.svg"))
    assert len(drawings) == len(charts())
    for drawing in drawings:
        visit.page.goto(drawing.as_uri())
        found = visit.page.evaluate(TEXTS)
        assert found or "tiles" in drawing.name, drawing
        for text, color, inside in found:
            assert contrast([color, PAPER[scheme]]) >= 4.5, (drawing, text)
            assert inside, (drawing, text)
            words = text.lower().replace("−", "-").split()
            assert not {"nan", "none", "null", "undefined", "inf", "-inf"} & {*words}, (drawing, text)
    assert visit.complaints == []


def test_figures_have_the_color_of_their_page(opened: tuple[str, Visit]) -> None:
    scheme, visit = opened
    paper = np.array([int(part) for part in PAPER[scheme][4:-1].split(",")])
    images = visit.page.locator(".thumbnails img.drawn")
    assert images.count() == len(charts())
    for image in images.all():
        image.scroll_into_view_if_needed()
        visit.page.wait_for_function(
            "image => image.complete && image.naturalWidth", arg=image.element_handle()
        )
        pixels = np.asarray(Image.open(io.BytesIO(image.screenshot())).convert("RGB"), int)
        edges = np.concatenate([pixels[1:3].reshape(-1, 3), pixels[:, 1:3].reshape(-1, 3)])
        assert np.median(abs(edges - paper).max(axis=1)) <= 12, image.get_attribute("src")
        assert (abs(pixels - paper).max(axis=2) > 60).any(), f"{image.get_attribute('src')} is empty"


def test_figures_follow_the_theme_that_a_reader_chooses(chromium: Any, entry: Path) -> None:
    visit = Visit(chromium, entry.as_uri(), color_scheme="light")
    image = visit.page.locator(".thumbnails img.drawn").first
    image.scroll_into_view_if_needed()
    light = np.asarray(Image.open(io.BytesIO(image.screenshot())).convert("L"), float)
    visit.page.locator(".theme select").select_option("dark")
    visit.page.wait_for_timeout(300)
    dark = np.asarray(Image.open(io.BytesIO(image.screenshot())).convert("L"), float)
    visit.context.close()
    assert np.median(light) > 200
    assert np.median(dark) < 60


def test_figures_are_compared_by_what_they_show_though_each_network_has_its_own_number(
    chromium: Any, tmp_path: Path
) -> None:
    paths = []
    for at in range(2):
        arrays = make_arrays(seed=at)
        defense = {"name": f"d{at}", "hyperparameters": {}, "defaults": {}}
        path = write_record(tmp_path / f"{at}", make_record(arrays, id=f"r{at}", defense=defense), arrays)
        plane = chart(panel(MARKS["classes"]), name="regions-plane-1")
        plane.model_copy(update={"title": f"Regions: {at}"}).save(
            path.parent / "figures" / "regions-plane-1.json"
        )
        paths.append(path)
    build(paths, tmp_path / "site")
    visit = Visit(chromium, next((tmp_path / "site" / "boards").glob("*.html")).as_uri())
    for at in range(2):
        visit.page.locator(".pick input").nth(at).check()
    visit.page.get_by_role("link", name="Compare").click()
    summary = visit.page.locator("#figures summary")
    summary.click()
    assert summary.inner_text() == "Regions"
    assert visit.page.locator("#figures img.drawn").count() == 2
    assert visit.complaints == []
    visit.context.close()
