"""The board in Chromium: what the script adds, and what must hold without it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.charts.palette import COLORS
from leaderboards.build import build
from tests.browser import NEEDS_CHROMIUM, PHONE, Visit, contrast
from tests.records import make_arrays, make_record, write_record

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = NEEDS_CHROMIUM


class Board(Visit):
    """A board that was opened."""

    def column(self, name: str) -> list[str]:
        """The text of a column's visible cells, from top to bottom."""
        selector = {"defense": "th.name a", "network": "td:nth-child(3)", "worst": "td.worst"}[name]
        cells = self.page.locator(f"#board tbody tr:visible {selector}").all_inner_texts()
        return [cell.split("\n")[0] for cell in cells]

    def sort(self, key: str) -> None:
        """Press the button in a column's head."""
        self.page.locator(f'th[data-key="{key}"] button').click()

    def sorted_by(self) -> dict[str, str]:
        """Column key → its `aria-sort`."""
        heads = self.page.locator("th[aria-sort]")
        return {head.get_attribute("data-key"): head.get_attribute("aria-sort") for head in heads.all()}


@pytest.fixture
def visit(chromium: Any, site: Path) -> Iterator[Any]:
    (board,) = (site / "boards").glob("*.html")
    opened: list[Board] = []

    def open_page(page: Path = board, query: str = "", **options: Any) -> Board:
        opened.append(Board(chromium, page.as_uri() + query, **options))
        return opened[-1]

    yield open_page
    for one in opened:
        one.context.close()


def test_the_board_starts_sorted_by_worst_case(visit: Any) -> None:
    board = visit()
    worst = [float(value) for value in board.column("worst")]
    assert len(worst) == 12
    assert worst == sorted(worst, reverse=True)
    assert board.sorted_by() == {"robust_accuracy/worst_case": "descending"}


def test_a_column_sorts_best_first_then_the_other_way(visit: Any) -> None:
    board = visit()
    values = board.page.locator("#board tbody tr td:nth-child(4)")
    board.sort("clean_accuracy")
    falling = [float(text.split("\n")[0]) for text in values.all_inner_texts()]
    assert falling == sorted(falling, reverse=True)
    assert board.sorted_by() == {"clean_accuracy": "descending"}
    board.sort("clean_accuracy")
    rising = [float(text.split("\n")[0]) for text in values.all_inner_texts()]
    assert rising == sorted(rising)
    assert board.sorted_by() == {"clean_accuracy": "ascending"}


def test_time_sorts_fastest_first_and_a_missing_value_stays_last(visit: Any) -> None:
    board = visit()
    for direction in ("ascending", "descending"):
        board.sort("time_per_epoch_ratio")
        assert board.sorted_by() == {"time_per_epoch_ratio": direction}
        assert board.column("defense")[-1].startswith("some_package")


def test_words_sort_by_the_alphabet(visit: Any) -> None:
    board = visit()
    board.sort("defense")
    names = board.column("defense")
    assert names == sorted(names)


def test_the_text_filter_needs_every_word(visit: Any) -> None:
    board = visit()
    board.page.get_by_label("Filter", exact=True).fill("PRS vgg")
    assert board.column("defense") == ["prs"]
    assert board.page.locator("output").inner_text() == "1 of 12 shown"
    board.page.get_by_label("Filter", exact=True).fill("randomised output")
    assert board.column("network") == ["resnet18"]


def test_facets_combine_and_reset_brings_everything_back(visit: Any) -> None:
    board = visit()
    board.page.locator(".facet summary", has_text="Network").click()
    board.page.locator('[name="network"][value="cnn6"]').check()
    board.page.keyboard.press("Escape")
    assert set(board.column("network")) == {"cnn6"}
    board.page.locator(".facet summary", has_text="Defense").click()
    board.page.locator('[name="defense"][value="at"]').check()
    board.page.locator('[name="defense"][value="prs"]').check()
    assert board.column("defense") == ["at", "prs"]
    board.page.locator("h1").click()
    board.page.get_by_role("button", name="Reset").click()
    playwright.expect(board.page.locator("output")).to_have_text("12 of 12 shown")
    assert "?" not in board.page.url


def test_alarm_free_leaves_only_rows_without_a_badge(visit: Any) -> None:
    board = visit()
    board.page.get_by_label("No alarm raised").check()
    assert len(board.column("defense")) == 7
    assert board.page.locator("#board tbody tr:visible .alarm").count() == 0


def test_columns_can_be_hidden(visit: Any) -> None:
    board = visit()
    board.page.locator(".facet summary", has_text="Columns").click()
    board.page.locator('[name="column"][value="attacks"]').uncheck()
    assert not board.page.locator('th[data-key="robust_accuracy/fgsm"]').is_visible()
    assert board.page.locator('th[data-key="robust_accuracy/worst_case"]').is_visible()
    assert board.page.locator("#board td.part-attacks:visible").count() == 0


def test_a_link_restores_sort_filter_facets_and_columns(visit: Any) -> None:
    first = visit()
    first.sort("prs_ratio")
    first.sort("prs_ratio")
    first.page.get_by_label("Filter", exact=True).fill("cnn6")
    first.page.get_by_label("No alarm raised").check()
    first.page.locator(".facet summary", has_text="Columns").click()
    first.page.locator('[name="column"][value="time"]').uncheck()
    first.page.keyboard.press("Escape")
    first.page.locator(".facet summary", has_text="Defense").click()
    first.page.locator('[name="defense"][value="at"]').check()
    first.page.locator('[name="defense"][value="standard"]').check()
    second = visit(query="?" + first.page.url.partition("?")[2])
    assert second.column("defense") == first.column("defense")
    assert len(second.column("defense")) == 2
    assert second.sorted_by() == {"prs_ratio": "ascending"}
    assert second.page.get_by_label("Filter", exact=True).input_value() == "cnn6"
    assert not second.page.locator('th[data-key="time_per_epoch"]').is_visible()


@pytest.mark.slow
def test_a_long_board_shows_its_best_first_and_all_on_demand(visit: Any, tmp_path: Path) -> None:
    paths = []
    for number in range(260):
        arrays = make_arrays({"robust_accuracy/autoattack": number / 600}, n=600)
        lean: dict[str, Any] = {"history": [], "curves": {}, "alarms": []}
        record = make_record(arrays, id=f"r{number}", defense={"name": f"d{number:03}"}, **lean)
        paths.append(write_record(tmp_path / f"{number}", record, arrays))
    build(paths, tmp_path / "site")
    (page,) = (tmp_path / "site" / "boards").glob("*.html")
    board = visit(page)
    assert board.page.locator("output").inner_text() == "250 of 260 shown"
    board.sort("defense")
    names = board.column("defense")
    assert (len(names), names[0], names[-1]) == (250, "d000", "d249")
    board.page.get_by_label("Filter", exact=True).fill("d25")
    assert board.column("defense") == [f"d25{digit}" for digit in range(10)]
    board.page.get_by_label("Filter", exact=True).fill("")
    board.page.emulate_media(media="print")
    assert len(board.column("defense")) == 260
    board.page.emulate_media(media="screen")
    assert len(board.column("defense")) == 250
    board.page.get_by_role("button", name="Show all 260").click()
    assert len(board.column("defense")) == 260


@pytest.mark.parametrize(
    "query", ["?sort=-nonsense&network=unknown&hide=x&q=%3Cb%3E", "?sort=&alarms=1", "?%"]
)
def test_a_wrong_link_shows_the_board_all_the_same(visit: Any, query: str) -> None:
    board = visit(query=query)
    assert board.sorted_by() == {"robust_accuracy/worst_case": "descending"}
    assert board.complaints == []


def test_the_keyboard_reaches_and_works_the_heads(visit: Any) -> None:
    board = visit()
    board.page.locator('th[data-key="clean_accuracy"] button').focus()
    board.page.keyboard.press("Enter")
    assert board.sorted_by() == {"clean_accuracy": "descending"}
    focused = board.page.evaluate("document.activeElement.closest('th').dataset.key")
    assert focused == "clean_accuracy"
    outline = board.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_the_first_tab_offers_to_skip_to_the_content(visit: Any) -> None:
    board = visit()
    board.page.keyboard.press("Tab")
    assert board.page.evaluate("document.activeElement.className") == "skip"
    assert board.page.evaluate("document.activeElement.getBoundingClientRect().top") >= 0
    board.page.keyboard.press("Enter")
    assert board.page.evaluate("document.activeElement.id") == "main"


def test_escape_closes_a_facet_and_gives_the_focus_back(visit: Any) -> None:
    board = visit()
    summary = board.page.locator(".facet summary", has_text="Network")
    summary.focus()
    board.page.keyboard.press("Enter")
    board.page.keyboard.press("Tab")
    board.page.keyboard.press("Space")
    board.page.keyboard.press("Escape")
    assert board.page.locator(".facet[open]").count() == 0
    assert summary.evaluate("element => element === document.activeElement")
    assert set(board.column("network")) == {"cnn6"}


def test_without_a_script_the_whole_table_reads(visit: Any) -> None:
    board = visit(java_script_enabled=False)
    assert len(board.column("defense")) == 12
    assert not board.page.locator("form.controls").is_visible()
    assert board.page.locator("#board button").count() == 0
    assert board.page.locator("#board caption").is_visible()


def pages(site: Path) -> list[Path]:
    """Every kind of page: several seeds with alarms and figures, and a sparse entry with a long name."""
    entries = [*site.glob("entries/prs-*.html"), *site.glob("entries/some-package-*.html")]
    return [site / "index.html", *site.glob("boards/*.html"), *sorted(entries)]


@pytest.mark.slow
def test_no_page_complains_or_leaves_its_folder(visit: Any, site: Path) -> None:
    opened = visit()
    for page in pages(site):
        opened.page.goto(page.as_uri())
        opened.page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        painted = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert painted != "rgba(0, 0, 0, 0)", page
    assert opened.complaints == []
    assert len(opened.requests) > 2 * len(pages(site))
    assert all(url.startswith(site.as_uri()) for url in opened.requests), opened.requests


def test_no_page_is_wider_than_a_phone(visit: Any, site: Path) -> None:
    opened = visit(viewport=PHONE)
    for page in pages(site):
        opened.page.goto(page.as_uri())
        width = opened.page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], page


def test_on_a_phone_an_open_facet_stays_on_the_screen(visit: Any) -> None:
    board = visit(viewport=PHONE)
    for summary in board.page.locator(".facet summary").all():
        summary.click()
        box = board.page.locator(".facet[open] fieldset").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
        board.page.keyboard.press("Escape")


def test_on_a_phone_the_table_scrolls_under_its_first_columns(visit: Any) -> None:
    board = visit(viewport=PHONE)
    box = board.page.locator(".scroll.board")
    assert box.evaluate("element => element.scrollWidth > element.clientWidth")
    name = board.page.locator("#board tbody th.name").first
    before = name.bounding_box()["x"]
    box.evaluate("element => { element.scrollLeft = 300 }")
    assert name.bounding_box()["x"] == pytest.approx(before, abs=1)


COLOURS = """selector => {
  const element = document.querySelector(selector);
  let behind = element;
  while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
  return [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "selector", ["body", "#board small", "#board .alarm", ".facts", "a[href]", "#protocol dt"]
)
def test_text_has_the_contrast_of_wcag_aa(visit: Any, scheme: str, selector: str) -> None:
    board = visit(color_scheme=scheme)
    assert contrast(board.page.evaluate(COLOURS, selector)) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_of_charts_stand_out_in_both_themes(visit: Any, scheme: str) -> None:
    board = visit(color_scheme=scheme)
    paper = board.page.evaluate("getComputedStyle(document.body).backgroundColor")
    for style in range(len(COLORS)):
        colour = board.page.evaluate(
            """style => {
              const dot = document.querySelector(".chart .dot");
              dot.setAttribute("class", `dot ${style}`);
              return getComputedStyle(dot).fill;
            }""",
            f"s{style}",
        )
        assert contrast([colour, paper]) >= 3, style


def test_dark_mode_is_dark(visit: Any) -> None:
    backgrounds = [
        visit(color_scheme=scheme).page.evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    ]
    ink = "rgb(0, 0, 0)"
    assert contrast([backgrounds[0], ink]) > 15 > 2 > contrast([backgrounds[1], ink])


def test_motion_is_left_out_for_those_who_ask(visit: Any) -> None:
    behaviour = "getComputedStyle(document.documentElement).scrollBehavior"
    assert visit(reduced_motion="reduce").page.evaluate(behaviour) == "auto"
    assert visit(reduced_motion="no-preference").page.evaluate(behaviour) == "smooth"


def test_on_paper_the_table_is_whole_and_the_controls_are_gone(visit: Any) -> None:
    board = visit()
    board.page.emulate_media(media="print")
    assert not board.page.locator("form.controls").is_visible()
    assert (
        board.page.locator(".scroll.board").evaluate("element => getComputedStyle(element).overflowX")
        == "visible"
    )
