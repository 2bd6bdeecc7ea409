"""The fixed splits: stratified, nested, and the same for every seed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.core.errors import UserError
from bench.data import load
from bench.data.splits import split_test, split_training, stratified_order

counts = st.lists(st.integers(1, 60), min_size=2, max_size=12)


def labels_of(sizes: list[int]) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))


@given(counts)
@settings(deadline=None)
def test_every_beginning_of_the_order_holds_the_classes_in_proportion(sizes: list[int]) -> None:
    labels = labels_of(sizes)
    order = stratified_order(labels, "any")
    assert torch.equal(order.sort().values, torch.arange(len(labels)))
    seen = torch.nn.functional.one_hot(labels[order], len(sizes)).cumsum(0)
    share = torch.tensor(sizes) / len(labels)
    # Up to rounding: half an image of the class itself, and its share of the roundings of all others.
    slack = 2 + share * len(sizes)
    beginnings = torch.arange(1, len(labels) + 1).unsqueeze(1)
    assert ((seen - beginnings * share).abs() <= slack).all()
    first = seen[len(sizes) - 1] if len(labels) > len(sizes) else seen[-1]
    assert all(first[label] >= 1 for label, size in enumerate(sizes) if size > 1)


@given(counts, st.data())
@settings(deadline=None)
def test_smaller_training_sets_are_parts_of_larger_ones_and_never_touch_validation(
    sizes: list[int], data: st.DataObject
) -> None:
    labels = labels_of(sizes)
    train, validation = split_training(labels, None)
    assert torch.equal(torch.cat([train, validation]).sort().values, torch.arange(len(labels)))
    larger = data.draw(st.integers(1, len(train)))
    smaller = data.draw(st.integers(1, larger))
    (large, large_validation), (small, small_validation) = (
        split_training(labels, larger),
        split_training(labels, smaller),
    )
    assert torch.equal(large, train[:larger])
    assert torch.equal(small, large[:smaller])
    assert torch.equal(small_validation, large_validation[: len(small_validation)])
    assert torch.equal(large_validation, validation[: len(large_validation)])


@pytest.mark.parametrize(
    ("published", "train_size", "train", "validation"),
    [(1000, None, 900, 100), (1000, 450, 450, 50), (1000, 20, 20, 10), (60_000, None, 55_000, 5_000)],
)
def test_validation_is_a_tenth_with_every_class_and_at_most_5000(
    published: int, train_size: int | None, train: int, validation: int
) -> None:
    labels = torch.arange(published) % 10
    chosen, held = split_training(labels, train_size)
    assert (len(chosen), len(held)) == (train, validation)
    assert torch.equal(labels[chosen].bincount(minlength=10), torch.full((10,), train // 10))
    assert torch.equal(labels[held].bincount(minlength=10), torch.full((10,), validation // 10))


def test_smaller_test_sets_are_the_beginning_of_the_whole() -> None:
    labels = torch.arange(200) % 4
    whole = split_test(labels, None)
    assert torch.equal(whole.sort().values, torch.arange(200))
    assert torch.equal(split_test(labels, 30), whole[:30])


@pytest.mark.parametrize("size", [0, -1, 1296])
def test_an_impossible_training_size_is_refused(size: int) -> None:
    with pytest.raises(UserError, match=rf"--train-size must lie in 1 … 1295 .*got {size}"):
        load("digits", train_size=size)


@pytest.mark.parametrize("size", [0, 360])
def test_an_impossible_test_size_is_refused(size: int) -> None:
    with pytest.raises(UserError, match=rf"--test-size must lie in 1 … 359, got {size}"):
        load("digits", test_size=size)
