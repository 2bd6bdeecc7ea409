"""Titles, units and directions are the metrics' own; records, boards and pages follow them."""

import pytest

from bench.core.errors import UserError
from bench.core.limits import ANY, range_of
from bench.evaluation.battery import BATTERIES, make_battery
from leaderboards.columns import COLUMNS
from metrics import METRICS, get, owner_of, titles


def test_every_title_belongs_to_a_score_of_its_metric() -> None:
    for name in METRICS.names():
        metric = get(name)
        assert set(metric.titles) <= set(metric.names())


@pytest.mark.parametrize("name", METRICS.names())
def test_a_record_may_hold_every_value_of_a_metric(name: str) -> None:
    metric = get(name)
    least, most = range_of(metric.name, metric.unit)
    assert least <= max(metric.bounds[0], ANY[0])
    assert min(metric.bounds[1], ANY[1]) <= most


def test_titles_are_those_of_the_pages() -> None:
    known = titles()
    assert known["robust_accuracy/cw"] == "C&W"
    assert known["robust_accuracy/adaptive"] == "Margin and scaled cross-entropy"
    assert known["time_per_epoch_ratio"] == "Time per epoch, relative to standard training"
    assert "security_curve" not in known


def test_a_metric_that_does_not_load_takes_no_other_title_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise UserError("metric 'prs_ratio' failed to load")

    monkeypatch.setitem(METRICS._builtin, "prs_ratio", broken)
    assert "prs_ratio" not in titles()
    assert titles()["inclusion_ratio"] == "Inclusion ratio"


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.metric)
def test_a_board_marks_no_other_direction_than_the_metric(column) -> None:
    owner = owner_of(column.metric)
    assert owner is not None, "a board shows a score that no metric writes"
    better = {True: "higher", False: "lower", None: ""}[get(owner).higher_is_better]
    # It may leave one out, as for the inclusion ratio.
    assert column.better in ("", better)


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.metric)
def test_what_a_board_shows_has_a_title_and_is_measured_by_every_judging_battery(column) -> None:
    assert column.metric in titles()
    for battery in set(BATTERIES) - {"geometry"}:
        assert column.metric in {
            score for metric in make_battery(battery).metrics for score in metric.names()
        }
