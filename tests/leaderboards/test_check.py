import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.names import WORST_CASE
from leaderboards.check import absent, check
from tests.records import (
    make_arrays,
    make_record,
    make_scores,
    search_summary,
    search_with_front,
    write_record,
)

PGD = "robust_accuracy/pgd20"


def with_score(name: str, **changes: Any) -> dict[str, Any]:
    """The usual metrics, one of them changed."""
    scores = make_scores(make_arrays())
    return {**scores, name: {**scores.get(name, {"unit": "fraction", "n": 200}), **changes}}


def test_a_sound_record_has_no_problem(tmp_path: Path) -> None:
    arrays = make_arrays()
    path = write_record(tmp_path, make_record(arrays), arrays)
    assert check(path) == []
    assert check(tmp_path) == []


def test_clean_accuracy_may_be_over_the_whole_test_set(tmp_path: Path) -> None:
    arrays = make_arrays(n=100)
    index = np.arange(0, 1000, 10)
    everything = np.arange(1000) % 5 != 0
    everything[index] = arrays["clean_accuracy"]
    whole = {**arrays, "clean_accuracy": everything, "test_index": index}
    metrics = {**make_scores(arrays), **make_scores({"clean_accuracy": everything})}
    assert check(write_record(tmp_path, make_record(arrays, metrics=metrics), whole)) == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"metrics": with_score(PGD, value=1.2, high=1.3)}, "must lie in"),
        ({"metrics": with_score("detection_auc", value=-0.1, unit="AUC")}, "must lie in"),
        ({"metrics": with_score("time_per_epoch", value=-1.0, unit="seconds")}, "must lie in"),
        ({"metrics": with_score(PGD, low=0.6)}, "starts above"),
        ({"metrics": with_score(PGD, high=0.4)}, "ends below"),
        ({"metrics": with_score(WORST_CASE, value=0.6, low=0.5, high=0.7)}, "is above"),
        ({"metrics": with_score(PGD, value=0.9, low=0.8, high=0.95)}, "more images as correct"),
        ({"metrics": with_score(PGD, n=150)}, "attacked test images"),
        ({"metrics": with_score(WORST_CASE, value=None, reason="lost")}, "cannot be ranked"),
        ({"metrics": {}}, "cannot be ranked"),
        ({"dataset": {"evaluated_size": 20_000}}, "evaluated_size"),
        ({"training": {"epoch_of_weights": 13}}, "epoch_of_weights"),
        ({"threat": {"eps": "0"}}, "threat.eps"),
        ({"provenance": {"created": "now"}}, "ISO 8601"),
        ({"files": {"weights": {"path": "/etc/hostname", "sha256": "0"}}}, "own folder"),
        (
            {"curves": {"security": {"x_label": "ε", "y_label": "a", "points": [{"x": 0, "value": 1.5}]}}},
            "accuracy must lie",
        ),
        (
            {
                "curves": {
                    "c": {"x_label": "x", "y_label": "y", "points": [{"x": 0, "value": 1, "high": 0.5}]}
                }
            },
            "outside its interval",
        ),
    ],
)
def test_a_contradiction_is_told(tmp_path: Path, changes: dict[str, Any], word: str) -> None:
    problems = check(write_record(tmp_path, make_record(**changes)))
    assert any(word in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("data", "threat", "problem"),
    [
        ("cifar10", None, ""),  # the record's own: linf:8/255 is the default of its data
        ("cifar10", "linf:8/255", ""),
        ("digits", None, "threat is linf:8/255, its settings say linf:0.2"),
        ("cifar10", "linf:4/255", "threat is linf:8/255, its settings say linf:4/255"),
        ("svhn", None, "dataset.name is cifar10, its settings say svhn"),
    ],
)
def test_threat_and_data_are_those_of_the_settings(
    tmp_path: Path, data: str, threat: str | None, problem: str
) -> None:
    config = {"dataset": data, "threat": threat}
    problems = check(write_record(tmp_path, make_record(provenance={"config": config})))
    assert problem in problems if problem else problems == []


def test_a_search_cannot_end_more_trials_than_it_had(tmp_path: Path) -> None:
    search = search_summary(complete=4, pruned=2)
    problems = check(write_record(tmp_path, make_record(defense={"search": search})))
    assert problems == ["defense.search counts more ends than its 5 trials"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"best_trial": 5}, "does not hold trial 5"),
        ({"clean_right": 91}, "91 of 100 images are no clean accuracy of 0.9"),
        ({"robust_accuracy": 0.2, "robust_right": 20}, "a setting that another one beats"),
        ({"area": 0.5}, "hypervolume is not that of its points"),
    ],
)
def test_a_front_fits_itself(tmp_path: Path, changes: dict[str, Any], problem: str | None) -> None:
    search = search_with_front(**changes)
    problems = check(write_record(tmp_path, make_record(defense={"search": search})))
    assert (problem in problems[0]) if problem else problems == []


def test_no_json_and_a_foreign_schema_are_told_not_raised(tmp_path: Path) -> None:
    broken, foreign = tmp_path / "broken.json", tmp_path / "foreign.json"
    broken.write_text("{")
    foreign.write_text('{"schema_version": "1.0"}')
    assert "not valid JSON" in check(broken)[0]
    assert "not a valid record" in check(foreign)[0]
    assert "cannot read" in check(tmp_path / "absent.json")[0]


@pytest.mark.parametrize(
    ("name", "array", "word"),
    [
        (PGD, np.zeros(200, bool), "the record says"),
        (PGD, np.zeros(100, bool), "200 attacked test images"),
        (PGD, np.zeros(200, np.int64), "must be bool"),
        (PGD, np.zeros((2, 100), bool), "must be bool"),
    ],
)
def test_arrays_must_agree_with_the_scores(tmp_path: Path, name: str, array: np.ndarray, word: str) -> None:
    arrays = make_arrays()
    problems = check(write_record(tmp_path, make_record(arrays), {**arrays, name: array}))
    assert any(word in problem for problem in problems), problems


def test_an_attack_cannot_leave_right_what_was_wrong_before(tmp_path: Path) -> None:
    arrays = make_arrays()
    arrays[PGD] = arrays[PGD][::-1].copy()
    arrays[WORST_CASE] &= arrays[PGD]
    problems = check(write_record(tmp_path, make_record(arrays), arrays))
    assert problems == [f"array {PGD} counts images as correct that are wrong without an attack"]


def test_the_worst_case_cannot_keep_what_an_attack_breaks(tmp_path: Path) -> None:
    arrays = make_arrays()
    arrays[PGD] = np.roll(arrays["clean_accuracy"], 1) & arrays["clean_accuracy"]
    problems = check(write_record(tmp_path, make_record(arrays), arrays))
    assert problems == [f"array {WORST_CASE} counts images as correct that {PGD} breaks"]


def test_clean_accuracy_cannot_be_on_more_images_than_there_are(tmp_path: Path) -> None:
    record = make_record(make_arrays(n=50))
    dataset = record.dataset.model_copy(update={"test_size": 50, "evaluated_size": 50})
    clean = replace(record.metrics["clean_accuracy"], n=60)
    changed = record.model_copy(
        update={"dataset": dataset, "metrics": {**record.metrics, "clean_accuracy": clean}}
    )
    assert any("at most the 50 test images" in problem for problem in check(write_record(tmp_path, changed)))


def test_files_that_a_submission_leaves_out_are_named_and_no_problem(tmp_path: Path) -> None:
    arrays = make_arrays()
    path = write_record(tmp_path, make_record(arrays), arrays)
    assert absent(path) == []
    (tmp_path / "arrays.npz").unlink()
    assert check(path) == []
    (said,) = absent(path)
    assert "intervals instead" in said
    (tmp_path / "arrays.npz").write_bytes(b"something else")
    (problem,) = check(path)
    assert "has changed" in problem


def test_the_source_of_a_plugin_may_be_left_out_as_well(tmp_path: Path) -> None:
    file = {"path": "sources/mine.py", "sha256": "0" * 64}
    content = make_record(make_arrays()).model_dump(mode="json")
    content["files"]["source/mine.py"] = file
    path = tmp_path / "record.json"
    path.write_text(json.dumps(content))
    assert check(path) == []
    assert any("nobody can read the plug-in" in line for line in absent(path))
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "mine.py").write_text("other")
    assert ["has changed" in problem for problem in check(path)] == [True]


def test_the_folder_of_a_run_in_the_place_of_a_record_says_where_records_are(tmp_path: Path) -> None:
    write_record(tmp_path / "run" / "seed-0", make_record(make_arrays()), make_arrays())
    (problem,) = check(tmp_path / "run")
    assert problem.endswith(f"the first of 1 below it lies in {tmp_path / 'run' / 'seed-0'}")
    (problem,) = check(tmp_path / "none")
    assert "cannot read" in problem
