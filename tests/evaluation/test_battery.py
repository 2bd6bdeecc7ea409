"""Batteries: the fixed ones, and those of chosen metrics."""

import json
from pathlib import Path

import pytest
from torch import nn

import bench
from bench.core.errors import UserError
from bench.core.values import split_names
from bench.evaluation.battery import BATTERIES, make_battery, select
from bench.evaluation.describe import describe_battery
from bench.runs.config import RunConfig
from metrics import BUILT_IN, METRICS, get
from metrics.accuracy.clean_accuracy import CleanAccuracy

#: What version 3 of every battery measures: changing it is changing the protocol, and needs a new version.
PROTOCOL = json.loads(Path(__file__).with_name("batteries.json").read_text(encoding="utf-8"))


def names(metrics: list[str], battery: str = "quick") -> list[str]:
    return [metric.name for metric in make_battery(battery, metrics).metrics]


def test_the_batteries_are_those_of_the_protocol() -> None:
    assert list(BATTERIES) == list(PROTOCOL)


@pytest.mark.parametrize("name", PROTOCOL)
def test_a_battery_measures_what_its_protocol_says_in_that_order(name: str) -> None:
    battery, expected = make_battery(name), PROTOCOL[name]
    assert battery.name == name
    assert {key: getattr(battery, key) for key in ("version", "images", "summary")} == {
        key: expected[key] for key in ("version", "images", "summary")
    }
    assert [[metric.name, metric.settings()] for metric in battery.metrics] == expected["metrics"]


@pytest.mark.parametrize("name", PROTOCOL)
def test_a_record_describes_its_battery_by_every_setting(name: str) -> None:
    described = describe_battery(make_battery(name)).model_dump(mode="json")
    settings = {metric: values for metric, values in PROTOCOL[name]["metrics"] if values}
    assert described == {"name": name, "version": PROTOCOL[name]["version"], "settings": settings}


@pytest.mark.parametrize("name", METRICS.names())
def test_a_metric_names_batteries_that_exist_and_belongs_to_those_alone(name: str) -> None:
    metric = get(name)
    assert set(metric.batteries) <= set(BATTERIES)
    for battery in BATTERIES:
        measured = {each.name for each in make_battery(battery).metrics}
        assert (metric.name in measured) == (name in BUILT_IN and battery in metric.batteries)


@pytest.mark.parametrize("name", BATTERIES)
def test_no_battery_measures_a_thing_twice_or_before_what_it_needs(name: str) -> None:
    seen: set[str] = set()
    for metric in make_battery(name).metrics:
        assert metric.name not in seen
        assert set(metric.needs) <= seen
        seen.add(metric.name)


@pytest.mark.parametrize("name", BATTERIES)
def test_a_selection_measures_in_the_order_of_the_batteries_however_it_is_written(name: str) -> None:
    metrics = make_battery(name).metrics
    backwards = select(make_battery(name), metrics[::-1])
    assert backwards.metrics == metrics
    assert backwards.name == select(make_battery(name), metrics).name


def test_an_attack_of_someone_else_counts_in_the_worst_case() -> None:
    class Mine(CleanAccuracy):
        name = "robust_accuracy/mine"

    class Margin(CleanAccuracy):
        name = "margin"

    battery = select(make_battery("quick"), [Margin, "robust_accuracy/worst_case", Mine, "clean_accuracy"])
    own = ["clean_accuracy", "robust_accuracy/mine", "robust_accuracy/worst_case", "margin"]
    assert [metric.name for metric in battery.metrics] == own


def test_chosen_metrics_keep_the_batterys_images_and_sizes() -> None:
    battery = make_battery("quick", ["prs_ratio", "detection_auc"])
    assert [metric.name for metric in battery.metrics] == ["prs_ratio", "detection_auc"]
    assert battery.images == make_battery("quick").images
    assert battery.metrics[1].settings()["images"] == 100
    assert make_battery("standard", ["detection_auc"]).metrics[0].settings()["images"] == 300


def test_a_metric_may_be_named_after_one_that_needs_it_and_keeps_its_arguments() -> None:
    class Late(CleanAccuracy):
        name = "late"
        needs = ("detection_auc",)

    detection, late = select(make_battery("quick"), [Late, "detection_auc(images=7)"]).metrics
    assert (detection.settings()["images"], late.name) == (7, "late")


def test_batteries_of_different_metrics_or_sizes_never_share_a_name() -> None:
    made = [
        make_battery(battery, chosen).name
        for battery in ("quick", "standard")
        for chosen in (["prs_ratio"], ["detection_auc"], ["detection_auc", "prs_ratio"])
    ]
    # The PRS ratio knows no size: alone it is the same battery.
    assert len(set(made)) == len(made) - 1
    assert not set(made) & set(BATTERIES)


def test_a_metric_takes_arguments() -> None:
    battery = make_battery("quick", ["prs_by_layer(layers=('backbone.0.0',), train_images=50)", "prs_ratio"])
    settings = battery.metrics[1].settings()
    assert (settings["layers"], settings["train_images"]) == ("backbone.0.0", 50)
    # Arguments win over the battery's own sizes.
    (detection,) = make_battery("quick", ["detection_auc(images=7)"]).metrics
    assert detection.settings()["images"] == 7
    words = RunConfig.make(
        {"defense": "at", "metrics": "prs_ratio, region_plane(planes=1, resolution=8) ,paths"}
    )
    assert words.metrics == ("prs_ratio", "region_plane(planes=1, resolution=8)", "paths")
    nested = ["inclusion_groups(attacks=('fgsm','autoattack'), images=3)", "paths"]
    assert split_names(" , ".join(nested)) == nested
    (groups, _) = make_battery("quick", split_names(",".join(nested))).metrics
    assert groups.settings()["attacks"] == "fgsm, autoattack"


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        (["prs_by_layer(layers=)"], r"expected a metric as NAME or NAME\(KEY=VALUE"),
        (["prs_by_layer(layers=__import__('os'))"], r"expected a metric as NAME"),
        (["prs_by_layer(images=1)"], r"prs_by_layer does not take these arguments.*'images'"),
        (["prs_ration"], r"unknown metric 'prs_ration'; did you mean prs_ratio"),
        (["prs_by_layer(layers='conv1')"], r"layers: expected a valid tuple.*such as layers=\('conv1',\)"),
        (["region_distance(split='val')"], r"split: expected 'train' or 'test' \(got 'val'\)"),
        (["detection_auc(images=2.5)"], r"images: expected a valid integer"),
        (["robust_accuracy/fgsm(images=2)"], r"these arguments: got an unexpected keyword argument 'images'"),
        (["prs_ratio", "prs_ratio"], r"names prs_ratio twice"),
        (["detection_auc", "detection_auc(images=7)"], r"names detection_auc\(images=7\) twice"),
        (["region_health", "region_health"], r"names region_health twice"),
        (["nowhere:Nothing"], r"no module named 'nowhere'"),
        (["pathlib:Path"], r"is no metric"),
    ],
)
def test_a_metric_that_cannot_be_is_refused(chosen: list[str], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        names(chosen)


def test_a_layer_that_the_network_has_not_is_refused_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CleanAccuracy, "measure", lambda *args: pytest.fail("measured all the same"))
    battery = make_battery("quick", ["clean_accuracy", "prs_by_layer(layers=('nowhere',))"])
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(UserError, match="unknown layer 'nowhere'"):
        bench.evaluate(network, "digits", "linf:0.1", battery)
