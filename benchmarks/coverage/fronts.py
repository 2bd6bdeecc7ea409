"""How often the interval of a front's hypervolume covers the truth, and how much the area errs on the high side.

python -m benchmarks.coverage.fronts --rounds 400    # the table of docs/intervals.md, some 20 minutes on one core

Outcomes of an image under several settings correlate: each compares its accuracy with the image's difficulty, mixed
with noise of its own. Settings are given, or those on the front by the same images.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bench.core import front

#: Validation images, and how many of them are attacked.
SIZES = ((40, 40), (100, 100), (300, 300), (1000, 1000), (5000, 1000))
#: Correlation of the difficulty of an image under two settings.
CORRELATION = 0.8
#: Samples of a bootstrap here.
SAMPLES = 400


@dataclass(frozen=True)
class Case:
    """True accuracies of settings, and whether the images choose those on the front first."""

    name: str
    clean: np.ndarray
    robust: np.ndarray
    chosen: bool


def cases() -> list[Case]:
    """One setting, settings on a front, and settings that are alike."""
    clean = np.linspace(0.7, 0.98, 20)
    return [
        Case("one setting, 0.95 and 0.5", np.array([0.95]), np.array([0.5]), False),
        Case("one setting, 0.999 and 0.99", np.array([0.999]), np.array([0.99]), False),
        Case("five given settings", np.linspace(0.7, 0.98, 5), np.linspace(0.6, 0.2, 5), False),
        Case("front of twenty", clean, 0.6 - 0.4 * ((clean - 0.7) / 0.28) ** 2, True),
        Case("front of thirty that are alike", np.full(30, 0.9), np.full(30, 0.4), True),
    ]


def measure(case: Case, n: int, attacked: int, rounds: int) -> tuple[float, float]:
    """The share of intervals that cover the true area of their settings, and the mean error of the area."""
    generator = np.random.default_rng([n, attacked])
    covered, errors = 0, []
    for _ in range(rounds):
        shared = generator.normal(size=(n, 1))
        own = generator.normal(size=(n, len(case.clean)))
        difficulty = stats.norm.cdf(CORRELATION**0.5 * shared + (1 - CORRELATION) ** 0.5 * own)
        clean, robust = difficulty < case.clean, (difficulty < case.robust)[:attacked]
        accuracies = np.stack([clean.mean(axis=0), robust.mean(axis=0)], axis=1)
        kept = front.front_of(accuracies) if case.chosen else list(range(len(case.clean)))
        truth = float(front.hypervolume(case.clean[kept], case.robust[kept]))
        low, high = front.hypervolume_interval(clean[:, kept], robust[:, kept], generator)
        covered += low <= truth <= high
        errors.append(float(front.hypervolume(*accuracies[kept].T)) - truth)
    return covered / rounds, float(np.mean(errors))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=400, help="simulated samples of each cell")
    rounds = parser.parse_args().rounds
    front.SAMPLES = SAMPLES
    print("| settings |", *(f"{attacked} of {n} |" for n, attacked in SIZES))
    for case in cases():
        cells = [measure(case, n, attacked, rounds) for n, attacked in SIZES]
        print(
            f"| {case.name} |", *(f"{100 * share:.0f}, {error:+.3f} |" for share, error in cells), flush=True
        )


if __name__ == "__main__":
    main()
