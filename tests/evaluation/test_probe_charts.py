"""Charts of what probes measured during a training."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.charts import Chart, Heatmap, Line
from bench.evaluation.probe_charts import probe_charts
from bench.geometry.cosines import COSINES, upper_triangle
from tests.records import make_record


def lines(chart: Chart | None) -> list[Line]:
    assert chart is not None
    return [mark for panel in chart.panels for mark in panel.marks if isinstance(mark, Line)]


def test_charts_of_probes_are_made_only_with_all_their_quantities() -> None:
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
    (regions,) = probe_charts(make_record(history=[{"epoch": 1}, *rows]))
    assert (regions.name, regions.source) == ("regions-course", "P1, figure 2")
    train, test, prs, inclusion = lines(regions)
    assert (train.y, test.y) == ([90, 90], [80, 80])
    assert (prs.x, prs.y, inclusion.y) == ([5, 10], [pytest.approx(0.18), pytest.approx(0.09)], [0.5, 0.5])
    full = [row | {"probe_robust_accuracy": 0.3, "final_layer_cosine": -0.1, "sparsity": 0.6} for row in rows]
    names = [made.name for made in probe_charts(make_record(history=full))]
    assert names == ["regions-course", "regions-course-robustness", "regions-course-final-layer"]
    assert list(probe_charts(make_record(history=[]))) == []


def as_text(entries: list[float]) -> str:
    """As in older records."""
    return " ".join(f"{value:.3f}" for value in entries)


@pytest.mark.parametrize("written", [list, as_text])
def test_cosines_of_a_few_epochs_are_in_one_row(written: Callable[[list[float]], Any]) -> None:
    matrices = {epoch: np.eye(3) + (1 - np.eye(3)) * epoch / 20 for epoch in range(1, 11)}
    rows: list[dict[str, Any]] = [
        {"epoch": epoch, COSINES: written(upper_triangle(m))} for epoch, m in matrices.items()
    ]
    record = make_record(history=[{"epoch": 0}, *rows], dataset={"classes": ["a", "b", "c"]})
    (made,) = probe_charts(record)
    assert made.source == "P1, figure 6"
    assert [panel.title for panel in made.panels] == ["epoch 1", "epoch 4", "epoch 7", "epoch 10"]
    for panel, epoch in zip(made.panels, (1, 4, 7, 10), strict=True):
        (heat,) = panel.marks
        assert isinstance(heat, Heatmap)
        assert np.allclose(np.array(heat.z, dtype=float), matrices[epoch])
        assert (heat.low, heat.high) == (-1, 1)
    (one,) = probe_charts(make_record(history=rows[:1]))
    assert len(one.panels) == 1


@pytest.mark.parametrize("text", [None, "", "a b c", "0.1 0.2", "nan", 0.5, [], [0.1, 0.2]])
def test_a_history_without_readable_cosines_draws_none(text: Any) -> None:
    assert list(probe_charts(make_record(history=[{"epoch": 1, COSINES: text}]))) == []
