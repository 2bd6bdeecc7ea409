"""How many validation images are attacked after an epoch."""

from typing import Any

import pytest
import torch

from bench.core.threat import Threat
from bench.data import load
from bench.models import build
from bench.training import loop
from bench.training.recipe import make_recipe
from bench.training.validation import attacked_images, validate
from defenses import get

THREAT = Threat("linf", "0.1")


@pytest.mark.parametrize(
    ("training_images", "forward_units", "expected"),
    [
        (45_000, 3, 100),  # standard training: 75 images take 5 %
        (45_000, 33, 825),  # PGD-10 adversarial training: 5 % of 1.485 million passes, 90 for each image
        (45_000, 63, 1000),
        (1_295, 3, 100),
        (100_000, 10**9, 1000),
    ],
)
def test_attacks_take_a_twentieth_of_the_passes(
    training_images: int, forward_units: float, expected: int
) -> None:
    assert attacked_images(training_images, forward_units) == expected


@pytest.mark.usefixtures("still_clock")
@pytest.mark.parametrize(
    ("recipe", "thorough", "expected"),
    [
        ("paper", False, 100),
        ("paper", True, 1000),
        ("paper,weights=best", False, 1000),
        ("paper,patience=2", False, 1000),
    ],
)
def test_where_something_is_chosen_all_images_are_attacked(
    recipe: str, thorough: bool, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[int]()

    def watched(*args: Any) -> Any:
        asked.append(args[5])
        return validate(*args)

    monkeypatch.setattr(loop, "validate", watched)
    data = load("digits", train_size=110, test_size=20)
    network = build("cnn6(width=0.125)", input_shape=data.shape, num_classes=data.num_classes, seed=0)
    defense = get("standard").make({})
    loop.train(defense, network, data, make_recipe(recipe), THREAT, epochs=1, seed=0, thorough=thorough)
    assert asked == [expected]


def test_the_first_images_are_attacked() -> None:
    data = load("digits", train_size=110, test_size=20)
    network = build("cnn6(width=0.125)", input_shape=data.shape, num_classes=data.num_classes, seed=0)
    unchanged = Threat("linf", "0")
    with torch.no_grad():
        images, labels = data.validation.batch(slice(None))
        right = (network.eval()(images).argmax(dim=1) == labels).float()
    some = next(count for count in range(1, len(right)) if right[:count].mean() != right.mean())
    few, every = (validate(network, data, unchanged, 0, "fp32", count) for count in (some, len(right)))
    assert few["validation_robust_accuracy"] == pytest.approx(float(right[:some].mean()))
    assert every["validation_robust_accuracy"] == pytest.approx(float(right.mean()))
