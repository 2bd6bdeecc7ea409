"""Figures on the pages of entries: from data that were checked, never from what a submitter drew up as a page."""

import re
from pathlib import Path

import pytest

from bench.charts import Chart, load_chart
from bench.charts.svg.standalone import standalone
from bench.charts.table import table
from leaderboards.build import Site, build
from leaderboards.check import check
from tests.charts.examples import MARKS, chart, hostile, panel
from tests.leaderboards.conftest import write_png
from tests.leaderboards.test_build import contents, parse
from tests.records import make_arrays, make_record, write_record


def write(folder: Path, *charts: Chart, seed: int = 0, pictures: bool = True) -> Path:
    """A record with charts beside it."""
    arrays = make_arrays(seed=seed)
    path = write_record(folder, make_record(arrays, seed=seed, id=f"r{seed}"), arrays)
    for one in charts:
        one.save(folder / "figures" / f"{one.name}.json")
        if pictures:
            write_png(folder / "figures" / f"{one.name}.png", 8, 8)
    return path


def simple(name: str) -> Chart:
    return chart(panel(MARKS["line"]), name=name)


def several() -> Chart:
    marks = [MARKS[name] for name in ("band", "heat map", "classes", "tiles", "bars")]
    return chart(*map(panel, marks), name="regions-several")


def entry_page(site: Path) -> Path:
    (page,) = (site / "entries").glob("*.html")
    return page


def built(tmp_path: Path, *paths: Path) -> Site:
    return build(paths, tmp_path / "site")


def test_every_figure_has_picture_page_table_and_data_in_the_site(tmp_path: Path) -> None:
    made = several()
    built(tmp_path, write(tmp_path / "r", made))
    found = parse(entry_page(tmp_path / "site"))
    (image,) = [attributes for tag, attributes in found.tags if tag == "img"]
    assert image["loading"] == "lazy"
    assert image["alt"]
    assert image["class"] == "drawn"
    files = {
        Path(target).suffix: tmp_path / "site" / "entries" / target
        for target in found.targets
        if "figures/" in target
    }
    assert set(files) == {".png", ".svg", ".html", ".csv", ".json"}
    assert files[".svg"].read_text() == standalone(made)[0]
    assert files[".png"].read_bytes() == (tmp_path / "r" / "figures" / "regions-several.png").read_bytes()
    assert load_chart(files[".json"]) == made
    assert files[".csv"].read_text() == table(made)
    for word in (made.title, made.caption, made.source):
        assert word in entry_page(tmp_path / "site").read_text()


def test_a_picture_alone_is_not_called_interactive(tmp_path: Path) -> None:
    path = write(tmp_path / "r")
    write_png(tmp_path / "r" / "figures" / "regions-plane.png", 8, 8)
    built(tmp_path, path)
    text = entry_page(tmp_path / "site").read_text()
    assert "regions-plane" in text
    assert "interactive" not in text
    built(tmp_path, write(tmp_path / "r", several()))
    assert "interactive" in entry_page(tmp_path / "site").read_text()


def test_every_page_of_a_chart_links_only_into_the_site(tmp_path: Path) -> None:
    built(tmp_path, write(tmp_path / "r", several(), simple("attacks")))
    pages = list((tmp_path / "site" / "figures").rglob("*.html"))
    assert len(pages) == 2
    for page in pages:
        for target in parse(page).targets:
            assert (page.parent / target).is_file(), target


def test_the_script_is_there_once_and_only_for_charts(tmp_path: Path) -> None:
    build([write(tmp_path / "a", simple("attacks"), simple("regions-x"))], tmp_path / "with")
    assert [path.parent.name for path in (tmp_path / "with").rglob("plotly.min.js")] == ["static"]
    path = write(tmp_path / "b")
    write_png(tmp_path / "b" / "figures" / "old.png", 8, 8)
    build([path], tmp_path / "without")
    assert not list((tmp_path / "without").rglob("plotly*"))
    assert len(list((tmp_path / "without" / "figures").rglob("*.png"))) == 1


def test_sections_come_in_the_order_of_topics(tmp_path: Path) -> None:
    names = ["zebra", "curvature-a", "surface-a", "regions-b", "regions-a", "attacks"]
    built(tmp_path, write(tmp_path / "r", *map(simple, names)))
    text = entry_page(tmp_path / "site").read_text()
    headings = re.findall(r'<h3 class="topic">(.+?)</h3>', text)
    assert headings == [
        "Training, security and attacks",
        "Decision regions",
        "Loss and decision surfaces",
        "Curvature",
        "More figures",
    ]
    shown = re.findall(r'<img src="../figures/\w+/([a-z-]+?)-[0-9a-f]{8}\.svg"', text)
    assert shown == ["attacks", "regions-a", "regions-b", "surface-a", "curvature-a", "zebra"]


def test_a_figure_of_several_seeds_stands_once_with_a_picture_for_each(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{seed}", simple("attacks"), seed=seed) for seed in (0, 1)]
    built(tmp_path, *paths)
    found = parse(entry_page(tmp_path / "site"))
    images = [attributes for tag, attributes in found.tags if tag == "img"]
    assert [image["alt"][-6:] for image in images] == ["seed 0", "seed 1"]  # type: ignore[index]
    text = entry_page(tmp_path / "site").read_text()
    assert text.count("<summary>Other seeds</summary>") == text.count('class="thumbnails"') == 1


def test_a_page_from_a_records_folder_is_never_taken_over(tmp_path: Path) -> None:
    path = write(tmp_path / "r", simple("attacks"))
    (tmp_path / "r" / "figures" / "attacks.html").write_text("<script>evil()</script>")
    (tmp_path / "r" / "figures" / "plotly.min.js").write_text("evil()")
    built(tmp_path, path)
    assert not [name for name, content in contents(tmp_path / "site").items() if b"evil()" in content]


def test_hostile_charts_are_shown_as_text(tmp_path: Path) -> None:
    built(tmp_path, write(tmp_path / "r", hostile()))
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "<script>" not in text
        assert "<b>b</b>" not in text
        for tag, attributes in parse(page).tags:
            assert tag != "style"
            assert not [name for name in attributes if name == "style" or name.startswith("on")]
            assert tag != "script" or attributes.get("src") or attributes.get("type") == "application/json"


def test_data_need_no_picture(tmp_path: Path) -> None:
    path = write(tmp_path / "r", several(), pictures=False)
    (tmp_path / "r" / "figures" / "regions-several.png").write_text("<svg onload=evil()>")
    summary = built(tmp_path, path)
    assert summary.warnings == ()
    assert not list((tmp_path / "site" / "figures").rglob("*.png"))
    assert len(list((tmp_path / "site" / "figures").rglob("*.svg"))) == 1
    for page in (entry_page(tmp_path / "site"), *(tmp_path / "site" / "figures").rglob("*.html")):
        assert ".png" not in page.read_text()
        for target in parse(page).targets:
            assert (page.parent / target.split("#")[0]).exists(), target


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"name": "attacks"}', "NaN", '{"name": "../up", "title": "", "panels": []}']
)
def test_data_that_are_no_chart_are_left_out_with_a_word_and_refused_by_the_check(
    tmp_path: Path, content: str
) -> None:
    path = write(tmp_path / "r", simple("regions-a"))
    (tmp_path / "r" / "figures" / "attacks.json").write_text(content)
    summary = built(tmp_path, path)
    (warning,) = summary.warnings
    assert "attacks.json" in warning
    assert len(list((tmp_path / "site" / "figures").rglob("*.png"))) == 1
    assert any("attacks.json" in problem for problem in check(path))


def test_a_chart_must_be_named_after_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "r")
    simple("attacks").save(tmp_path / "r" / "figures" / "regions.json")
    (warning,) = built(tmp_path, path).warnings
    assert "named after its file" in warning


def test_links_in_the_folder_of_figures_are_not_followed(tmp_path: Path) -> None:
    path = write(tmp_path / "r", simple("regions-a"))
    simple("attacks").save(tmp_path / "secret.json")
    (tmp_path / "r" / "figures" / "attacks.json").symlink_to(tmp_path / "secret.json")
    built(tmp_path, path)
    assert not list((tmp_path / "site" / "figures").rglob("attacks*"))


def test_the_same_figures_give_the_same_bytes(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, several()) for name in ("a", "b")]
    build([paths[0]], tmp_path / "first")
    build([paths[1]], tmp_path / "second")
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_what_the_page_draws_itself_is_not_shown_twice(tmp_path: Path) -> None:
    built(tmp_path, write(tmp_path / "r", simple("security"), simple("training")))
    assert not (tmp_path / "site" / "figures").exists()
