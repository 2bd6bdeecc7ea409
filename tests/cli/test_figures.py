"""`bench figures`: everything on one page, measured once, and mistakes told in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import bench
from bench.charts import load_chart
from bench.cli.figures import figures
from bench.core.errors import UserError
from bench.core.record import load_record
from bench.data import load
from bench.evaluation import battery as batteries
from bench.evaluation.battery import Battery
from bench.models import build
from metrics.accuracy.clean_accuracy import CleanAccuracy
from metrics.accuracy.security_curve import SecurityCurve
from metrics.curvature.detection import Detection
from metrics.regions.prs_ratio import PRSRatio
from metrics.regions.region_health import RegionHealth

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def geometry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A geometry battery of seconds."""
    small = Battery("geometry", 20, (PRSRatio(), RegionHealth(), Detection(images=12, directions=4)), "")
    monkeypatch.setitem(batteries.BATTERIES, "geometry", lambda: small)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record that lacks all of that battery but the PRS ratio, with its weights beside it."""
    folder = tmp_path_factory.mktemp("record")
    digits = load("digits", train_size=60, test_size=20)
    network = build(
        "cnn6", input_shape=digits.shape, num_classes=10, mean=digits.mean, std=digits.std, seed=0
    )
    small = Battery("small", 20, (CleanAccuracy(), PRSRatio(), SecurityCurve()), "")
    bench.evaluate(network, digits, "linf:0.2", small, name="cnn6", out=folder)
    content = json.loads((folder / "record.json").read_text())
    content["provenance"]["config"] = {
        "defense": "standard",
        "dataset": "digits",
        "train_size": 60,
        "test_size": 20,
    }
    (folder / "record.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def run_and_draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Result:
        result = CliRunner().invoke(figures, [*map(str, words), "--quiet"])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def run(run_and_draw: Run, blank_pictures: None) -> Run:
    return run_and_draw


def test_only_what_is_stored_is_drawn_when_nothing_may_be_measured(
    run: Run, record: Path, tmp_path: Path
) -> None:
    assert run(record, "--no-measure", "--out", tmp_path / "out").exit_code == 0
    names = {path.stem for path in (tmp_path / "out").glob("*.json")}
    assert names == {"security"}
    for suffix in ("png", "csv", "html"):
        assert (tmp_path / "out" / f"security.{suffix}").is_file()
    assert not (tmp_path / "out" / "measured").exists()


def test_metrics_with_arguments_are_told_apart(run: Run, record: Path, tmp_path: Path) -> None:
    chosen = "inclusion_groups(attacks=('fgsm',),images=3), region_health"
    page = Path(run(record, "--metrics", chosen, "--out", tmp_path / "out").output.strip())
    assert load_chart(page.parent / "regions-inclusion-groups.json").panels[0].title == "FGSM"
    measured = {path.name for path in (tmp_path / "out" / "measured").iterdir()}
    assert measured == {"inclusion_groups", "region_health.live_units"}


@pytest.mark.parametrize(
    ("history", "said"),
    [
        ([{"epoch": 1, "train_accuracy": 0.5}], True),
        ([{"epoch": 1, "train_accuracy": 0.5}, {"epoch": 2, "train_accuracy": 0.5, "prs_ratio": 0.1}], False),
        ([], False),
    ],
)
def test_the_page_says_that_a_training_without_probes_has_no_courses(
    history: list[dict[str, float]], said: bool, run: Run, record: Path, tmp_path: Path
) -> None:
    shutil.copytree(record, tmp_path / "record")
    content = json.loads((tmp_path / "record" / "record.json").read_text())
    content["history"] = history
    (tmp_path / "record" / "record.json").write_text(json.dumps(content))
    page = Path(run(tmp_path / "record", "--no-measure").output.strip()).read_text()
    line = "Not drawn: figures of the course of training; train with --probe-every N."
    assert (line in page, "Not shown" in page) == (said, said)
    assert "Not beside each other" not in page


@pytest.mark.parametrize("name", ["..", "x" * 300])
def test_figures_stay_below_their_folder_whatever_a_record_is_called(
    name: str, run: Run, record: Path, tmp_path: Path
) -> None:
    shutil.copytree(record, tmp_path / "record")
    load_record(record).model_copy(update={"id": name}).save(tmp_path / "record" / "record.json")
    page = Path(run(tmp_path / "record", "--no-measure").output.strip())
    assert (page.parts[0], len(page.parts)) == ("figures", 3)
    assert page.resolve().parent.parent == tmp_path / "figures"


def test_a_place_that_cannot_be_written_is_told_before_anything_is_drawn(
    run: Run, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.core.values.unwritable", lambda place: "Read-only file system")
    with pytest.raises(
        UserError, match=r"cannot write below figures/.*Read-only file system; choose another --out"
    ):
        run(record, "--no-measure")


def test_the_page_links_every_file_of_every_figure_and_they_are_there(
    run_and_draw: Run, record: Path
) -> None:
    result = run_and_draw(record / "record.json", "--no-measure")
    page = Path(result.output.strip())
    assert page.parts[0] == "figures"
    text = page.read_text()
    for name in (
        "security.html",
        "security.csv",
        "security.json",
        "security.png",
        "security.svg",
        "security.pdf",
        "charts.css",
    ):
        assert f'"{name}"' in text
        assert (page.parent / name).is_file()
    chart = load_chart(page.parent / "security.json")
    assert chart.title in text
    assert (page.parent / "plotly.min.js").is_file()


def test_what_the_record_lacks_is_measured_once(
    run: Run, record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for kind in (PRSRatio, RegionHealth, Detection):

        def measure(self: Any, evaluation: Any, measure: Any = kind.measure) -> Any:
            calls.append(self.name)
            return measure(self, evaluation)

        monkeypatch.setattr(kind, "measure", measure)
    run(record, "--out", tmp_path / "out")
    assert calls == ["region_health/live_units", "detection_auc"]  # the PRS ratio is in the record
    first = (tmp_path / "out" / "index.html").read_text()
    run(record, "--out", tmp_path / "out")
    assert calls == ["region_health/live_units", "detection_auc"]
    assert (tmp_path / "out" / "index.html").read_text() == first


def test_metrics_choose_what_is_measured(run: Run, record: Path, tmp_path: Path) -> None:
    run(record, "--metrics", "region_health", "--out", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "measured").iterdir()] == ["region_health.live_units"]


def test_a_checkpoint_is_evaluated_first_and_once(run: Run, record: Path, tmp_path: Path) -> None:
    words = ("--model", "cnn6", "--train-size", 60, "--test-size", 20, "--threat", "linf:0.2")
    run(record / "weights.safetensors", *words, "--out", tmp_path / "out")
    (made,) = (tmp_path / "out" / "measured").rglob("record.json")
    assert load_record(made).metrics.keys() >= {"prs_ratio", "region_health/entropy", "detection_auc"}
    before = made.stat().st_mtime_ns
    run(record / "weights.safetensors", *words, "--out", tmp_path / "out")
    assert made.stat().st_mtime_ns == before
    assert (tmp_path / "out" / "index.html").is_file()


@pytest.fixture(scope="module")
def other(record: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network, called robust."""
    folder = tmp_path_factory.mktemp("other")
    shutil.copytree(record, folder, dirs_exist_ok=True)
    content = json.loads((folder / "record.json").read_text())
    content["defense"]["name"] = "robust"
    content["id"] += "-robust"
    (folder / "record.json").write_text(json.dumps(content))
    return folder


def test_results_are_drawn_alone_and_beside_each_other(run: Run, record: Path, other: Path) -> None:
    alone = Path(run(record, "--no-measure").output.strip())
    before = {path.name: path.read_bytes() for path in alone.parent.iterdir()}
    page = Path(run(record, other, "--no-measure").output.strip())
    assert {path.name: path.read_bytes() for path in alone.parent.iterdir()} == before
    assert page.parts[0] == "figures"
    text = page.read_text()
    for name in (
        "security.html",
        "security.csv",
        "security.json",
        "security.png",
        "security.svg",
        "security.pdf",
    ):
        assert f'"{name}"' in text
        assert (page.parent / name).is_file()
    for own in (load_record(record).id, load_record(other).id):
        assert f'"../{own}/index.html"' in text
        assert (page.parent / ".." / own / "index.html").is_file()
    chart = load_chart(page.parent / "security.json")
    assert [panel.title for panel in chart.panels] == ["cnn6", "robust"]
    assert len({(panel.x.low, panel.x.high, panel.y.low, panel.y.high) for panel in chart.panels}) == 1


def test_results_beside_each_other_go_below_the_folder_that_is_named(
    run: Run, record: Path, other: Path, tmp_path: Path
) -> None:
    page = Path(run(record, other, "--no-measure", "--out", tmp_path / "out").output.strip())
    assert page.parent.parent == tmp_path / "out"
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert {path.parent.parent for path in (tmp_path / "out").rglob("index.html")} == {tmp_path / "out"}


def test_a_record_and_a_checkpoint_stand_beside_each_other(run: Run, record: Path, tmp_path: Path) -> None:
    words = ("--model", "cnn6", "--train-size", 60, "--test-size", 20, "--threat", "linf:0.2")
    page = Path(run(record, record / "weights.safetensors", *words, "--out", tmp_path / "out").output.strip())
    titles = [panel.title for path in page.parent.glob("*.json") for panel in load_chart(path).panels]
    assert titles == ["cnn6", "weights"]


def test_what_is_not_beside_each_other_is_told_on_the_page(
    run: Run, record: Path, other: Path, tmp_path: Path
) -> None:
    content = json.loads((record / "record.json").read_text())
    content["history"] = [{"epoch": 1, "train_accuracy": 0.5}]
    shutil.copytree(record, tmp_path / "trained")
    (tmp_path / "trained" / "record.json").write_text(json.dumps(content))
    page = Path(run(tmp_path / "trained", other, "--no-measure", "--out", tmp_path / "out").output.strip())
    assert "Accuracy by epoch." in page.read_text()
    assert "Not beside each other" in page.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("RECORD", "RECORD"), "is given twice"),
        (("RECORD", "OTHER", "--checkpoint", "RECORD/weights.safetensors"), "weights of one record"),
        (("RECORD", "OTHER", "--model", "cnn6"), "--model is for a checkpoint"),
        (("RECORD", "nowhere"), "no such record or checkpoint: nowhere"),
    ],
)
def test_mistakes_with_several_results_are_told(
    run: Run, record: Path, other: Path, words: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        run(*(word.replace("RECORD", str(record)).replace("OTHER", str(other)) for word in words))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere",), "no such record or checkpoint: nowhere"),
        (("RECORD/..", "--no-measure"), r"found none; the first of \d+ below it lies in .*record"),
        (("RECORD", "--model", "cnn6"), "--model is for a checkpoint"),
        (("RECORD", "--test-size", "3"), "--test-size is for a checkpoint"),
        (("RECORD", "--metrics", "prs_ratio", "--no-measure"), "give one of them"),
        (("RECORD", "--metrics", "prs_rato"), "did you mean prs_ratio"),
        (("RECORD/weights.safetensors",), "needs --model NAME"),
        (("RECORD/weights.safetensors", "--model", "cnn6", "--no-measure"), "--no-measure is for a record"),
        (("RECORD/weights.safetensors", "--model", "cn6"), "did you mean cnn6"),
        (("RECORD/arrays.npz", "--model", "cnn6"), "arrays.npz"),
    ],
)
def test_mistakes_are_told_in_one_line(run: Run, record: Path, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        run(*(word.replace("RECORD", str(record)) for word in words))
    assert "\n" not in str(caught.value)


def test_a_record_without_anything_to_draw_says_so(run: Run, record: Path, tmp_path: Path) -> None:
    content = json.loads((record / "record.json").read_text())
    content |= {"history": [], "curves": {}, "files": {}}
    (tmp_path / "bare.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="nothing to draw"):
        run(tmp_path / "bare.json", "--no-measure")


def test_weights_that_are_gone_are_named(run: Run, record: Path, tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text((record / "record.json").read_text())
    with pytest.raises(UserError, match="--checkpoint FILE"):
        run(tmp_path / "record.json")
