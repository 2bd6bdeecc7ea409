"""What every defense, metric and network keeps to, as checks that a plug-in's author can run.

    import pytest
    from bench.testing import DEFENSE_CHECKS
    from my_package import MyDefense

    @pytest.mark.parametrize("check", DEFENSE_CHECKS, ids=lambda check: check.__name__)
    def test_contract(check):
        check(MyDefense)

A check takes the class of a defense, a metric, or the builder of a network, works on a toy for a moment on the CPU,
and raises `AssertionError` with what was broken.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.core.classifier import Classifier
from bench.core.data import Dataset, Split
from bench.core.models import Network
from bench.core.randomness import make_generator, seeded
from bench.core.threat import Threat
from defenses.base import Attacked, Defense, Objective, Training
from metrics.base import Evaluation, Metric, NotMeasurable

__all__ = [
    "DEFENSE_CHECKS",
    "METRIC_CHECKS",
    "NETWORK_CHECKS",
    "quick",
    "tiny_classifier",
    "tiny_dataset",
]

EPOCHS, BATCH = 4, 8
THREAT = Threat("linf", "0.1")
Shape = tuple[int, int, int]


def tiny_dataset(shape: Shape = (1, 8, 8), classes: int = 3, size: int = 24, seed: int = 0) -> Dataset:
    """Noisy copies of one random image a class, so that a few steps learn something.

    Args:
        shape: (C, H, W).
        classes: K.
        size: images in each of the three splits.
        seed: of the images.
    """
    generator = make_generator(seed, "toy")
    centres = torch.rand(classes, *shape, generator=generator)

    def split() -> Split:
        labels = torch.arange(size) % classes
        images = centres[labels] + 0.1 * torch.randn(size, *shape, generator=generator)
        return Split((images.clamp(0, 1) * 255).round().byte(), labels)

    names = tuple(f"class {number}" for number in range(classes))
    return Dataset("toy", names, split(), split(), split())


def tiny_classifier(shape: Shape = (1, 8, 8), classes: int = 3, seed: int = 0) -> Classifier:
    """A convolution with batch norm, and one hidden layer of 16."""
    channels, height, width = shape
    with seeded(seed, "tiny"):
        backbone = nn.Sequential(
            *(nn.Conv2d(channels, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()),
            nn.Linear(4 * ((height + 1) // 2) * ((width + 1) // 2), 16),
        )
        head = nn.Linear(16, classes)
    return Classifier(backbone, head, activation=nn.ReLU(), site="pre-activation", input_shape=shape)


def quick(kind: type[Defense]) -> Defense:
    """A defense with its defaults, but for what a training of a few epochs on a few images has no room for.

    Hyper-parameters called `steps` become 2, `warmup` 1 epoch and `min_count` 0, in parts of compositions too.
    """
    short = {"steps": 2, "warmup": 1, "min_count": 0}
    names = kind.make({}).hyperparameters()
    return kind.make({name: short[last] for name in names if (last := name.rpartition(".")[2]) in short})


class Run:
    """A toy training under way, one epoch at a time: what the checks drive."""

    def __init__(self, kind: type[Defense], *, shape: Shape = (1, 8, 8), classes: int = 3) -> None:
        self.dataset = tiny_dataset(shape, classes)
        self.classifier = tiny_classifier(shape, classes).train()
        self.defense = quick(kind)
        self.epoch = 0
        training = Training(
            self.classifier, self.dataset.train, THREAT, EPOCHS, 0, BATCH, restart_optimizer=self.restart
        )
        self.objective: Objective = self.defense.objective(training)
        self.restart()

    def restart(self) -> None:
        """A fresh optimizer over what still requires a gradient."""
        weights = [weight for weight in self.classifier.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.SGD(weights, lr=0.01, momentum=0.5)

    def begin(self, epoch: int) -> None:
        """Go to an epoch by way of all before it, without a step."""
        for number in range(self.epoch + 1, epoch + 1):
            self.objective.begin_epoch(number)
        self.epoch = epoch

    def settle(self) -> None:
        """Let batch norm's running statistics meet the data, so that eval mode is near training mode."""
        images, _ = self.dataset.train.batch(slice(0, BATCH))
        with torch.no_grad():
            for _ in range(50):
                self.classifier(images)

    def loss(self, size: int = BATCH) -> Tensor:
        """The loss on the first images."""
        images, labels = self.dataset.train.batch(slice(0, size))
        return self.objective.loss(self.classifier, images, labels)

    def step(self, loss: Tensor) -> None:
        """Follow the gradient of a loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def train_epoch(self) -> None:
        """One pass over the training images in their order, under a global seed of the epoch's own."""
        self.epoch += 1
        self.classifier.train()
        self.objective.begin_epoch(self.epoch)
        with seeded("toy epoch", self.epoch):
            for start in range(0, len(self.dataset.train), BATCH):
                images, labels = self.dataset.train.batch(slice(start, start + BATCH))
                self.step(self.objective.loss(self.classifier, images, labels))

    def state(self) -> dict[str, Any]:
        """All that the training loop keeps in a checkpoint."""
        return {
            "epoch": self.epoch,
            "classifier": copy.deepcopy(self.classifier.state_dict()),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "objective": copy.deepcopy(self.objective.state_dict()),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from such a state, in the training loop's order."""
        self.epoch = state["epoch"]
        self.classifier.load_state_dict(state["classifier"])
        self.objective.load_state_dict(state["objective"])
        self.restart()
        self.optimizer.load_state_dict(state["optimizer"])


def gradients_are_finite(kind: type[Defense]) -> None:
    """In the first and in the last epoch, every trained weight has a finite gradient, and some are not zero."""
    run = Run(kind)
    for epoch in (1, EPOCHS):
        run.begin(epoch)
        run.optimizer.zero_grad(set_to_none=True)
        loss = run.loss()
        assert loss.dim() == 0, f"the loss must be a scalar, got shape {tuple(loss.shape)}"
        loss.backward()
        _check_gradients(run)


def two_steps_change_weights_and_lower_the_loss(kind: type[Defense]) -> None:
    """In the first and in the last epoch, on the same images, the same attack and the same random numbers."""
    for epoch in (1, EPOCHS):
        run = Run(kind)
        run.settle()
        run.begin(epoch)
        images, labels = run.dataset.train.batch(slice(0, BATCH))
        objective, weights, losses = run.objective, _snapshot(run.classifier), []
        attack = objective.attack(run.classifier, images, labels) if isinstance(objective, Attacked) else None
        for _ in range(3):
            # The epoch's random numbers start anew, so that the steps descend one and the same function.
            state = objective.state_dict()
            objective.begin_epoch(epoch)
            objective.load_state_dict(state)
            if isinstance(objective, Attacked):
                loss = objective.loss_on(run.classifier, images, attack, labels)
            else:
                loss = objective.loss(run.classifier, images, labels)
            losses.append(loss.item())
            run.step(loss)
        assert not _equal(weights, _snapshot(run.classifier)), "two steps left all weights as they were"
        shown = ", ".join(f"{loss:.4f}" for loss in losses)
        assert losses[2] < losses[0], f"epoch {epoch}: the loss went {shown}"


def the_same_seed_gives_the_same_weights(kind: type[Defense]) -> None:
    """Two trainings agree bit for bit, whatever the global random state is."""
    results = []
    for seed in (1, 2):
        with seeded(seed, "elsewhere"):
            run = Run(kind)
            for _ in range(EPOCHS):
                run.train_epoch()
        results.append(_snapshot(run.classifier))
    assert _equal(*results), "two trainings with one seed ended in different weights"


def a_saved_state_goes_on_bit_for_bit(kind: type[Defense]) -> None:
    """Saved after any epoch and loaded into a fresh training, it ends in the weights of an uninterrupted one."""
    whole, states = Run(kind), []
    for _ in range(EPOCHS):
        whole.train_epoch()
        states.append(whole.state())
    for state in states[:-1]:
        resumed = Run(kind)
        resumed.load(state)
        while resumed.epoch < EPOCHS:
            resumed.train_epoch()
        message = f"a training that went on after epoch {state['epoch']} ended in different weights"
        assert _equal(_snapshot(whole.classifier), _snapshot(resumed.classifier)), message


def the_loss_leaves_everything_as_it_was(kind: type[Defense]) -> None:
    """Modes, `requires_grad`, gradients, weights and the global random state; stages freeze in `epoch` alone."""
    run = Run(kind)
    frozen_by_hand = run.classifier.backbone[1]  # type: ignore[index]
    frozen_by_hand.eval()
    for epoch in (1, EPOCHS):
        run.begin(epoch)
        run.optimizer.zero_grad(set_to_none=True)
        with _untouched(run.classifier, buffers=False):
            run.loss()
        with _untouched(run.classifier, buffers=True):
            run.objective.report()


def a_single_image_is_enough(kind: type[Defense]) -> None:
    """A batch of one gives a finite loss and finite gradients."""
    run = Run(kind)
    for epoch in (1, EPOCHS):
        run.begin(epoch)
        run.optimizer.zero_grad(set_to_none=True)
        run.loss(size=1).backward()
        _check_gradients(run, some=False)


def two_classes_and_colour_are_enough(kind: type[Defense]) -> None:
    """Two and three classes, grey and colour, and images that are not square."""
    for shape, classes in (((1, 8, 8), 2), ((3, 8, 8), 3), ((3, 8, 9), 2)):
        run = Run(kind, shape=shape, classes=classes)
        for epoch in (1, EPOCHS):
            run.begin(epoch)
            run.optimizer.zero_grad(set_to_none=True)
            run.loss().backward()
            _check_gradients(run)


def bfloat16_autocast_works(kind: type[Defense]) -> None:
    """Under autocast the loss is finite and reaches every weight that it reaches in float32."""
    for epoch in (1, EPOCHS):
        reached = []
        for enabled in (False, True):
            run = Run(kind)
            run.begin(epoch)
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                loss = run.loss()
            loss.backward()
            _check_gradients(run)
            reached.append(
                {name for name, weight in run.classifier.named_parameters() if weight.grad is not None}
            )
        assert reached[0] == reached[1], f"autocast cuts the gradient of {sorted(reached[0] - reached[1])}"


def the_card_is_complete(kind: type[Defense]) -> None:
    """A name, a family, a docstring, a cost, hyper-parameters that come back, defaults inside their ranges."""
    assert kind.name
    assert kind.family
    assert kind.__doc__
    defense = kind.make({})
    values = defense.hyperparameters()
    assert kind.make(values).hyperparameters() == values, "make(hyperparameters()) gives other values"
    texts = {name: str(value) for name, value in values.items() if value is not None}
    assert kind.make(texts).hyperparameters() == values, "hyper-parameters do not survive as text"
    assert defense.forward_units() >= 3 + defense.attack_units() >= 3
    for name, spread in kind.space().items():
        low, high = getattr(spread, "low", None), getattr(spread, "high", None)
        inside = values[name] in spread.values if low is None else low <= values[name] <= high  # type: ignore[union-attr]
        assert inside, f"the default of {name} lies outside its search range"
    objective = Run(kind).objective
    assert isinstance(objective, Attacked) or not kind.attacks, "`attacks` promises an Attacked objective"


#: Checks of a defense's class: `check(MyDefense)`.
DEFENSE_CHECKS: tuple[Callable[[type[Defense]], None], ...] = (
    the_card_is_complete,
    gradients_are_finite,
    two_steps_change_weights_and_lower_the_loss,
    the_same_seed_gives_the_same_weights,
    a_saved_state_goes_on_bit_for_bit,
    the_loss_leaves_everything_as_it_was,
    a_single_image_is_enough,
    two_classes_and_colour_are_enough,
    bfloat16_autocast_works,
)


MetricFactory = Callable[[], Metric]


def scores_are_well_formed(make: MetricFactory) -> None:
    """The main score carries the metric's name and lies in its bounds, or the metric says that it has none."""
    metric, evaluation = make(), toy_evaluation(make())
    try:
        arrays = metric.measure(evaluation)
    except NotMeasurable:
        return
    assert all(isinstance(array, np.ndarray) for array in arrays.values()), "measure must return numpy arrays"
    scores = metric.reduce(arrays)
    assert metric.name in scores, f"no score is called {metric.name!r}; there are {sorted(scores)}"
    for name, score in scores.items():
        assert score.value is not None or score.reason, f"{name} has neither a value nor a reason"
    value, (low, high) = scores[metric.name].value, metric.bounds
    assert value is None or low <= value <= high, f"{metric.name} = {value} lies outside {low} … {high}"


def measuring_twice_gives_the_same(make: MetricFactory) -> None:
    """Randomness comes from the evaluation's generators, never from the global state."""
    results = []
    for seed in (1, 2):
        with seeded(seed, "elsewhere"):
            try:
                results.append(make().measure(toy_evaluation(make())))
            except NotMeasurable:
                return
    first, second = results
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def measuring_leaves_the_network_alone(make: MetricFactory) -> None:
    """Modes, `requires_grad`, gradients, weights, buffers and the global random state."""
    evaluation = toy_evaluation(make())
    assert isinstance(evaluation.classifier, Classifier)
    with _untouched(evaluation.classifier, buffers=True):
        try:
            make().measure(evaluation)
        except NotMeasurable:
            return


def toy_evaluation(metric: Metric) -> Evaluation:
    """A toy with three classes, and the metrics that `metric` needs already measured."""
    from metrics import get as get_metric

    dataset = tiny_dataset()
    images, labels = dataset.test.batch(slice(None))
    evaluation = Evaluation(
        tiny_classifier().eval(), dataset, THREAT, images, labels, torch.arange(len(labels))
    )
    for name in metric.needs:
        evaluation.measured[name] = get_metric(name).measure(evaluation)
    return evaluation


#: Checks of a metric's class, or of a function that makes one: `check(MyMetric)`.
METRIC_CHECKS: tuple[Callable[[MetricFactory], None], ...] = (
    scores_are_well_formed,
    measuring_twice_gives_the_same,
    measuring_leaves_the_network_alone,
)

NetworkBuilder = Callable[[Shape, int], Network]


def logits_and_features_have_their_shapes(builder: NetworkBuilder) -> None:
    """Two and three classes, grey and colour, square or not; all finite."""
    for shape, classes in (((1, 8, 8), 2), ((3, 8, 8), 3), ((3, 16, 9), 3)):
        classifier = _classifier(builder, shape, classes).eval()
        images, _ = tiny_dataset(shape, classes).train.batch(slice(None))
        logits, features = classifier.forward_with_features(images)
        assert logits.shape == (len(images), classes), f"logits of shape {tuple(logits.shape)}"
        assert features.shape == (len(images), classifier.num_features)
        assert torch.isfinite(logits).all(), "logits are not finite"


def weights_depend_on_the_seed_alone(builder: NetworkBuilder) -> None:
    """Equal seeds give equal weights, other seeds others, and building leaves the global random state alone."""
    before = torch.get_rng_state()
    first, again, other = (_snapshot(_classifier(builder, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state()), "building moved the global random state"
    assert _equal(first, again), "one seed gave two networks"
    assert not _equal(first, other), "two seeds gave one network"


def every_weight_learns(builder: NetworkBuilder) -> None:
    """A training step on a batch reaches every parameter with a finite gradient."""
    classifier = _classifier(builder).train()
    images, labels = tiny_dataset().train.batch(slice(None))
    nn.functional.cross_entropy(classifier(images), labels).backward()
    for name, weight in classifier.named_parameters():
        assert weight.grad is not None, f"no gradient reaches {name}"
        assert torch.isfinite(weight.grad).all(), f"the gradient of {name} is not finite"


def images_stand_for_themselves(builder: NetworkBuilder) -> None:
    """In eval mode an image's logits do not depend on the batch it comes in, and two passes agree."""
    classifier = _classifier(builder).eval()
    images, _ = tiny_dataset().train.batch(slice(0, BATCH))
    with torch.no_grad():
        together, again = classifier(images), classifier(images)
        alone = torch.cat([classifier(image) for image in images.split(1)])
    assert torch.equal(together, again), "two passes in eval mode differ"
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


#: Checks of a network's builder `(input_shape, num_classes) -> Network`: `check(my_network)`.
NETWORK_CHECKS: tuple[Callable[[NetworkBuilder], None], ...] = (
    logits_and_features_have_their_shapes,
    weights_depend_on_the_seed_alone,
    every_weight_learns,
    images_stand_for_themselves,
)


def _classifier(
    builder: NetworkBuilder, shape: Shape = (1, 8, 8), classes: int = 3, seed: int = 0
) -> Classifier:
    with seeded(seed, "weights"):
        network = builder(shape, classes)
    assert isinstance(network, Network), f"expected bench.core.models.Network, got {type(network).__name__}"
    return Classifier(
        network.backbone,
        network.head,
        activation=network.activation,
        site=network.site,
        input_shape=shape,
    )


def _check_gradients(run: Run, *, some: bool = True) -> None:
    gradients = {
        name: weight.grad for name, weight in run.classifier.named_parameters() if weight.grad is not None
    }
    bad = [name for name, gradient in gradients.items() if not torch.isfinite(gradient).all()]
    assert not bad, f"epoch {run.epoch}: the gradient of {', '.join(bad)} is not finite"
    assert not some or any(gradient.any() for gradient in gradients.values()), (
        f"epoch {run.epoch}: no weight has a gradient other than zero"
    )


@contextmanager
def _untouched(classifier: Classifier, *, buffers: bool) -> Iterator[None]:
    before = _state_of(classifier, buffers)
    yield
    after = _state_of(classifier, buffers)
    for what, value in before.items():
        assert _same(value, after[what]), f"{what} came out changed"


def _state_of(classifier: Classifier, buffers: bool) -> dict[str, Any]:
    weights = dict(classifier.named_parameters())
    state: dict[str, Any] = {
        "the global random state": {"torch": torch.get_rng_state()},
        "a module's mode": [module.training for module in classifier.modules()],
        "requires_grad": [weight.requires_grad for weight in weights.values()],
        "a parameter's .grad": {
            name: weight.grad.clone() for name, weight in weights.items() if weight.grad is not None
        },
        "a weight": {name: weight.detach().clone() for name, weight in weights.items()},
    }
    if buffers:
        state["a buffer"] = {name: buffer.clone() for name, buffer in classifier.named_buffers()}
    return state


def _same(first: Any, second: Any) -> bool:
    return _equal(first, second) if isinstance(first, dict) else first == second


def _snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def _equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
