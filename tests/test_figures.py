"""Pictures of a result: drawn when there is data, left out when not."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import bench
from bench import figures
from bench.battery import Battery
from bench.core.data import load
from bench.core.models import build
from bench.core.record import Curve, Point, Record
from metrics import RobustAccuracy, SecurityCurve


def record(tmp_path: Path) -> Record:
    digits = load("digits", train_size=50, test_size=12)
    network = build("cnn6", input_shape=digits.shape, num_classes=10, seed=0)
    battery = Battery("small", 12, (RobustAccuracy("fgsm"), RobustAccuracy("pgd20"), SecurityCurve()), "")
    return bench.evaluate(network, digits, "linf:0.1", battery, out=tmp_path)


def test_figures_lie_beside_the_record(tmp_path: Path) -> None:
    measured = record(tmp_path)
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"security.png", "attacks.png"} <= drawn
    assert "training.png" not in drawn  # it was not trained here
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (tmp_path / "figures").iterdir())
    again = figures.draw_all(measured, dict(np.load(tmp_path / "arrays.npz")), tmp_path / "again")
    for path in again:
        assert path.read_bytes() == (tmp_path / "figures" / path.name).read_bytes()


def test_the_roc_curve_is_that_of_the_scores(tmp_path: Path) -> None:
    arrays = {
        "detection_auc:clean_score": np.array([0.0, 1.0, np.nan]),
        "detection_auc:perturbed_score": np.array([0.5, 2.0, 3.0]),
    }
    axes = Figure().subplots()
    assert figures.detection_roc(record(tmp_path), arrays, axes)
    points = {(float(x), float(y)) for x, y in axes.lines[0].get_xydata()}  # type: ignore[union-attr]
    assert points == {(0, 0), (0, 50), (50, 50), (50, 100), (100, 100)}


def test_the_security_curve_shows_the_records_points(tmp_path: Path) -> None:
    curve = Curve(x_label="ε", y_label="", points=[Point(x=0, value=0.9), Point(x=0.1, value=0.2)])
    axes = Figure().subplots()
    changed = record(tmp_path).model_copy(update={"curves": {"security": curve}})
    assert figures.security(changed, {}, axes)
    assert axes.lines[0].get_xydata().tolist() == [[0, 90], [0.1, 20]]  # type: ignore[union-attr]
