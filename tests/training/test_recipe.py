"""Recipes: names, changes, schedules, augmentation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.core.errors import UserError
from bench.training.recipe import RECIPES, Recipe, crop_and_flip, make_recipe


def test_the_paper_recipe_is_adam_without_decay_or_augmentation() -> None:
    recipe = make_recipe("paper")
    assert (recipe.optimizer, recipe.lr, recipe.weight_decay, recipe.augmentation) == (
        "adam",
        1e-3,
        0.0,
        "none",
    )


def test_changes_are_typed_and_named() -> None:
    recipe = make_recipe("strong, batch_size=64, lr=0.05")
    assert (recipe.batch_size, recipe.lr, recipe.momentum) == (64, 0.05, 0.9)
    assert recipe.name == "strong,batch_size=64,lr=0.05"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("papre", "did you mean paper"),
        ("paper,batchsize=3", "did you mean batch_size"),
        ("paper,lr", "name=value"),
        ("paper,lr=-1", "lr"),
        ("paper,batch_size=many", "batch_size"),
        ("paper,schedule=cos", "schedule"),
    ],
)
def test_mistakes_are_reported(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_recipe(text)


@pytest.mark.parametrize(
    ("schedule", "share", "factor"),
    [
        ("constant", 0.9, 1.0),
        ("piecewise", 0.49, 1.0),
        ("piecewise", 0.5, 0.1),
        ("piecewise", 0.75, 0.01),
        ("cosine", 0.0, 1.0),
        ("cosine", 0.5, 0.5),
        ("cosine", 1.0, 0.0),
        ("one-cycle", 0.0, 0.0),
        ("one-cycle", 0.4, 1.0),
        ("one-cycle", 0.7, 0.5),
        ("one-cycle", 1.0, 0.0),
    ],
)
def test_schedules_have_their_closed_form(schedule: str, share: float, factor: float) -> None:
    recipe = Recipe.model_validate({"lr": 2.0, "schedule": schedule})
    assert recipe.learning_rate(share) == pytest.approx(2.0 * factor, abs=1e-12)


def test_only_parameters_that_require_a_gradient_are_optimized() -> None:
    layer = torch.nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    for recipe in RECIPES.values():
        assert recipe.make_optimizer(layer.parameters()).param_groups[0]["params"] == [layer.weight]


@given(st.integers(8, 40), st.integers(8, 40), st.integers(1, 3), st.integers(0, 1000))
def test_augmented_images_keep_shape_and_pixels(height: int, width: int, channels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(3, channels, height, width, generator=generator) + 0.5
    augmented = crop_and_flip(images, generator)
    assert augmented.shape == images.shape
    for before, after in zip(images, augmented, strict=True):
        values = set(before.flatten().tolist())
        assert all(value == 0 or value in values for value in after.flatten().tolist())
        # A crop of at most an eighth on each side leaves most of the picture in it.
        assert (after > 0).float().mean() >= 0.7


def test_the_augmentation_is_a_shift_and_a_mirror() -> None:
    ramp = torch.arange(64.0).reshape(1, 1, 8, 8) + 1
    padded = torch.nn.functional.pad(ramp, (1, 1, 1, 1))[0, 0]
    windows = [padded[top : top + 8, left : left + 8] for top in range(3) for left in range(3)]
    possible = [window for each in windows for window in (each, each.flip(1))]
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(200):
        after = crop_and_flip(ramp, generator)[0, 0]
        matches = [number for number, window in enumerate(possible) if torch.equal(window, after)]
        assert matches
        seen.add(matches[0])
    assert seen == set(range(18))
