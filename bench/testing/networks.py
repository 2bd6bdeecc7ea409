"""What every network keeps to."""

from collections.abc import Callable

import torch
from torch import nn

from bench.core.classifier import Classifier
from bench.core.errors import UserError
from bench.models import Network, make_classifier
from bench.testing.state import equal, snapshot
from bench.testing.toys import BATCH, Shape, tiny_dataset

NetworkBuilder = Callable[..., Network | nn.Module]

#: Images and classes that a network must take. A builder for one data set says its own in an attribute `only`.
SHAPES: tuple[tuple[Shape, int], ...] = (((1, 8, 8), 2), ((3, 8, 8), 3), ((3, 16, 9), 3))


def logits_and_features_have_their_shapes(builder: NetworkBuilder) -> None:
    """Two and three classes, grey and colour, square or not; all finite."""
    for shape, classes in getattr(builder, "only", SHAPES):
        classifier = _classifier(builder, shape, classes).eval()
        images, _ = tiny_dataset(shape, classes).train.batch(slice(None))
        logits = classifier(images)
        assert logits.shape == (len(images), classes), f"logits of shape {tuple(logits.shape)}"
        assert torch.isfinite(logits).all(), "logits are not finite"
        if classifier.site == "none":
            continue
        features = classifier.features(images)
        wanted = (len(images), classifier.num_features)
        assert features.shape == wanted, f"features of shape {tuple(features.shape)}, expected {wanted}"


def weights_depend_on_the_seed_alone(builder: NetworkBuilder) -> None:
    """Equal seeds give equal weights, other seeds others, and building leaves the global random state alone."""
    before = torch.get_rng_state()
    first, again, other = (snapshot(_classifier(builder, *_usual(builder), seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state()), "building moved the global random state"
    assert equal(first, again), "one seed gave two networks"
    assert not equal(first, other), "two seeds gave one network"


def every_weight_learns(builder: NetworkBuilder) -> None:
    """A training step on a batch reaches every parameter with a finite gradient."""
    classifier = _classifier(builder, *_usual(builder)).train()
    images, labels = tiny_dataset(*_usual(builder)).train.batch(slice(None))
    nn.functional.cross_entropy(classifier(images), labels).backward()
    for name, weight in classifier.named_parameters():
        assert weight.grad is not None, f"no gradient reaches {name}"
        assert torch.isfinite(weight.grad).all(), f"the gradient of {name} is not finite"


def images_stand_for_themselves(builder: NetworkBuilder) -> None:
    """In eval mode an image's logits do not depend on the batch it comes in, and two passes agree."""
    classifier = _classifier(builder, *_usual(builder)).eval()
    images, _ = tiny_dataset(*_usual(builder)).train.batch(slice(0, BATCH))
    with torch.no_grad():
        together, again = classifier(images), classifier(images)
        alone = torch.cat([classifier(image) for image in images.split(1)])
    assert torch.equal(together, again), "two passes in eval mode differ"
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


#: Checks of a network's builder or of a class that makes one: `check(my_network)`.
NETWORK_CHECKS: tuple[Callable[[NetworkBuilder], None], ...] = (
    logits_and_features_have_their_shapes,
    weights_depend_on_the_seed_alone,
    every_weight_learns,
    images_stand_for_themselves,
)


def _usual(builder: NetworkBuilder) -> tuple[Shape, int]:
    """The shape and the number of classes of checks that need one."""
    only: tuple[tuple[Shape, int], ...] = getattr(builder, "only", ())
    return only[0] if only else ((1, 8, 8), 3)


def _classifier(builder: NetworkBuilder, shape: Shape, classes: int, seed: int = 0) -> Classifier:
    try:
        return make_classifier(builder, "under test", input_shape=shape, num_classes=classes, seed=seed)
    except UserError as error:
        raise AssertionError(str(error)) from error
