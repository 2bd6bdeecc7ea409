"""The simulation of a large sweep: its clock, its queue, and a small one from end to end."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scale.engine import Engine, Machine
from benchmarks.scale.world import Setting, World, greedy

SMALL = Setting(cells=40, machines=4, trainings=9, cell=600.0, life=2 * 3600.0, search=1.0, patience=60.0)


def test_machines_take_turns_and_time_jumps() -> None:
    engine, seen = Engine(), []

    def work(machine: Machine) -> None:
        for _ in range(2):
            machine.sleep(100.0)
            seen.append((machine is first, machine.now()))

    first = Machine(engine, work)
    engine.at(50.0, lambda: Machine(engine, work))
    engine.at(220.0, first.die)
    engine.run(lambda: False)
    assert seen == [(True, 100.0), (False, 150.0), (True, 200.0), (False, 250.0)]


def test_a_machine_that_dies_does_nothing_more() -> None:
    engine, seen = Engine(), []

    def work(machine: Machine) -> None:
        machine.every(10.0, lambda: not seen.append("beat"))
        machine.sleep(100.0)
        seen.append("late")

    machine = Machine(engine, work)
    engine.at(35.0, machine.die)
    engine.run(lambda: False)
    assert seen == ["beat"] * 3


def test_a_queue_without_cost_is_as_long_as_its_last_training() -> None:
    assert greedy([4.0, 2.0, 2.0, 6.0], [1.0, 1.0]) == 10.0
    assert greedy([3.0, 3.0], [1.0, 0.5]) == 6.0


@pytest.mark.slow
def test_a_small_sweep_with_deaths_does_each_cell_once(tmp_path: Path) -> None:
    outcome = World(SMALL, tmp_path).run()
    assert outcome.deaths > 0
    assert set(outcome.done.values()) == {1}
    assert outcome.states == {"done": 40}
    assert outcome.wall >= outcome.perfect


@pytest.mark.slow
def test_without_deaths_and_stragglers_it_is_the_queue_with_little_more(tmp_path: Path) -> None:
    ideal = replace(
        SMALL, trainings=1, search=0.0, life=1e12, slow=0.0, straggling=0.0, failing=0.0, look=0.0
    )
    outcome = World(ideal, tmp_path).run()
    assert outcome.deaths == 0
    assert outcome.wall == pytest.approx(outcome.greedy, rel=0.02)
