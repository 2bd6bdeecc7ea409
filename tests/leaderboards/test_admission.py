import copy
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bench.core.record import find_records
from bench.evaluation.alarms.network import BATCH_DEPENDENCE, RANDOMIZED_OUTPUT
from leaderboards.build import build
from leaderboards.check import check
from leaderboards.contradictions import UNSTABLE
from tests.records import make_arrays, make_record, write_record

PLACES = [
    ("id",),
    ("model",),
    ("defense", "name"),
    ("dataset", "classes"),
    ("threat", "eps"),
    ("threat",),
    ("metrics", "prs_ratio", "value"),
    ("metrics", "robust_accuracy/worst_case"),
    ("cost", "forwards"),
    ("history",),
    ("curves", "security", "points"),
    ("provenance", "created"),
    ("files",),
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good records, and the site that is built of them alone."""
    folder = tmp_path_factory.mktemp("two")
    for seed, name in enumerate(("a", "b")):
        arrays = make_arrays(seed=seed)
        write_record(folder / "records" / name, make_record(arrays, id=name, defense={"name": name}), arrays)
    build(sorted(folder.glob("records/*/record.json")), folder / "site")
    return folder


def pages(site: Path) -> dict[str, bytes]:
    files = (
        path
        for path in site.rglob("*")
        if path.is_file() and path.name not in ("index.html", "left-out.html", "manifest.json")
    )
    return {str(path.relative_to(site)): path.read_bytes() for path in files}


def build_beside(two: Path, bad: Path) -> tuple[Any, dict[str, bytes]]:
    records = [*sorted(two.glob("records/*/record.json")), bad]
    return build(records, two / "again", strict=False), pages(two / "again")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PLACES), VALUES)
@example(("model",), "0")
def test_a_bad_value_anywhere_leaves_its_record_out_and_nothing_else(
    two: Path, place: tuple[str, ...], value: Any
) -> None:
    arrays = make_arrays(seed=2)
    path = write_record(two / "bad", make_record(arrays, id="bad", defense={"name": "bad"}), arrays)
    record = json.loads(path.read_text())
    part = record
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = copy.deepcopy(value)
    path.write_bytes(json.dumps(record).encode("utf-8", "surrogatepass"))
    site, found = build_beside(two, path)
    problems = check(path)
    if site.left_out:
        assert problems
        assert found == pages(two / "site")
    else:
        # What a submission needs besides: see `check`.
        besides = ("cannot be ranked", "missing", "its settings say")
        assert all(any(words in problem for words in besides) for problem in problems), problems


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**32), st.sampled_from(["record.json", "arrays.npz"]), st.sampled_from(["flip", "cut"])
)
def test_damage_to_a_file_leaves_its_record_out_or_harms_nothing(
    two: Path, seed: int, name: str, how: str
) -> None:
    shutil.rmtree(two / "bad", ignore_errors=True)
    arrays = make_arrays(seed=2)
    path = write_record(two / "bad", make_record(arrays, id="bad", defense={"name": "bad"}), arrays)
    file, draw = path.parent / name, random.Random(seed)
    content = bytearray(file.read_bytes())
    at = draw.randrange(len(content))
    if how == "cut":
        del content[at:]
    else:
        content[at] ^= 1 << draw.randrange(8)
    file.write_bytes(content)
    site, found = build_beside(two, path)
    assert not site.left_out or found == pages(two / "site")


def test_the_front_page_lists_what_was_left_out_as_text_and_without_folders(two: Path) -> None:
    bad = two / "<script>alert(1)" / "record.json"
    bad.parent.mkdir(exist_ok=True)
    bad.write_text('{"a": 1, "a": "<script>"}')
    site, _ = build_beside(two, bad)
    for name in ("index.html", "left-out.html"):
        page = (two / "again" / name).read_text()
        assert "Left out" in page
        assert "&lt;script&gt;alert(1)/record.json" in page
        assert "stands twice" in page
        assert "<script>" not in page
        assert str(two) not in page
    assert len(site.warnings) == 1


def test_of_one_id_for_two_networks_the_older_record_stays(tmp_path: Path) -> None:
    old = make_record(id="twin", provenance={"created": "2024-01-01T00:00:00Z"})
    new = make_record(id="twin", seed=7, defense={"name": "other"})
    paths = [write_record(tmp_path / "x", new), write_record(tmp_path / "y", old)]
    site = build(paths, tmp_path / "site", strict=False)
    assert site.records == 1
    assert site.left_out[0].path == paths[0]
    again = make_record(id="twin", provenance={"created": "2025-01-01T00:00:00Z"})
    site = build([paths[1], write_record(tmp_path / "z", again)], tmp_path / "site")
    assert (site.records, site.left_out) == (2, ())


def test_a_pipe_and_a_link_beside_good_records_change_nothing(two: Path) -> None:
    for name in ("pipe", "link"):
        (two / name).mkdir()
    os.mkfifo(two / "pipe" / "record.json")
    (two / "link" / "record.json").symlink_to(two / "records" / "a" / "record.json")
    for name in ("pipe", "link"):
        site, found = build_beside(two, two / name / "record.json")
        assert len(site.left_out) == 1
        assert found == pages(two / "site")


def test_records_that_cannot_be_read_are_found_and_left_out(two: Path, tmp_path: Path) -> None:
    shutil.copytree(two / "records", tmp_path / "records")
    for name in ("circle", "long"):
        shutil.copytree(two / "records" / "a", tmp_path / "records" / name)
    circle, long = (tmp_path / "records" / name / "record.json" for name in ("circle", "long"))
    circle.unlink()
    circle.symlink_to(circle.name)
    record = json.loads(long.read_text())
    record["files"]["arrays"]["path"] = "a" * 299
    long.write_text(json.dumps(record))
    built = build(find_records(tmp_path / "records"), tmp_path / "site", strict=False)
    assert [each.path for each in built.left_out] == [circle, long]
    assert pages(tmp_path / "site") == pages(two / "site")


@pytest.mark.parametrize("alarm", [RANDOMIZED_OUTPUT, BATCH_DEPENDENCE])
def test_a_network_with_this_alarm_may_answer_an_image_in_two_ways(alarm: str, tmp_path: Path) -> None:
    assert alarm in UNSTABLE
    arrays = make_arrays()
    arrays["robust_accuracy/pgd20"] = arrays["robust_accuracy/pgd20"][::-1].copy()
    arrays["robust_accuracy/worst_case"] &= arrays["robust_accuracy/pgd20"]
    alarms = [{"name": alarm, "raised": True, "message": "two passes differ"}]
    assert check(write_record(tmp_path, make_record(arrays, alarms=alarms), arrays)) == []


def test_long_words_of_a_record_are_cut_on_pages(tmp_path: Path) -> None:
    long = "A" * 7_900
    arrays = make_arrays()
    curve = {"x_label": long, "y_label": long, "points": [{"x": 0, "value": 0.5}, {"x": 1, "value": 0.4}]}
    record = make_record(
        arrays,
        alarms=[{"name": "a", "raised": True, "message": long}],
        curves={"security": curve, "other": curve},
        history=[{"epoch": 1, long: 1.0}, {"epoch": 2, long: 2.0}],
        provenance={"command": long, "config": {"a": long}, "hardware": {"b": long}},
    )
    build([write_record(tmp_path / "r", record, arrays)], tmp_path / "site")
    for page in (tmp_path / "site").rglob("*.html"):
        assert "A" * 301 not in page.read_text(encoding="utf-8")
