"""Seconds of an epoch of each defense beside a plain loop, and images a second of attacks."""

import statistics
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.attacks import ATTACKS
from bench.core.classifier import Classifier
from bench.core.guards import evaluating, full_precision
from bench.core.randomness import make_generator
from bench.data import Dataset, Split
from bench.training.loop import train
from bench.training.validation import validate
from benchmarks.gpu.agreement import trained
from benchmarks.gpu.common import THREAT, Report, Size, can_train, network, recipe, smaller, some, timed
from defenses import get

#: Rows of the table: a defense and its hyper-parameters.
ROWS: dict[str, tuple[str, dict[str, object]]] = {
    "standard": ("standard", {}),
    "at, PGD-10": ("at", {"steps": 10}),
    "at, PGD-20": ("at", {"steps": 20}),
    "fast": ("fast", {}),
    "prs": ("prs", {}),
    "mr": ("mr", {}),
    "jacobian": ("jacobian", {}),
}


def time_training(
    report: Report,
    name: str,
    dataset: Dataset,
    size: Size,
    device: torch.device,
    rows: Sequence[str],
    precisions: Sequence[str],
) -> None:
    """Seconds of an epoch: each defense through the project's loop, and the plain loop in two precisions.

    Args:
        rows: of `ROWS`; all where there is none.
        precisions: of the project's loop.
    """
    split = some(dataset.train, size.steps * size.batch).to(device)
    images = len(split)
    plain = plain_loop(name, dataset, split, size, device, fast=False)
    report.time(f"{name}: plain loop, float32", plain, images, 1.0)
    fast = plain_loop(name, dataset, split, size, device, fast=True)
    report.time(f"{name}: plain loop, bfloat16, channels innermost", fast, images, fast / plain)
    if device.type == "cuda":
        compiled = plain_loop(name, dataset, split, size, device, fast=True, compiled=True)
        report.time(f"{name}: the same, compiled", compiled, images, compiled / plain)
    few = Dataset(dataset.name, dataset.classes, split, split.take(0), split.take(0))
    for precision in precisions:
        for row in rows or ROWS:
            defense, values = ROWS[row]
            if not can_train(defense, precision):
                continue
            seconds: list[float] = []

            def keep(row: dict[str, object], seconds: list[float] = seconds) -> None:
                seconds.append(float(str(row["seconds"])))

            train(
                get(defense).make(values),
                network(name, dataset, device),
                few,
                recipe(size.batch),
                THREAT,
                epochs=4,
                seed=0,
                precision=precision,
                on_epoch=keep,
            )
            median = statistics.median(seconds[1:])
            report.time(f"{name}: {row}, {precision}", median, images, median / plain)


def plain_loop(
    name: str,
    dataset: Dataset,
    split: Split,
    size: Size,
    device: torch.device,
    *,
    fast: bool,
    compiled: bool = False,
) -> float:
    """Seconds of one pass of a loop that a researcher would write: crop, flip, forward, backward, SGD.

    Args:
        fast: bfloat16 autocast, weights and images with channels innermost, fused SGD.
        compiled: by `torch.compile`, with its own captured graphs.
    """
    classifier = network(name, dataset, device).train()
    layout = torch.channels_last if fast else torch.contiguous_format
    if fast:
        classifier.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        classifier.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True, fused=fast
    )
    context = torch.autocast(device.type, torch.bfloat16) if fast else nullcontext()
    logits = torch.compile(classifier, mode="reduce-overhead") if compiled else classifier

    def one_pass() -> float:
        with timed(device) as seconds:
            for index in torch.randperm(len(split), device=device).split(size.batch):
                images, labels = split.batch(index)
                images = augmented(images).contiguous(memory_format=layout)
                with context:
                    loss = F.cross_entropy(logits(images).float(), labels)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
        return seconds[0]

    return statistics.median([one_pass() for _ in range(4)][1:])


def augmented(images: Tensor) -> Tensor:
    """A random crop after padding by four pixels, one for the batch, and a flip of each image."""
    top, left = (int(offset) for offset in torch.randint(9, (2,)))
    padded = F.pad(images, (4, 4, 4, 4))[:, :, top : top + images.shape[2], left : left + images.shape[3]]
    flip = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(flip, padded.flip(3), padded)


def time_attacks(report: Report, name: str, dataset: Dataset, size: Size, device: torch.device) -> None:
    """Images a second of PGD-20 on a network that withstands it in part."""
    few = smaller(dataset, size.images, 2 * size.compared).to(device)
    classifier = trained(name, few, device, epochs=3)
    images, labels = some(dataset.test, size.compared).to(device).batch(slice(None))
    for bf16 in (False, True):
        with evaluating(classifier), full_precision():
            attack(classifier, images, labels, bf16)
            with timed(device) as seconds:
                robust = attack(classifier, images, labels, bf16)
        words = "bfloat16, confirmed" if bf16 else "float32"
        report.time(f"{name}: PGD-20, {robust:.1%} robust, {words}", seconds[0], len(images))
        with timed(device) as seconds:
            validate(classifier, few, THREAT, 0, "bf16" if bf16 else "fp32")
        report.time(f"{name}: validation, {words}", seconds[0], len(few.validation))


def attack(classifier: Classifier, images: Tensor, labels: Tensor, bf16: bool) -> float:
    """Robust accuracy under PGD-20."""
    result = ATTACKS["pgd20"](
        classifier, images, labels, THREAT, make_generator("gpu"), batch_size=1000, bf16=bf16
    )
    return 1 - float(result.broken.float().mean())
