"""What a network is like in the middle of its training: the points of a study over many models."""

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
from bench.training.loop import Row

#: A network as it stands after an epoch, and the number of the epoch, to what the history should say.
Probe = Callable[[Classifier, int], Row]

#: The keys of a probed epoch in the history; `probe_attacked` beside them is the n of the robust accuracy, and
#: `bench.geometry.cosines.COSINES` the final layer's matrix.
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
#: Where a classifier's features Z come from, as `bench.geometry.layers` calls it.
FEATURES = "backbone"


def make_probe(dataset: Dataset, threat: Threat, *, every: int, images: int, epochs: int, seed: int) -> Probe:
    """A probe for `bench.training.loop.train` that looks at every `every`-th epoch, and at the last one.

    Args:
        dataset: on the device to train on; its test images are only looked at, nothing is chosen by them.
        threat: of the robust accuracy.
        every: epochs between two looks.
        images: test images to attack; all where there are fewer.
        epochs: of the whole training.
        seed: of the attack's start, the same at every look, so that looks differ in the network alone.
    """

    def probe(classifier: Classifier, epoch: int) -> Row:
        if epoch % every and epoch != epochs:
            return {}
        return look(classifier, dataset, threat, images=images, seed=seed)

    return probe


def look(classifier: Classifier, dataset: Dataset, threat: Threat, *, images: int, seed: int) -> Row:
    """Every quantity of `QUANTITIES` for a network in eval mode (P1, sections 2.2, 3.2 and 3.3; P2, section 6).

    Accuracy and inclusion ratio are over the whole test set, robust accuracy over its first `images` under PGD-20,
    PRS ratio and sparsity over the whole unaugmented training set. Sparsity is the mean over activation layers of
    the share of exact zeros, and None for a network without such a layer. Of up to 20 classes the final layer's
    cosines are there one by one as well.

    Args:
        classifier: in eval mode; it stays as it is, and so does the global random state.
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
    """Packed sign patterns [N, W], and the sparsity, of one pass."""
    layers = find_layers(classifier, split.batch(slice(0, 1))[0])
    chosen = [layer for layer in layers if layer.kind == "activation" or layer.name == FEATURES]
    rows: list[Patterns] = []
    zeros: dict[str, list[Tensor]] = {layer.name: [] for layer in chosen if layer.kind == "activation"}

    def see(layer: Layer, output: Tensor) -> None:
        if layer.kind == "activation":
            zeros[layer.name].append((output == 0).sum())
        else:
            rows.append(pack(output))

    observe(classifier, chosen, (images for images, _ in _batches(split)), see)
    widths = {layer.name: layer.width for layer in chosen}
    shares = [int(sum(counts)) / (len(split) * widths[name]) for name, counts in zeros.items()]
    return np.concatenate(rows), float(np.mean(shares)) if shares else None


@torch.no_grad()
def _test_patterns(classifier: Classifier, split: Split) -> tuple[Patterns, float]:
    """Packed sign patterns [N, W], and the share that is classified correctly."""
    rows, right = [], 0
    for images, labels in _batches(split):
        logits, features = classifier.forward_with_features(images)
        rows.append(pack(features))
        right += int((logits.argmax(dim=1) == labels).sum())
    return np.concatenate(rows), right / len(split)
