"""`bench list`: names that can be asked for, and the scores behind them."""

import re

import pytest

from bench.cli.catalog import describe
from bench.core.errors import UserError
from bench.evaluation.battery import BATTERIES, make_battery
from metrics import METRICS, get, owner_of
from metrics.curvature.curvature_profile import CurvatureProfile
from metrics.regions.region_health import RegionHealth


def test_every_name_of_a_battery_is_one_that_can_be_asked_for() -> None:
    listed = describe("batteries").splitlines()
    for name, line in zip(BATTERIES, listed[1::2], strict=True):
        names = line.strip().split(", ")
        assert set(names) <= set(METRICS.names())
        again = make_battery(name, names)
        assert [metric.name for metric in again.metrics] == [m.name for m in make_battery(name).metrics]


def test_metrics_are_listed_with_the_other_scores_they_write() -> None:
    text = describe("metrics")
    blocks = re.split(r"\n(?=\S)", text)
    health = next(block for block in blocks if block.startswith("region_health"))
    assert "/live_units, /entropy, /purity" in " ".join(health.split())
    profile = next(block for block in blocks if block.startswith("curvature_profile"))
    assert "curvature_sign/clean" in profile
    assert "also" not in next(block for block in blocks if block.startswith("prs_ratio"))
    assert max(len(line) for line in text.splitlines() if line.startswith(" ")) <= 110


@pytest.mark.parametrize(
    ("score", "owner"),
    [
        ("curvature_sign/clean", "curvature_profile"),
        ("region_health/live_units", "region_health"),
        ("inclusion_groups/included/fgsm", "inclusion_groups"),
    ],
)
def test_a_score_is_answered_with_its_metric(score: str, owner: str) -> None:
    assert owner_of(score) == owner
    with pytest.raises(UserError, match=rf"^{score} is a score of the metric {owner}: --metrics {owner}$"):
        get(score)


def test_what_is_neither_a_metric_nor_a_score_stays_unknown() -> None:
    assert owner_of("curvature") is None
    with pytest.raises(UserError, match="unknown metric 'curvature'"):
        get("curvature")


def test_a_metric_that_does_not_load_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise UserError("metric 'prs_ratio' failed to load")

    monkeypatch.setitem(METRICS._builtin, "prs_ratio", broken)
    assert "prs_ratio  cannot be used: metric 'prs_ratio' failed to load" in describe("metrics")
    assert "sparsity " in describe("metrics")
    assert "prs_ratio" in describe("batteries")
    assert owner_of(CurvatureProfile().names()[-1]) == "curvature_profile"
    assert owner_of(RegionHealth.name) == "region_health"
