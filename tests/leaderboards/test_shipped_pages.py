"""Pages of the shipped records in Chromium: axe finds nothing serious, and tables of geometry fit a desk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.cli import cli
from tests.browser import NEEDS_CHROMIUM, Visit

pytestmark = [*NEEDS_CHROMIUM, pytest.mark.slow]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shipped") / "site"
    answer = CliRunner().invoke(cli, ["leaderboard", "build", "--shipped", "--quiet", "--out", str(out)])
    assert answer.exit_code == 0, answer.output
    return out


@pytest.fixture(params=["light", "dark"])
def reader(request: Any, chromium: Any, shipped: Path) -> Iterator[Visit]:
    visit = Visit(
        chromium,
        (shipped / "index.html").as_uri(),
        color_scheme=request.param,
        viewport={"width": 1280, "height": 900},
        bypass_csp=True,
    )
    yield visit
    visit.context.close()


def comparison(visit: Visit, board: Path) -> str:
    """The address of a comparison of a board's first rows."""
    visit.page.goto(board.as_uri())
    for at in range(3):
        visit.page.locator(".pick input").nth(at).check()
    return str(visit.page.get_by_role("link", name="Compare").evaluate("link => link.href"))


def test_axe_finds_nothing_serious_on_any_kind_of_page(reader: Visit, shipped: Path) -> None:
    axe = Path(pytest.importorskip("axe_playwright_python").__file__).with_name("axe.min.js").read_text()
    boards, entries = (sorted((shipped / kind).glob("*.html")) for kind in ("boards", "entries"))
    drawn = next(entry for entry in entries if "surface-decision" in entry.read_text())
    chart = next((shipped / "figures").rglob("regions-plane*.html"))
    some = [shipped / "index.html", boards[0], drawn, chart]
    some += [
        next((shipped / "geometry").glob("digits-linf*.html")),
        *sorted((shipped / "studies").glob("*.html"))[::4],
    ]
    for address in [*(page.as_uri() for page in some), comparison(reader, boards[0])]:
        reader.page.goto(address)
        reader.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        reader.page.evaluate(axe)
        found = reader.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert [(each["id"], each["nodes"][0]["html"]) for each in serious] == [], address


def test_every_column_of_a_table_of_geometry_is_seen_at_1280_pixels(reader: Visit, shipped: Path) -> None:
    wider = """tables => tables.map(table => table.parentElement)
      .filter(scroll => scroll.scrollWidth > scroll.clientWidth).map(scroll => scroll.ariaLabel)"""
    pages = [*(shipped / "geometry").glob("*.html"), *(shipped / "studies").glob("*.html")]
    for page in pages:
        reader.page.goto(page.as_uri())
        assert reader.page.locator(".scroll > table.geometry").evaluate_all(wider) == [], page


def test_no_number_of_a_study_is_broken_on_a_phone(chromium: Any, shipped: Path) -> None:
    broken = """cells => cells.map(cell => cell.firstChild).filter(text => {
      if (text?.nodeType !== Node.TEXT_NODE || /[a-oq-zA-Z \\n]/.test(text.data.trim())) return false;
      const range = document.createRange();
      range.selectNode(text);
      return range.getClientRects().length > 1;
    }).map(text => text.data)"""
    visit = Visit(chromium, (shipped / "index.html").as_uri(), viewport={"width": 360, "height": 800})
    for page in sorted((shipped / "studies").glob("*.html")):
        visit.page.goto(page.as_uri())
        assert visit.page.locator(".scroll td:not(.word)").evaluate_all(broken) == [], page
    visit.context.close()
