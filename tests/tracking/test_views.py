"""The saved views of MLflow, and the experiment's note."""

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest

from bench.tracking.settings import Settings
from bench.tracking.store import Store, open_store
from bench.tracking.views import BOARD, KIND, MOST_RUNS, NOTE, VIEW, refresh

#: MLflow's limit for tags of experiments.
TAG = 20_000


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Any:
    database = tmp_path / "mlflow.db"
    database.write_bytes(empty_store.read_bytes())
    with open_store(Settings(uri=f"sqlite:///{database}", artifacts=str(tmp_path / "artifacts"))) as opened:
        yield opened


def tags(store: Store) -> dict[str, str]:
    return dict(store.client.get_experiment(store.experiment_id).tags)


def view(text: str) -> dict[str, Any]:
    """What MLflow's pages read from the tag of a view."""
    head, _, body = text.partition(";")
    assert head == "deflate"
    return dict(json.loads(zlib.decompress(base64.b64decode(body))))


def add_run(store: Store, board: str, worst_case: float) -> str:
    run = store.client.create_run(store.experiment_id, tags={"board": board, "role": "final"})
    store.client.log_metric(run.info.run_id, "worst_case", worst_case)
    store.client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def test_a_board_gets_a_view_sorted_by_its_worst_case(store: Store) -> None:
    runs = [add_run(store, "b", value / 10) for value in range(7)]
    refresh(store.client, store.experiment_id, {"b": ("digits, linf 1/5", 200)})
    kept = tags(store)
    assert KIND.items() <= kept.items()
    assert all(len(value) < TAG for value in kept.values())
    state = view(kept[f"{VIEW}b"])
    assert state["searchFilter"] == "tags.board = 'b'"
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`worst_case`", False)
    assert {"metrics.`worst_case`", "params.`defense`", "tags.`alarms`"} <= set(state["selectedColumns"])
    assert set(state["selectedColumns"]) <= set(state["columnOrder"])
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == sections
    assert json.loads(kept[f"{BOARD}b"])["runs"] == runs[: -MOST_RUNS - 1 : -1]
    assert store.results_page().endswith("viewStateShareKey=b")
    # MLflow's page of a comparison finds its runs only where they come first.
    assert re.search(r"#/compare-runs\?runs=[^&]+&experiments=[^&]+&workflowType", kept[NOTE])


def test_the_note_keeps_what_a_user_wrote_and_the_boards_of_before(store: Store) -> None:
    store.client.set_experiment_tag(store.experiment_id, NOTE, "Ask Ann before you delete anything.")
    refresh(store.client, store.experiment_id, {"a": ("first", 10)})
    refresh(store.client, store.experiment_id, {"b": ("second", 100)})
    note = tags(store)[NOTE]
    assert note.startswith("Ask Ann before you delete anything.\n\n")
    assert note.index("second") < note.index("first")  # the largest evaluation first
    assert note.count("**Results**") == 1
    refresh(store.client, store.experiment_id, {})
    assert tags(store)[NOTE] == note


def test_without_a_board_all_final_runs_are_shown(store: Store) -> None:
    assert store.results_page().endswith("viewStateShareKey=final-runs")
    assert view(tags(store)[f"{VIEW}final-runs"])["searchFilter"] == "tags.role = 'final'"
