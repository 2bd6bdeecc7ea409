"""Figures of a result: drawn where there is data, and never a reason for an evaluation to fail."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import bench
from bench.charts import Chart, Line, Panel, load_chart
from bench.core.progress import Progress
from bench.core.record import Record, Score
from bench.data import load
from bench.evaluation.battery import Battery
from bench.evaluation.draw_figures import draw_all, make_charts
from bench.evaluation.files import unflatten
from bench.models import build
from metrics.accuracy.robust_accuracy import RobustAccuracy
from metrics.accuracy.security_curve import SecurityCurve
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation
from tests.records import make_record


class Said(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


class Drawing(Metric):
    """A metric with a chart, or with a mistake in it."""

    name = "drawing"

    def __init__(self, *charts: Chart | Exception) -> None:
        self.made = charts

    def measure(self, evaluation: Evaluation) -> Arrays:
        return {"values": np.array([1.0, 2.0])}

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        return {self.name: self.score(float(arrays["values"].sum()))}

    def charts(self, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
        for chart in self.made:
            if isinstance(chart, Exception):
                raise chart
        return [chart for chart in self.made if isinstance(chart, Chart)]


def chart(name: str) -> Chart:
    return Chart(name=name, title=name, panels=[Panel(marks=[Line(x=[0, 1], y=[1, 2])])])


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Path]:
    folder = tmp_path_factory.mktemp("measured")
    digits = load("digits", train_size=50, test_size=12)
    network = build("cnn6(width=0.25)", input_shape=digits.shape, num_classes=10, seed=0)
    metrics = (
        RobustAccuracy("fgsm"),
        RobustAccuracy("pgd20"),
        SecurityCurve(),
        Drawing(chart("regions-own")),
    )
    return bench.evaluate(network, digits, "linf:0.1", Battery("small", 12, metrics, ""), out=folder), folder


def test_pictures_and_data_lie_beside_the_record(measured: tuple[Record, Path]) -> None:
    folder = measured[1] / "figures"
    drawn = {path.name for path in folder.iterdir()}
    assert {"security", "attacks", "regions-own"} == {
        name.partition(".")[0] for name in drawn
    }  # no training here
    for name in ("security", "attacks", "regions-own"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert load_chart(folder / f"{name}.json").name == name


def test_what_lies_on_disk_draws_the_same_figures_again(
    measured: tuple[Record, Path], tmp_path: Path
) -> None:
    record, folder = measured
    arrays = unflatten(np.load(folder / "arrays.npz"))
    assert set(arrays) >= {"robust_accuracy/fgsm", "robust_accuracy/pgd20", "drawing"}
    assert "right" in arrays["robust_accuracy/fgsm"]
    drawn = draw_all(record, arrays, [Drawing(chart("regions-own"))], tmp_path)
    assert len(drawn) == 3
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (folder / "figures" / path.name).read_bytes()


@pytest.mark.parametrize("mistake", [KeyError("gone"), ZeroDivisionError("1 / 0"), ValueError("two\nlines")])
def test_a_metric_whose_charts_fail_costs_only_its_own_and_is_reported_in_one_line(
    mistake: Exception, tmp_path: Path
) -> None:
    said = Said()
    own = {"drawing": {"values": np.array([1.0])}}
    drawn = draw_all(make_record(), own, [Drawing(mistake)], tmp_path, said)
    assert {made.name for made in drawn} == {"training", "security"}
    (line,) = said.lines
    assert line.startswith(f"figures of drawing not drawn: {type(mistake).__name__}")
    assert "\n" not in line


def test_a_chart_that_cannot_be_drawn_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.charts.png import figure as png

    def draw(made: Chart, path: Path) -> None:
        if made.name == "regions-own":
            raise RuntimeError("no ink")
        path.write_bytes(b"\x89PNG")

    monkeypatch.setattr(png, "draw", draw)
    said = Said()
    own = {"drawing": {"values": np.array([1.0])}}
    drawn = draw_all(make_record(), own, [Drawing(chart("regions-own"))], tmp_path, said)
    assert "regions-own" not in {made.name for made in drawn}
    assert not (tmp_path / "regions-own.json").exists()
    assert said.lines == ["figure regions-own not drawn: RuntimeError: no ink"]


def test_a_metric_without_arrays_is_not_asked() -> None:
    made = make_charts(make_record(), {}, [Drawing(ValueError("never reached"))], Progress())
    assert {one.name for one in made} == {"training", "security"}


def test_a_metrics_own_chart_replaces_ours_of_the_same_name() -> None:
    own = {"drawing": {"values": np.array([1.0])}}
    made = make_charts(make_record(), own, [Drawing(chart("training"))], Progress())
    assert [one.title for one in made if one.name == "training"] == ["training"]
