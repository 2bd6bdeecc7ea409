"""Regions and curvature beside straightforward implementations.

python -m benchmarks.speed.geometry    # ten million rows: time, and memory, which may not exceed two GiB

Of the estimators of curvature the default is second differences of logits. The other two are more accurate
but take more time.
"""

import resource
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.core.gradients import input_gradients
from bench.geometry.curvature import mean_curvature, unit_vectors
from bench.geometry.regions import count_regions, membership, pack
from benchmarks.speed.rows import Row, in_turn, timed

BATCH = 500
#: Largest memory of the process for ten million rows.
GIBIBYTES = 2.0


def main() -> None:
    """Count ten million rows."""
    torch.set_num_threads(1)
    many_rows(10_000_000)


def rows(rounds: int, full: bool) -> Iterator[Row]:
    """Regions, curvature and the gradients of a step of DeepFool; `full` takes the sizes of a paper."""
    yield from regions(rounds, count=50_000 if full else 10_000)
    yield from curvature(rounds, side=32 if full else 12, directions=100 if full else 20)
    for images in (4, 50):
        yield class_gradients(rounds, images)


def compare(work: str, peer: str, ours: Callable[[], Any], naive: Callable[[], Any], rounds: int) -> Row:
    """Check that both give the same result, then time them."""
    np.testing.assert_allclose(ours(), naive(), rtol=1e-4, err_msg=work)
    return in_turn(work, peer, "equal to 1e-4", ours, naive, rounds, warm=True)


def regions(rounds: int, count: int, width: int = 512) -> Iterator[Row]:
    """Compare PRS ratio and inclusion ratio from float features with `numpy.unique` on boolean rows."""
    train = repeated_features(count, width, seed=0)
    test = torch.cat([train[: count // 10], repeated_features(count // 10, width, seed=1)])

    def patterns(features: Tensor) -> np.ndarray:
        return np.concatenate([pack(batch) for batch in features.split(BATCH)])

    def naive_inclusion() -> np.ndarray:
        both = np.concatenate([train.numpy() > 0, test.numpy() > 0])
        _, ids = np.unique(both, axis=0, return_inverse=True)
        return np.isin(ids[len(train) :], ids[: len(train)])

    yield compare(
        f"PRS ratio, {count:,} x {width}",
        "numpy.unique",
        lambda: count_regions(patterns(train)),
        lambda: len(np.unique(train.numpy() > 0, axis=0)),
        rounds,
    )
    yield compare(
        f"inclusion ratio, {len(test):,} in {count:,} x {width}",
        "numpy.unique and isin",
        lambda: membership(patterns(test), patterns(train)),
        naive_inclusion,
        rounds,
    )


def curvature(rounds: int, side: int, directions: int, images: int = 16, classes: int = 10) -> Iterator[Row]:
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
    for estimator in ("second_difference", "gradient_difference", "softplus"):
        yield compare(
            f"curvature, {estimator}, {images} x 3x{side}x{side}, T = {directions}",
            "a Hessian-vector product per class and direction",
            partial(score, estimator),
            partial(hessian_vector_products, network, points, unit),
            rounds,
        )


def smooth_network(side: int, classes: int) -> nn.Sequential:
    """Two convolutions and two linear layers with softplus between them."""
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.Softplus(), nn.AvgPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.Softplus(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * (side // 4) ** 2, 64), nn.Softplus(), nn.Linear(64, classes)),
    ).eval()


def class_gradients(rounds: int, images: int, side: int = 32, classes: int = 10) -> Row:
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

    work = f"gradients of {classes} classes, {images} x 3x{side}x{side}"
    return compare(work, "two passes per class", shared, class_by_class, rounds)


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


def many_rows(rows: int, words: int = 8) -> None:
    """Count patterns whose number is known, and print time and memory."""
    generator = np.random.default_rng(0)
    distinct = rows // 4
    patterns = np.empty((rows, words), dtype=np.uint64)
    # A row is an injective function of its number k, and every k below `distinct` occurs.
    patterns[:] = generator.permutation(np.arange(rows, dtype=np.uint64) % np.uint64(distinct))[:, None]
    patterns *= generator.integers(1, 2**63, words, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    found: list[int] = []
    seconds, _ = timed(lambda: found.append(count_regions(patterns)))
    assert found == [distinct]
    unit = 1024 if sys.platform != "darwin" else 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
    print(
        f"{rows:,} x {64 * words} bits: {distinct:,} regions in {seconds:.1f} s, process peak {peak:.2f} GiB"
    )
    if peak > GIBIBYTES:
        sys.exit(f"{peak:.2f} GiB, at most {GIBIBYTES:g} were expected")


def repeated_features(rows: int, width: int, seed: int) -> Tensor:
    """Normal features in which every sign pattern occurs about twice."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(rows // 2, width, generator=generator)
    return features[torch.randint(rows // 2, (rows,), generator=generator)]


if __name__ == "__main__":
    main()
