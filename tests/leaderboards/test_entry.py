from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.errors import UserError
from bench.core.record import Score
from leaderboards.board import make_boards
from leaderboards.entry import Entry, group, summarize
from leaderboards.result import Result, read_result, read_results
from tests.records import make_arrays, make_record, write_record


def read(folder: Path, **changes: Any) -> Result:
    arrays = make_arrays(seed=changes.get("seed", 0))
    return read_result(write_record(folder, make_record(arrays, **changes), arrays))


def score(value: float | None, low: float | None = None, high: float | None = None, n: int = 100) -> Score:
    reason = "" if value is not None else "not defined"
    return Score(value=value, low=low, high=high, n=n, unit="fraction", higher_is_better=True, reason=reason)


def test_a_single_seed_keeps_its_own_interval_and_has_no_spread() -> None:
    summary = summarize([(0, score(0.5, 0.4, 0.6))])
    assert (summary.mean, summary.low, summary.high, summary.n) == (0.5, 0.4, 0.6, 100)
    assert summary.std is None


def test_several_seeds_give_mean_sample_deviation_and_mean_interval() -> None:
    scores = [score(0.4, 0.30, 0.52), score(0.5, 0.40, 0.60), score(0.6, 0.50, 0.68)]
    summary = summarize(list(enumerate(scores)))
    assert summary.mean == pytest.approx(0.5)
    assert summary.std == pytest.approx(np.std([0.4, 0.5, 0.6], ddof=1))
    assert (summary.low, summary.high) == (pytest.approx(0.4), pytest.approx(0.6))


def test_a_seed_without_a_value_is_named_and_left_out_of_the_mean() -> None:
    summary = summarize([(0, score(0.4)), (3, score(None)), (5, None)])
    assert (summary.mean, summary.seeds) == (0.4, 1)
    assert summary.reason == "seed 3: not defined; seed 5: not in the record"


def test_an_interval_that_one_seed_lacks_is_not_made_up() -> None:
    summary = summarize([(0, score(0.4, 0.3, 0.5)), (1, score(0.5))])
    assert summary.low is None
    assert summary.high is None


def test_results_that_differ_in_their_seed_alone_are_one_entry(tmp_path: Path) -> None:
    results = [read(tmp_path / str(seed), seed=seed, id=f"r{seed}") for seed in (2, 0, 1)]
    (entry,) = group(results)
    assert entry.seeds == (0, 1, 2)
    assert entry.outcomes is not None
    assert entry.outcomes.shape == (3, 200)


@pytest.mark.parametrize(
    "change",
    [
        {"defense": {"name": "at"}},
        {"defense": {"hyperparameters": {"ce": 0.3}}},
        {"model": "vgg16"},
        {"training": {"recipe": {"optimizer": "sgd"}}},
        {"training": {"epochs": 24}},
        {"training": {"precision": "bf16"}},
        {"dataset": {"fingerprint": "00" * 32}},
        {"dataset": {"evaluated_fingerprint": "00" * 32}},
        {"threat": {"eps": "0.0313"}},
        {"threat": {"norm": "l2"}},
        {"battery": {"version": "1.1"}},
        {"battery": {"name": "quick"}},
    ],
)
def test_any_other_difference_makes_another_entry(tmp_path: Path, change: dict[str, Any]) -> None:
    results = [read(tmp_path / "a", seed=0), read(tmp_path / "b", seed=1, **change)]
    assert len(group(results)) == 2


def test_one_number_written_in_two_ways_is_one_entry(tmp_path: Path) -> None:
    first = read(tmp_path / "a", seed=0, defense={"hyperparameters": {"weight": 6}})
    second = read(
        tmp_path / "b", seed=1, threat={"eps": "16/510"}, defense={"hyperparameters": {"weight": 6.0}}
    )
    (entry,) = group([first, second])
    (board,) = make_boards([first, second])
    assert entry.seeds == (0, 1)
    assert board.eps == "8/255"


def test_weights_tell_networks_apart_that_were_trained_elsewhere(tmp_path: Path) -> None:
    def outside(name: str, weights: str) -> Result:
        file = {"weights": {"path": "weights.safetensors", "sha256": weights}}
        return read(tmp_path / name, id=name, training=None, files=file)

    assert len(group([outside("a", "1" * 64), outside("b", "2" * 64)])) == 2
    assert len(group([outside("c", "1" * 64), outside("d", "1" * 64)])) == 1


def test_a_newer_result_supersedes_the_older_of_the_same_seed(tmp_path: Path) -> None:
    when = {
        "old": "2025-01-01T00:00:00Z",
        "new": "2025-03-01T01:00:00+02:00",
        "middle": "2025-02-28T22:00:00Z",
    }
    results = [
        read(tmp_path / name, id=name, provenance={"created": created}) for name, created in when.items()
    ]
    other = read(tmp_path / "other", id="other", seed=1)
    (entry,) = group([*results, other])
    assert [result.record.id for result in entry.results] == ["new", "other"]
    assert [result.record.id for result in entry.superseded] == ["middle", "old"]


def test_an_alarm_tells_how_many_seeds_raised_it(tmp_path: Path) -> None:
    def alarm(raised: bool | None, message: str) -> list[dict[str, Any]]:
        return [{"name": "zero gradients", "raised": raised, "message": message}]

    results = [
        read(tmp_path / "0", seed=0, alarms=alarm(True, "some")),
        read(tmp_path / "1", seed=1, alarms=alarm(True, "some")),
        read(tmp_path / "2", seed=2, alarms=alarm(None, "did not run")),
    ]
    (entry,) = group(results)
    (found,) = entry.raised
    assert found.label == "zero gradients (2 of 3 seeds)"
    assert [(seeds, finding.message) for seeds, finding in found.findings] == [
        ([0, 1], "some"),
        ([2], "did not run"),
    ]
    assert entry.unchecked == ()


def test_copies_of_a_record_count_once_and_the_one_with_arrays_is_kept(tmp_path: Path) -> None:
    arrays = make_arrays()
    full = write_record(tmp_path / "b", make_record(arrays), arrays)
    bare = tmp_path / "a" / "record.json"
    bare.parent.mkdir()
    bare.write_bytes(full.read_bytes())
    results, warnings = read_results([bare, full])
    assert [result.path for result in results] == [full]
    assert warnings == []


def test_arrays_that_changed_after_the_record_was_written_are_refused(tmp_path: Path) -> None:
    arrays = make_arrays()
    path = write_record(tmp_path, make_record(arrays), arrays)
    np.savez(tmp_path / "arrays.npz", allow_pickle=False, **make_arrays(seed=5))
    with pytest.raises(UserError, match=r"arrays\.npz has changed"):
        read_result(path)


def test_arrays_that_contradict_the_score_are_refused(tmp_path: Path) -> None:
    path = write_record(tmp_path, make_record(make_arrays()), make_arrays({"robust_accuracy/cw": 0.1}))
    with pytest.raises(UserError, match="does not give the score"):
        read_result(path)


def test_arrays_outside_the_folder_of_the_record_are_refused(tmp_path: Path) -> None:
    file = {"arrays": {"path": "../arrays.npz", "sha256": "0" * 64}}
    path = write_record(tmp_path / "in", make_record(files=file))
    with pytest.raises(UserError, match="own folder"):
        read_result(path)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"threat": {"eps": "eight"}}, "eight"),
        ({"threat": {"eps": "-1/255"}}, "-1/255"),
        ({"threat": {"eps": "1/0"}}, "1/0"),
        ({"provenance": {"created": "yesterday"}}, "yesterday"),
    ],
)
def test_a_record_that_cannot_be_placed_is_refused_by_name(
    tmp_path: Path, change: dict[str, Any], word: str
) -> None:
    path = write_record(tmp_path, make_record(**change))
    with pytest.raises(UserError, match=word) as caught:
        read_result(path)
    assert str(path) in str(caught.value)


def test_an_entry_without_hyperparameters_is_not_called_tuned(tmp_path: Path) -> None:
    result = read(tmp_path, defense={"name": "standard", "hyperparameters": {}, "defaults": {}})
    assert Entry((result,)).tuning == ""
