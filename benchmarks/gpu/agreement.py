"""Whether a CUDA device gives the CPU's answers, and the same bits again."""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch.nn import functional as F

from bench.attacks import ATTACKS
from bench.core.classifier import Classifier
from bench.core.guards import full_precision
from bench.core.randomness import make_generator
from bench.data import Dataset
from bench.geometry.curvature import mean_curvature
from bench.geometry.regions import count_regions, pack
from bench.training.graph import Stepper
from bench.training.loop import train
from bench.training.recipe import make_recipe
from benchmarks.gpu.common import THREAT, Report, Size, can_train, network, random_data, smaller, some
from defenses import get


def trained(
    name: str,
    dataset: Dataset,
    device: torch.device,
    *,
    defense: str = "at",
    epochs: int = 1,
    precision: str = "fp32",
    words: str = "paper,batch_size=128",
    checkpoint: Path | None = None,
    stop: int | None = None,
) -> Classifier:
    """A network trained on the device.

    Args:
        words: the recipe.
        checkpoint: to resume from, and to write.
        stop: the epoch after which the training is interrupted.
    """

    class Interrupted(Exception):
        pass

    def interrupt(row: dict[str, object]) -> None:
        if row["epoch"] == stop:
            raise Interrupted

    classifier = network(name, dataset, device)
    chosen = get(defense).make({"steps": 3} if defense == "at" else {})
    with suppress(Interrupted):
        train(
            chosen,
            classifier,
            dataset.to(device),
            make_recipe(words),
            THREAT,
            epochs=epochs,
            seed=0,
            precision=precision,
            checkpoint=checkpoint,
            on_epoch=interrupt,
        )
    return classifier.eval()


def compare_devices(report: Report, name: str, dataset: Dataset, size: Size, device: torch.device) -> None:
    """Both devices answer for the same weights, images and random starts."""
    few = smaller(dataset, size.images, 200)
    there = trained(name, few, device, epochs=3)
    here = network(name, dataset, torch.device("cpu")).eval()
    here.load_state_dict({key: value.cpu() for key, value in there.state_dict().items()})
    images, labels = some(dataset.test, size.compared).batch(slice(None))
    moved, moved_labels = images.to(device), labels.to(device)
    with torch.no_grad(), full_precision():
        logits, features = here.forward_with_features(images)
        other, other_features = there.forward_with_features(moved)
    accuracy = float((logits.argmax(dim=1) == labels).float().mean())
    report.agree(f"{name}: accuracy of the compared network (of {len(labels)})", accuracy, 0.2, "below")
    scale = float(logits.abs().max())
    report.agree(
        f"{name}: largest difference of logits, relative",
        float((other.cpu() - logits).abs().max()) / scale,
        1e-4,
    )
    same = float((other.argmax(dim=1).cpu() == logits.argmax(dim=1)).float().mean())
    report.agree(f"{name}: same class", same, 0.999, "below")
    difference = F.cross_entropy(other, moved_labels).cpu() - F.cross_entropy(logits, labels)
    report.agree(f"{name}: difference of the cross-entropy", float(difference.abs()), 1e-4)

    patterns, other_patterns = pack(features), pack(other_features)
    bits = float(((features > 0) != (other_features.cpu() > 0)).float().mean())
    report.agree(f"{name}: share of signs that differ", bits, 1e-5)
    regions = abs(count_regions(patterns) - count_regions(other_patterns)) / len(patterns)
    report.agree(f"{name}: difference of the PRS ratio", regions, 2e-3)

    for attack in ("fgsm", "pgd20", "cw"):
        with full_precision():
            ours = ATTACKS[attack](here, images, labels, THREAT, make_generator("gpu", attack))
            theirs = ATTACKS[attack](there, moved, moved_labels, THREAT, make_generator("gpu", attack))
        robust, other_robust = (1 - float(result.broken.float().mean()) for result in (ours, theirs))
        report.agree(
            f"{name}: {attack}: images with another outcome",
            float((ours.broken != theirs.broken.cpu()).float().mean()),
            5e-3,
        )
        report.agree(
            f"{name}: {attack}: difference of robust accuracy {robust:.3f}", abs(robust - other_robust), 5e-3
        )

    with full_precision():
        curved = mean_curvature(here, images[: size.curved], make_generator("gpu", "curvature")).score
        others = mean_curvature(there, moved[: size.curved], make_generator("gpu", "curvature")).score.cpu()
    finite = np.isfinite(curved.numpy()) & np.isfinite(others.numpy())
    spread = float(curved[finite].abs().median())
    far = float((curved - others)[finite].abs().median())
    report.agree(
        f"{name}: mean curvature, median difference over median size {spread:.2g}", far / spread, 1e-2
    )


def repeat_and_resume(
    report: Report, name: str, size: Size, device: torch.device, precisions: Sequence[str]
) -> None:
    """The same training again, here and in another process, interrupted and resumed, and without captured steps."""
    other_process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gpu", "--weights-of", name, "--device", str(device)]
        + ["--precisions", *precisions]
        + (["--small"] if size.batch < 128 else []),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        first = weights_of_trainings(name, size, device, precisions)
        again = weights_of_trainings(name, size, device, precisions)
        resumed = weights_of_trainings(name, size, device, precisions, interrupted=True)
        with patch("bench.training.loop.Stepper", partial(Stepper, capture=False)):
            eager = weights_of_trainings(name, size, device, precisions)
        elsewhere = json.loads(other_process.communicate()[0].strip().splitlines()[-1])
    finally:
        other_process.kill()
    kinds = {"repeated": again, "resumed": resumed, "eager": eager, "of a second process": elsewhere}
    for training, bits in first.items():
        for kind, others in kinds.items():
            report.agree(
                f"{name}: {training}: weights {kind}, other bits", float(others[training] != bits), 0
            )


def weights_of_trainings(
    name: str, size: Size, device: torch.device, precisions: Sequence[str], *, interrupted: bool = False
) -> dict[str, str]:
    """Defense and precision → a digest of the weights after two short epochs.

    Args:
        interrupted: stop after the first epoch, and go on from its checkpoint.
    """
    few, words = smaller(random_data(size), 4 * size.batch, 0), f"strong,batch_size={size.batch}"
    digests = {}
    for defense in ("standard", "at", "fast", "jacobian", "prs", "mr"):
        for precision in precisions:
            if not can_train(defense, precision):
                continue
            train_it = partial(
                trained, name, few, device, defense=defense, epochs=2, precision=precision, words=words
            )
            with tempfile.TemporaryDirectory() as folder:
                checkpoint = Path(folder) / "checkpoint.pt" if interrupted else None
                if interrupted:
                    train_it(checkpoint=checkpoint, stop=1)
                weights = train_it(checkpoint=checkpoint).state_dict().values()
            bits = b"".join(weight.cpu().contiguous().numpy().tobytes() for weight in weights)
            digests[f"{defense} {precision}"] = hashlib.sha256(bits).hexdigest()
    return digests
