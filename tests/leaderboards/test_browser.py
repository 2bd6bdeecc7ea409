"""The board in Chromium: what the script adds, and what must hold without it."""

import itertools
import json
import re
import struct
from collections.abc import Iterator
from importlib.resources import files as resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.charts.palette import COLORS
from bench.charts.plotly.page import ASSETS
from bench.core.statistics import paired_p_value
from leaderboards.board import make_boards
from leaderboards.build import build
from leaderboards.card import Card
from leaderboards.headline import difference
from leaderboards.ranked import read_ranked
from tests.browser import NEEDS_CHROMIUM, PHONE, Visit, contrast
from tests.leaderboards.test_geometry import write_networks
from tests.records import make_arrays, make_record, make_scores, write_record

playwright = pytest.importorskip("playwright.sync_api")
SVG = "{http://www.w3.org/2000/svg}"
pytestmark = [*NEEDS_CHROMIUM, pytest.mark.slow]


def falls(worst: list[str]) -> bool:
    """Whether worst cases fall from top to bottom, and then once more those in doubt, which are in parentheses."""
    order = [(value.startswith("("), -float(value.strip("()"))) for value in worst]
    return order == sorted(order)


#: The texts of cells, also of those in rows that are not laid out as they are far from the screen.
TEXTS = """cells => cells.map(cell => {
  cell.closest("tr").style.contentVisibility = "visible";
  return cell.innerText;
})"""


class Board(Visit):
    """A board that was opened."""

    def column(self, name: str) -> list[str]:
        """The text of a column's visible cells, from top to bottom."""
        selector = {"defense": "th.name a", "network": "td.t-network", "worst": "td.worst"}[name]
        return [cell.strip().split("\n")[0] for cell in self.texts(f"tr:visible {selector}")]

    def texts(self, cells: str) -> list[str]:
        """The texts of a kind of cell, from top to bottom."""
        return self.page.locator(f"#board tbody {cells}").evaluate_all(TEXTS)

    def search(self, words: str) -> None:
        """Type words into the search."""
        self.page.get_by_label("Search", exact=True).fill(words)

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
    assert len(board.column("worst")) == 12
    assert falls(board.column("worst"))
    assert board.sorted_by() == {"robust_accuracy/worst_case": "descending"}


def test_a_column_sorts_best_first_then_the_other_way(visit: Any) -> None:
    board = visit()
    board.sort("clean_accuracy")
    falling = [float(text.split("\n")[0]) for text in board.texts("td.clean")]
    assert falling == sorted(falling, reverse=True)
    assert board.sorted_by() == {"clean_accuracy": "descending"}
    board.sort("clean_accuracy")
    rising = [float(text.split("\n")[0]) for text in board.texts("td.clean")]
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
    board.search("PRS vgg")
    assert board.column("defense") == ["prs"]
    assert board.page.locator("output").inner_text() == "1 of 12 shown"
    board.search("randomised output")
    assert board.column("network") == ["resnet18"]


def test_facets_combine_and_reset_brings_everything_back(visit: Any) -> None:
    board = visit()
    board.page.locator(".facet summary", has_text="Network").click()
    board.page.locator('[name="network"][value="cnn6"]').check()
    board.page.keyboard.press("Escape")
    assert set(board.column("network")) == {"cnn6"}
    board.page.locator(".facet summary", has_text="Family").click()
    board.page.locator('[name="family"][value="adversarial training"]').check()
    board.page.locator('[name="family"][value="region"]').check()
    assert board.column("defense") == ["at", "prs", "mr"]
    board.page.locator("h1").click()
    board.page.get_by_role("button", name="Reset").click()
    playwright.expect(board.page.locator("output")).to_have_text("12 of 12 shown")
    assert "?" not in board.page.url


def test_alarm_free_leaves_only_rows_without_a_badge(visit: Any) -> None:
    board = visit()
    board.page.get_by_label("No alarm raised").check()
    assert len(board.column("defense")) == 7
    assert board.page.locator("#board tbody tr:visible .alarm").count() == 0


def test_columns_are_chosen_one_by_one_and_remembered(visit: Any) -> None:
    board = visit()
    board.page.locator(".facet summary", has_text="Columns").click()
    heads = {
        key: board.page.locator(f'th[data-key="robust_accuracy/{key}"]') for key in ("fgsm", "autoattack")
    }
    assert (heads["fgsm"].is_visible(), heads["autoattack"].is_visible()) == (False, True)
    board.page.locator('[name="column"][value="fgsm"]').check()
    board.page.locator('[name="column"][value="autoattack"]').uncheck()
    assert (heads["fgsm"].is_visible(), heads["autoattack"].is_visible()) == (True, False)
    assert board.page.url.endswith("?show=fgsm&hide=autoattack")
    again = visit(query="?" + board.page.url.partition("?")[2])
    assert again.page.locator("#board td.c-fgsm:visible").count() == 12
    assert again.page.locator("#board td.c-autoattack:visible").count() == 0


def test_weights_date_and_paper_are_columns_to_choose(visit: Any, tmp_path: Path) -> None:
    paths = []
    stated = {"theirs": "https://example.org/a?b=1&c=2", "other": "javascript:alert(1)"}
    for number, (name, weights) in enumerate(
        {"at": 900, "standard": 12_345, "theirs": 70, "other": 8}.items()
    ):
        arrays = make_arrays({"robust_accuracy/autoattack": number / 10})
        changes: dict[str, Any] = {"defense": {"name": name}, "parameters": weights, "id": f"r{number}"}
        if name in stated:
            changes |= {"provenance": {"config": {"paper": stated[name]}}, "training": None, "history": []}
        paths.append(write_record(tmp_path / f"{number}", make_record(arrays, **changes), arrays))
    cards = {
        "at": Card("adversarial training", "Trains.", "Madry et al. 2018, eq. 2.1", "https://arxiv.org/abs/1")
    }
    build(paths, tmp_path / "site", cards=cards)
    board = visit(
        next((tmp_path / "site" / "boards").glob("*.html")),
        "?show=weights&show=date&show=paper&sort=-weights",
    )
    rows = board.page.locator("#board tbody tr")
    assert board.texts(".t-weights") == ["12,345", "900", "70", "8"]
    papers = rows.locator(".t-paper")
    assert board.texts(".t-paper a") == ["Madry et al. 2018", "example.org/a?b=1&c=2"]
    assert [link.get_attribute("href") for link in papers.locator("a").all()] == [
        "https://arxiv.org/abs/1",
        stated["theirs"],
    ]
    dates = board.texts(".t-date")
    assert [re.fullmatch(r"\d{4}-\d\d-\d\d", date) is not None for date in dates] == [True] * 4
    board.page.set_viewport_size({"width": 2000, "height": 900})
    assert board.page.locator("#board tbody th").first.bounding_box()["width"] >= 6.5 * 16
    board.sort("paper")
    # No paper stays last, whichever way.
    assert board.column("defense")[:2] == ["theirs", "at"]
    board.sort("paper")
    assert board.column("defense")[:2] == ["at", "theirs"]
    assert (
        visit(next((tmp_path / "site" / "boards").glob("*.html"))).page.locator(".t-paper").first.is_hidden()
    )


def test_a_link_restores_sort_filter_facets_and_columns(visit: Any) -> None:
    first = visit()
    first.sort("prs_ratio")
    first.sort("prs_ratio")
    first.search("cnn6")
    first.page.get_by_label("No alarm raised").check()
    first.page.locator(".facet summary", has_text="Columns").click()
    first.page.locator('[name="column"][value="prs-ratio"]').uncheck()
    first.page.keyboard.press("Escape")
    first.page.locator(".facet summary", has_text="Family").click()
    first.page.locator('[name="family"][value="adversarial training"]').check()
    first.page.locator('[name="family"][value="none"]').check()
    second = visit(query="?" + first.page.url.partition("?")[2])
    assert second.column("defense") == first.column("defense")
    assert len(second.column("defense")) == 2
    assert second.sorted_by() == {"prs_ratio": "ascending"}
    assert second.page.get_by_label("Search", exact=True).input_value() == "cnn6"
    assert not second.page.locator('th[data-key="prs_ratio"]').is_visible()


def test_a_word_finds_the_whole_word_and_its_beginning_only_where_no_other_row_has_it(visit: Any) -> None:
    board = visit()
    board.search("at")
    assert set(board.column("defense")) == {"at"}
    board.search("jac")
    assert set(board.column("defense")) == {"jacobian"}
    board.search("attack")
    assert board.column("defense") == []


def test_back_returns_to_the_earlier_view(visit: Any) -> None:
    board = visit()
    board.sort("clean_accuracy")
    board.search("prs")
    board.page.locator(".facet summary", has_text="Network").click()
    board.page.locator('[name="network"][value="cnn6"]').check()
    assert board.column("defense") == ["prs"]
    board.page.go_back()
    assert board.column("defense") == ["prs", "prs"]
    board.page.go_back()
    assert len(board.column("defense")) == 12
    assert board.sorted_by() == {"clean_accuracy": "descending"}
    board.page.go_back()
    assert board.sorted_by() == {"robust_accuracy/worst_case": "descending"}
    assert falls(board.column("worst"))


def test_entries_are_compared_side_by_side_from_a_folder(
    visit: Any, sample: list[Path], tmp_path: Path
) -> None:
    opened = visit()
    for at in (0, 3, 7):
        opened.page.locator(".pick input").nth(at).check()
    opened.page.get_by_role("link", name="Compare").click()
    scores = opened.page.locator("#scores")
    playwright.expect(scores).to_be_visible()
    assert scores.locator("thead a").count() == 3
    line = scores.locator("tr", has_text="First minus this").locator("td").all_inner_texts()
    assert line[0] == ""
    assert [cell.split()[1] for cell in line[1:]] == ["points", "points"]
    (board,) = make_boards(read_ranked(sample)[0])
    survived = {entry.page: entry.outcomes for entry in board.entries}
    pages = [Path(link.get_attribute("href")).stem for link in scores.locator("thead a").all()]
    first, *others = [survived[page] for page in pages]
    alone = scores.locator("tr", has_text="Images that only").locator("td").all_inner_texts()
    for cell, other in zip(alone[1:], others, strict=True):
        if other is None:
            assert cell == "—"
            continue
        ahead = first.sum(axis=0) * len(other) - other.sum(axis=0) * len(first)
        assert cell.split("\n")[0] == f"{(ahead > 0).sum()}, {(ahead < 0).sum()}"
    assert {other is None for other in others} == {True, False}
    chart = opened.page.locator("#charts figure").first
    assert chart.locator(".panels .line title").count() >= 3
    paths = ElementTree.fromstring(saved(chart, "SVG", tmp_path)).iter(f"{SVG}path")
    assert sum(path.find(f"{SVG}title") is not None for path in paths) >= 3
    assert opened.page.locator("#differing tbody tr").count() > 0
    assert opened.complaints == []


#: The numbers of intervals and heads that are broken in their middle.
BROKEN = """() => [...document.querySelectorAll(".compared :is(td small, thead a)")].flatMap(box => {
  const text = box.firstChild;
  return [...text.data.matchAll(/[0-9.]+/g)].filter(word => {
    const range = document.createRange();
    range.setStart(text, word.index);
    range.setEnd(text, word.index + word[0].length);
    return range.getClientRects().length > 1;
  }).map(word => word[0]);
})"""


def test_five_entries_fit_a_phone_without_a_broken_number(visit: Any) -> None:
    opened = visit()
    for at in range(5):
        opened.page.locator(".pick input").nth(at).check()
    address = opened.page.get_by_role("link", name="Compare").evaluate("link => link.href")
    compared = visit(viewport=PHONE).page
    compared.goto(address)
    compared.locator("#scores tbody tr").first.wait_for()
    assert compared.locator("#scores small").count() > 20
    assert compared.evaluate(BROKEN) == []


def test_the_settings_of_a_composition_stand_beside_those_of_its_parts(visit: Any, tmp_path: Path) -> None:
    settings = {
        "at": {"steps": 7, "warmup": 0.5},
        "jacobian+at": {"at.steps": 10, "at.warmup": 0.5, "jacobian.c": 0.1},
        "trades": {"steps": 5},
    }
    paths = []
    for number, (name, own) in enumerate(settings.items()):
        arrays = make_arrays({"robust_accuracy/autoattack": number / 10})
        defense = {"name": name, "hyperparameters": own, "defaults": own}
        record = make_record(arrays, id=f"r{number}", defense=defense)
        paths.append(write_record(tmp_path / f"{number}", record, arrays))
    build(paths, tmp_path / "site")
    opened = visit(next((tmp_path / "site" / "boards").glob("*.html")))
    order = opened.column("defense")
    for at in range(3):
        opened.page.locator(".pick input").nth(at).check()
    opened.page.get_by_role("link", name="Compare").click()
    rows = opened.page.locator("#differing tbody tr")
    playwright.expect(rows.first).to_be_visible()
    shown = {
        cells[0]: dict(zip(order, cells[1:], strict=True))
        for row in rows.all()
        for cells in [row.locator("th, td").all_inner_texts()]
    }
    assert shown["at.steps"] == {"at": "7", "jacobian+at": "10", "trades": "—"}
    assert shown["steps"] == {"at": "—", "jacobian+at": "—", "trades": "5"}
    assert shown["at.warmup"] == {"at": "0.5", "jacobian+at": "0.5", "trades": "—"}


@pytest.mark.parametrize("query", ["", "?board=../x&a=1", "?board=none&a=00000000&a=11111111"])
def test_a_comparison_of_nothing_says_so(visit: Any, site: Path, query: str) -> None:
    opened = visit(site / "compare.html", query)
    playwright.expect(opened.page.locator("#said")).to_contain_text("Choose")
    assert not opened.page.locator("#compared").is_visible()


MAIN = ("rank", "name", "worst", "clean", "cost", "alarms-cell")


@pytest.mark.parametrize("width", [360, 768, 1280, 2560])
@pytest.mark.parametrize("script", [True, False])
def test_what_answers_is_on_every_screen(visit: Any, width: int, script: bool) -> None:
    board = visit(viewport={"width": width, "height": 900}, java_script_enabled=script)
    for row in (board.page.locator("#board tbody tr").first, board.page.locator("#board tbody tr").last):
        for name in MAIN:
            box = row.locator(f".{name}").bounding_box()
            assert box["width"] > 0, name
            assert box["x"] >= 0, name
            assert box["x"] + box["width"] <= width, name
        bar = row.locator(".worst .iv").bounding_box()
        assert bar["width"] >= (40 if script else 15)
    if script:
        assert board.page.locator(".scroll.board").evaluate("e => e.scrollHeight <= e.clientHeight + 2")
        assert board.page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_command_and_citation_has_a_button_that_copies_it(visit: Any, site: Path) -> None:
    opened = visit()
    opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
    (entry,) = site.glob("entries/prs-cnn6-*.html")
    for page, words in (
        (opened.page.url, "@misc{regionbench,"),
        ((site / "index.html").as_uri(), "bench evaluate"),
        (entry.as_uri(), "bench cite"),
    ):
        opened.page.goto(page)
        command = opened.page.locator("pre.copied", has_text=words)
        assert command.count() == 1
        command.locator("xpath=preceding-sibling::button[1]").click()
        playwright.expect(opened.page.locator(".copy", has_text=re.compile("Copied|Selected"))).to_have_count(
            1
        )
    assert opened.complaints == []


#: The colors of a chart's paths as they are seen.
SEEN = """paths => paths.flatMap(path => [getComputedStyle(path).fill, getComputedStyle(path).stroke])"""


def saved(chart: Any, kind: str, folder: Path) -> bytes:
    """The file that a button of a chart saves."""
    with chart.page.expect_download() as download:
        chart.locator(".saves").get_by_role("button", name=kind).click()
    path = folder / download.value.suggested_filename
    assert path.suffix == f".{kind.lower()}"
    download.value.save_as(path)
    return path.read_bytes()


def test_the_heads_of_scores_stay_below_the_contents_where_the_table_fits(visit: Any, tmp_path: Path) -> None:
    (page,) = (build(write_networks(tmp_path), tmp_path / "site").folder / "geometry").glob("*.html")
    opened = visit(page, viewport={"width": 1280, "height": 400}).page
    table = opened.locator(".scroll.fits > .geometry").first
    table.evaluate("table => scrollBy(0, table.getBoundingClientRect().bottom - 150)")
    assert table.bounding_box()["y"] < 0
    contents, head = (opened.locator(found).first.bounding_box() for found in (".toc", ".geometry thead th"))
    assert head["y"] == pytest.approx(contents["y"] + contents["height"], abs=2)


def test_a_key_of_the_legend_fades_points_and_the_names_beside_them(visit: Any) -> None:
    chart = visit().page.locator("figure.chart").first
    names = chart.locator(".label.g0, .label.g1")
    assert names.count() > 1
    key = chart.locator("[data-picks=g1] button")
    key.click()
    for name in names.all():
        assert ("faded" in name.get_attribute("class").split()) == (
            "g1" not in name.get_attribute("class").split()
        )
    key.click()
    assert chart.locator("svg .faded").count() == 0


def test_charts_are_saved_as_files_in_the_colors_of_the_light_theme(
    visit: Any, site: Path, tmp_path: Path
) -> None:
    light, dark = (visit(color_scheme=scheme) for scheme in ("light", "dark"))
    for at in (0, 3, 7):
        light.page.locator(".pick input").nth(at).check()
    compare = light.page.get_by_role("link", name="Compare").evaluate("link => link.href")
    entry = next(site.glob("entries/prs-cnn6-*.html"))
    for address in (dark.page.url, entry.as_uri(), compare):
        charts = []
        for opened in (light, dark):
            opened.page.goto(address)
            charts.append(opened.page.locator("figure.chart").first)
        drawings = [saved(chart, "SVG", tmp_path).decode() for chart in charts]
        assert drawings[0] == drawings[1]
        assert not re.search(r"var\(|light-dark|currentcolor|class=|href=|NaN", drawings[0], re.IGNORECASE)
        assert dark.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 25)"
        svg = ElementTree.fromstring(drawings[0])
        paths = charts[0].locator(":scope > .panels svg path, .legend svg path")
        found = [path.get(side) for path in svg.iter(f"{SVG}path") for side in ("fill", "stroke")]
        assert found == paths.evaluate_all(SEEN)
        texts = [text.text for text in svg.iter(f"{SVG}text")]
        for shown in charts[0].locator("figcaption, :scope > .panels svg text, .legend li").all():
            assert shown.text_content().strip() in texts
        width, height = (int(svg.get(side)) for side in ("width", "height"))
        picture = saved(charts[1], "PNG", tmp_path)
        assert struct.unpack(">II", picture[16:24]) == (3 * width, 3 * height)
    assert light.complaints == dark.complaints == []


def test_on_paper_every_column_is_there_and_the_controls_are_gone(visit: Any) -> None:
    board = visit(viewport={"width": 1047, "height": 740})
    board.page.emulate_media(media="print")
    # Chromium repeats the heads on further pages without buttons in them.
    button = board.page.locator("#board thead button").first
    assert button.evaluate("button => getComputedStyle(button).display") == "contents"
    assert not board.page.locator("form.controls").is_visible()
    heads = board.page.locator("#board thead th").all()
    assert len(heads) == 22
    for head in heads:
        box = head.bounding_box()
        assert box["width"] > 0
        assert box["x"] + box["width"] <= 1048
    assert board.page.locator("#board .worst .iv").first.bounding_box()["width"] >= 60


def test_two_chosen_rows_say_what_python_says_of_them(visit: Any, sample: list[Path]) -> None:
    (board,) = make_boards(read_ranked(sample)[0])
    page = visit().page
    boxes = page.locator(".pick input")
    known = [at for at, entry in enumerate(board.entries) if entry.outcomes is not None]
    for first, second in itertools.combinations(known[:4], 2):
        boxes.nth(first).check()
        boxes.nth(second).check()
        a, b = (board.entries[at].outcomes for at in (first, second))
        found, p = difference(a, b), paired_p_value(a, b)
        said = page.locator(".said").inner_text().replace("−", "-")
        value, low, high = map(float, re.search(r"(\S+) points \((\S+) to (\S+)\)", said).groups())
        assert [value, low, high] == pytest.approx(
            [100 * x for x in (found.value, found.low, found.high)], abs=0.06
        )
        text = "p < 0.001" if p < 0.001 else f"p = {float(f'{p:.2g}'):g}"
        text = text.replace(" ", "\N{NO-BREAK SPACE}")
        assert text in said, (said, p)
        assert ("they differ" in said) == (p < 0.05)
        page.get_by_role("button", name="Clear").click()
    assert not page.locator(".chosen-rows").is_visible()


def test_the_color_of_a_chosen_row_begins_where_the_row_does(visit: Any) -> None:
    page = visit().page
    rank = page.locator("#board tbody tr .rank").first
    before = rank.bounding_box()
    page.locator(".pick input").first.check()
    picked = page.locator("#board tbody tr.picked .rank")
    assert picked.bounding_box() == before
    style = "(cell) => [getComputedStyle(cell).backgroundImage, getComputedStyle(cell).backgroundClip]"
    drawn = picked.evaluate(style)
    assert drawn[0].startswith("linear-gradient")
    assert drawn[1] == "border-box"


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


CUT_OFF = """(width) => [...document.querySelectorAll(".stacked :is(th, td), .compared :is(th, td)")]
  .filter((cell) => !cell.closest("thead") && cell.checkVisibility())
  .filter((cell) => cell.getBoundingClientRect().right > width || cell.scrollWidth > cell.clientWidth + 1)
  .map((cell) => cell.outerHTML)"""


@pytest.mark.parametrize("width", [360, 768])
def test_on_a_narrow_screen_every_score_can_be_read(visit: Any, site: Path, width: int) -> None:
    opened = visit(viewport={"width": width, "height": 740})
    for at in (0, 3, 7):
        opened.page.locator(".pick input").nth(at).check()
    opened.page.get_by_role("link", name="Compare").click()
    playwright.expect(opened.page.locator("#scores")).to_be_visible()
    assert opened.page.evaluate(CUT_OFF, width) == []
    for page in pages(site):
        opened.page.goto(page.as_uri())
        assert opened.page.evaluate(CUT_OFF, width) == [], page
        if page.parent.name == "entries":
            cells = opened.page.locator(".scores tbody tr").first.locator("td")
            assert all(cell.bounding_box()["width"] > 0 for cell in cells.all()[:-1])
            for note in opened.page.locator(".scores td.said").all():
                assert not note.is_visible() or note.bounding_box()["height"] < 150


@pytest.mark.parametrize("width", [360, 768])
def test_the_reason_of_a_file_that_was_left_out_is_not_cut(visit: Any, tmp_path: Path, width: int) -> None:
    path = write_record(tmp_path / "r", make_record(make_arrays()))
    path.write_text(path.read_text().replace('"cnn6"', json.dumps("\u202e" * 300)))
    build(
        [path, write_record(tmp_path / "good", make_record(make_arrays()))], tmp_path / "site", strict=False
    )
    opened = visit(tmp_path / "site" / "left-out.html", viewport={"width": width, "height": 740})
    assert opened.page.locator("tbody td").inner_text().count("u202e") > 10
    assert opened.page.evaluate(CUT_OFF, width) == []


def test_on_a_phone_a_shared_place_of_two_digits_is_not_cut(visit: Any) -> None:
    board = visit(viewport=PHONE)
    overflow = "cell => { cell.textContent = '=13'; return cell.scrollWidth - cell.clientWidth }"
    assert board.page.locator("#board tbody .rank").first.evaluate(overflow) <= 0


def test_on_a_phone_an_open_facet_stays_on_the_screen(visit: Any) -> None:
    board = visit(viewport=PHONE)
    for summary in board.page.locator(".facet summary").all():
        summary.click()
        box = board.page.locator(".facet[open] fieldset").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
        board.page.keyboard.press("Escape")


SMALL = """() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = new Set();
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = node.parentElement;
    if (!node.textContent.trim() || !parent.checkVisibility() || parent.closest("svg, .hidden")) continue;
    const size = parseFloat(getComputedStyle(parent).fontSize);
    if (size < 12) found.add(`${size} ${parent.outerHTML.slice(0, 80)}`);
  }
  for (const text of document.querySelectorAll("svg text")) {
    const size = parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a;
    if (size < 12) found.add(`${size} ${text.outerHTML}`);
  }
  for (const target of document.querySelectorAll("button, input, summary, .controls label")) {
    if (!target.checkVisibility() || target.closest("label label") || target.matches("label input")) continue;
    const box = target.getBoundingClientRect();
    if (box.height < 23.5) found.add(`target ${box.height} ${target.outerHTML.slice(0, 80)}`);
  }
  return [...found];
}"""


@pytest.mark.parametrize("width", [360, 1280])
def test_no_text_is_too_small_to_read_and_no_target_to_hit(visit: Any, site: Path, width: int) -> None:
    opened = visit(viewport={"width": width, "height": 900})
    for page in pages(site):
        opened.page.goto(page.as_uri())
        assert opened.page.evaluate(SMALL) == [], page


def test_names_of_ten_thousand_letters_hide_nothing(visit: Any, tmp_path: Path) -> None:
    paths = []
    for at, name in enumerate(("a" * 250, "b " * 120, "ordinary")):
        arrays = make_arrays({"robust_accuracy/autoattack": 0.1 * at}, seed=at)
        alarms = [{"name": name, "raised": True, "message": "m" * 7_000, "numbers": {}}]
        scores: dict[str, Any] = {
            **make_scores(arrays),
            "prs_ratio": {"value": 1e99, "unit": "nats"},
            "time_per_epoch": {"value": 1e-300, "unit": "seconds"},
        }
        record = make_record(
            arrays, id=f"r{at}", defense={"name": name}, model=name, alarms=alarms, metrics=scores
        )
        paths.append(write_record(tmp_path / str(at), record, arrays))
    build(paths, tmp_path / "site", strict=False)
    for width in (360, 1280):
        board = visit(
            next((tmp_path / "site" / "boards").glob("*.html")), viewport={"width": width, "height": 900}
        )
        assert len(board.column("defense")) == 3
        assert board.page.evaluate("document.documentElement.scrollWidth") <= width
        assert max(row.bounding_box()["height"] for row in board.page.locator("#board tbody tr").all()) < 400
        assert board.complaints == []
        for page in (tmp_path / "site").rglob("*.html"):
            board.page.goto(page.as_uri())
            assert board.page.evaluate("document.documentElement.scrollWidth") <= width, page
            assert "NaN" not in board.page.content()


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
def test_every_row_of_a_long_board_is_found_sorted_and_reached(
    visit: Any, tmp_path: Path, width: int
) -> None:
    paths = []
    for number in range(260):
        arrays = make_arrays({"robust_accuracy/autoattack": number / 600}, n=600)
        lean: dict[str, Any] = {"history": [], "curves": {}, "alarms": []}
        record = make_record(arrays, id=f"r{number}", defense={"name": f"d{number:03}"}, **lean)
        paths.append(write_record(tmp_path / f"{number}", record, arrays))
    build(paths, tmp_path / "site")
    board = visit(
        next((tmp_path / "site" / "boards").glob("*.html")), viewport={"width": width, "height": 900}
    )
    rows = board.page.locator("#board tbody tr")
    assert rows.count() == 260
    # Rows far below are not drawn yet, but the browser's own search finds them.
    assert board.page.evaluate("window.find('d000')")
    board.sort("defense")
    assert rows.last.evaluate("row => row.cells[1].textContent").startswith("d259")
    rows.last.scroll_into_view_if_needed()
    playwright.expect(rows.last.locator("td.clean")).to_be_in_viewport()
    # The columns of every row stand below their heads.
    edges = """row => [...row.cells].map(cell => cell.getBoundingClientRect()).map(box => [box.left, box.right])"""
    if width > 767:
        heads = board.page.locator("#board thead tr").evaluate(edges)
        assert [rows.nth(at).evaluate(edges) for at in (0, 130, 259)] == [heads] * 3
    board.search("d25")
    playwright.expect(board.page.locator("#board tbody tr:visible")).to_have_count(10)


REMADE = """at => {
  const heads = [...document.querySelectorAll("#board th[data-key]")];
  const drawn = document.querySelector("#board tbody").rows[at];
  const made = regionbench.makeRow(regionbench_board.rows[at], heads, regionbench_board);
  drawn.before(made);
  for (const row of [made, drawn]) row.style.contentVisibility = "visible";  // texts of others are not laid out
  const texts = [made, drawn].map((row) => [...row.cells].map((cell) => cell.innerText.trim()));
  made.remove();
  return texts;
}"""


@pytest.mark.slow
def test_the_rows_of_a_very_long_board_are_made_from_its_data(
    visit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = []
    for number in range(230):
        arrays = make_arrays({"robust_accuracy/autoattack": number / 500}, n=250, seed=number % 7)
        alarms = [{"name": "zero_gradients", "raised": number % 3 == 0, "message": "m", "numbers": {}}]
        lean: dict[str, Any] = {"history": [], "curves": {}, "alarms": alarms}
        record = make_record(arrays, id=f"r{number}", defense={"name": f"d{number:03}"}, **lean)
        paths.append(write_record(tmp_path / f"{number}", record, arrays))
    monkeypatch.setattr("leaderboards.board.MOST_ON_PAGE", 100)
    monkeypatch.setattr("leaderboards.board.FIRST_ON_PAGE", 20)
    build(paths, tmp_path / "site")
    (page,) = (tmp_path / "site" / "boards").glob("*.html")
    plain = visit(page, java_script_enabled=False)
    assert plain.page.locator("#board tbody tr").count() == 20
    assert "The first 20 rows of 230" in plain.page.locator(".scroll.board").inner_text()
    board = visit(page)
    rows = board.page.locator("#board tbody tr")
    playwright.expect(board.page.locator("output")).to_have_text("230 of 230 shown")
    # A row that the script makes reads as the page's, but for the intervals of scores other than the worst case.
    for at in (0, 7, 19):
        made, drawn = board.page.evaluate(REMADE, at)
        assert made[:3] == drawn[:3]
        assert all(text.startswith(own.split("\n")[0]) for own, text in zip(made, drawn, strict=True))
    board.page.locator(".more-rows").scroll_into_view_if_needed()
    playwright.expect(rows).to_have_count(230)
    board.sort("defense")
    assert board.column("defense")[:2] == ["d000", "d001"]
    board.search("d22")
    playwright.expect(rows).to_have_count(10)
    board.page.locator(".pick input").nth(3).check()
    board.page.locator(".pick input").nth(4).check()
    assert "points" in board.page.locator(".said").inner_text()
    board.page.go_back()
    board.page.go_back()
    board.page.go_back()
    playwright.expect(board.page.locator("output")).to_have_text("230 of 230 shown")
    assert board.complaints == []


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_reader_chooses_the_theme_and_every_page_keeps_it(visit: Any, site: Path, scheme: str) -> None:
    other = {"light": "dark", "dark": "light"}[scheme]
    paper, line = (
        "getComputedStyle(document.body).backgroundColor",
        "getComputedStyle(document.querySelector('.iv')).color",
    )
    expected = [visit(color_scheme=other).page.evaluate(each) for each in (paper, line)]
    board = visit(color_scheme=scheme)
    of_system = board.page.evaluate(paper)
    choice = board.page.get_by_label("Theme")
    assert choice.input_value() == ""
    choice.select_option(other)
    assert [board.page.evaluate(each) for each in (paper, line)] == expected
    # A page that is opened next has the theme before anything but its head is read.
    board.page.add_init_script(
        """new MutationObserver((_, watch) => {
          if (!document.body) return;
          window.first = document.documentElement.dataset.theme;
          watch.disconnect();
        }).observe(document, { childList: true, subtree: true });"""
    )
    for page in (site / "index.html", next((site / "entries").glob("*.html"))):
        board.page.goto(page.as_uri())
        assert board.page.evaluate("window.first") == other
        assert board.page.evaluate(paper) == expected[0]
        assert board.page.get_by_label("Theme").input_value() == other
    board.page.get_by_label("Theme").select_option("system")
    assert board.page.evaluate(paper) == of_system
    board.page.reload()
    assert board.page.get_by_label("Theme").input_value() == ""
    assert board.complaints == []


def test_on_a_phone_the_trail_has_a_line_of_its_own(visit: Any, site: Path) -> None:
    for page in (site / "index.html", next((site / "entries").glob("*.html"))):
        opened = visit(page, viewport={"width": 360, "height": 740})
        trail, theme = (opened.page.locator(each).bounding_box() for each in ("header.site nav", ".theme"))
        assert trail["width"] > 300
        assert trail["y"] >= theme["y"] + theme["height"]


def test_without_a_script_no_theme_is_offered(visit: Any) -> None:
    assert not visit(java_script_enabled=False).page.locator(".theme").is_visible()


def test_scripts_of_charts_and_of_pages_lie_beside_each_other() -> None:
    assert not {*ASSETS} & {each.name for each in (resources("leaderboards") / "static").iterdir()}


def test_motion_is_left_out_for_those_who_ask(visit: Any) -> None:
    behaviour = "getComputedStyle(document.documentElement).scrollBehavior"
    assert visit(reduced_motion="reduce").page.evaluate(behaviour) == "auto"
    assert visit(reduced_motion="no-preference").page.evaluate(behaviour) == "smooth"
