"""Boards as tables for a paper: marks, LaTeX, CSV, columns of one's own."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.core.errors import UserError
from bench.core.names import CLEAN_ACCURACY, WORST_CASE
from bench.core.record import Alarm, Record
from leaderboards.board import MOST_OWN, Board, make_boards
from leaderboards.columns import COLUMNS
from leaderboards.downloads import boards_csv
from leaderboards.entry_data import entry_script
from leaderboards.latex import board_latex
from leaderboards.markdown import board_markdown
from leaderboards.result import Result, read_results
from leaderboards.table import make_table
from tests.records import make_arrays, make_scores

MARGIN = {"value": -1.5, "unit": "logits", "higher_is_better": True, "n": 200}


@pytest.fixture
def results(
    tmp_path: Path, make_record: Callable[..., Record], write_record: Callable[..., Path]
) -> list[Result]:
    """A strong entry, one that is not separated from it, and a weak one with a score of its own."""
    paths = []
    for name, rate, more in (("a", 0.45, {}), ("b_x&y", 0.44, {}), ("c", 0.01, {"mean_margin": MARGIN})):
        arrays = make_arrays({"robust_accuracy/autoattack": rate})
        record = make_record(
            arrays, id=f"{name}-seed-0", defense={"name": name}, metrics=make_scores(arrays) | more
        )
        paths.append(write_record(tmp_path / name.strip("&"), record, arrays))
    return read_results(paths)[0]


def test_the_best_and_what_is_not_separated_from_it_are_marked(results: list[Result]) -> None:
    (board,) = make_boards(results)
    table = make_table(board, [WORST_CASE, CLEAN_ACCURACY])
    assert [row.place for row in table.rows] == ["1=", "1=", "3"]
    assert [(row.cells[0].best, row.cells[0].tied) for row in table.rows] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    # Three equal scores are all the best.
    assert all(row.cells[1].best for row in table.rows)
    assert table.scores == ("worst case %", "clean %")
    text = board_markdown(board, [WORST_CASE])
    assert "**45.0** (" in text
    assert "44.0† (" in text
    assert "| `b_x&y` |" in text
    assert text.splitlines()[-1].startswith("Bold: the best of a column.")


def test_rows_of_one_defense_name_the_setting_that_tells_them_apart(
    tmp_path: Path, make_record: Callable[..., Record], write_record: Callable[..., Path]
) -> None:
    paths = []
    for weight in (1, 2):
        arrays = make_arrays({"robust_accuracy/autoattack": weight / 10})
        defense = {"name": "a", "hyperparameters": {"weight": weight}}
        record = make_record(arrays, id=f"r{weight}", defense=defense, metrics=make_scores(arrays))
        paths.append(write_record(tmp_path / str(weight), record, arrays))
    (board,) = make_boards(read_results(paths)[0])
    networks = [row.network.partition(", ")[2] for row in make_table(board).rows]
    assert networks == ["weight = 2", "weight = 1"]
    assert all(network in board_latex(board) for network in networks)


def test_no_attack_is_the_best_under_a_worst_case_of_zero_with_alarms(
    tmp_path: Path, make_record: Callable[..., Record], write_record: Callable[..., Path]
) -> None:
    """Extra checks do not run there, so that nothing answers the alarms; PGD-20 alone is no evidence."""
    paths = []
    for name, pgd, worst in (("honest", 0.5, 0.4), ("weak", 0.3, 0.2), ("masked", 0.9, 0.0)):
        rates = {"robust_accuracy/pgd20": pgd, "robust_accuracy/autoattack": worst}
        arrays = make_arrays(rates)
        record = make_record(
            arrays, id=f"{name}-seed-0", defense={"name": name}, metrics=make_scores(arrays), alarms=[]
        )
        if name == "masked":
            alarm = Alarm(name="zero gradients", raised=True, message="all of them")
            record = record.model_copy(update={"alarms": [alarm]})
        paths.append(write_record(tmp_path / name, record, arrays))
    (board,) = make_boards(read_results(paths)[0])
    rows = make_table(board, ["robust_accuracy/pgd20"]).rows
    assert {row.defense: row.cells[0].best for row in rows} == {
        "honest": True,
        "weak": False,
        "masked": False,
    }
    scripts = {entry.defense.name: entry_script(board, entry, {}, {}, []) for entry in board.entries}
    shown = {name: json.loads(text[text.index("] = ") + 4 : -2])["scores"] for name, text in scripts.items()}
    better = {
        name: score["better"] for name in shown for score in shown[name] if score["name"].endswith("/pgd20")
    }
    assert better == {"honest": True, "weak": True, "masked": None}


def test_latex_escapes_what_it_reads_as_markup(results: list[Result]) -> None:
    (board,) = make_boards(results)
    text = board_latex(board, [WORST_CASE, "mean_margin"])
    assert r"\texttt{b\_x\&y}" in text
    assert r"$\ell_\infty$, $\varepsilon$ = 8/255" in text
    assert r"44.0$^\dagger$ {\scriptsize (" in text
    assert r"mean\_margin" in text
    assert "$-$1.5" in text
    assert text.isascii()
    rows = [line for line in text.splitlines() if line.rstrip().endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in rows} == {5}


def test_csv_is_one_table_of_all_boards(results: list[Result]) -> None:
    rows = list(csv.DictReader(io.StringIO(boards_csv(make_boards(results), [WORST_CASE, "mean_margin"]))))
    assert [row["defense"] for row in rows] == ["a", "b_x&y", "c"]
    assert [row["hyperparameters"] for row in rows] == [
        entry.tuning for board in make_boards(results) for entry in board.entries
    ]
    assert rows[0][WORST_CASE] == "0.45"
    assert float(rows[0][f"{WORST_CASE}:low"]) < 0.45 < float(rows[0][f"{WORST_CASE}:high"])
    assert [row["mean_margin"] for row in rows] == ["", "", "-1.5"]


def test_a_board_says_what_its_networks_were_given(results: list[Result]) -> None:
    def given(result: Result, images: int, seconds: float | None) -> Result:
        record = result.record
        dataset = record.dataset.model_copy(update={"train_size": images})
        cost = record.cost.model_copy(update={"train_seconds": seconds, "evaluate_seconds": 200.0})
        return replace(result, record=record.model_copy(update={"dataset": dataset, "cost": cost}))

    one, other, *_ = results
    epochs = one.record.training.epochs if one.record.training else 0
    (board,) = make_boards([given(one, 1_000, 60), given(other, 1_000, 7_140)])
    assert board.budget == f"1,000 training images, {epochs} epochs, 2.0 h of training, 7 min of evaluation"
    (board,) = make_boards([given(one, 500, None), given(other, 1_000, None)])
    assert board.budget == f"500–1,000 training images, {epochs} epochs, 7 min of evaluation"


def test_a_score_of_ones_own_is_a_column_where_it_is_asked_for(results: list[Result]) -> None:
    def names(board: Board) -> list[str]:
        return [column.metric for column in board.main_columns + board.more_columns]

    (board,) = make_boards(results)
    assert "mean_margin" not in names(board)
    (board,) = make_boards(results, ("mean_margin", WORST_CASE))
    assert names(board)[-1] == "mean_margin"
    assert board.more_columns[-1].better == "higher"
    assert names(board).count(WORST_CASE) == 1
    with pytest.raises(UserError, match="did you mean mean_margin"):
        make_boards(results, ("mean_margins",))


def test_a_board_of_selected_metrics_shows_them(
    tmp_path: Path, make_record: Callable[..., Record], write_record: Callable[..., Path]
) -> None:
    scores = {"mean_margin": MARGIN, "mean_margin/low": MARGIN}
    record = make_record(battery={"name": "selected-1234"}, metrics=scores)
    (board,) = make_boards(read_results([write_record(tmp_path / "r", record)])[0])
    assert board.own_metrics == ["mean_margin"]
    assert "| mean\\_margin | alarms |" in board_markdown(board)


def test_neither_usual_scores_nor_extra_checks_take_the_places_of_own_scores(
    tmp_path: Path, make_record: Callable[..., Record], write_record: Callable[..., Path]
) -> None:
    usual = [column.metric for column in COLUMNS if column.metric.startswith(("c", "i", "r"))]
    half = {"value": 0.5, "unit": "fraction", "higher_is_better": True, "n": 200}
    scores = {**dict.fromkeys([*usual, "suspicious/eps_x4"], half), "zeta": MARGIN}
    assert len(usual) >= MOST_OWN
    record = make_record(battery={"name": "selected-1234"}, metrics=scores)
    (board,) = make_boards(read_results([write_record(tmp_path / "r", record)])[0])
    assert board.own_metrics == ["zeta"]
