"""Compare the speed of regions and curvature with straightforward implementations, and check that results agree.

python -m benchmarks.geometry          # seconds
python -m benchmarks.geometry --full   # the sizes of a paper, and ten million rows; minutes

At full size the command fails where some ratios, or the memory of ten million rows, miss their bounds. Among the
curvature estimators only the default, second differences of logits, has a bound; the other two are more accurate
but take more time. Times are CPU seconds on one thread, which a busy machine disturbs less than wall time.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from bench.core.gradients import input_gradients
from bench.geometry.curvature import mean_curvature, unit_vectors
from bench.geometry.regions import count_regions, membership, pack

BATCH = 500
#: Smallest speed-up over the straightforward implementation, at full size.
REGIONS, CURVATURE = 20.0, 8.0
#: Largest memory of the process for ten million rows.
GIBIBYTES = 2.0


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="the sizes of a paper, and ten million rows")
    full = parser.parse_args().full
    torch.set_num_threads(1)

    results = Results(promises=full)
    regions(results, rows=50_000 if full else 10_000)
    curvature(results, side=32 if full else 12, directions=100 if full else 20)
    for images in (4, 50):
        class_gradients(results, images)
    Console(width=150).print(results.table)
    if full:
        many_rows(results, 10_000_000)
    if results.missed:
        sys.exit(f"missed: {'; '.join(results.missed)}")


class Results:
    """The rows of a table, and the bounds that they miss."""

    def __init__(self, promises: bool) -> None:
        self.promises = promises
        self.missed: list[str] = []
        self.table = Table(
            title="one thread; CPU seconds, best of three", caption="in each row, both gave the same result"
        )
        for heading in ("what", "ours", "straightforward", "ratio", "promised"):
            self.table.add_column(heading, justify="left" if heading == "what" else "right")

    def compare(
        self,
        what: str,
        ours: Callable[[], Any],
        naive: Callable[[], Any],
        naive_seconds: float | None = None,
        promised: float | None = None,
    ) -> None:
        """Check that both give the same result, then add a row."""
        got, our_seconds = timed(ours)
        expected, seconds = timed(naive)
        np.testing.assert_allclose(got, expected, rtol=1e-4, err_msg=what)
        seconds = naive_seconds or seconds
        ratio = seconds / our_seconds
        promised = promised if self.promises else None
        if promised is not None and ratio < promised:
            self.missed.append(f"{what}: {ratio:.1f}x instead of {promised:g}x")
        said = "" if promised is None else f"{promised:g}x"
        self.table.add_row(what, f"{our_seconds:.4f}", f"{seconds:.4f}", f"{ratio:.1f}x", said)


def regions(results: Results, rows: int, width: int = 512) -> None:
    """Compare PRS ratio and inclusion ratio from float features with `numpy.unique` on boolean rows."""
    train = repeated_features(rows, width, seed=0)
    test = torch.cat([train[: rows // 10], repeated_features(rows // 10, width, seed=1)])

    def patterns(features: Tensor) -> np.ndarray:
        return np.concatenate([pack(batch) for batch in features.split(BATCH)])

    def naive_inclusion() -> np.ndarray:
        both = np.concatenate([train.numpy() > 0, test.numpy() > 0])
        _, ids = np.unique(both, axis=0, return_inverse=True)
        return np.isin(ids[len(train) :], ids[: len(train)])

    results.compare(
        f"PRS ratio, {rows:,} x {width}",
        lambda: count_regions(patterns(train)),
        lambda: len(np.unique(train.numpy() > 0, axis=0)),
        promised=REGIONS,
    )
    results.compare(
        f"inclusion ratio, {len(test):,} in {rows:,} x {width}",
        lambda: membership(patterns(test), patterns(train)),
        naive_inclusion,
        promised=REGIONS,
    )


def curvature(results: Results, side: int, directions: int, images: int = 16, classes: int = 10) -> None:
    """Compare score ρ with one Hessian-vector product per class and direction, on a smooth network in float64."""
    torch.manual_seed(0)
    network = smooth_network(side, classes).double()
    points = torch.rand(images, 3, side, side, dtype=torch.double)

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(0)

    def score(estimator: Any) -> np.ndarray:
        # With so short a step the result agrees with the Hessian; the time does not depend on the step.
        result = mean_curvature(
            network, points, generator(), directions=directions, estimator=estimator, h_scale=1e-2
        )
        return result.score.numpy()

    unit = unit_vectors(directions, points.shape[1:], generator())
    expected, seconds = timed(lambda: hessian_vector_products(network, points, unit), repeats=2)
    for estimator in ("second_difference", "gradient_difference", "softplus"):
        results.compare(
            f"curvature, {estimator}, {images} x 3x{side}x{side}, T = {directions}",
            partial(score, estimator),
            lambda: expected,
            naive_seconds=seconds,
            promised=CURVATURE if estimator == "second_difference" else None,
        )


def smooth_network(side: int, classes: int) -> nn.Sequential:
    """Two convolutions and two linear layers with softplus between them."""
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.Softplus(), nn.AvgPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.Softplus(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * (side // 4) ** 2, 64), nn.Softplus(), nn.Linear(64, classes)),
    ).eval()


def class_gradients(results: Results, images: int, side: int = 32, classes: int = 10) -> None:
    """Compare a DeepFool step's gradients from one forward pass with two passes (forward, backward) per class."""
    torch.manual_seed(0)
    network = smooth_network(side, classes).double().requires_grad_(False)
    points = torch.rand(images, 3, side, side, dtype=torch.double)

    def shared() -> np.ndarray:
        inputs = points.clone().requires_grad_()
        return torch.stack(list(input_gradients(network(inputs), inputs))).numpy()

    def class_by_class() -> np.ndarray:
        gradients = []
        for label in range(classes):
            inputs = points.clone().requires_grad_()
            gradients.append(torch.autograd.grad(network(inputs)[:, label].sum(), inputs)[0])
        return torch.stack(gradients).numpy()

    results.compare(f"gradients of {classes} classes, {images} x 3x{side}x{side}", shared, class_by_class)


def hessian_vector_products(network: nn.Sequential, images: Tensor, unit: Tensor) -> np.ndarray:
    """Mean curvature [B] from vᵀ∇(vᵀ∇F_i), one class and one direction at a time."""
    dimension = images[0].numel()
    predicted = network(images).argmax(dim=1, keepdim=True)
    total = torch.zeros(len(images), dtype=torch.double)
    for other in range(1, network(images[:1]).shape[1]):
        points = images.clone().requires_grad_()
        logits = network(points)
        rival = (predicted + other) % logits.shape[1]
        boundary = logits.gather(1, rival) - logits.gather(1, predicted)
        (gradient,) = torch.autograd.grad(boundary.sum(), points, create_graph=True)

        def form(v: Tensor, points: Tensor = points, gradient: Tensor = gradient) -> Tensor:
            (product,) = torch.autograd.grad((gradient * v).sum(), points, retain_graph=True)
            return (product * v).flatten(1).sum(dim=1)

        length = gradient.detach().flatten(1).norm(dim=1)
        trace = dimension * torch.stack([form(v.expand_as(points)) for v in unit]).mean(dim=0)
        along = form(gradient.detach() / length.view(-1, 1, 1, 1))
        total += (trace - along) / ((dimension - 1) * length)
    return (total / (logits.shape[1] - 1)).numpy()


def many_rows(results: Results, rows: int, words: int = 8) -> None:
    """Count patterns whose number is known, and print time and memory."""
    generator = np.random.default_rng(0)
    distinct = rows // 4
    patterns = np.empty((rows, words), dtype=np.uint64)
    # A row is an injective function of its number k, and every k below `distinct` occurs.
    patterns[:] = generator.permutation(np.arange(rows, dtype=np.uint64) % np.uint64(distinct))[:, None]
    patterns *= generator.integers(1, 2**63, words, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    start = time.process_time()
    found = count_regions(patterns)
    seconds = time.process_time() - start
    assert found == distinct
    unit = 1024 if sys.platform != "darwin" else 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
    print(f"{rows:,} x {64 * words} bits: {found:,} regions in {seconds:.1f} s, process peak {peak:.2f} GiB")
    if peak > GIBIBYTES:
        results.missed.append(f"{rows:,} rows took {peak:.2f} GiB instead of {GIBIBYTES:g}")


def repeated_features(rows: int, width: int, seed: int) -> Tensor:
    """Normal features in which every sign pattern occurs about twice."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(rows // 2, width, generator=generator)
    return features[torch.randint(rows // 2, (rows,), generator=generator)]


def timed(function: Callable[[], Any], repeats: int = 3) -> tuple[Any, float]:
    """The result, and the smallest CPU time in seconds."""
    best, result = float("inf"), None
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        best = min(best, time.process_time() - start)
    return result, best


if __name__ == "__main__":
    main()
