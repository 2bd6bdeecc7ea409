"""Which networks and scores a geometry board shows, and the slopes beside them."""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.regression import regress
from leaderboards.board import make_boards
from leaderboards.build import build
from leaderboards.figure_files import Picture, ShownFigure
from leaderboards.geometry import GeometryBoard, gallery, geometry_boards
from leaderboards.pages import Pages
from leaderboards.result import read_results
from leaderboards.scatter import geometry_charts, slope_words, trend
from tests.records import make_arrays, make_record, make_scores, write_record

ROWS = [("a", 0.45, 9.0), ("b", 0.4, 7.0), ("c", 0.3, 8.0), ("d", 0.1, 2.0)]


def write_networks(folder: Path) -> list[Path]:
    """For each network a ranked record, and one of another battery on fewer images that has its geometry."""
    paths = []
    for at, (name, worst, norm) in enumerate(ROWS):
        for seed in range(2):
            arrays = make_arrays({"robust_accuracy/autoattack": worst}, seed=10 * at + seed)
            shared: dict[str, Any] = {"defense": {"name": name}, "seed": seed}
            record = make_record(arrays, id=f"{name}{seed}", **shared)
            paths.append(write_record(folder / f"{name}{seed}", record, arrays))
            few = make_arrays(n=50)
            scores: dict[str, Any] = {
                "clean_accuracy": make_scores(few)["clean_accuracy"],
                "input_jacobian": {
                    "value": norm + seed,
                    "unit": "logits/pixel",
                    "low": norm,
                    "high": norm + 2,
                },
                "prs_by_layer": {"value": 0.5, "unit": "fraction"},
                "prs_by_layer/conv1": {"value": 1.0, "unit": "fraction"},
                "prs_by_layer/conv2": {"value": 0.25, "unit": "fraction"},
            }
            shape = make_record(
                few, id=f"{name}{seed}g", battery={"name": "geometry"}, metrics=scores, alarms=[], **shared
            )
            paths.append(write_record(folder / f"{name}{seed}g", shape))
    return paths


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_networks(tmp_path_factory.mktemp("networks"))


@pytest.fixture(scope="module")
def board(paths: list[Path]) -> GeometryBoard:
    (board,) = geometry_boards(make_boards(read_results(paths)[0]))
    return board


def test_a_row_has_the_scores_of_all_records_of_its_networks_without_a_ranking(board: GeometryBoard) -> None:
    assert [row.entry.defense.name for row in board.rows] == ["a", "b", "c", "d"]
    row = board.rows[0]
    assert row.worst_case is not None
    assert (row.worst_case.mean, row.worst_case.n) == (0.45, 200)
    assert row.scores["input_jacobian"].mean == pytest.approx(9.5)
    assert row.layers == [("conv1", 1.0), ("conv2", 0.25)]
    assert {column.metric for column in board.columns} >= {"prs_ratio", "input_jacobian", "prs_by_layer"}


def test_a_topic_shows_only_the_networks_it_was_measured_of(paths: list[Path], tmp_path: Path) -> None:
    plain = write_record(tmp_path, make_record(make_arrays(), id="plain", defense={"name": "e"}))
    (board,) = geometry_boards(make_boards(read_results([*paths, plain])[0]))
    shown = {
        topic: [row.entry.defense.name for row in board.measured(columns)]
        for topic, columns in board.topics.items()
    }
    assert shown["Decision regions"] == ["a", "b", "c", "d", "e"]
    assert shown["Decision surface"] == ["a", "b", "c", "d"]


def test_slopes_have_intervals_and_p_values_that_are_robust_over_entries(board: GeometryBoard) -> None:
    fit = trend(board, "input_jacobian")
    x = [norm + seed for _, _, norm in ROWS for seed in range(2)]
    y = [100 * worst for _, worst, _ in ROWS for _ in range(2)]
    expected = regress(x, y, np.repeat(range(4), 2).tolist())
    assert fit is not None
    assert fit.interval is not None
    assert (fit.n, fit.runs, fit.slope) == (8, 4, pytest.approx(expected.slope))
    assert fit.run_p_value == pytest.approx(expected.run_p_value)
    assert slope_words(fit) == "4.4 (2.4 to 6.4), p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}0.006"
    charts = geometry_charts(board, {})["Decision surface"]
    (chart,) = [each for each in charts if each.panels[0].x.label.startswith("‖J‖₁")]
    assert slope_words(fit) in chart.caption


def test_boards_without_more_than_every_battery_measures_have_no_geometry(sample: list[Path]) -> None:
    assert geometry_boards(make_boards(read_results(sample)[0])) == []


def test_the_site_links_board_and_geometry(paths: list[Path], tmp_path: Path) -> None:
    build(paths, tmp_path / "site")
    (page,) = (tmp_path / "site" / "geometry").glob("*.html")
    assert "Does it go with robustness?" in page.read_text()
    assert f"geometry/{page.name}" in (tmp_path / "site" / "index.html").read_text()
    boards = [each.read_text() for each in (tmp_path / "site" / "boards").glob("*.html")]
    assert all(f"../geometry/{page.name}" in text for text in boards)
    rows = list(csv.DictReader(page.with_suffix(".csv").read_text().splitlines()))
    assert [float(row["input_jacobian"]) for row in rows] == [9.5, 7.5, 8.5, 2.5]


def test_a_page_has_its_slopes_first_and_the_charts_of_each_topic_folded(
    board: GeometryBoard,
) -> None:
    page = Pages({}, {}).geometry(board, {})
    charts = geometry_charts(board, {})
    places = [page.index(each) for each in ('id="slopes"', *(f">{topic}</h2>" for topic in board.topics))]
    assert places == sorted(places)
    for topic, start, end in zip(board.topics, places[1:], [*places[2:], len(page)], strict=True):
        assert page[start:end].count('<figure class="chart">') == len(charts.get(topic, []))
    assert page.count('<details class="of-topic">') == len(charts) > 1
    contents = re.findall(r'<li><a href="#([\w-]+)">', page)
    assert contents
    assert all(f'id="{each}"' in page for each in contents)


def test_pictures_side_by_side_share_a_title_without_the_number_of_one_network(board: GeometryBoard) -> None:
    def figures(*titles: str) -> dict[str, list[ShownFigure]]:
        return {
            row.entry.page: [ShownFigure("regions-plane-1", title, "", "", (Picture(0, 1, 1, "p.png"),))]
            for row, title in zip(board.rows, titles, strict=False)
        }

    assert list(gallery(board, figures("Regions: 22", "Regions: 21"))) == ["Regions"]
    assert list(gallery(board, figures("Around image 1", "Around image 1"))) == ["Around image 1"]
    assert list(gallery(board, figures("Alone"))) == []


def test_rows_that_tuning_does_not_tell_apart_name_their_settings(tmp_path: Path) -> None:
    chosen = [{"weight": 1.0}, {"weight": 2.0}]
    for at, hyperparameters in enumerate(chosen):
        arrays = make_arrays(seed=at)
        scores: dict[str, Any] = {**make_scores(arrays), "prs_by_layer": {"value": 0.5, "unit": "fraction"}}
        defense = {"name": "d", "hyperparameters": hyperparameters, "defaults": {"weight": 5.0}}
        write_record(
            tmp_path / f"{at}", make_record(arrays, id=f"{at}", metrics=scores, defense=defense), arrays
        )
    paths = sorted(tmp_path.glob("*/record.json"))
    (board,) = geometry_boards(make_boards(read_results(paths)[0]))
    page = Pages({}, {}).geometry(board, {})
    assert all(f"weight = {value}" in page for value in (1, 2))


def test_tuned_entries_say_so_and_settings_tell_only_what_is_alike_otherwise(tmp_path: Path) -> None:
    search = {
        "trials": 1,
        "complete": 1,
        "pruned": 0,
        "failed": 0,
        "objective": "accuracy",
        "clean_floor": 0.0,
        "space": {"weight": "1 … 10"},
        "default_value": 0.1,
        "best_value": 0.1,
        "best_trial": 0,
        "seconds": 1.0,
    }
    chosen = [(5.0, None), (1.23456, search), (2.0, search), (7.0004, None), (7.0001, None)]
    for at, (weight, searched) in enumerate(chosen):
        arrays = make_arrays(seed=at)
        defense = {"name": "d", "hyperparameters": {"weight": weight}, "defaults": {"weight": 5.0}}
        defense |= {"search": searched} if searched else {}
        write_record(tmp_path / f"{at}", make_record(arrays, id=f"{at}", defense=defense), arrays)
    (board,) = make_boards(read_results(sorted(tmp_path.glob("*/record.json")))[0])
    assert sorted(board.qualifiers.values()) == [
        "tuned · weight = 1.23",
        "tuned · weight = 2",
        "weight = 5",
        "weight = 7.0001",
        "weight = 7.0004",
    ]
