"""Studies from the file to the page: small ones on the digits, cut short and taken up again."""

import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from scipy import stats

from bench.charts import Bars, load_chart
from bench.cli.study import study as study_command
from bench.core.errors import UserError
from bench.core.progress import Progress
from bench.runs.config import RunConfig
from bench.runs.run import TrainingFailed
from bench.study import row_figures, run_study
from bench.sweep import work
from bench.tracking import NullTracker
from metrics.base import Metric
from metrics.surface.decision_surface import DecisionSurface
from metrics.surface.input_jacobian import InputJacobian
from tests.shortened import blank_pictures, stop_clock


def assert_only_the_scripts_of_the_theme(page: Path) -> None:
    """Only light and dark are chosen by scripts, and these lie beside the page."""
    scripts = re.findall(r"<script[^>]*>", page.read_text())
    sources = re.findall(r'<script src="([\w/.-]+)"', " ".join(scripts))
    assert len(sources) == len(scripts)
    assert {Path(source).name for source in sources} == {"theme.js", "choice.js"}
    assert all((page.parent / source).is_file() for source in sources)


CORRELATION: dict[str, Any] = {
    "study": "correlation",
    "title": "Small <b>study</b>",
    "source": "P1, table 1",
    "text": "One paragraph.\n\nAnother.",
    "models": ["cnn6(width=0.25)"],
    "datasets": {"digits": {"least_accuracy": 0.0, "train_size": 60, "test_size": 20, "threat": 0.1}},
    "batch_sizes": [20],
    "seeds": [0, 1, 2],
    "epochs": 2,
    "probe_every": 1,
    "probe_images": 5,
    "published": {"inclusion_ratio": {"cnn6(width=0.25)": {"digits": {"slope": -0.7, "p": 1e-9}}}},
    "claims": {"sparsity": "negative"},
}
TABLE: dict[str, Any] = {
    "study": "table",
    "title": "Small table",
    "source": "a paper, table 1",
    "train": {"dataset": "digits", "train_size": 60, "test_size": 20, "epochs": 2, "threat": 0.1},
    "attacks": {"bim": {"steps": 2, "step_size": 0.1}},
    "rows": {
        "natural": {"defense": "standard", "seeds": [0, 1], "paper": {"clean_accuracy": 99.1}},
        "jacobian": {"defense": "jacobian", "paper": {"bim@0.1": 22.5}},
    },
    "columns": [
        "clean_accuracy",
        "bim@0.1",
        "bim@0.2",
        "prs_ratio",
        {"name": "prs_ratio/none", "title": "None"},
    ],
    "images": 10,
    "battery": "quick",
    "bars": [{"name": "major_region/regions", "title": "Populated regions"}, "clean_accuracy"],
    "claims": ["jacobian > natural at bim@0.1", "clean_accuracy > bim@0.1 for natural"],
}


def study(folder: Path, values: dict[str, Any], out: Path | None = None) -> Path:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return run_study(
        path, out=out or folder / "runs", data_dir=None, tracker=NullTracker(), progress=Progress()
    )


def candidates(page: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((page.parent / "candidates.csv").read_text().splitlines()))


def trained(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.glob("*/seed-*/**/*") if path.is_file()}


@pytest.fixture(scope="module", autouse=True)
def _no_clock() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        stop_clock(patch)
        yield


@pytest.fixture(scope="module")
def correlated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        blank_pictures(patch)
        return study(tmp_path_factory.mktemp("correlation"), CORRELATION)


@pytest.fixture(scope="module")
def tabled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        blank_pictures(patch)
        return study(tmp_path_factory.mktemp("table"), TABLE)


def test_every_probed_epoch_is_a_candidate_and_the_slopes_are_theirs(correlated: Path) -> None:
    rows = candidates(correlated)
    assert {(row["seed"], row["epoch"]) for row in rows} == {(s, e) for s in "012" for e in "12"}
    results = json.loads((correlated.parent / "results.json").read_text())
    kept = [row for row in rows if row["kept"] == "True"]
    for regression in results["regressions"]:
        fit, quantity = regression["fit"], regression["quantity"]
        assert fit["n"] == len(kept)
        x = [float(row["prs_ratio"]) for row in kept]
        y = [float(row[quantity]) for row in kept]
        if np.ptp(x) and np.ptp(y):
            line = stats.linregress(x, y)
            assert (fit["slope"], fit["p_value"]) == pytest.approx((line.slope, line.pvalue))
        else:
            assert fit["reason"]


def test_the_page_reads_without_a_script_and_escapes_what_the_file_says(correlated: Path) -> None:
    page = correlated.read_text()
    assert "Small &lt;b&gt;study&lt;/b&gt;" in page
    assert_only_the_scripts_of_the_theme(correlated)
    assert "NaN" not in page
    for words in ("not independent", "a subset", "60 training and 20 test images", "P1, table 1", "−0.70"):
        assert words in page
    for link in ("candidates.csv", "results.json", "charts/study-inclusion-ratio.png", "static/style.css"):
        assert link in page
        assert (correlated.parent / link).is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("blank_pictures")
def test_a_finished_study_trains_and_measures_nothing_again(correlated: Path, tabled: Path) -> None:
    for page, values in ((correlated, CORRELATION), (tabled, TABLE)):
        folder = page.parents[3]
        before, text = trained(folder / "runs"), page.read_text()
        assert before
        assert study(folder, values) == page
        assert trained(folder / "runs") == before
        assert page.read_text() == text


@pytest.mark.slow
@pytest.mark.usefixtures("blank_pictures")
def test_a_study_that_was_stopped_goes_on_and_ends_the_same(
    correlated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    calls = []

    def dies(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:
            raise Killed
        return real(*arguments)

    real = work.run_job
    monkeypatch.setattr(work, "run_job", dies)
    with pytest.raises(Killed):
        study(tmp_path, CORRELATION)
    before = trained(tmp_path / "runs")
    monkeypatch.setattr(work, "run_job", real)
    page = study(tmp_path, CORRELATION)
    after = trained(tmp_path / "runs")
    assert {path: after[path] for path in before} == before
    assert candidates(page) == candidates(correlated)


@pytest.mark.usefixtures("blank_pictures")
def test_a_longer_study_takes_over_the_trainings_of_a_shorter_one(correlated: Path, tmp_path: Path) -> None:
    out = correlated.parents[2]
    before = trained(out)
    page = study(tmp_path, {**CORRELATION, "batch_sizes": [20, 30], "seeds": [0]}, out=out)
    after = trained(out)
    assert {path: after[path] for path in before} == before
    rows = candidates(page)
    assert {row["batch_size"] for row in rows} == {"20", "30"}


@pytest.mark.usefixtures("blank_pictures")
def test_a_training_that_diverges_is_named_and_the_study_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = work.run_job

    def dies(job: Any, *others: Any) -> Any:
        if job.plan.name == "jacobian":
            raise TrainingFailed("training with seed 0 failed: epoch 2: the loss became nan")
        return real(job, *others)

    monkeypatch.setattr(work, "run_job", dies)
    page = study(tmp_path, {**TABLE, "claims": ["jacobian > natural at bim@0.1"]})
    assert "the loss became nan" in page.read_text()
    results = json.loads((page.parent / "results.json").read_text())
    assert results["claims"][0]["verdict"] == "undecided"
    assert results["rows"][1]["cells"]["bim@0.1"]["reason"]


def test_a_table_has_ours_with_intervals_beside_the_papers(tabled: Path) -> None:
    results = json.loads((tabled.parent / "results.json").read_text())
    natural, jacobian = results["rows"]
    clean = natural["cells"]["clean_accuracy"]
    assert (clean["paper"], clean["n"]) == (99.1, 20)
    assert clean["low"] < clean["value"] < clean["high"]
    assert clean["spread"] is not None
    assert jacobian["cells"]["bim@0.1"]["paper"] == 22.5
    assert jacobian["cells"]["bim@0.1"]["n"] == 10
    assert natural["cells"]["bim@0.1"]["value"] >= natural["cells"]["bim@0.2"]["value"]
    missing = natural["cells"]["prs_ratio/none"]
    assert missing["value"] is None
    assert "it gives prs_ratio" in missing["reason"]
    assert [claim["verdict"] in ("confirmed", "not confirmed", "undecided") for claim in results["claims"]]
    columns = {column["name"]: column for column in results["columns"]}
    assert columns["bim@0.1"]["attack"]["steps"] == 2
    assert columns["bim@0.2"]["threat"] == "linf:0.2"


def test_bars_show_a_score_by_row_and_measure_it_where_no_column_does(tabled: Path) -> None:
    (path,) = (tabled.parent / "charts").glob("methods-major-region-regions-*.json")
    chart = load_chart(path)
    (bars,) = chart.panels[0].marks
    assert isinstance(bars, Bars)
    assert bars.categories == ["natural", "jacobian"]
    records = [
        json.loads(each.read_text()) for each in (tabled.parents[3] / "runs").glob("*/seed-*/*/record.json")
    ]
    regions = {
        name: [
            each["metrics"]["major_region/regions"]["value"]
            for each in records
            if each["defense"]["name"] == name
        ]
        for name in ("standard", "jacobian")
    }
    assert bars.values == [pytest.approx(np.mean(values)) for values in regions.values()]
    assert (bars.low[0], bars.high[0]) == (min(regions["standard"]), max(regions["standard"]))
    assert f"charts/{path.stem}.png" in tabled.read_text()
    results = json.loads((tabled.parent / "results.json").read_text())
    assert "major_region/regions" not in results["rows"][0]["cells"]


def test_the_table_page_states_settings_subset_and_whose_numbers(tabled: Path) -> None:
    page = tabled.read_text()
    assert_only_the_scripts_of_the_theme(tabled)
    for words in (
        "paper 99.1",
        "steps = 2",
        "a subset",
        "attacks on 10 of the test images",
        "a paper, table 1",
    ):
        assert words in page


@pytest.mark.usefixtures("blank_pictures")
def test_an_attack_at_the_threats_own_eps_is_the_batterys(tmp_path: Path) -> None:
    values = {
        **TABLE,
        "rows": {"natural": {"defense": "standard"}},
        "attacks": {},
        "columns": ["robust_accuracy/fgsm", "fgsm@0.1"],
        "claims": [],
    }
    page = study(tmp_path, values)
    cells = json.loads((page.parent / "results.json").read_text())["rows"][0]["cells"]
    assert cells["fgsm@0.1"]["value"] == cells["robust_accuracy/fgsm"]["value"]


@pytest.mark.usefixtures("blank_pictures")
def test_no_candidates_at_all_is_undecided_with_a_reason(tmp_path: Path, correlated: Path) -> None:
    values = {
        **CORRELATION,
        "datasets": {"digits": {**CORRELATION["datasets"]["digits"], "least_accuracy": 0.99}},
    }
    page = study(tmp_path, values, out=correlated.parents[2])
    results = json.loads((page.parent / "results.json").read_text())
    for regression in results["regressions"]:
        assert regression["verdict"] == "undecided"
        assert "candidates that a line needs" in regression["fit"]["reason"]


@pytest.mark.usefixtures("blank_pictures")
def test_the_command_checks_a_file_or_runs_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**CORRELATION, "seeds": [0]}))

    checked = CliRunner().invoke(study_command, [str(path), "--check"])
    assert "1 training of cnn6(width=0.25) on digits, 2 epochs in all" in checked.stdout
    assert not (tmp_path / "runs").exists()
    words = [str(path), "--out", str(tmp_path / "runs"), "--tracking", "none", "--quiet"]
    done = CliRunner().invoke(study_command, words, catch_exceptions=False)
    assert Path(done.stdout.strip()).is_file()
    path.write_text("study: nothing\n")
    failed = CliRunner().invoke(study_command, words)
    assert isinstance(failed.exception, UserError)


def test_a_study_of_more_than_a_thousand_runs_needs_a_yes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.sweep.matrix.MANY", 1)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**CORRELATION, "seeds": [0, 1]}))
    words = [str(path), "--out", str(tmp_path / "runs"), "--tracking", "none", "--quiet"]
    refused = CliRunner().invoke(study_command, words)
    assert "2 runs; give --yes if that is meant" in str(refused.exception)
    assert not (tmp_path / "runs").exists()
    assert CliRunner().invoke(study_command, [*words, "--status"]).exit_code == 0
    assert CliRunner().invoke(study_command, [*words, "--yes", "--dry-run"]).exit_code == 0


@pytest.mark.usefixtures("blank_pictures")
def test_a_study_is_done_in_parts_and_says_how_far_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**CORRELATION, "seeds": [0, 1]}))

    def call(*words: str) -> Result:
        places = [str(path), "--out", str(tmp_path / "runs"), "--tracking", "none", "--quiet"]
        return CliRunner().invoke(study_command, [*places, *words], catch_exceptions=False)

    assert call("--index", "1", "--count", "2").stdout == ""
    told = call("--status")
    assert [line.split()[0] for line in told.stdout.splitlines()] == ["waiting", "done", "2"]
    half = Path(call("--page").stdout.strip())
    assert "not done (waiting)" in half.read_text()
    done = call()
    assert done.exit_code == 0
    assert Path(done.stdout.strip()) == half
    assert "not done" not in half.read_text()


@pytest.mark.long
@pytest.mark.slow
def test_workers_do_a_study_and_its_records_are_those_of_one_process(tabled: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(TABLE))
    words = ["study", str(path), "--out", str(tmp_path / "runs"), "--tracking", "none", "--jobs", "2"]
    subprocess.run([sys.executable, "-m", "bench", *words, "--quiet"], check=True, capture_output=True)
    ours, theirs = (
        {
            str(found.relative_to(out)): (record["battery"], record["provenance"]["command"])
            for found in out.glob("*/seed-*/*/record.json")
            for record in [json.loads(found.read_text())]
        }
        for out in (tmp_path / "runs", tabled.parents[2])
    )
    assert len(ours) == 3
    assert ours == theirs


BESIDE: dict[str, Any] = {
    **TABLE,
    "rows": {
        "natural": {"defense": "standard", "seeds": [0, 1]},
        "robust": {"defense": "jacobian", "seeds": [0, 1]},
    },
    "attacks": {},
    "columns": ["clean_accuracy"],
    "side_by_side": ["decision_surface", "input_jacobian"],
    "claims": [],
}


@pytest.mark.slow
@pytest.mark.usefixtures("blank_pictures")
def test_rows_stand_beside_each_other_around_images_that_all_of_them_classify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {
        DecisionSurface: {"half": 1, "line_images": 3, "parameter_images": 0},
        InputJacobian: {"images": 5},
    }
    measured: list[tuple[str, list[int]]] = []

    def named(names: Any, battery: str) -> tuple[Metric, ...]:
        return tuple(kind(**settings) for kind, settings in small.items())  # type: ignore[arg-type]

    for kind in small:

        def measure(self: Any, evaluation: Any, measure: Any = kind.measure) -> Any:
            measured.append((self.name, evaluation.test_index.tolist()))
            return measure(self, evaluation)

        monkeypatch.setattr(kind, "measure", measure)
    monkeypatch.setattr(row_figures, "metrics_of", named)
    monkeypatch.setattr(
        row_figures,
        "correctly_classified",
        lambda path, **_: [1, 4, 7] if "jacobian" in str(path) else [4, 7, 9],
    )
    page = study(tmp_path, BESIDE)
    assert [index[:2] for _, index in measured] == [[4, 7]] * 4  # two metrics of two rows, for one seed
    assert all(sorted(index) == list(range(10)) for _, index in measured)
    chart = load_chart(page.parent / "charts" / "beside-surface-jacobian-statistics.json")
    assert {panel.title.partition(":")[0] for panel in chart.panels} == {"natural", "robust"}
    assert chart.caption.endswith("Seed 0.")
    text = page.read_text()
    for ending in ("png", "html", "csv", "json"):
        assert f"charts/beside-surface-jacobian-statistics.{ending}" in text
        assert (page.parent / "charts" / f"beside-surface-jacobian-statistics.{ending}").is_file()
    assert study(tmp_path, BESIDE) == page
    assert len(measured) == 4
    assert page.read_text() == text


@pytest.mark.parametrize(
    ("dataset", "folder"), [("imagefolder:some/cats", "some"), ("npz:cats.npz", "."), ("digits", "data")]
)
def test_figures_of_rows_find_their_data_where_the_settings_say(dataset: str, folder: str) -> None:
    config = RunConfig.make({"defense": "standard", "dataset": dataset})
    assert row_figures._data_folder(config, Path("data")) == Path(folder)


def test_an_unknown_metric_beside_each_other_is_told_before_any_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean decision_surface"):
        study(tmp_path, {**BESIDE, "side_by_side": ["decision_surfac"]})
    assert not (tmp_path / "runs").exists()
