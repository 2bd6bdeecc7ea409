"""The names of scores in MLflow, and the tables that hold all of them."""

import csv
import io
from dataclasses import replace
from pathlib import Path

from bench.core.record import load_record
from bench.tracking.place import place
from bench.tracking.short_scores import short_scores, tables

SHIPPED = Path(__file__).resolve().parents[2] / "leaderboards/results/quick/cnn6-at-0/record.json"


def test_main_scores_have_short_names_and_the_worst_case_comes_first() -> None:
    record = load_record(SHIPPED)
    scores = short_scores(record)
    assert next(iter(scores)) == "worst_case"
    assert scores["worst_case"] == float(f"{record.metrics['robust_accuracy/worst_case'].value:.4g}")
    assert {"autoattack", "pgd20", "clean", "prs_ratio", "inclusion", "detection_auc", "time_ratio"} <= set(
        scores
    )
    assert not any("/" in name for name in scores)


def test_a_score_whose_short_name_is_taken_is_told_from_it() -> None:
    record = load_record(SHIPPED)
    clean = record.metrics["clean_accuracy"]
    record.metrics["clean"] = replace(clean, value=0.5)
    record.metrics["robust_accuracy/clean"] = replace(clean, value=0.25)
    scores = short_scores(record)
    assert scores["clean"] == float(f"{clean.value:.4g}")
    assert (scores["score/clean"], scores["score/robust_accuracy/clean"]) == (0.5, 0.25)


def test_tables_hold_every_score_with_its_interval_every_point_and_every_epoch() -> None:
    record = load_record(SHIPPED)
    found = {name: list(csv.DictReader(io.StringIO(text))) for name, text in tables(record).items()}
    rows = {row["score"]: row for row in found["tables/scores.csv"]}
    for name, score in record.metrics.items():
        assert (rows[name]["value"], rows[name]["low"]) == tuple(
            "" if value is None else str(value) for value in (score.value, score.low)
        )
    assert len(found["tables/epochs.csv"]) == len(record.history)
    assert len(found["tables/curves.csv"]) == sum(len(curve.points) for curve in record.curves.values())


def test_a_record_has_the_place_that_a_site_gives_it() -> None:
    found = place(SHIPPED, "any")
    assert found.reason == ""
    assert found.title.endswith("quick 2, 200 images")
    assert found.page.startswith("at-cnn6-")
