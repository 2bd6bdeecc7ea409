"""`bench list`: names that can be asked for, and the scores behind them."""

import re
import subprocess
import sys

import numpy as np
import pytest

from bench.attacks import ATTACKS
from bench.cli.cards import card
from bench.cli.catalog import KINDS, describe
from bench.core.errors import UserError
from bench.data import DATASETS
from bench.evaluation.alarm_list import ALARMS
from bench.evaluation.alarms import read_alarms
from bench.evaluation.battery import BATTERIES, make_battery
from bench.models import MODELS
from bench.training.recipe import RECIPES
from defenses import DEFENSES
from metrics import METRICS, get, owner_of
from metrics.curvature.curvature_profile import CurvatureProfile
from metrics.regions.region_health import RegionHealth


def test_every_name_of_a_battery_is_one_that_can_be_asked_for() -> None:
    for name in BATTERIES:
        (listed,) = re.findall(r"^metrics +((?:.|\n +)*)", card("batteries", name), re.MULTILINE)
        names = " ".join(listed.split()).split(", ")
        assert set(names) <= set(METRICS.names())
        again = make_battery(name, names)
        assert [metric.name for metric in again.metrics] == [m.name for m in make_battery(name).metrics]


def test_the_card_of_a_metric_has_the_other_scores_it_writes() -> None:
    assert "/live_units, /entropy, /purity" in card("metrics", "region_health")
    assert "curvature_sign/clean" in card("metrics", "curvature_profile")
    assert not re.search("^also ", card("metrics", "prs_ratio"), re.MULTILINE)
    assert "train_images = None" in card("metrics", "prs_by_layer")


def test_the_card_of_a_defense_has_options_ranges_cost_and_paper() -> None:
    text = " ".join(card("defenses", "at").split())
    for part in (
        "Madry et al. 2018",
        "attack = pgd pgd | fgsm | bim | cw",
        "steps = 10 whole number from 1 to 1000",
        "step_size = auto auto | paper or number above 0 to 1",
        "eps_factor = 1.0 number above 0 to 4 searched: 0.5 … 1.5",
        "cost 23 forward passes a step",
        "use bench run --defense at --set attack=pgd",
    ):
        assert part in text
    assert "trades.beta = 6.0" in card("defenses", "awp(trades)")


@pytest.mark.parametrize(
    ("kind", "name", "part"),
    [
        ("models", "cnn6", "Six 3x3 convolutions"),
        ("datasets", "digits", "linf:0.2, 20 epochs, 10 trials"),
        ("datasets", "imagefolder:photos", "--dataset imagefolder:photos"),
        ("attacks", "cw", "loss = margin"),
        ("recipes", "strong", "lr = 0.1                   number above 0 to 10"),
        ("alarms", "precision", "An attack in low precision"),
    ],
)
def test_every_kind_has_cards(kind: str, name: str, part: str) -> None:
    assert part in card(kind, name)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_name_is_answered_with_the_nearest(kind: str) -> None:
    (name, *_), *_ = KINDS[kind]()[0]
    with pytest.raises(UserError, match="did you mean"):
        card(kind, f"{name}x")


def test_lists_need_no_torch() -> None:
    """Every kind has a line for each name, read without importing what it lists."""
    code = (
        "import sys; from bench.cli.catalog import KINDS, describe; print(*map(describe, KINDS), sep=chr(10)); "
        "sys.exit(bool({'torch', 'scipy', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in (
        *DEFENSES.names(),
        *METRICS.names(),
        *MODELS.names(),
        *DATASETS.names(),
        *ATTACKS,
        *RECIPES,
        *ALARMS,
    ):
        assert re.search(rf"^{re.escape(name)} +\S.{{10}}", done.stdout, re.MULTILINE), name


def test_the_listed_alarms_are_those_that_are_read() -> None:
    curve = {"norm": np.array("linf"), "eps": np.array([0.0, 1.0]), "right": np.zeros((2, 3), bool)}
    assert [alarm.name for alarm in read_alarms({"security_curve": curve}, 10)] == [*ALARMS]


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
    assert re.search("prs_ratio +cannot be used: metric 'prs_ratio' failed to load", describe("metrics"))
    assert "sparsity " in describe("metrics")
    assert "sparsity" in card("batteries", "full")
    assert owner_of(CurvatureProfile().names()[-1]) == "curvature_profile"
    assert owner_of(RegionHealth.name) == "region_health"
