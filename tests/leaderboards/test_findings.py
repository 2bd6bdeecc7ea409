"""The tables of docs/findings.md hold what the shipped records give."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from leaderboards.entry import Entry
from leaderboards.result import Result, read_results

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "leaderboards" / "results"
#: Start of a heading → the folder of its board, and whether its rows are searched.
BOARDS = {
    "MNIST, ℓ∞, ε = 0.3": ("mnist-linf", False),
    "MNIST, ℓ∞, ε = 0.1": ("mnist-linf-0.1", False),
    "Digits, ℓ∞, ε = 0.2": ("digits-linf", False),
    "With hyper-parameters searched": ("digits-linf", True),
    "Digits, ℓ2, ε = 0.5": ("digits-l2", False),
    "CIFAR-10 re-encoded": ("cifar10-jpeg-linf", False),
}
#: Column → its score, factor and decimals.
COLUMNS = {
    "clean": ("clean_accuracy", 100, 1),
    "FGSM": ("robust_accuracy/fgsm", 100, 1),
    "PGD-20": ("robust_accuracy/pgd20", 100, 1),
    "worst case": ("robust_accuracy/worst_case", 100, 1),
    "cost": ("time_per_epoch_ratio", 1, 1),
    "PRS ratio": ("prs_ratio", 1, 3),
    "inclusion ratio": ("inclusion_ratio", 1, 3),
    "detection AUC": ("detection_auc", 1, 3),
}
NUMBER = re.compile(r"^(in doubt: )?(?P<value>[\d.]+)( \((?P<low>[\d.]+)–(?P<high>[\d.]+)\))?$")


def sections() -> Iterator[tuple[str, str]]:
    for part in re.split(r"^##+ ", (ROOT / "docs" / "findings.md").read_text(), flags=re.MULTILINE)[1:]:
        for start in BOARDS:
            if part.startswith(start):
                yield start, part


def rows(text: str) -> Iterator[dict[str, str]]:
    """The rows of the first table, by column."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    head, _, *body = lines
    return (dict(zip(head, [cell.strip() for cell in line], strict=False)) for line in body)


def entries(folder: str) -> dict[tuple[str, str, bool], Entry]:
    """Defense, network without its width, and whether it was searched → the entry of all its seeds."""
    together: dict[tuple[str, str, bool], list[Result]] = defaultdict(list)
    for result in read_results(sorted((RESULTS / folder).glob("*/record.json")))[0]:
        record = result.record
        key = (record.defense.name, record.model.partition("(")[0], record.defense.search is not None)
        together[key].append(result)
    return {
        key: Entry(tuple(sorted(found, key=lambda each: each.record.seed))) for key, found in together.items()
    }


def test_every_board_has_its_section() -> None:
    assert [start for start, _ in sections()] == list(BOARDS)


@pytest.mark.parametrize(("start", "text"), list(sections()), ids=lambda value: value.splitlines()[0][:20])
def test_a_table_holds_what_the_records_give(start: str, text: str) -> None:
    folder, searched = BOARDS[start]
    known, wrong = entries(folder), []
    for row in rows(text):
        name = row["defense"].strip("`")
        entry = known[name, row.get("network", "cnn6"), searched]
        for column, (score, factor, decimals) in COLUMNS.items():
            if (cell := NUMBER.match(row.get(column, ""))) is None:
                continue
            found = entry.scores[score]
            for part, value in (("value", found.mean), ("low", found.low), ("high", found.high)):
                if (said := cell[part]) is not None and said != f"{(value or 0) * factor:.{decimals}f}":
                    wrong.append(
                        f"{name}, {column}, {part}: {said}, not {(value or 0) * factor:.{decimals}f}"
                    )
        if "by seed" in row:
            worst = [100 * result.record.metrics[COLUMNS["worst case"][0]].value for result in entry.results]
            if row["by seed"] != (said := ", ".join(f"{value:.1f}" for value in worst)):
                wrong.append(f"{name}, by seed: {row['by seed']}, not {said}")
        assert entry.in_doubt == ("in doubt" in row["worst case"] or row["worst case"] == "no signal"), name
    assert wrong == []
