"""The training loop: it learns, resumes bit for bit, and reports divergence."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from bench.core.threat import Threat
from bench.data import Dataset, Split, load
from bench.models import build
from bench.testing import quick
from bench.training.history import HistoryRow
from bench.training.loop import Diverged, Stop, train
from bench.training.recipe import make_recipe
from bench.training.timing import StandardClock
from bench.training.validation import accuracy
from defenses import Defense, Objective, Training
from defenses import get as get_defense

THREAT = Threat("linf", "0.1")
NORMALIZED = "tests.networks:normalized"


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", train_size=110, test_size=20)


def network(dataset: Dataset, model: str = "cnn6(width=0.25)", seed: int = 0) -> Any:
    return build(model, input_shape=dataset.shape, num_classes=dataset.num_classes, seed=seed)


def run(dataset: Dataset, defense: Defense, epochs: int = 4, **options: Any) -> tuple[Any, list[HistoryRow]]:
    classifier = network(dataset, options.pop("model", "cnn6(width=0.25)"))
    recipe = make_recipe(options.pop("recipe", "paper,batch_size=50"))
    result = train(defense, classifier, dataset, recipe, THREAT, epochs=epochs, seed=3, **options)
    return classifier, result.history


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.usefixtures("still_clock")
@pytest.mark.parametrize(
    "name",
    [
        "prs",
        "free",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("standard", "at", "jacobian", "awp(at)")),
    ],
)
def test_an_interrupted_training_resumes_bit_for_bit(name: str, digits: Dataset, tmp_path: Path) -> None:
    defense = quick(get_defense(name))
    whole, history = run(digits, defense)

    def stop_after(epoch: int) -> Any:
        def on_epoch(row: HistoryRow) -> None:
            if row["epoch"] == epoch:
                raise Stop

        return on_epoch

    checkpoint = tmp_path / "checkpoint.pt"
    for epoch in (1, 2, 3):
        with pytest.raises(Stop):
            run(digits, defense, checkpoint=checkpoint, on_epoch=stop_after(epoch))
    resumed, rows = run(digits, defense, checkpoint=checkpoint)
    assert same_weights(whole, resumed)
    timed = {"seconds", "standard_seconds"}
    for before, after in zip(history, rows, strict=True):
        assert {k: v for k, v in before.items() if k not in timed} == {
            k: v for k, v in after.items() if k not in timed
        }


@pytest.mark.parametrize(
    ("recipe", "precision"),
    [
        ("strong,batch_size=50,lr=0.01", "fp32"),
        ("paper,batch_size=50,schedule=one-cycle", "fp32"),
        ("strong,batch_size=50,lr=0.01", "bf16"),
    ],
)
def test_every_part_of_a_recipe_resumes(recipe: str, precision: str, digits: Dataset, tmp_path: Path) -> None:
    defense = get_defense("standard").make({})
    options: dict[str, Any] = {"recipe": recipe, "model": NORMALIZED, "precision": precision}
    whole, _ = run(digits, defense, **options)

    def stop(row: HistoryRow) -> None:
        raise Stop

    with pytest.raises(Stop):
        run(digits, defense, **options, checkpoint=tmp_path / "c.pt", on_epoch=stop)
    resumed, _ = run(digits, defense, **options, checkpoint=tmp_path / "c.pt")
    assert same_weights(whole, resumed)
    assert all(weight.is_contiguous() for weight in resumed.parameters())


@pytest.mark.usefixtures("still_clock")
def test_training_learns_and_ends_in_eval_mode(digits: Dataset) -> None:
    classifier, history = run(digits, get_defense("standard").make({}), epochs=6, model="cnn6")
    assert float(history[-1]["train_loss"] or 9) < float(history[0]["train_loss"] or 0)
    assert accuracy(classifier, digits.train) > 0.5
    assert not any(module.training for module in classifier.modules())


def test_the_global_random_state_is_restored_and_does_not_matter(digits: Dataset) -> None:
    defense = get_defense("at").make({"steps": 1})
    weights = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        weights.append(run(digits, defense, epochs=1)[0])
        assert torch.equal(torch.get_rng_state(), before)
    assert same_weights(*weights)


@pytest.mark.usefixtures("still_clock")
def test_the_best_epoch_is_kept_when_the_recipe_says_so(digits: Dataset) -> None:
    defense = get_defense("standard").make({})
    classifier = network(digits)
    snapshots: list[dict[str, Tensor]] = []
    result = train(
        defense,
        classifier,
        digits,
        make_recipe("paper,batch_size=50,weights=best"),
        THREAT,
        epochs=5,
        seed=0,
        on_epoch=lambda row: snapshots.append(copy.deepcopy(classifier.state_dict())),
    )
    scores = [row["validation_robust_accuracy"] for row in result.history]
    best = scores.index(max(float(score or 0) for score in scores))
    assert result.epoch_of_weights == best + 1
    assert all(torch.equal(value, snapshots[best][key]) for key, value in classifier.state_dict().items())


@pytest.mark.usefixtures("still_clock")
def test_a_single_leftover_image_does_not_break_batch_norm(digits: Dataset) -> None:
    odd = Dataset(digits.name, digits.classes, digits.train.take(51), digits.validation, digits.test)
    _, history = run(odd, get_defense("standard").make({}), epochs=1, model="resnet18")
    assert len(history) == 1


def test_the_test_split_is_never_read(digits: Dataset) -> None:
    class Forbidden(Split):
        def batch(self, index: Any) -> Any:
            raise AssertionError("the test split was read")

    guarded = Dataset(
        digits.name,
        digits.classes,
        digits.train,
        digits.validation,
        Forbidden(digits.test.images, digits.test.labels),
    )
    run(guarded, get_defense("standard").make({}), epochs=1)


@dataclass(frozen=True, kw_only=True)
class Explosive(Defense):
    """A defense whose loss turns into NaN in its second epoch."""

    name: ClassVar[str] = "explosive"
    family: ClassVar[str] = "test"

    def objective(self, training: Training) -> Objective:
        return ExplosiveLoss(training)


class ExplosiveLoss(Objective):
    now = 0

    def epoch(self, number: int) -> None:
        self.now = number

    def loss(self, classifier: Any, images: Tensor, labels: Tensor) -> Tensor:
        loss = nn.functional.cross_entropy(classifier(images), labels)
        return loss * float("nan") if self.now == 2 else loss


def test_a_loss_that_is_not_finite_names_epoch_and_cause(digits: Dataset) -> None:
    with pytest.raises(Diverged, match=r"epoch 2: the loss became nan"):
        run(digits, Explosive())


def test_a_network_that_is_not_finite_in_evaluation_alone_has_diverged_too(digits: Dataset) -> None:
    classifier = network(digits)
    recipe = make_recipe("paper,batch_size=50,optimizer=sgd,lr=10,momentum=0.99")
    with pytest.raises(Diverged, match=r"epoch \d"):
        train(get_defense("standard").make({}), classifier, digits, recipe, THREAT, epochs=8, seed=0)


def test_a_kill_between_checkpoint_and_report_loses_no_row(digits: Dataset, tmp_path: Path) -> None:
    defense = get_defense("standard").make({})
    seen: list[Any] = []

    class Killed(BaseException):
        pass

    def dies(row: HistoryRow) -> None:
        if row["epoch"] == 2:
            raise Killed
        seen.append(row["epoch"])

    with pytest.raises(Killed):
        run(digits, defense, epochs=3, checkpoint=tmp_path / "c.pt", on_epoch=dies)
    run(
        digits,
        defense,
        epochs=3,
        checkpoint=tmp_path / "c.pt",
        on_epoch=lambda row: seen.append(row["epoch"]),
    )
    assert seen == [1, 2, 3]


@pytest.mark.usefixtures("still_clock")
def test_an_untrained_epoch_is_never_the_best_of_a_defense_without_robustness(digits: Dataset) -> None:
    classifier = network(digits)
    result = train(
        get_defense("standard").make({}),
        classifier,
        digits,
        make_recipe("paper,batch_size=20,weights=best"),
        Threat("linf", "0.9"),
        epochs=8,
        seed=0,
    )
    clean = [float(row["validation_accuracy"] or 0) for row in result.history]
    assert all(row["validation_robust_accuracy"] == 0 for row in result.history)
    assert clean[result.epoch_of_weights - 1] == max(clean)


def test_the_standard_epoch_is_measured_on_a_copy(digits: Dataset) -> None:
    classifier = network(digits)
    before = copy.deepcopy(classifier)
    clock = StandardClock(classifier, digits.train, make_recipe("paper"), 0, "fp32", limit=1)
    assert clock.epoch_seconds() > 0
    assert same_weights(before, classifier)
