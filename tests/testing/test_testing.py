"""The contract suite itself: ours pass, and each promise has a plug-in that breaks it and is caught."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

from bench import testing
from bench.core.record import Score
from bench.models import MODELS, Network
from bench.testing import METRIC_CHECKS, NETWORK_CHECKS, quick
from defenses import Defense, Objective, Training, get
from defenses.space import Uniform
from metrics import METRICS, Evaluation, Metric
from metrics import get as get_metric

CHEAP = [name for name in METRICS.names() if not name.startswith(("robust", "security", "detection"))]


@pytest.mark.parametrize("name", CHEAP)
@pytest.mark.parametrize("check", METRIC_CHECKS, ids=lambda check: check.__name__)
def test_our_metrics_keep_the_contract(name: str, check: Callable[..., None]) -> None:
    check(lambda: get_metric(name))


@pytest.mark.parametrize("name", ["cnn6", "mnist4", "lenet"])
@pytest.mark.parametrize("check", NETWORK_CHECKS, ids=lambda check: check.__name__)
def test_our_networks_keep_the_contract(name: str, check: Callable[..., None]) -> None:
    check(MODELS.get(name))


class Loss(Objective):
    """Cross-entropy, with a fault that a subclass puts into `spoil`."""

    drawn = 0.0

    def epoch(self, number: int) -> None:
        self.drawn = 0.0

    def loss(self, classifier: Any, images: Tensor, labels: Tensor) -> Tensor:
        return self.spoil(classifier, images, self.cross_entropy(classifier(images), labels))

    def spoil(self, classifier: Any, images: Tensor, loss: Tensor) -> Tensor:
        return loss


class NaN(Loss):
    def spoil(self, classifier: Any, images: Tensor, loss: Tensor) -> Tensor:
        return loss * torch.nan


class Uphill(Loss):
    def spoil(self, classifier: Any, images: Tensor, loss: Tensor) -> Tensor:
        return 2 * loss.detach() - loss


class GlobalNoise(Loss):
    def spoil(self, classifier: Any, images: Tensor, loss: Tensor) -> Tensor:
        return loss * (1 + torch.rand(()))


class LeftInEval(Loss):
    def spoil(self, classifier: Any, images: Tensor, loss: Tensor) -> Tensor:
        classifier.eval()
        return loss


class Forgetful(Loss):
    """Its weight grows over the epochs, and no state remembers it."""

    def epoch(self, number: int) -> None:
        self.drawn += 1

    def spoil(self, classifier: Any, images: Tensor, loss: Tensor) -> Tensor:
        return self.drawn * loss


class NeedsABatch(Loss):
    def spoil(self, classifier: Any, images: Tensor, loss: Tensor) -> Tensor:
        return loss + images.std(dim=0, correction=1).mean() * loss


class NeedsTen(Loss):
    def spoil(self, classifier: Any, images: Tensor, loss: Tensor) -> Tensor:
        assert classifier.num_classes >= 3, "three classes are the least"
        return loss


class HeadAlone(Loss):
    """In low precision it trains the head alone."""

    def loss(self, classifier: Any, images: Tensor, labels: Tensor) -> Tensor:
        logits, features = classifier.forward_with_features(images)
        if logits.dtype == torch.bfloat16:
            logits = classifier.head(features.detach())
        return self.cross_entropy(logits, labels)


@dataclass(frozen=True, kw_only=True)
class Spoiled(Defense):
    """A defense whose objective has a fault."""

    name: ClassVar[str] = "spoiled"
    family: ClassVar[str] = "test"
    fault: ClassVar[type[Loss]] = Loss

    def objective(self, training: Training) -> Objective:
        return self.fault(training)


@pytest.mark.parametrize("check", testing.DEFENSE_CHECKS, ids=lambda check: check.__name__)
def test_a_sound_plug_in_passes(check: Callable[[type[Defense]], None]) -> None:
    check(Spoiled)


@pytest.mark.parametrize(
    ("check", "fault", "message"),
    [
        (testing.gradients_are_finite, NaN, "not finite"),
        (testing.two_steps_change_weights_and_lower_the_loss, Uphill, "the loss went"),
        (testing.the_same_seed_gives_the_same_weights, None, "one seed"),
        (testing.a_saved_state_goes_on_bit_for_bit, Forgetful, "went on after epoch 1"),
        (testing.the_loss_leaves_everything_as_it_was, GlobalNoise, "global random state"),
        (testing.the_loss_leaves_everything_as_it_was, LeftInEval, "a module's mode"),
        (testing.a_single_image_is_enough, NeedsABatch, "not finite"),
        (testing.two_classes_and_colour_are_enough, NeedsTen, "three classes"),
        (testing.bfloat16_autocast_works, HeadAlone, "autocast cuts the gradient of"),
    ],
    ids=lambda value: getattr(value, "__name__", "")[:40],
)
@pytest.mark.filterwarnings("ignore:std")
def test_each_fault_is_caught(check: Callable[..., None], fault: type[Loss] | None, message: str) -> None:
    class Faulty(Spoiled):
        pass

    Faulty.fault = fault or _unseeded()
    with pytest.raises(AssertionError, match=message):
        check(Faulty)


def _unseeded() -> type[Loss]:
    """A loss that counts across trainings, as one that read a clock would."""
    calls = iter(range(10**6))

    class Unseeded(Loss):
        def spoil(self, classifier: Any, images: Tensor, loss: Tensor) -> Tensor:
            return loss * (1 + next(calls))

    return Unseeded


@dataclass(frozen=True, kw_only=True)
class OutOfRange(Spoiled):
    """A default outside its range."""

    weight: Annotated[float, Field(gt=0), Uniform(1, 2)] = 3.0


def test_a_default_outside_its_range_is_caught() -> None:
    with pytest.raises(AssertionError, match="default of weight"):
        testing.the_card_is_complete(OutOfRange)


def test_quick_shortens_steps_and_stages_in_parts_too() -> None:
    values = quick(get("awp(prs+at)")).hyperparameters()
    assert (values["warmup"], values["prs.warmup"], values["prs.min_count"], values["at.steps"]) == (
        1,
        1,
        0,
        2,
    )


class Constant(Metric):
    """A metric whose faults a subclass sets."""

    name = "constant"
    key, value, bounds = "constant", 0.5, (0.0, 1.0)

    def measure(self, evaluation: Evaluation) -> dict[str, np.ndarray]:
        return {"constant": np.array(self.value)}

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        return {self.key: self.score(float(arrays["constant"]))}


class Misnamed(Constant):
    key = "something_else"


class TooLarge(Constant):
    value = 2.0


class Random(Constant):
    def measure(self, evaluation: Evaluation) -> dict[str, np.ndarray]:
        return {"constant": torch.rand(()).numpy()}


class Meddling(Constant):
    def measure(self, evaluation: Evaluation) -> dict[str, np.ndarray]:
        evaluation.classifier.train()
        return super().measure(evaluation)


@pytest.mark.parametrize(
    ("check", "metric", "message"),
    [
        (testing.scores_are_well_formed, Misnamed, "no score is called 'constant'"),
        (testing.scores_are_well_formed, TooLarge, "lies outside"),
        (testing.measuring_twice_gives_the_same, Random, "constant"),
        (testing.measuring_leaves_the_network_alone, Random, "global random state"),
        (testing.measuring_leaves_the_network_alone, Meddling, "a module's mode"),
    ],
)
def test_each_fault_of_a_metric_is_caught(check: Any, metric: type[Metric], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(metric)


def test_a_sound_metric_passes() -> None:
    for check in METRIC_CHECKS:
        check(Constant)


def flat(shape: tuple[int, int, int], classes: int, **options: Any) -> Network:
    channels, height, width = shape
    layers = [nn.Flatten(), nn.Linear(channels * height * width, 6), *options.get("layers", [])]
    return Network(nn.Sequential(*layers), nn.Linear(6, options.get("outputs", classes)))


def wrong_outputs(shape: tuple[int, int, int], classes: int) -> Network:
    return flat(shape, classes, outputs=10)


class Centred(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features - features.mean(dim=0)


def coupled(shape: tuple[int, int, int], classes: int) -> Network:
    return flat(shape, classes, layers=[Centred()])


def constant_weights(shape: tuple[int, int, int], classes: int) -> Network:
    network = flat(shape, classes)
    for weight in (*network.backbone.parameters(), *network.head.parameters()):
        nn.init.constant_(weight, 0.1)
    return network


def idle(shape: tuple[int, int, int], classes: int) -> Network:
    network = flat(shape, classes)
    network.backbone.register_parameter("unused", nn.Parameter(torch.zeros(1)))
    return network


@pytest.mark.parametrize(
    ("check", "builder", "message"),
    [
        (testing.logits_and_features_have_their_shapes, wrong_outputs, "logits of shape"),
        (testing.weights_depend_on_the_seed_alone, constant_weights, "two seeds gave one network"),
        (testing.every_weight_learns, idle, "no gradient reaches backbone.unused"),
        (testing.images_stand_for_themselves, coupled, "Tensor-likes are not close"),
    ],
)
def test_each_fault_of_a_network_is_caught(check: Any, builder: Any, message: str) -> None:
    for sound in NETWORK_CHECKS:
        sound(flat)
    with pytest.raises(AssertionError, match=message):
        check(builder)
