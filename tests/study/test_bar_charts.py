"""Bar charts of scores, one bar per row."""

from pathlib import Path
from typing import Any

import pytest

from bench.charts import Bars, Chart
from bench.core.progress import Progress
from bench.study.bar_charts import bar_charts
from bench.study.columns import parse_column
from bench.study.table import RowResult
from tests.records import make_record


def row(name: str, *values: float | None, ends: float | None = None, score: str = "prs_ratio") -> RowResult:
    def one(value: float | None) -> dict[str, Any]:
        about = {
            "value": value,
            "unit": "fraction",
            "reason": "" if value is not None else "all units are dead",
        }
        return about if ends is None or value is None else about | {"low": value - ends, "high": value + ends}

    records = [make_record(metrics={score: one(value)}) for value in values]
    return RowResult(name, paths=[Path()] * len(records), records=records)


def bars_of(chart: Chart) -> Bars:
    (bars,) = chart.panels[0].marks
    assert isinstance(bars, Bars)
    return bars


def test_a_bar_is_the_mean_over_seeds_and_its_interval_their_range() -> None:
    rows = [row("Standard", 0.2, 0.4), row("AT", 0.1), row("PRS", None)]
    (chart,) = bar_charts(
        [parse_column({"name": "prs_ratio", "title": "Populated"}, {})], rows, "P1, figure 10"
    )
    assert (chart.title, chart.source) == ("Populated by row", "P1, figure 10")
    bars = bars_of(chart)
    assert bars.categories == ["Standard", "AT", "PRS"]
    assert bars.values == [pytest.approx(0.3), 0.1, None]
    assert (bars.low, bars.high) == ([0.2, None, None], [0.4, None, None])
    assert "PRS: all units are dead." in chart.caption


def test_a_scores_own_intervals_come_first_and_accuracies_are_in_per_cent() -> None:
    rows = [row("Standard", 0.2, 0.4, ends=0.05, score="robust_accuracy/pgd20")]
    (chart,) = bar_charts([parse_column("robust_accuracy/pgd20", {})], rows)
    bars = bars_of(chart)
    assert bars.values == [pytest.approx(30)]
    assert (bars.low, bars.high) == ([pytest.approx(25)], [pytest.approx(35)])
    assert chart.panels[0].y.label.endswith("(%)")


def test_a_score_that_no_row_has_is_told_and_not_drawn() -> None:
    said: list[str] = []
    progress = Progress()
    progress.say = said.append  # type: ignore[method-assign]
    assert bar_charts([parse_column("prs_ratio", {})], [row("PRS", None)], progress=progress) == []
    assert said == ["bars of prs_ratio not drawn: all units are dead"]
