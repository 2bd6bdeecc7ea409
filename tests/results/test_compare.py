"""Comparing two results: verdicts, refusals, seeds and boards."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli.compare import compare as command
from bench.core.errors import UserError
from bench.core.intervals import proportion_interval
from bench.core.statistics import mcnemar, paired_difference
from bench.results.candidates import alarms_in_words
from bench.results.compare import ComparedAccuracy, Comparison, compare_paths
from leaderboards.board import make_boards
from leaderboards.downloads import board_json
from leaderboards.result import read_results
from tests.records import RATES, WORST_CASE, make_arrays, make_record, write_record

ROBUST = "robust_accuracy/"
WORST, AUTOATTACK = "robust_accuracy/worst_case", "robust_accuracy/autoattack"
WEAK = {"robust_accuracy/autoattack": 0.1, "robust_accuracy/cw": 0.15}


def write(
    folder: Path, *, rates: dict[str, float] | None = None, array_seed: int = 0, **changes: Any
) -> Path:
    arrays = make_arrays(rates, seed=array_seed)
    return write_record(folder, make_record(arrays, **changes), arrays)


def one(a: Path, b: Path, **options: Any) -> Comparison:
    (comparison,), notes = compare_paths(a, b, **options)
    assert not notes
    return comparison


def row(comparison: Comparison, metric: str) -> ComparedAccuracy:
    return next(row for row in comparison.rows if row.metric == metric)


def test_the_verdict_is_the_paired_test_on_the_same_images(tmp_path: Path) -> None:
    a = write(tmp_path / "a")
    b = write(tmp_path / "b", rates=WEAK, array_seed=3, defense={"name": "standard"})
    found = row(one(a, b), AUTOATTACK)
    first, second = make_arrays()[AUTOATTACK], make_arrays(WEAK, seed=3)[AUTOATTACK]
    assert found.p_value == mcnemar(first, second)
    assert found.difference == paired_difference(first, second)
    assert (found.a.low, found.a.high) == pytest.approx(proportion_interval(int(first.sum()), 200))
    assert (found.better, found.method) == ("A", "paired")
    assert found.verdict.startswith(
        "A is more robust under AutoAttack: A 45.0% (38.3 to 51.9) against B 10.0%"
    )
    assert "difference 35.0 points" in found.verdict


def test_the_worst_case_comes_first(tmp_path: Path) -> None:
    comparison = one(write(tmp_path / "a"), write(tmp_path / "b", rates=WEAK))
    assert [row.metric for row in comparison.rows][:2] == [WORST, "clean_accuracy"]


def test_equal_results_are_not_separable(tmp_path: Path) -> None:
    comparison = one(write(tmp_path / "a"), write(tmp_path / "b", defense={"name": "other"}))
    for found in comparison.rows:
        assert (found.better, found.p_value, found.difference.value) == (None, 1.0, 0.0)
        assert found.verdict.startswith("not separable")


def test_swapping_the_sides_swaps_the_verdict(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a"), write(tmp_path / "b", rates=WEAK)
    there, back = row(one(a, b), AUTOATTACK), row(one(b, a), AUTOATTACK)
    assert (there.better, back.better) == ("A", "B")
    assert there.p_value == back.p_value
    assert there.difference.low == pytest.approx(-back.difference.high)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": {"name": "mnist"}}, "data set is cifar10 for A and mnist for B"),
        ({"threat": {"eps": "0.0313"}}, "threat is"),
        ({"threat": {"norm": "l2"}}, "threat is"),
    ],
)
@pytest.mark.parametrize("unpaired", [False, True])
def test_another_task_is_refused_whatever_is_asked(
    tmp_path: Path, changes: dict[str, Any], message: str, unpaired: bool
) -> None:
    a, b = write(tmp_path / "a"), write(tmp_path / "b", **changes)
    with pytest.raises(UserError, match=message):
        compare_paths(a, b, unpaired=unpaired)


def test_the_same_epsilon_in_other_words_is_the_same_threat(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", threat={"eps": "1/8"}), write(tmp_path / "b", threat={"eps": "0.125"})
    assert one(a, b).rows


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_without_a_threat_clean_accuracy_is_compared_and_said(tmp_path: Path, norm: str) -> None:
    a = write(tmp_path / "a", threat={"norm": "linf", "eps": "0"})
    b = write(tmp_path / "b", rates={"clean_accuracy": 0.3}, threat={"norm": norm, "eps": "0/1"})
    comparison = one(a, b)
    (found,) = comparison.rows
    assert (found.metric, found.better) == ("clean_accuracy", "A")
    assert found.verdict.startswith("A is more accurate on clean images")
    assert any("ε = 0" in note for note in comparison.notes)


def test_without_a_threat_any_attack_gives_clean_accuracy(tmp_path: Path) -> None:
    paths = []
    for name in ("a", "b"):
        path = write(tmp_path / name, threat={"eps": "0"}, defense={"name": name})
        content = json.loads(path.read_text())
        del content["metrics"]["clean_accuracy"]
        path.write_text(json.dumps(content))
        paths.append(path)
    (found,) = one(*paths).rows
    assert found.metric == "clean_accuracy"
    assert found.verdict.startswith("not separable on clean images")


def test_with_and_without_a_threat_are_two_tasks(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", threat={"eps": "0"}), write(tmp_path / "b")
    with pytest.raises(UserError, match="threat is"):
        compare_paths(a, b)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"battery": {"version": "2.0"}}, "battery version 1.0 for A and 2.0 for B"),
        ({"dataset": {"evaluated_fingerprint": "b8" * 32}}, "different test images"),
    ],
)
def test_other_images_or_batteries_need_the_word_unpaired(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    a, b = write(tmp_path / "a"), write(tmp_path / "b", rates=WEAK, **changes)
    with pytest.raises(UserError, match=f"{message}.*--unpaired"):
        compare_paths(a, b)
    comparison = one(a, b, unpaired=True)
    assert {found.method for found in comparison.rows} == {"unpaired"}
    assert row(comparison, AUTOATTACK).better == "A"
    assert "unpaired intervals" in row(comparison, AUTOATTACK).verdict
    assert message in comparison.notes[0]


def test_unpaired_intervals_are_wider_than_paired_ones(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a"), write(tmp_path / "b", rates={AUTOATTACK: 0.4})
    c = write(tmp_path / "c", rates={AUTOATTACK: 0.4}, battery={"version": "2.0"})
    paired = row(one(a, b), AUTOATTACK).difference
    unpaired = row(one(a, c, unpaired=True), AUTOATTACK).difference
    assert paired.value == pytest.approx(unpaired.value)
    assert paired.high - paired.low < unpaired.high - unpaired.low


def test_an_attack_with_other_settings_is_left_out(tmp_path: Path) -> None:
    settings = {AUTOATTACK: {"version": "standard"}}
    a = write(tmp_path / "a", battery={"settings": settings})
    b = write(tmp_path / "b", battery={"settings": {AUTOATTACK: {"version": "rand"}}})
    comparison = one(a, b)
    assert AUTOATTACK not in {found.metric for found in comparison.rows}
    assert any("other settings" in note for note in comparison.notes)


def without_score(path: Path, *names: str) -> Path:
    content = json.loads(path.read_text())
    for name in names:
        del content["metrics"][name]
    path.write_text(json.dumps(content))
    return path


def test_worst_cases_of_different_attacks_are_computed_again_over_the_common_attacks(tmp_path: Path) -> None:
    a = without_score(write(tmp_path / "a"), AUTOATTACK, "robust_accuracy/cw")
    b = write(tmp_path / "b", rates={"robust_accuracy/autoattack": 0.1})
    comparison = one(a, b)
    found = row(comparison, WORST)
    assert (found.a.value, found.b.value) == (0.495, 0.495)
    assert found.better is None
    assert "under the worst case of BIM, FGSM, PGD-100, PGD-20: A 49.5%" in found.verdict
    assert found.over == tuple(f"{ROBUST}{name}" for name in ("bim", "fgsm", "pgd100", "pgd20"))
    (note,) = (note for note in comparison.notes if "worst cases" in note)
    assert "B: AutoAttack, BIM, C&W" in note
    assert note.endswith("computed again over the common attacks: BIM, FGSM, PGD-100, PGD-20")


def test_worst_cases_of_other_settings_are_computed_again_without_that_attack(tmp_path: Path) -> None:
    sides = [
        write(tmp_path / name, rates=rates, battery={"settings": {AUTOATTACK: {"version": version}}})
        for name, rates, version in (("a", None, "standard"), ("b", {AUTOATTACK: 0.1}, "rand"))
    ]
    found = row(one(*sides), WORST)
    assert AUTOATTACK not in found.over
    assert (found.a.value, found.b.value) == (0.48, 0.48)
    assert any("AutoAttack with other settings" in note for note in one(*sides).notes)


@pytest.mark.parametrize("unpaired", [False, True])
def test_worst_cases_that_share_nothing_or_have_no_outcomes_are_left_out(
    tmp_path: Path, unpaired: bool
) -> None:
    attacks = [f"{ROBUST}{name}" for name in ("fgsm", "bim", "pgd20", "pgd100", "cw", "autoattack")]
    a, b = write(tmp_path / "a"), write(tmp_path / "b", rates=WEAK)
    without_score(a, *attacks[1:])
    without_score(b, attacks[0])
    comparison = one(a, b, unpaired=unpaired)
    assert {found.metric for found in comparison.rows} == {"clean_accuracy"}
    assert any("worst cases" in note and note.endswith("are left out") for note in comparison.notes)
    c = without_score(write_record(tmp_path / "c", make_record(make_arrays(WEAK))), attacks[0])
    comparison = one(write(tmp_path / "d"), c, unpaired=True)
    assert WORST not in {found.metric for found in comparison.rows}
    assert any("the per-image outcomes of AutoAttack, BIM" in note for note in comparison.notes)


def test_records_without_outcomes_need_the_word_unpaired(tmp_path: Path) -> None:
    a = write(tmp_path / "a")
    b = write_record(tmp_path / "b", make_record(make_arrays(WEAK)))
    with pytest.raises(UserError, match=r"no per-image outcomes.*--unpaired"):
        compare_paths(a, b)
    assert row(one(a, b, unpaired=True), AUTOATTACK).better == "A"


def test_the_spread_over_seeds_stays_apart_from_the_interval(tmp_path: Path) -> None:
    for seed, rate in enumerate((0.40, 0.46, 0.52)):
        rates = {AUTOATTACK: rate}
        write(tmp_path / "a" / str(seed), rates=rates, array_seed=seed, seed=seed, id=f"a{seed}")
    b = write(tmp_path / "b", rates=WEAK, array_seed=9, defense={"name": "standard"})
    comparison = one(tmp_path / "a", b)
    found = row(comparison, AUTOATTACK)
    assert (found.a.seeds, found.b.seeds) == (3, 1)
    assert found.a.value == pytest.approx(0.46)
    assert found.a.std == pytest.approx(0.06)
    ends = np.mean([proportion_interval(round(rate * 200), 200) for rate in (0.40, 0.46, 0.52)], axis=0)
    assert (found.a.low, found.a.high) == pytest.approx(tuple(ends))
    assert found.b.std is None
    assert "± 6.0 over 3 seeds" in found.verdict
    assert not any("one training seed each" in note for note in comparison.notes)


def test_single_seeds_come_with_a_caution(tmp_path: Path) -> None:
    comparison = one(write(tmp_path / "a"), write(tmp_path / "b", rates=WEAK))
    assert any("one training seed each" in note for note in comparison.notes)


def test_boards_are_compared_entry_by_entry(tmp_path: Path) -> None:
    for side, rates in (("a", None), ("b", WEAK)):
        for defense in ("prs", "standard", f"only-{side}"):
            write(tmp_path / side / defense, rates=rates, defense={"name": defense})
    comparisons, notes = compare_paths(tmp_path / "a", tmp_path / "b")
    assert [each.a.name.split(",")[0] for each in comparisons] == [
        each.b.name.split(",")[0] for each in comparisons
    ]
    assert {each.a.name.split(",")[0] for each in comparisons} == {"prs", "standard"}
    assert [note.split(",")[0] for note in notes] == ["only in A: only-a", "only in B: only-b"]
    against_all, _ = compare_paths(tmp_path / "a" / "prs", tmp_path / "b")
    assert len(against_all) == 3


def test_pairs_that_cannot_be_compared_are_told_by_reason_the_nearest_first(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine")
    other = {"norm": "l2", "eps": "0.5"}
    for name in ("at", "mart", "trades"):
        write(tmp_path / "board" / name, threat=other, defense={"name": name}, dataset={"name": "mnist"})
    write(tmp_path / "board" / "prs", threat=other, defense={"name": "prs"})
    with pytest.raises(UserError) as error:
        compare_paths(mine, tmp_path / "board")
    nearest, rest = str(error.value).split(". not compared: ")
    assert ", seed 0 and prs, " in nearest
    assert "data set" not in nearest
    assert " and 2 other pairs: A and B are not comparable: the data set is" in rest
    write(tmp_path / "board" / "standard", defense={"name": "standard"})
    comparisons, notes = compare_paths(mine, tmp_path / "board")
    assert (len(comparisons), len(notes)) == (1, 2)


def test_an_alarm_that_needs_no_answer_has_no_empty_parentheses() -> None:
    assert alarms_in_words(["no signal"], []) == "no signal"


def test_a_boards_export_is_compared_by_intervals(tmp_path: Path) -> None:
    write(tmp_path / "a" / "prs")
    b = write(tmp_path / "b", rates=WEAK)
    results, _ = read_results([tmp_path / "a" / "prs" / "record.json"])
    (board,) = make_boards(results)
    export = tmp_path / "board.json"
    export.write_text(board_json(board))
    with pytest.raises(UserError, match="--unpaired"):
        compare_paths(export, b)
    comparison = one(export, b, unpaired=True)
    assert row(comparison, AUTOATTACK).better == "A"
    assert row(comparison, AUTOATTACK).a.value == 0.45


@pytest.mark.parametrize("change", [{"value": "half"}, {"value": 7}, {"value": -1}, {"n": "many"}, {"n": 0}])
def test_a_malformed_export_is_told(tmp_path: Path, change: dict[str, Any]) -> None:
    b = write(tmp_path / "b")
    (board,) = make_boards(read_results([b / "record.json" if b.is_dir() else b])[0])
    content = json.loads(board_json(board))
    content["entries"][0]["scores"][AUTOATTACK] |= change
    export = tmp_path / "board.json"
    export.write_text(json.dumps(content))
    with pytest.raises(UserError, match="is not a board of this version"):
        compare_paths(export, b, unpaired=True)


@pytest.mark.parametrize("content", ["{}", '{"format": "regionbench.board/1"}', "no json"])
def test_what_is_no_result_is_refused(tmp_path: Path, content: str) -> None:
    a = write(tmp_path / "a")
    wrong = tmp_path / "wrong.json"
    wrong.write_text(content)
    with pytest.raises(UserError, match=r"wrong\.json"):
        compare_paths(a, wrong)
    with pytest.raises(UserError, match="no such folder"):
        compare_paths(a, tmp_path / "nowhere")


def test_the_command_prints_a_line_for_each_metric_or_json(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a"), write(tmp_path / "b", rates=WEAK, defense={"name": "standard"})
    done = CliRunner().invoke(command, [str(a), str(b)])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[:2] == ["A  prs, cnn6, seed 0", "B  standard, cnn6, seed 0"]
    assert lines[3].startswith("A is more robust under the worst case of all attacks")
    found = json.loads(CliRunner().invoke(command, [str(a), str(b), "--json"]).output)
    (comparison,) = found["comparisons"]
    assert comparison["rows"][0]["better"] == "A"
    assert comparison["rows"][0]["verdict"] == lines[3]


def test_a_result_in_doubt_is_not_the_better_one_and_what_its_checks_broke_counts(tmp_path: Path) -> None:
    raised = {"name": "zero gradients", "raised": True, "message": "95 % are zero"}
    masked = make_arrays(dict.fromkeys(RATES, 0.9), seed=1)
    honest = make_arrays(dict.fromkeys(RATES, 0.4), seed=2)
    b = write_record(tmp_path / "b", make_record(honest, defense={"name": "honest"}), honest)
    a = write_record(
        tmp_path / "a", make_record(masked, defense={"name": "one-hot"}, alarms=[raised]), masked
    )
    (found,), _ = compare_paths(a, b)
    worst = next(row for row in found.rows if row.metric == WORST_CASE)
    assert worst.better is None
    assert worst.verdict.startswith("not decided under the worst case")
    assert "A (90.0%" in worst.verdict
    assert found.notes[0].startswith("A: in doubt")
    assert "no extra checks ran" in found.notes[0]
    assert found.notes[1] == "B: no alarm raised"

    masked["suspicious/worst_case"] = masked[WORST_CASE] & (np.arange(200) < 10)
    numbers = {
        "worst_case": 0.9,
        "with_extra_checks": float(masked["suspicious/worst_case"].mean()),
        "unbounded": 0.0,
    }
    verdict = {"name": "extra checks", "raised": True, "message": "", "numbers": numbers}
    record = make_record(masked, defense={"name": "one-hot"}, alarms=[raised, verdict])
    a = write_record(tmp_path / "a", record, masked)
    (found,), _ = compare_paths(a, b)
    worst = next(row for row in found.rows if row.metric == WORST_CASE)
    assert worst.better == "B"
    assert worst.method == "paired"
    assert worst.a.value == numbers["with_extra_checks"]
    pgd = next(row for row in found.rows if row.metric == "robust_accuracy/pgd20")
    assert "no evidence as it raises alarms" in pgd.verdict
