"""Studies in the site: their tables and regressions beside the paper's, and what cannot be read of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.charts import Axis, Chart, Panel, Points, Tiles
from leaderboards.build import build
from leaderboards.studies import find_studies
from tests.records import make_record, write_record

TABLE: dict[str, Any] = {
    "title": "Table 1 <b>",
    "source": "a paper",
    "command": "bench study table.yaml",
    "columns": [{"name": "clean_accuracy", "title": "", "paper_unit": "%"}],
    "rows": [
        {
            "name": "natural",
            "cells": {
                "clean_accuracy": {
                    "value": 0.912,
                    "low": 0.9,
                    "high": 0.92,
                    "unit": "fraction",
                    "paper": 99.1,
                }
            },
            "records": ["cifar10-cnn6-prs-0000-seed-0"],
        }
    ],
    "claims": [
        {
            "claim": "a > b at clean_accuracy",
            "verdict": "undecided",
            "difference": 0.343,
            "p_value": 1.0,
            "test": "paired",
        }
    ],
}
CORRELATION: dict[str, Any] = {
    "study": {"title": "Correlation", "source": "another paper", "text": "All `epochs` <of> one."},
    "regressions": [
        {
            "quantity": "robust_accuracy",
            "network": "cnn6",
            "dataset": "digits",
            "fit": {"n": 9, "runs": 3, "slope": -1.5, "run_error": 0.1, "run_p_value": 0.02},
            "published": {"slope": -2.0},
            "run_verdict": "confirmed",
        }
    ],
}


def test_findings_and_charts_of_a_study_are_shown_and_damaged_ones_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "studies" / "predictors"
    chart = Chart(name="c", title="A chart", panels=[Panel(marks=[Points(x=[1.0], y=[2.0])])])
    tiles = Chart(name="t", title="Tiles", panels=[Panel(marks=[Tiles(captions=["a"], values=[[[1.0]]])])])
    axis = Axis(ticks=[2.0], tick_labels=["a long name"])
    named = Chart(name="n", title="Names", panels=[Panel(y=axis, marks=[Points(x=[1.0], y=[2.0])])])
    for name, each in (("a", chart), ("b", tiles), ("c", named)):
        each.save(folder / "charts" / f"{name}.json")
    (folder / "charts" / "damaged.json").write_text("{")
    (folder / "results.json").write_text(
        json.dumps(
            {
                "title": "Predictors",
                "text": "Two <u>kinds</u>.\n\nTen networks.",
                "summary": ["<i>None</i> does.", "P1: <b>all</b> do."],
            }
        )
    )
    site = build([], tmp_path / "site", studies=find_studies(tmp_path), empty=True)
    (page,) = (tmp_path / "site" / "studies").glob("*.html")
    text = page.read_text()
    assert '<p class="prose">Two &lt;u&gt;kinds&lt;/u&gt;.</p>\n<p class="prose">Ten networks.</p>' in text
    assert "&lt;i&gt;None&lt;/i&gt; does." in text
    assert "<strong>P1</strong>: &lt;b&gt;all&lt;/b&gt; do." in text
    assert "A chart" in text
    assert all(f"<figcaption>{title}</figcaption>" in text for title in ("Tiles", "Names"))
    assert ">a long name</text>" in text
    assert ["damaged.json" in str(left) for left in site.left_out] == [True]


def test_studies_are_linked_from_the_front_page_and_from_entries(tmp_path: Path) -> None:
    row = {**TABLE["rows"][0], "name": "lost", "records": ["one that is not there"]}
    table = {**TABLE, "rows": [*TABLE["rows"], row]}
    for name, results in (("table", table), ("correlation", CORRELATION), ("broken", {"rows": 3})):
        (tmp_path / "runs" / "studies" / name).mkdir(parents=True)
        (tmp_path / "runs" / "studies" / name / "results.json").write_text(json.dumps(results))
    path = write_record(tmp_path / "runs" / "r", make_record())
    site = build([path], tmp_path / "site", studies=find_studies(tmp_path / "runs"))
    front = (tmp_path / "site" / "index.html").read_text()
    assert "1 undecided" in front
    assert "1 claim: 1 confirmed" in front
    assert "Table 1 &lt;b&gt;" in front
    assert ["broken" in str(left) for left in site.left_out] == [True]
    page, correlation = (next((tmp_path / "site" / "studies").glob(f"{name}*")) for name in ("table", "corr"))
    text = page.read_text()
    assert "91.2<small>90.0 to 92.0</small>" in text
    assert "paper 99.1" in text
    assert '<th scope="row">a &gt; b at Clean accuracy</th>' in text
    (entry,) = (tmp_path / "site" / "entries").glob("*.html")
    assert f'<a href="../entries/{entry.name}">natural</a>' in text
    assert '<th scope="row">lost</th>' in text
    assert f"../studies/{page.name}" in entry.read_text()
    assert "difference 34.3 points" in text
    told = correlation.read_text()
    assert "All <code>epochs</code> &lt;of&gt; one." in told
    assert '<th scope="row">Robust accuracy</th>' in told
    assert "<td>−1.50<small>−1.93 to −1.07</small></td>" in told


@pytest.mark.parametrize(("rows", "columns", "first"), [(2, 5, "Score"), (5, 2, "Row")])
def test_the_longer_side_of_a_table_runs_down_the_page(
    rows: int, columns: int, first: str, tmp_path: Path
) -> None:
    names = [f"score {at}" for at in range(columns)]
    table = {
        "title": "Table",
        "columns": [{"name": name, "title": name} for name in names],
        "rows": [
            {"name": f"row {at}", "cells": {name: {"value": at + 0.25, "paper": 0.5} for name in names}}
            for at in range(rows)
        ],
    }
    folder = tmp_path / "studies" / "table"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(table))
    build([], tmp_path / "site", studies=find_studies(tmp_path), empty=True)
    (page,) = (tmp_path / "site" / "studies").glob("*.html")
    text = page.read_text()
    assert f'<th scope="col" class="word">{first}</th>' in text
    assert text.count('<th scope="row">') == max(rows, columns)
    assert text.count('<small class="spread">paper 0.5</small>') == rows * columns
