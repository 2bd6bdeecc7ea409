"""A predictors study: its answers on made-up networks whose answers are known, its page, and one run of it."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bench.core.errors import UserError
from bench.core.names import PGD20
from bench.core.progress import Progress
from bench.study import load_study, run_study
from bench.study.indicators import PAPERS, indicators
from bench.study.measured import Measured, Network, costs, read_network
from bench.study.outline import outline
from bench.study.page import write_predictors
from bench.study.predictor_charts import predictor_charts
from bench.study.predictor_words import by_paper, summary
from bench.study.predictors import analyze
from bench.tracking import NullTracker
from metrics import METRICS, get

STUDY: dict[str, Any] = {
    "study": "predictors",
    "title": "Small <b>study</b>",
    "train": {
        "dataset": "digits",
        "train_size": 60,
        "test_size": 20,
        "epochs": 2,
        "threat": 0.1,
        "metrics": ["clean_accuracy", "prs_ratio", "robust_accuracy/pgd20", "robust_accuracy/worst_case"],
    },
    "groups": {"standard": {"defense": "standard", "model": "cnn6(width=0.1)", "seeds": [0, 1, 2]}},
    "broken": {
        "rounded": {"defense": "standard", "model": "bench.models.broken:broken(by=quantized,width=0.1)"}
    },
    "least_accuracy": 0.0,
}
IMAGES = 200
FAMILIES = ("none", "adversarial training", "input gradient", "region")


def made(row: int, robustness: float, scores: dict[str, float], **changes: Any) -> Network:
    """A network of which the first images survive in an even mixture, so that both halves are alike."""
    survived = np.random.default_rng(row).permutation(np.arange(IMAGES) < round(robustness * IMAGES))
    family = FAMILIES[row % len(FAMILIES)]
    given: dict[str, Any] = {
        "group": "made",
        "title": f"network {row}",
        "stratum": "digits linf:0.1",
        "family": family,
        "standard": family == "none",
        "broken": False,
        "robustness": robustness,
        "survived": survived,
        "pgd20": survived,
        "scores": scores,
        "cost": {PGD20: 60.0 * IMAGES, "prs_ratio": 600.0, "rdi": 6e9},
    }
    return Network(**{**given, **changes})


def networks() -> list[Network]:
    """80 networks: PRS tells robustness, the Jacobian only clean accuracy, which goes with it, and RDI nothing.

    Sparsity tells the family, and FOSC robustness within standard training alone.
    """
    generator, found = np.random.default_rng(0), []
    for row in range(80):
        own = row % len(FAMILIES)
        hidden = generator.normal()
        clean = hidden + generator.normal()
        robustness = float(np.clip(0.5 + 0.06 * clean + 0.06 * (own - 1.5) + 0.05 * generator.normal(), 0, 1))
        scores = {
            "clean_accuracy": clean,
            "prs_ratio": -robustness + 0.02 * generator.normal(),
            "input_jacobian": clean + 0.3 * generator.normal(),
            "rdi": generator.normal(),
            "sparsity": own + 0.1 * generator.normal(),
            "fosc": robustness if own == 0 else generator.normal(),
        }
        found.append(made(row, robustness, scores))
    return found


def tricks() -> list[Network]:
    """Broken networks without robustness, which the PRS ratio calls robust; RDI predicts the mean of all."""
    return [
        made(row, 0.0, {"prs_ratio": -0.9, "rdi": 0.0}, broken=True, title=f"trick {row}") for row in range(4)
    ]


@pytest.fixture(scope="module")
def result() -> Any:
    left_out = [made(99, 1.0, {"rdi": 1e9}, left_out="in doubt")]
    return analyze([*networks(), *tricks(), *left_out], resamples=400)


def test_each_question_has_its_known_answer(result: Any) -> None:
    found = {each.indicator.score: each for each in result.findings}
    assert len(result.networks) == 80
    prs, jacobian, rdi = (found[name] for name in ("prs_ratio", "input_jacobian", "rdi"))
    assert prs.across.value < -0.7
    assert prs.verdict == prs.verdict_within == "confirmed"
    assert prs.given_clean.significant
    assert prs.given_family.significant
    # It tells what clean accuracy tells, with the other sign than the paper claims, and no more.
    assert jacobian.across.significant
    assert jacobian.verdict == "not confirmed"
    assert not jacobian.given_clean.significant
    assert not rdi.across.significant
    assert rdi.verdict == "undecided"
    assert found["sparsity"].across.significant
    assert not found["sparsity"].given_family.significant
    assert found["fosc"].within_standard.value == pytest.approx(1)
    assert found["fosc"].verdict is None
    assert found["certified_accuracy"].across.reason


def test_predictions_are_set_against_an_attack_of_equal_cost(result: Any) -> None:
    found = {each.indicator.score: each for each in result.findings}
    prs, rdi = found["prs_ratio"], found["rdi"]
    mean, attack = result.baselines
    assert prs.error.value < mean.error.value
    assert prs.error.value < rdi.error.value
    # 600 passes pay for ten images of 60; whatever pays for more than half of the images gets half.
    assert (prs.equal_images, rdi.equal_images) == (10, 100)
    assert rdi.equal_error.value < attack.error.value < prs.equal_error.value
    assert attack.cost == 20 * 60
    assert [cost for cost, _ in result.curve] == [60 * n for n in (1, 2, 5, 10, 20, 50, 100)]
    assert prs.fooled.names == tuple(f"trick {row}" for row in range(4))
    assert found["rdi"].fooled.measured == 4
    assert found["sparsity"].fooled.measured == 0
    assert attack.fooled.names == ()


def test_networks_of_two_data_sets_are_never_compared() -> None:
    # On each the PRS ratio rises with robustness; all of one lie above all of the other.
    found = [
        made(row, 0.1 + 0.02 * row + shift, {"prs_ratio": row - 100 * shift}, stratum=f"data {shift}")
        for shift in (0.0, 0.4)
        for row in range(20)
    ]
    prs = analyze(found, resamples=20).findings[0]
    assert prs.across.value == 1


def test_a_quantity_over_decades_has_a_logarithmic_axis() -> None:
    found = [made(row, 0.04 * row, {"rdi": 10.0**row, "prs_ratio": 1.0 + row}) for row in range(20)]
    chart = predictor_charts(analyze(found, resamples=20))[-1]
    assert {panel.title: panel.x.log for panel in chart.panels} == {"RDI": True, "PRS ratio": False}


def test_words_name_what_holds(result: Any) -> None:
    text = " ".join(summary(result))
    assert "The strongest is PRS ratio: τ = −0." in text
    assert "Broken networks fool 2 of 2 quantities, most of all PRS ratio and RDI" in text
    papers = by_paper(result)
    assert list(papers) == ["P1", "Yu et al.", "The field"]
    assert "confirmed for PRS ratio" in papers["P1"]
    assert "the opposite for ‖J‖₁" in papers["Yu et al."]
    few = analyze(networks()[:6], resamples=20)
    assert "predict" not in " ".join(by_paper(few).values())
    assert summary(analyze([])) == ["There are too few networks for any answer yet."]


@pytest.mark.usefixtures("blank_pictures")
def test_the_page_says_it_all_and_escapes_what_the_file_says(result: Any, tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(STUDY))
    measured = Measured([*networks(), *tricks()], failures=["one <i>failed</i>"])
    page = write_predictors(tmp_path / "page", load_study(path), measured, result, "bench study small.yaml")
    text = page.read_text()
    for words in (
        "Small &lt;b&gt;study&lt;/b&gt;",
        "one &lt;i&gt;failed",
        "trick 0",
        "PGD-20 on 20 images",
        "PRS ratio",
    ):
        assert words in text
    assert "NaN" not in text
    for name in ("correlations", "error-and-cost", "strongest"):
        assert (page.parent / f"charts/study-{name}.html").is_file()
    rows = list(csv.DictReader((page.parent / "networks.csv").read_text().splitlines()))
    assert len(rows) == 84
    results = json.loads((page.parent / "results.json").read_text())
    assert {each["verdict"] for each in results["claims"]} == {"confirmed", "not confirmed", "undecided"}
    # What is there of too few networks is a page too.
    write_predictors(tmp_path / "empty", load_study(path), Measured(), analyze([]), "bench study small.yaml")


def test_every_indicator_is_a_score_of_the_battery() -> None:
    known = {score for name in METRICS.names() for score in get(name).names()}
    battery = {
        score
        for name in METRICS.names()
        if "indicators" in get(name).batteries
        for score in get(name).names()
    }
    for each in indicators():
        assert each.score in known & battery
        assert each.paper in PAPERS


def test_costs_count_backward_passes_twice_and_shared_regions_for_each(make_record: Any) -> None:
    record = make_record()
    cost = record.cost.model_copy(
        update={
            "passes_by_metric": {
                "prs_ratio": (100, 0),
                "inclusion_ratio": (20, 0),
                PGD20: (30, 40),
                "fosc": (1, 2),
            }
        }
    )
    found = costs(record.model_copy(update={"cost": cost}))
    assert found == {PGD20: 110, "prs_ratio": 100, "inclusion_ratio": 120, "fosc": 5}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"groups": {}}, "groups: expected at least one"),
        ({"groups": {"a": {"model": "cnn6"}}}, "groups.a: .*defense is missing"),
        ({"groups": {"a": {"defense": "standard", "modle": "cnn6"}}}, "groups.a: .*modle"),
        ({"groups": {"a": "standard"}}, "groups.a: expected settings such as"),
        ({"groups": {"a": {"defense": "at", "trials": 3}}}, "groups.a: trials must be 0"),
        ({"broken": STUDY["groups"]}, "broken.standard: groups has one of this name"),
        ({"least_accuracy": 2}, "least_accuracy"),
        ({"studies": 1}, "studies"),
    ],
)
def test_mistakes_in_the_file_are_named(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes}))
    with pytest.raises(UserError, match=words):
        load_study(path)


def test_the_files_of_this_repository_hold_what_they_promise() -> None:
    folder = Path(__file__).resolve().parents[2] / "studies"
    full, small = (load_study(folder / f"predictors{suffix}.yaml") for suffix in ("", "-small"))
    assert sum(map(len, {**full.groups, **full.broken}.values())) == 200
    assert sum(map(len, {**small.groups, **small.broken}.values())) == 24
    assert "200" not in outline(small)


@pytest.mark.slow
@pytest.mark.usefixtures("blank_pictures", "still_clock", "short_autoattack")
def test_a_study_trains_measures_and_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(STUDY))

    def run() -> Path:
        return run_study(
            path, out=tmp_path / "runs", data_dir=None, tracker=NullTracker(), progress=Progress()
        )

    page = run()
    rows = list(csv.DictReader((page.parent / "networks.csv").read_text().splitlines()))
    assert [row["broken"] for row in rows] == ["False"] * 3 + ["True"]
    assert all(row["prs_ratio"] and row["passes of prs_ratio"] == "60.0" for row in rows)
    records = {each: each.stat().st_mtime_ns for each in tmp_path.glob("runs/*/seed-*/*/record.json")}
    assert len(records) == 4
    study = load_study(path)
    network, record = read_network(min(records), "a title", "standard", study)
    assert network.robustness == pytest.approx(network.survived.mean())
    assert record.model in ("cnn6(width=0.1)", "bench.models.broken:broken(by=quantized,width=0.1)")
    text = page.read_text()
    assert run().read_text() == text
    assert {each: each.stat().st_mtime_ns for each in records} == records
