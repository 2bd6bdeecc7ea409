"""Which curves of a record an entry's page draws."""

from pathlib import Path
from typing import Any

from leaderboards.curves import battery_charts
from leaderboards.entry import Entry
from leaderboards.result import read_result
from tests.records import make_record, write_record


def test_curves_of_a_metrics_parts_are_left_to_its_figure(tmp_path: Path) -> None:
    curve: dict[str, Any] = {
        "x_label": "ε",
        "y_label": "accuracy",
        "n": 9,
        "points": [{"x": 0, "value": 0.9}],
    }
    names = ("major_groups/major/fgsm", "convexity", "security", "major_groups/extra/fgsm")
    record = make_record(curves=dict.fromkeys(names, curve))
    entry = Entry((read_result(write_record(tmp_path, record)),))
    assert [chart.title for chart in battery_charts(entry)] == ["Security curve", "Convexity"]
