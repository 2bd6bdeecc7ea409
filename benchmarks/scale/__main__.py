"""Simulate a large sweep with the real scheduler, and say how far it is from ideal.

python -m benchmarks.scale                                  # 10,000 cells on 256 machines; some minutes
python -m benchmarks.scale --cells 500 --machines 16        # a small one
python -m benchmarks.scale --svg docs/static/scale.svg

Exit code 1 where a cell is lost or done twice, or the overhead over the ideal is above 5 %.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.charts import Axis, Chart, Line, Panel
from bench.charts.svg.standalone import standalone
from benchmarks.scale.world import Outcome, Setting, World

#: The most that the time may exceed the ideal by.
LIMIT = 0.05
#: Points of a line in the plot.
POINTS = 400


def main(words: Sequence[str] | None = None) -> int:
    """Print what the simulation gave; 1 where that is not what it must be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = Setting()
    parser.add_argument("--cells", type=int, default=usual.cells)
    parser.add_argument("--machines", type=int, default=usual.machines)
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--svg", type=Path, help="write the plot here")
    options = parser.parse_args(words)
    setting = replace(usual, cells=options.cells, machines=options.machines, seed=options.seed)
    started = time.monotonic()
    # In memory where there is room: a simulation writes some hundred thousand small files.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="scale-", dir=memory if memory.is_dir() else None) as folder:
        world = World(setting, Path(folder))
        outcome = world.run()
    doubled = sum(count > 1 for count in outcome.done.values())
    lost = setting.cells - len(outcome.done)
    table = Table(title=f"{setting.cells:,} cells on {setting.machines} machines", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in {
        "cells lost": f"{lost}",
        "cells done twice": f"{doubled}",
        "states at the end": ", ".join(f"{number} {state}" for state, number in outcome.states.items()),
        "machines that died": f"{outcome.deaths}",
        "work thrown away by deaths": f"{outcome.lost / 3600:.2f} machine hours",
        "looks at the folder": f"{outcome.looking / 3600:.2f} machine hours",
        "work": f"{sum(world.needed.values()) / 3600:.0f} machine hours",
        "time": f"{outcome.wall / 3600:.2f} h",
        "over a queue without cost or deaths": f"{outcome.wall / outcome.greedy - 1:.1%}",
        "over the work divided evenly": f"{outcome.wall / outcome.perfect - 1:.1%}",
        "simulated in": f"{time.monotonic() - started:.0f} s",
    }.items():
        table.add_row(name, value)
    Console().print(table)
    if options.svg:
        options.svg.write_text(standalone(plot(outcome, setting))[0], encoding="utf-8")
    return int(bool(lost or doubled or outcome.wall > (1 + LIMIT) * outcome.perfect))


def plot(outcome: Outcome, setting: Setting) -> Chart:
    """Machines that train, over time, and how many cells are done."""
    hours = [time / 3600 for time, _ in outcome.busy]
    busy = [float(number) for _, number in outcome.busy]
    every = max(1, len(hours) // POINTS)
    ends = sorted(outcome.ended)
    step = max(1, len(ends) // POINTS)
    machines = Panel(
        x=Axis(label="hours", low=0.0),
        y=Axis(label="machines that train", low=0.0),
        marks=[Line(name="machines", x=hours[::every], y=busy[::every], step=True)],
    )
    ideal = outcome.perfect / 3600
    cells = Panel(
        x=Axis(label="hours", low=0.0),
        y=Axis(label="cells done", low=0.0),
        marks=[
            Line(
                name="cells",
                x=[end / 3600 for end in ends[::step]],
                y=[float(at + 1) for at in range(len(ends))][::step],
            ),
            Line(name="ideal", x=[0.0, ideal], y=[0.0, float(setting.cells)]),
        ],
    )
    return Chart(name="scale", title="A simulated sweep", panels=[machines, cells])


if __name__ == "__main__":
    sys.exit(main())
