"""Figures of a result: drawn when there is data, left out when not, and never the end of an evaluation."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench
from bench.charts import Chart, Heatmap, Line, Panel, Rule, load_chart
from bench.core.progress import Progress
from bench.core.record import Record, Score
from bench.data import load
from bench.evaluation import figures
from bench.evaluation.battery import Battery
from bench.evaluation.evaluate import unflatten
from bench.geometry.cosines import COSINES, upper_triangle
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


def lines(chart: Chart | None) -> list[Line]:
    assert chart is not None
    return [mark for panel in chart.panels for mark in panel.marks if isinstance(mark, Line)]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Path]:
    folder = tmp_path_factory.mktemp("measured")
    digits = load("digits", train_size=50, test_size=12)
    network = build("cnn6", input_shape=digits.shape, num_classes=10, seed=0)
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
    drawn = figures.draw_all(record, arrays, [Drawing(chart("regions-own"))], tmp_path)
    assert len(drawn) == 3
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (folder / "figures" / path.name).read_bytes()


def test_the_attack_curve_counts_the_images_that_are_still_right() -> None:
    step = np.array([-1, 0, 1, 1, 3])
    record = make_record(battery={"settings": {"robust_accuracy/pgd20": {"steps": 4}}})
    made = figures.attacks(record, {"robust_accuracy/pgd20": {"step": step}, "clean_accuracy": {}})
    (line,) = lines(made)
    assert (line.name, line.x, line.y) == ("PGD-20", [0, 1, 2, 3, 4], [80, 40, 40, 20, 20])


@pytest.mark.parametrize(
    ("right", "restart", "expected"),
    [
        # The random start breaks image 1, which is right; the whole test set has one image more.
        ([1, 1, 1, 1, 1, 0], None, 100),
        ([1, 0, 1, 1, 1, 0], [-1, 0, 0, 0, 0], 80),
        (None, [-1, 0, 0, 0, 0], 100),
        (None, [-1, -1, 0, 0, 0], 80),
        (None, None, None),
    ],
)
def test_what_a_random_start_breaks_is_right_without_attack(
    right: list[int] | None, restart: list[int] | None, expected: float | None
) -> None:
    attack = {"step": np.array([-1, 0, 1, 1, 3])} | ({"restart": np.array(restart)} if restart else {})
    clean = {"right": np.array(right, bool)} if right else {}
    made = figures.attacks(make_record(), {"robust_accuracy/pgd20": attack, "clean_accuracy": clean})
    assert made is not None
    rules = [mark for mark in made.panels[0].marks if isinstance(mark, Rule)]
    assert rules == ([] if expected is None else [Rule(name="without attack", y=expected)])


def test_the_roc_curve_is_that_of_the_scores() -> None:
    scores = {"clean_score": np.array([0.0, 1.0, np.nan]), "perturbed_score": np.array([0.5, 2.0, 3.0])}
    roc, _ = lines(figures.detection_roc(make_record(), {"detection_auc": scores}))
    points = list(zip(roc.x, roc.y, strict=True))
    assert points == [(0, 0), (0, 50), (50, 50), (50, 100), (100, 100)]


def test_the_security_curve_shows_the_records_points_and_its_threat() -> None:
    points = [{"x": 0, "value": 0.9}, {"x": 0.1, "value": 0.2, "low": 0.1, "high": 0.3}]
    curves = {"security": {"x_label": "ε", "y_label": "", "points": points}}
    made = figures.security(make_record(curves=curves))
    (line,) = lines(made)
    assert (line.x, line.y, line.low, line.high) == ([0, 0.1], [90, 20], [90, 10], [90, 30])
    assert made is not None
    (rule,) = [mark for mark in made.panels[0].marks if isinstance(mark, Rule)]
    assert rule.x == 8 / 255


def test_training_shows_the_epochs_that_were_looked_at() -> None:
    history = [
        {"epoch": 1, "train_accuracy": 0.5, "validation_accuracy": 0.4, "validation_robust_accuracy": None},
        {"epoch": 2, "train_accuracy": 0.6, "validation_accuracy": None, "validation_robust_accuracy": 0.1},
    ]
    train, clean, robust = lines(figures.training(make_record(history=history)))
    assert (train.x, train.y) == ([1, 2], [50, 60])
    assert (clean.x, clean.y, robust.x, robust.y) == ([1], [40], [2], [10])


def test_courses_are_drawn_from_probes_and_only_when_whole() -> None:
    rows: list[dict[str, Any]] = [
        {
            "epoch": epoch,
            "prs_ratio": 0.9 / epoch,
            "inclusion_ratio": 0.5,
            "probe_accuracy": 0.8,
            "train_accuracy": 0.9,
        }
        for epoch in (5, 10)
    ]
    (regions,) = figures.courses(make_record(history=[{"epoch": 1}, *rows]))
    assert (regions.name, regions.source) == ("regions-course", "P1, figure 2")
    train, test, prs, inclusion = lines(regions)
    assert (train.y, test.y) == ([90, 90], [80, 80])
    assert (prs.x, prs.y, inclusion.y) == ([5, 10], [pytest.approx(0.18), pytest.approx(0.09)], [0.5, 0.5])
    full = [row | {"probe_robust_accuracy": 0.3, "final_layer_cosine": -0.1, "sparsity": 0.6} for row in rows]
    names = [made.name for made in figures.courses(make_record(history=full))]
    assert names == ["regions-course", "regions-course-robustness", "regions-course-final-layer"]
    assert list(figures.courses(make_record(history=[]))) == []


def as_text(entries: list[float]) -> str:
    """As records held them at first."""
    return " ".join(f"{value:.3f}" for value in entries)


@pytest.mark.parametrize("written", [list, as_text])
def test_cosines_of_a_few_epochs_stand_in_a_row(written: Callable[[list[float]], Any]) -> None:
    matrices = {epoch: np.eye(3) + (1 - np.eye(3)) * epoch / 20 for epoch in range(1, 11)}
    rows: list[dict[str, Any]] = [
        {"epoch": epoch, COSINES: written(upper_triangle(m))} for epoch, m in matrices.items()
    ]
    record = make_record(history=[{"epoch": 0}, *rows], dataset={"classes": ["a", "b", "c"]})
    (made,) = figures.courses(record)
    assert made.source == "P1, figure 6"
    assert [panel.title for panel in made.panels] == ["epoch 1", "epoch 4", "epoch 7", "epoch 10"]
    for panel, epoch in zip(made.panels, (1, 4, 7, 10), strict=True):
        (heat,) = panel.marks
        assert isinstance(heat, Heatmap)
        assert np.allclose(np.array(heat.z, dtype=float), matrices[epoch])
        assert (heat.low, heat.high) == (-1, 1)
    (one,) = figures.courses(make_record(history=rows[:1]))
    assert len(one.panels) == 1


@pytest.mark.parametrize("text", [None, "", "a b c", "0.1 0.2", "nan", 0.5, [], [0.1, 0.2]])
def test_a_history_without_readable_cosines_draws_none(text: Any) -> None:
    assert list(figures.courses(make_record(history=[{"epoch": 1, COSINES: text}]))) == []


@pytest.mark.parametrize("mistake", [KeyError("gone"), ZeroDivisionError("1 / 0"), ValueError("two\nlines")])
def test_a_metric_whose_charts_fail_costs_only_its_own_and_is_told_in_one_line(
    mistake: Exception, tmp_path: Path
) -> None:
    said = Said()
    own = {"drawing": {"values": np.array([1.0])}}
    drawn = figures.draw_all(make_record(), own, [Drawing(mistake)], tmp_path, said)
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
    drawn = figures.draw_all(make_record(), own, [Drawing(chart("regions-own"))], tmp_path, said)
    assert "regions-own" not in {made.name for made in drawn}
    assert not (tmp_path / "regions-own.json").exists()
    assert said.lines == ["figure regions-own not drawn: RuntimeError: no ink"]


def test_a_metric_without_arrays_is_not_asked() -> None:
    made = figures.make_charts(make_record(), {}, [Drawing(ValueError("never reached"))], Progress())
    assert {one.name for one in made} == {"training", "security"}


def test_a_metrics_own_chart_replaces_ours_of_the_same_name() -> None:
    own = {"drawing": {"values": np.array([1.0])}}
    made = figures.make_charts(make_record(), own, [Drawing(chart("training"))], Progress())
    assert [one.title for one in made if one.name == "training"] == ["training"]


def test_arrays_come_back_by_metric() -> None:
    flat = {
        "test_index": np.arange(2),
        "labels": np.arange(2),
        "clean_accuracy": np.array([True]),
        "robust_accuracy/pgd20:step": np.array([1]),
        "some.module:Metric:values": np.array([2.0]),
    }
    assert {metric: list(own) for metric, own in unflatten(flat).items()} == {
        "clean_accuracy": ["right"],
        "robust_accuracy/pgd20": ["step"],
        "some.module:Metric": ["values"],
    }
