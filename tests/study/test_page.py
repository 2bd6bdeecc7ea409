"""The page of a correlation study: the order of verdicts, and data sets that the paper does not have."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.study.correlation import CorrelationResult, ProbedNetwork, regressions
from bench.study.page import write_correlation
from bench.study.spec import CorrelationStudy
from tests.browser import CHROMIUM, PHONE, Visit
from tests.shortened import blank_pictures

STUDY = CorrelationStudy.model_validate(
    {
        "study": "correlation",
        "title": "A study",
        "models": ["cnn6", "lenet"],
        "datasets": {"digits": {"least_accuracy": 0.5}, "mnist": {"least_accuracy": 0.5}},
        "batch_sizes": [16, 32],
        "seeds": [0, 1],
        "epochs": 5,
        "probe_every": 1,
        "claims": {"inclusion_ratio": "negative", "sparsity": "negative"},
        "published": {"inclusion_ratio": {"cnn6": {"mnist": {"slope": -0.7, "p": 1e-9}}}},
    }
)


def networks() -> list[ProbedNetwork]:
    """Inclusion falls with the PRS ratio; sparsity differs between trainings, and hardly within one."""
    generator = np.random.default_rng(0)
    found = []
    for network in STUDY.models:
        for name in STUDY.datasets:
            for batch_size in STUDY.batch_sizes:
                for seed in STUDY.seeds:
                    place, height = 0.5 + 0.1 * (seed + batch_size / 32), generator.normal()
                    for epoch in range(1, 6):
                        ratio = place + 0.01 * epoch
                        found.append(
                            ProbedNetwork(
                                network,
                                name,
                                batch_size,
                                seed,
                                epoch,
                                run="r",
                                kept=True,
                                train_accuracy=None,
                                test_accuracy=0.9,
                                robust_accuracy=0.5,
                                attacked=5,
                                prs_ratio=ratio,
                                inclusion_ratio=1 - ratio + 1e-3 * generator.normal(),
                                final_layer_cosine=0.1 * generator.normal(),
                                sparsity=height + 1e-3 * generator.normal(),
                            )
                        )
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = networks()
    result = CorrelationResult(networks=found, regressions=regressions(STUDY, found))
    with pytest.MonkeyPatch.context() as patch:
        blank_pictures(patch)
        return write_correlation(tmp_path_factory.mktemp("study"), STUDY, result, "bench study a.yaml")


def rows(page: Path, quantity: str) -> dict[tuple[str, str], list[str]]:
    """Network and data set → the text of the other cells."""
    table = page.read_text().partition(f'id="{quantity}"')[2].partition("</table>")[0]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in table.split("<tr")[2:]]
    plain = [[re.sub(r"<[^>]+>", " ", cell).strip() for cell in row] for row in cells]
    return {(row[0], row[1]): row[2:] for row in plain}


def test_a_data_set_that_the_paper_does_not_have_is_never_confirmed(page: Path) -> None:
    inclusion = rows(page, "inclusion_ratio")
    paper, _, over, _ = inclusion["cnn6", "mnist"]
    assert paper.startswith("−0.70")
    assert over.startswith("confirmed")
    for network in STUDY.models:
        paper, _, over, naive = inclusion[network, "digits"]
        assert "other data sets: negative" in paper
        assert over.startswith("same sign")
        assert naive.startswith("same sign")
    assert "negative, in words" in inclusion["lenet", "mnist"][0]


def test_the_verdict_over_trainings_leads_and_the_papers_way_is_named(page: Path) -> None:
    text = page.read_text()
    heads = re.findall(r"<th scope=\"col\"[^>]*>(.*?)</th>", text.partition('id="sparsity"')[2])
    assert heads == ["Network", "Data set", "Paper", "Ours", "Over trainings", "The paper’s way"]
    _, _, over, naive = rows(page, "sparsity")["cnn6", "mnist"]
    assert "4 trainings" in over
    assert "20 candidates" in naive
    assert "no sign claimed" in rows(page, "final_layer_cosine")["cnn6", "mnist"][2]


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs Chromium at {CHROMIUM}")
def test_tables_share_one_grid_and_nothing_is_cut(page: Path, chromium: Any) -> None:
    visit = Visit(chromium, page.as_uri(), viewport={"width": 1200, "height": 900})
    opened = visit.page
    heads = """() => [...document.querySelectorAll("table.slopes thead tr")].map(
      row => [...row.children].map(cell => Math.round(cell.getBoundingClientRect().left)))"""
    first, *others = opened.evaluate(heads)
    assert others == [first] * 3
    wide = """() => [...document.querySelectorAll(".scroll, table.slopes th, table.slopes td")].filter(
      part => part.scrollWidth > part.clientWidth + 1).length"""
    assert opened.evaluate(wide) == 0
    opened.set_viewport_size(PHONE)
    assert opened.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert opened.evaluate("() => document.querySelector('.scroll').scrollWidth") > PHONE["width"]
    visit.context.close()
