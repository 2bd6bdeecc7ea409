"""What makes two networks from elsewhere the same: more than their weights."""

import torch

from bench.core.checks import SAME_LOGITS, moved_between
from bench.core.classifier import AnyClassifier, WrappedClassifier
from bench.core.guards import evaluating, random_state_kept
from bench.core.names import identity
from bench.core.registry import load_object
from bench.core.source import source_digest
from bench.data import Dataset
from bench.models.loaders import names_code

#: Test images whose classes stand for a network.
IMAGES = 256
#: Noise on them, uniform up to this: transformations of the input may leave clean images as they are.
NOISE = 0.1


def network_identity(classifier: AnyClassifier, dataset: Dataset, loader: str | None) -> str:
    """Eight hex digits that identify a stranger's network; "" for one of ours, which its weights identify.

    Two networks with the same weights can differ in how they treat their input. So the digits depend on the loader,
    on the code of its module, on the classes of the network's parts, and on its predictions; those of a stochastic
    network do not count.

    Args:
        classifier: on the data's device.
        dataset: whose test images it is asked about.
        loader: as for `make_network`; None for a network given from Python.
    """
    if not isinstance(classifier, WrappedClassifier):
        return ""
    code = source_digest(load_object(loader, "loader")) if loader and names_code(loader) else ""
    parts = [type(part).__qualname__ for part in classifier.module.modules()]
    return identity(
        {"loader": loader, "code": code, "parts": parts, "answers": _answers(classifier, dataset)}
    )


@torch.no_grad()
def _answers(classifier: AnyClassifier, dataset: Dataset) -> object:
    """Predicted classes and the size of the logits, which survive rounding; None for a stochastic network."""
    images, _ = dataset.test.batch(slice(0, IMAGES))
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0)).to(images.device)
    images = (images + NOISE * (2 * noise - 1)).clamp(0, 1)
    with evaluating(classifier), random_state_kept(0):
        first, second = classifier(images), classifier(images)
    if not moved_between(first, second) <= SAME_LOGITS:
        return None
    return first.argmax(dim=1).tolist(), f"{first.abs().double().mean():.1e}"
