"""Results in the formats of others, read by their own validators where these are installed."""

import csv
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bench.core.errors import UserError
from bench.runs.cards import defense_cards
from leaderboards.board import Board, make_boards
from leaderboards.build import build
from leaderboards.exchange.export import FORMATS, export
from leaderboards.exchange.robustbench import ModelInfo, find_published, read_model_info
from leaderboards.exchange.sarif import sarif_log
from leaderboards.ranked import read_ranked
from metrics import titles
from tests.records import make_arrays, make_record, write_record

#: Fields as RobustBench's files have them, in several shapes.
USUAL: dict[str, Any] = {
    "link": "https://arxiv.org/abs/0000.00000",
    "name": "A Paper on Robustness",
    "authors": "A. Author, B. Author",
    "additional_data": True,
    "number_forward_passes": 1,
    "dataset": "cifar10",
    "venue": "A Conference 2020",
    "architecture": "WideResNet-28-10",
    "eps": "8/255",
    "clean_acc": "89.69",
    "reported": "62.5",
    "autoattack_acc": "59.53",
}


def write_info(folder: Path, stem: str = "Author2020Paper", threat: str = "Linf", **changes: Any) -> Path:
    path = folder / "cifar10" / threat / f"{stem}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**USUAL, **changes}))
    return path


@pytest.fixture(scope="module")
def boards(sample: list[Path]) -> list[Board]:
    return make_boards(read_ranked(sample)[0])


@pytest.fixture(scope="module")
def exported(boards: list[Board], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """The files of each format."""
    out = tmp_path_factory.mktemp("exchange")
    known = titles(), defense_cards()
    return {form: export(boards, form, out / form, *known) for form in FORMATS}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"external": "58.1", "unreliable": True, "footnote": "A note."}, {}),
        ({"external": None, "unreliable": False, "footnote": None, "reported": ""}, {"footnote": None}),
        ({"eps": 0.03137254901960784, "clean_acc": 0.8969}, {"eps": "8/255", "clean_acc": "89.69"}),
        ({"eps": 0.5, "clean_acc": 89.69, "architecture": None}, {"eps": "0.5", "clean_acc": "89.69"}),
        ({"eps": None, "corruptions_acc": "71.1"}, {"corruptions_acc": "71.1"}),
    ],
)
def test_a_file_of_robustbench_goes_there_and_back(
    changes: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    info = read_model_info(write_info(tmp_path, **changes)).info
    written = info.as_json()
    wanted = {**USUAL, **changes, **expected}
    wanted = {name: value for name, value in wanted.items() if value not in (None, "", False)}
    assert written == wanted
    assert read_model_info(write_info(tmp_path / "again", **{**dict.fromkeys(USUAL), **written})).info == info


PERCENT = st.none() | st.floats(0, 100) | st.decimals(0, 100, places=2).map(str)


@given(
    clean=PERCENT,
    attacked=PERCENT,
    external=PERCENT,
    eps=st.none() | st.integers(1, 255).map(lambda k: k / 255),
)
def test_any_file_is_written_as_strings_without_null_and_read_as_the_same(
    clean: Any, attacked: Any, external: Any, eps: Any
) -> None:
    content = {**USUAL, "clean_acc": clean, "autoattack_acc": attacked, "external": external, "eps": eps}
    info = ModelInfo.model_validate(content)
    written = info.as_json()
    assert None not in written.values()
    assert all(isinstance(written[name], str) for name in ("clean_acc", "external", "eps") if name in written)
    assert ModelInfo.model_validate(written) == info


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clean_acc": "high"}, "percentage such as 59.53"),
        ({"clean_acc": "130"}, "between 0 and 100"),
        ({"clean_acc": True}, "percentage"),
        ({"eps": "eight"}, "8/255"),
        ({"eps": [1]}, "8/255"),
        ({"name": None}, "name"),
        ({"link": 7}, "link"),
    ],
)
def test_a_malformed_file_is_one_line(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said) as caught:
        read_model_info(write_info(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_other_threats_are_left_out_with_the_reason(tmp_path: Path) -> None:
    write_info(tmp_path)
    write_info(tmp_path, threat="corruptions")
    found, left_out = find_published(tmp_path)
    assert [each.id for each in found] == ["Author2020Paper"]
    assert "Linf or L2" in left_out[0].reason
    with pytest.raises(UserError, match="no RobustBench files"):
        find_published(tmp_path / "none")


def test_published_results_stand_below_the_board_of_their_data_and_threat_alone(tmp_path: Path) -> None:
    arrays = make_arrays()
    record = make_record(arrays, dataset={"name": "cifar10"}, threat={"norm": "linf", "eps": "8/255"})
    path = write_record(tmp_path / "r", record, arrays)
    write_info(tmp_path / "info", "Here", link="javascript:alert(1)", architecture="<b>")
    write_info(tmp_path / "info", "OtherRadius", eps="4/255")
    write_info(tmp_path / "info", "OtherNorm", threat="L2")
    build([path], tmp_path / "site", published=find_published(tmp_path / "info")[0])
    (page,) = (tmp_path / "site" / "boards").glob("*.html")
    text = page.read_text()
    assert "Here" in text
    assert "OtherRadius" not in text
    assert "OtherNorm" not in text
    assert "javascript:" not in text
    assert "<b>" not in text


def test_our_entries_as_files_of_robustbench(exported: dict[str, list[Path]], boards: list[Board]) -> None:
    paths = exported["robustbench"]
    assert len(paths) == sum(len(board.entries) for board in boards)
    for path in paths:
        written = json.loads(path.read_text())
        published = read_model_info(path)
        assert published.info.as_json() == written
        assert published.fits(boards[0])
        assert None not in written.values()
        assert "external" not in written or float(written["external"]) < float(written["autoattack_acc"])


def test_every_eval_ever_admits_our_files(exported: dict[str, list[Path]]) -> None:
    core = pytest.importorskip("every_eval_ever.validation_core")
    for path in exported["every-eval-ever"]:
        report = core.validate_aggregate(path)
        assert report.valid, report.errors


def test_the_hub_reads_our_model_index(exported: dict[str, list[Path]]) -> None:
    cards = pytest.importorskip("huggingface_hub.repocard_data")
    for path in exported["model-index"]:
        name, results = cards.model_index_to_eval_results(yaml.safe_load(path.read_text())["model-index"])
        assert name
        assert all(result.metric_value is not None for result in results)


@pytest.mark.filterwarnings("ignore")  # of the library itself
def test_croissant_describes_the_scores(exported: dict[str, list[Path]]) -> None:
    croissant = pytest.importorskip("mlcroissant")
    folder = exported["croissant"][-1].parent
    dataset = croissant.Dataset(jsonld=folder / "croissant.json")
    assert not dataset.metadata.issues.errors
    rows = list(dataset.records(record_set="entries"))
    with (folder / "scores.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert len(rows) == len(table)
    (name,) = {key for key in rows[0] if key.endswith("defense")}
    assert [row[name].decode() for row in rows] == [row["defense"] for row in table]


def test_columns_of_a_croissant_have_the_type_of_their_values(exported: dict[str, list[Path]]) -> None:
    folder = exported["croissant"][-1].parent
    (entries,) = json.loads((folder / "croissant.json").read_text())["recordSet"]
    types = {field["name"]: field["dataType"] for field in entries["field"]}
    with (folder / "scores.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert list(types) == list(table[0])
    read = {"sc:Text": str, "sc:Float": float, "sc:Integer": int}
    for row in table:
        for name, value in row.items():
            assert not value or read[types[name]](value) is not None


def test_alarms_as_sarif(boards: list[Board]) -> None:
    log = sarif_log(boards)
    (run,) = log["runs"]
    names = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    raised = sum(
        alarm.raised is True for board in boards for each in board.results for alarm in each.record.alarms
    )
    assert sum(result["level"] == "warning" for result in run["results"]) == raised > 0
    for result in run["results"]:
        assert names[result["ruleIndex"]] == result["ruleId"]
        # The standard: a level is "none" unless something failed.
        assert (result["kind"] == "fail") == (result["level"] != "none")


def test_each_json_of_a_site_follows_the_schema_that_the_site_publishes(site: Path) -> None:
    kinds = {"boards": "board", "entries": "entry", "records": "record", "figures": "chart"}
    validators: dict[str, Any] = {}
    for path in sorted(site.rglob("*.json")):
        top = path.relative_to(site).parts[0]
        if top == "schema":
            continue
        kind = kinds.get(top) or path.stem
        if kind not in validators:
            schema = json.loads((site / "schema" / f"{kind}.schema.json").read_text())
            jsonschema.Draft202012Validator.check_schema(schema)
            validators[kind] = jsonschema.Draft202012Validator(schema)
        validators[kind].validate(json.loads(path.read_text()))
    assert {"site", "board", "entry", "record", "manifest"} <= set(validators)
