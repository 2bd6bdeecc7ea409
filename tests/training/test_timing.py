"""The standard clock: what it measures, and how much time it takes for that."""

from collections.abc import Iterator
from typing import Any

import pytest

from bench.data import load
from bench.models import build
from bench.training import timing
from bench.training.averaging import Average
from bench.training.recipe import make_recipe
from bench.training.timing import StandardClock


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A fake time, in which each pass takes the seconds that the test gives."""
    passes: list[float] = []
    now = 0.0

    def pretend(*_: Any, **__: Any) -> Iterator[Any]:
        nonlocal now
        now += passes.pop(0)
        return iter(())

    monkeypatch.setattr(timing, "shuffled_batches", pretend)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now)
    return passes


def clock() -> StandardClock:
    digits = load("digits", train_size=100, test_size=10)
    network = build("cnn6", input_shape=digits.shape, num_classes=10, seed=0)
    return StandardClock(network, digits.train, make_recipe("paper,batch_size=10"), 0, "fp32", limit=5)


def test_an_epoch_is_the_median_of_three_passes_scaled_to_all_steps(seconds: list[float]) -> None:
    seconds += [9.0, 0.1, 0.3, 0.2]
    assert clock().epoch_seconds() == pytest.approx(0.2 * 10 / 5)


def test_a_last_batch_that_is_not_full_counts_for_what_it_holds(seconds: list[float]) -> None:
    seconds += [0.1, 0.1, 0.1, 0.1]
    digits = load("digits", train_size=101, test_size=10)
    network = build("cnn6", input_shape=digits.shape, num_classes=10, seed=0)
    watch = StandardClock(network, digits.train, make_recipe("paper,batch_size=10"), 0, "fp32", limit=5)
    assert watch.epoch_seconds() == pytest.approx(0.1 * len(digits.train) / 50)


def test_the_averaging_of_the_recipe_is_part_of_a_standard_step(monkeypatch: pytest.MonkeyPatch) -> None:
    # Else the averaging, which every defense's steps have too, would count as a cost of the defense.
    averaged = []
    monkeypatch.setattr(Average, "after_step", lambda _, network: averaged.append(network))
    digits = load("digits", train_size=100, test_size=10)
    network = build("cnn6", input_shape=digits.shape, num_classes=10, seed=0)
    recipe = make_recipe("paper,batch_size=10,averaging=ema")
    StandardClock(network, digits.train, recipe, 0, "fp32", limit=2).epoch_seconds()
    assert len(averaged) == 4 * 2


def test_passes_follow_a_machine_that_changes_its_pace_at_once(seconds: list[float]) -> None:
    seconds += [0.1, 0.1, 0.1, 0.1, 0.5, 0.6, 0.5]
    watch = clock()
    assert watch.epoch_seconds() == pytest.approx(0.2)
    assert watch.epoch_seconds() == pytest.approx(1.0)
    assert not seconds


def test_a_small_change_enters_the_median_alone(seconds: list[float]) -> None:
    seconds += [0.1, 0.10, 0.11, 0.12, 0.12, 0.12]
    watch = clock()
    assert watch.epoch_seconds() == pytest.approx(0.22)
    assert watch.epoch_seconds() == pytest.approx(0.24)
    assert len(seconds) == 1


def test_a_clock_whose_time_is_used_up_still_follows_the_machine(seconds: list[float]) -> None:
    # When other jobs leave the machine, epochs of the training take a fifth of the time, and so must the clock.
    seconds += [2.0, 2.0, 2.0, 2.0, 0.4, 0.4, 0.4]
    watch = clock()
    found = [watch.epoch_seconds(trained=1.0) for _ in range(1 + timing.EPOCHS)]
    assert found[0] == pytest.approx(4.0)
    assert found[-1] == pytest.approx(0.8)


def test_measuring_stays_within_its_share_of_the_training(seconds: list[float]) -> None:
    seconds += [1.0] * 10
    watch = clock()
    for trained in (0.0, 10.0, 20.0):
        watch.epoch_seconds(trained)
    assert len(seconds) == 6
    watch.epoch_seconds(trained=1000.0)
    assert len(seconds) == 5
