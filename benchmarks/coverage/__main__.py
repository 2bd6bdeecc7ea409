"""How often 95 % intervals cover the truth, by kind, size and distribution, in battery version 2 and now.

python -m benchmarks.coverage                 # the tables of docs/intervals.md, some minutes on one core
python -m benchmarks.coverage --rounds 200    # rougher

Proportions are computed exactly, all else is simulated. Samples for which there is no interval, such as equal
values, are left out.
"""

import argparse
import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
from scipy import stats

from bench.core.intervals import proportion_interval, wilson
from bench.geometry.detection import tpr_at_5fpr
from benchmarks.coverage.cases import Case, cases, coverage, rates
from benchmarks.coverage.earlier import many_rates

SIZES = (5, 10, 20, 40, 100, 200, 1000)
#: Bootstraps of the version before take long: fewer rounds, and no sample beyond this size.
BOOTSTRAP_ROUNDS, BOOTSTRAP_LARGEST = 300, 100


def proportion_coverage(
    interval: Callable[[int, int], tuple[float, float]], n: int, share: Any
) -> np.ndarray:
    """The exact coverage of a proportion's interval, for each true share."""
    ends = np.array([interval(successes, n) for successes in range(n + 1)])
    share = np.atleast_1d(share)
    covers = (ends[:, :1] <= share) & (share <= ends[:, 1:])
    return (stats.binom.pmf(np.arange(n + 1)[:, None], n, share) * covers).sum(axis=0)


def _proportions() -> Iterator[list[str]]:
    every = np.concatenate([np.geomspace(1e-5, 0.1, 400), np.linspace(0.1, 0.5, 400)])
    for name, share, over in (
        ("0.01 or 0.99", 0.01, np.mean),
        ("0.5", 0.5, np.mean),
        ("worst of all", every, np.min),
    ):
        ends = [
            [over(proportion_coverage(each, n, share)) for n in SIZES]
            for each in (wilson, proportion_interval)
        ]
        yield ["proportion", name, *(_cell(before, after) for before, after in zip(*ends, strict=True))]


def _cell(before: float | None, after: float) -> str:
    if math.isnan(after):
        return "–"
    return (
        f"{100 * after:.0f}"
        if before is None or math.isnan(before)
        else f"{100 * before:.0f} → {100 * after:.0f}"
    )


def _row(case: Case, rounds: int) -> list[str]:
    cells = []
    for n in SIZES:
        before = None
        if case.before is not None and (n <= BOOTSTRAP_LARGEST or not case.bootstrapped):
            few = min(rounds, BOOTSTRAP_ROUNDS) if case.bootstrapped else rounds
            before = coverage(case, case.before, n, few)
        after = coverage(case, case.after, n, rounds) if n >= case.smallest else math.nan
        lost = before is not None and math.isnan(after)
        cells.append(f"{100 * before:.0f} → –" if lost and before is not None else _cell(before, after))
    return [case.kind, case.distribution, *cells]


def _estimates(rounds: int) -> Iterator[list[str]]:
    """The mean estimate of the true-positive rate, before and after, against the truth."""
    for case in rates():
        cells = []
        for n in SIZES[2:]:
            generator = np.random.default_rng(n)
            samples = [case.draw(generator, n) for _ in range(rounds)]
            before = many_rates(*(np.array(part) for part in zip(*samples, strict=True))).mean()
            after = np.mean([tpr_at_5fpr(*sample) for sample in samples])
            cells.append(f"{before:.3f} → {after:.3f}")
        yield [case.distribution, f"{case.truth:.3f}", *cells]


def _print(heading: Iterable[str], rows: Iterable[list[str]]) -> None:
    words = list(heading)
    print(f"| {' | '.join(words)} |\n|{' --- |' * len(words)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2000, help="simulated samples of each cell")
    rounds = parser.parse_args().rounds
    sizes = [f"n = {n}" for n in SIZES]
    simulated = (_row(case, rounds) for case in cases())
    _print(["interval", "distribution", *sizes], chain(_proportions(), simulated))
    print()
    _print(["TPR at 5 % FPR", "truth", *sizes[2:]], _estimates(rounds))


if __name__ == "__main__":
    main()
