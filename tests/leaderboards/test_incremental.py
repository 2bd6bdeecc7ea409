"""A site that is built on top of an earlier one has the bytes of one that is built from nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.charts import Axis, Chart, Line, Panel
from bench.core.errors import UserError
from leaderboards.build import build
from leaderboards.entry_files import EntryFiles
from leaderboards.left_out import LeftOut
from leaderboards.manifest import _checksum
from leaderboards.ranked import read_ranked
from leaderboards.result import read_result
from tests.leaderboards.conftest import write_png
from tests.records import make_arrays, make_record, write_record


def contents(site: Path) -> dict[str, bytes]:
    return {str(path.relative_to(site)): path.read_bytes() for path in site.rglob("*") if path.is_file()}


def write(folder: Path, number: int, *, strength: float = 0.3, seed: int = 0, arrays: bool = True) -> Path:
    """A record of one of a few defenses; its numbers follow from the arguments."""
    found = make_arrays({"robust_accuracy/autoattack": strength}, seed=number)
    defense = {"name": f"d{number % 3}", "hyperparameters": {"weight": number}}
    record = make_record(found, id=f"r{number}-{seed}", defense=defense, seed=seed)
    return write_record(folder, record, found if arrays else None)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The entries whose files were drawn, and not taken from an earlier build."""
    found: list[str] = []
    draw = EntryFiles._draw

    def noting(self: EntryFiles, board: Any, entry: Any, geometry: str, key: str) -> Any:
        found.append(entry.page)
        return draw(self, board, entry, geometry, key)

    monkeypatch.setattr(EntryFiles, "_draw", noting)
    return found


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["write", "remove", "bad"]),
        st.integers(0, 5),
        st.sampled_from([0.1, 0.3]),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES)
def test_incremental_equals_full_whatever_changed(changes: Any, tmp_path_factory: Any) -> None:
    tmp = tmp_path_factory.mktemp("changes")
    paths = {number: write(tmp / "records" / str(number), number) for number in range(3)}
    build(paths.values(), tmp / "site")
    for what, number, strength, arrays in changes:
        place = tmp / "records" / str(number)
        if what == "write":
            shutil.rmtree(place, ignore_errors=True)
            paths[number] = write(place, number, strength=strength, arrays=arrays)
        elif what == "bad" and number in paths:
            paths[number].write_text(paths[number].read_text().replace('"unit"', '"units"', 1))
        elif len(paths) > 1:
            paths.pop(number, None)
        build(paths.values(), tmp / "site", strict=False, empty=True)
    build(paths.values(), tmp / "full", strict=False, empty=True)
    assert contents(tmp / "site") == contents(tmp / "full")


def test_only_what_changed_is_drawn(tmp_path: Path, drawn: list[str]) -> None:
    paths = [write(tmp_path / str(number), number) for number in range(4)]
    build(paths, tmp_path / "site")
    assert len(drawn) == 4
    drawn.clear()
    build(paths, tmp_path / "site")
    assert drawn == []
    # A new entry that leads, and a changed one: every rank moves, and two pages are drawn.
    paths += [write(tmp_path / "new", 7, strength=0.44), write(tmp_path / "1", 1, strength=0.1)]
    build(set(paths), tmp_path / "site")
    assert len(drawn) == 2
    build(set(paths), tmp_path / "full")
    assert contents(tmp_path / "site") == contents(tmp_path / "full")


def test_where_nothing_changed_the_site_is_left_as_it_is(tmp_path: Path) -> None:
    paths = [write(tmp_path / str(number), number) for number in range(3)]
    first = build(paths, tmp_path / "site")
    index = tmp_path / "site" / "index.html"
    made = index.stat()
    assert build(reversed(paths), tmp_path / "site") == first
    assert index.stat() == made
    (tmp_path / "site" / "foreign.html").write_text("not of this site")
    build(paths, tmp_path / "site")
    assert index.stat().st_ino != made.st_ino
    assert not (tmp_path / "site" / "foreign.html").exists()


@pytest.mark.parametrize(
    "what", ["a record", "a copy without arrays", "arrays", "a figure", "a link", "one left out"]
)
def test_whatever_changes_is_seen(what: str, tmp_path: Path) -> None:
    paths = [write(tmp_path / str(number), number) for number in range(3)]
    build(paths, tmp_path / "site")
    index = (tmp_path / "site" / "index.html").stat()
    links, left_out = {}, []
    match what:
        case "a record":
            paths.pop()
        case "a copy without arrays":
            paths.append(write(tmp_path / "copy", 1, arrays=False))
        case "arrays":
            (tmp_path / "1" / "arrays.npz").unlink()
        case "a figure":
            (tmp_path / "1" / "figures").mkdir()
            write_png(tmp_path / "1" / "figures" / "plane.png", 32, 24)
        case "a link":
            links = {"r0-0": "run"}
        case "one left out":
            left_out = [LeftOut(tmp_path / "other" / "record.json", "its server is down")]
    build(paths, tmp_path / "site", links=links, left_out=left_out)
    assert (tmp_path / "site" / "index.html").stat() != index
    build(paths, tmp_path / "full", links=links, left_out=left_out)
    assert contents(tmp_path / "site") == contents(tmp_path / "full")


def test_what_a_board_leaves_out_of_a_record_is_read_for_its_page(sample: list[Path]) -> None:
    whole = {path: read_result(path) for path in sample}
    brief = {result.path: result for result in read_ranked(sample)[0]}
    assert all(
        result.whole(result.published()).record == whole[path].record for path, result in brief.items()
    )
    assert any(result.record.history and result.record.curves for result in whole.values())
    assert not any(result.record.history or result.record.curves for result in brief.values())
    batteries = {result.record.battery.model_dump_json() for result in brief.values()}
    assert len({id(result.record.battery) for result in brief.values()}) == len(batteries)


def test_a_record_that_changes_while_its_site_is_drawn_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "r", 0)
    ((result,), _) = read_ranked([path])
    path.write_text(path.read_text() + " ")
    with pytest.raises(UserError, match=r"r/record\.json has changed while it was read"):
        result.published()


def test_a_title_that_changes_draws_all_pages(tmp_path: Path, drawn: list[str]) -> None:
    path = write(tmp_path / "r", 0)
    build([path], tmp_path / "site")
    build([path], tmp_path / "site", titles={"clean_accuracy": "Clean"})
    build([path], tmp_path / "site", titles={"clean_accuracy": "Clean"}, links={"r0-0": "run"})
    assert len(drawn) == 3


@pytest.mark.parametrize(
    "what", ["manifest.json", "entries/*.html", "entries/*.data.js", "records/*", "figures/*/*.csv"]
)
@pytest.mark.parametrize("how", ["cut", "changed", "gone", "link"])
def test_damage_is_drawn_again(what: str, how: str, tmp_path: Path) -> None:
    path = write(tmp_path / "r", 0)
    chart = Chart(
        name="curve",
        title="A curve",
        panels=[Panel(x=Axis(label="x"), y=Axis(label="y"), marks=[Line(name="l", x=[0, 1], y=[0, 1])])],
    )
    (tmp_path / "r" / "figures").mkdir()
    (tmp_path / "r" / "figures" / "curve.json").write_text(chart.model_dump_json())
    build([path], tmp_path / "site")
    before = contents(tmp_path / "site")
    file = next((tmp_path / "site").glob(what))
    content = file.read_bytes()
    file.unlink()
    if how == "link":
        file.symlink_to(path)
    elif how != "gone":
        file.write_bytes(content[: len(content) // 2] if how == "cut" else content.replace(b"0", b"1"))
    build([path], tmp_path / "site")
    assert contents(tmp_path / "site") == before
    assert not any(each.is_symlink() for each in (tmp_path / "site").rglob("*"))


def test_a_manifest_cannot_lead_out_of_the_site(tmp_path: Path) -> None:
    path = write(tmp_path / "r", 0)
    build([path], tmp_path / "site")
    before = contents(tmp_path / "site")
    (tmp_path / "secret").write_text("secret")
    manifest = json.loads((tmp_path / "site" / "manifest.json").read_text())
    checksum = manifest.pop("sha256")
    assert _checksum(manifest) == checksum
    manifest["files"]["../secret"] = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
    for entry in manifest["entries"].values():
        entry["files"].append("../secret")
    manifest["sha256"] = _checksum(manifest)
    (tmp_path / "site" / "manifest.json").write_text(json.dumps(manifest))
    build([path], tmp_path / "site")
    assert contents(tmp_path / "site") == before
