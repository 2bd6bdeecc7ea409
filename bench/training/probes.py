"""Probes of a network during its training: the data points of studies over many models."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from bench.attacks import ATTACKS
from bench.core.classifier import Classifier
from bench.core.guards import full_precision
from bench.core.randomness import make_generator
from bench.core.threat import Threat
from bench.data import Dataset, Split
from bench.geometry.cosines import COSINES, MOST_CLASSES, cosine_matrix, mean_off_diagonal, upper_triangle
from bench.geometry.layers import Layer, find_layers, observe
from bench.geometry.regions import Patterns, count_regions, membership, pack
from bench.training.history import HistoryRow

#: From a network after an epoch, and the number of the epoch, to the quantities that its history row gets.
Probe = Callable[[Classifier, int], HistoryRow]

#: Keys of a probed epoch in the history. Beside them stand `probe_attacked`, the number of images behind the robust
#: accuracy, and `bench.geometry.cosines.COSINES`, the final layer's matrix.
QUANTITIES = (
    "probe_accuracy",
    "probe_robust_accuracy",
    "prs_ratio",
    "inclusion_ratio",
    "final_layer_cosine",
    "sparsity",
)
#: P1 measures robustness over many models with PGD-20 (section 3.2).
ATTACK = "pgd20"
BATCH_SIZE = 500
#: The layer of a classifier's features Z, by its name in `bench.geometry.layers`.
FEATURES = "backbone"


def make_probe(dataset: Dataset, threat: Threat, *, every: int, images: int, epochs: int, seed: int) -> Probe:
    """Make a probe for `bench.training.loop.train` that measures every `every`-th epoch, and the last one.

    Args:
        dataset: on the device to train on; the test images have no influence on the training.
        threat: of the robust accuracy.
        every: epochs between two measurements.
        images: test images to attack; all where there are fewer.
        epochs: of the whole training.
        seed: of the attack's start, which is the same each time, so that only the network changes.
    """

    def probe(classifier: Classifier, epoch: int) -> HistoryRow:
        if epoch % every and epoch != epochs:
            return {}
        return probe_network(classifier, dataset, threat, images=images, seed=seed)

    return probe


def probe_network(
    classifier: Classifier, dataset: Dataset, threat: Threat, *, images: int, seed: int
) -> HistoryRow:
    """Measure every quantity of `QUANTITIES` on a network (P1, sections 2.2, 3.2 and 3.3; P2, section 6).

    Accuracy and inclusion ratio are over the whole test set, robust accuracy over its first `images` under PGD-20,
    PRS ratio and sparsity over the whole unaugmented training set. Sparsity is the mean over activation layers of
    the share of exact zeros, and None for a network without such a layer. With up to 20 classes, the matrix of the
    final layer's cosines is included.

    Args:
        classifier: in eval mode; it is left unchanged, and so is the global random state.
        dataset: on the classifier's device.
        threat: of PGD-20.
        images: test images to attack; all where there are fewer.
        seed: of the attack's start.

    Raises:
        NotFinite: when the network gives NaN.
    """
    attacked, labels = dataset.test.batch(slice(0, images))
    generator = make_generator(seed, "probe", ATTACK)
    cosines = cosine_matrix(classifier.head.weight)
    with full_precision():
        train, sparsity = _train_patterns(classifier, dataset.train)
        test, accuracy = _test_patterns(classifier, dataset.test)
        result = ATTACKS[ATTACK](classifier, attacked, labels, threat, generator, batch_size=BATCH_SIZE)
    return {
        "probe_accuracy": accuracy,
        "probe_robust_accuracy": 1 - int(result.broken.sum()) / len(labels),
        "probe_attacked": len(labels),
        "prs_ratio": count_regions(train) / len(train),
        "inclusion_ratio": float(membership(test, train).mean()),
        "final_layer_cosine": mean_off_diagonal(cosines),
        "sparsity": sparsity,
        **({COSINES: upper_triangle(cosines)} if len(cosines) <= MOST_CLASSES else {}),
    }


def _batches(split: Split) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(split), BATCH_SIZE):
        yield split.batch(slice(start, start + BATCH_SIZE))


def _train_patterns(classifier: Classifier, split: Split) -> tuple[Patterns, float | None]:
    """Packed sign patterns [N, W] and sparsity of the training images, in one pass."""
    layers = find_layers(classifier, split.batch(slice(0, 1))[0])
    chosen = [layer for layer in layers if layer.kind == "activation" or layer.name == FEATURES]
    rows: list[Patterns] = []
    zeros: dict[str, list[Tensor]] = {layer.name: [] for layer in chosen if layer.kind == "activation"}

    def collect(layer: Layer, output: Tensor) -> None:
        if layer.kind == "activation":
            zeros[layer.name].append((output == 0).sum())
        else:
            rows.append(pack(output))

    observe(classifier, chosen, (images for images, _ in _batches(split)), collect)
    widths = {layer.name: layer.width for layer in chosen}
    shares = [int(sum(counts)) / (len(split) * widths[name]) for name, counts in zeros.items()]
    return np.concatenate(rows), float(np.mean(shares)) if shares else None


@torch.no_grad()
def _test_patterns(classifier: Classifier, split: Split) -> tuple[Patterns, float]:
    """Packed sign patterns [N, W] of the test images, and accuracy, in one pass."""
    rows, right = [], 0
    for images, labels in _batches(split):
        logits, features = classifier.forward_with_features(images)
        rows.append(pack(features))
        right += int((logits.argmax(dim=1) == labels).sum())
    return np.concatenate(rows), right / len(split)
