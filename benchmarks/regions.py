"""What the shipped results say of claims of P1 beyond the verdicts of the studies.

python -m benchmarks.regions

Figure 7: of the test images that a network trained without a defense classifies correctly, those in populated
regions withstand PGD-20 more often than the others. Each network of the boards with enough of both is a row, at
half of its board's ε, as hardly an image withstands the whole.

Batch size and label smoothing, the factors of P1's final version: networks of the full predictors study that differ
in one of them alone, seed included.

PRS ratio and robustness at one batch size: the networks of the correlation over 60 trainings, at their last epoch.
"""

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

from bench.core.record import find_records, load_record, read_arrays
from bench.core.statistics import Difference, unpaired_difference

SHIPPED = Path(__file__).parents[1] / "leaderboards" / "results"
#: Folders whose networks are standard trainings: others mislead on purpose, or are trained again for another norm.
BOARDS = ("cifar10-jpeg-linf", "digits-linf", "mnist-linf", "mnist-linf-0.1", "quick")
#: Fewest images of either group.
FEWEST = 10
SMOOTHING = ",label_smoothing=0.1"


@dataclass(frozen=True)
class Groups:
    """How many images of a network withstood an ε, of how many: those in populated regions, and the others."""

    network: str
    eps: float
    included: tuple[int, int]
    others: tuple[int, int]

    @property
    def difference(self) -> Difference:
        """The share of the first that withstood it, minus that of the others."""
        return unpaired_difference(self.included, self.others)


def groups(folder: Path) -> Iterator[Groups]:
    """The two groups of each network without a defense below a folder, where both are large enough."""
    for path in find_records(folder):
        record = load_record(path)
        if record.defense.name != "standard":
            continue
        arrays = read_arrays(path, record)
        attacked = len(arrays["labels"])
        right = arrays["clean_accuracy"][:attacked].astype(bool)
        included = arrays["inclusion_ratio:included"][:attacked].astype(bool)
        eps = arrays["security_curve:eps"]
        half = int(np.argmin(np.abs(eps - float(Fraction(record.threat.eps)) / 2)))
        withstood = arrays["security_curve:right"][half].astype(bool)
        parts = [withstood[right & mask] for mask in (included, ~included)]
        if min(map(len, parts)) >= FEWEST:
            first, second = ((int(part.sum()), len(part)) for part in parts)
            name = f"{record.dataset.name} {record.model}, seed {record.seed}"
            yield Groups(name, float(eps[half]), first, second)


def networks(study: Path) -> dict[str, tuple[float, float]]:
    """Networks of a study without a defense → their input margin and their robust accuracy in percent."""
    chart = json.loads((study / "charts" / "study-strongest.json").read_text())
    (panel,) = (panel for panel in chart["panels"] if panel["title"] == "Input margin (FAB)")
    return {
        label: (margin, robust)
        for mark in panel["marks"]
        for label, margin, robust in zip(mark["labels"], mark["x"], mark["y"], strict=True)
        if " standard " in label
    }


def pairs(names: Sequence[str], old: str, new: str) -> list[tuple[str, str]]:
    """Names that hold `old`, and those with `new` in its place, where both exist."""
    known = set(names)
    replaced = ((name, name.replace(old, new)) for name in names if old in name)
    return [(name, other) for name, other in replaced if other in known]


@dataclass(frozen=True)
class Alike:
    """Networks of one data set that were trained alike but for their seed, or for their batch size too.

    Attributes:
        dataset, batch_size: what they were trained on; "all" for every batch size.
        prs_ratios, robust: of each network at its last epoch, as fractions.
    """

    dataset: str
    batch_size: str
    prs_ratios: list[float]
    robust: list[float]

    @property
    def order(self) -> float:
        """Kendall's τ of PRS ratio and robustness."""
        return float(kendalltau(self.prs_ratios, self.robust).statistic)


def alike(study: Path) -> Iterator[Alike]:
    """The networks of a correlation study that it kept, by data set and batch size, and all of a data set."""
    found = pd.read_csv(study / "candidates.csv")
    last = found[found["kept"] & (found["epoch"] == found["epoch"].max())]
    for dataset, of_dataset in last.groupby("dataset"):
        for size, some in (*of_dataset.groupby("batch_size"), ("all", of_dataset)):
            yield Alike(str(dataset), str(size), some["prs_ratio"].tolist(), some["robust_accuracy"].tolist())


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=SHIPPED)
    results = parser.parse_args().results
    console = Console(width=120)

    table = Table("network", "ε", "populated", "others", "difference, points", title="P1, figure 7")
    found = [group for board in BOARDS for group in groups(results / board)]
    for group in found:
        gap = group.difference
        shares = [f"{100 * k / n:.0f} % of {n}" for k, n in (group.included, group.others)]
        points = f"{100 * gap.value:+.0f} ({100 * gap.low:+.0f} to {100 * gap.high:+.0f})"
        table.add_row(group.network, f"{group.eps:.3g}", *shares, points)
    console.print(table)
    above = sum(group.difference.value > 0 for group in found)
    apart = sum(group.difference.low > 0 for group in found)
    console.print(f"above zero in {above} of {len(found)} networks, with the whole interval in {apart}")

    measured = networks(results / "studies" / "predictors")
    table = Table(
        "from", "to", "pairs", "margin larger", "smaller", "robustness higher", "lower", title="Factors"
    )
    for title, old, new in (
        ("digits: batch 256", "batch_size=256,", "batch_size=16,"),
        ("MNIST: batch 512", "batch_size=512,", "batch_size=32,"),
        ("digits: no smoothing, batch 16", "batch_size=16,", f"batch_size=16{SMOOTHING},"),
        ("digits: no smoothing, batch 64", "batch_size=64,", f"batch_size=64{SMOOTHING},"),
        ("MNIST: no smoothing, batch 128", "batch_size=128,", f"batch_size=128{SMOOTHING},"),
    ):
        changes = np.array(
            [np.subtract(measured[other], measured[name]) for name, other in pairs([*measured], old, new)]
        )
        counts = [
            str(int(count)) for column in changes.T for count in ((column > 0).sum(), (column < 0).sum())
        ]
        table.add_row(title, new.rstrip(","), str(len(changes)), *counts)
    console.print(table)

    columns = ("data", "batch size", "networks", "PRS ratio", "withstand PGD-20, %", "Kendall's τ")
    table = Table(*columns, title="Mean ± standard deviation over networks")
    for each in alike(results / "studies" / "p1-correlation-60"):
        percent = [100 * value for value in each.robust]
        spreads = [
            f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"
            for values, digits in ((each.prs_ratios, 2), (percent, 1))
        ]
        count = str(len(each.robust))
        table.add_row(each.dataset, each.batch_size, count, *spreads, f"{each.order:+.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
