"""How seconds and bytes grow with images, classes, a network's width and records.

python -m benchmarks.growth --svg docs/static/growth.svg      # minutes
python -m benchmarks.growth --works regions attack

Each work runs at sizes that double, each in a process of its own, after a run at a fifth of the smallest. Seconds
are those of the CPU, of the process and of those it starts. Megabytes are the most memory that they take together
beyond what they took before. The exponent is the slope of the logarithm of either over that of the size, and 1 is
linear. The size of a network is the number of operations of a step.
"""

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bench.attacks import ATTACKS
from bench.charts import Axis, Chart, Line, Panel
from bench.charts.svg.standalone import standalone
from bench.core.randomness import make_generator
from bench.core.record import find_records
from bench.core.threat import Threat
from bench.data import Split
from bench.geometry.curvature import mean_curvature
from bench.geometry.regions import count_regions
from bench.models import build
from benchmarks.site.measure import cpu_seconds, memory
from benchmarks.site.records import write_records
from benchmarks.speed.floor import Work
from benchmarks.speed.training import our_loop
from leaderboards.build import build as build_site

SHAPE = (3, 32, 32)
#: Images in one pass, as in the battery.
AT_ONCE = 500
#: Seconds between two looks at the memory.
LOOK = 0.02

#: What is timed, and the size that it counts as.
Call = tuple[Callable[[], Any], float]


def regions(images: int, folder: Path) -> Call:
    """Count the regions of so many images with 512 features each, a tenth of them in a region of their own."""
    rng = np.random.default_rng(0)
    different = rng.integers(2**63, size=(images // 10, 8), dtype=np.uint64)
    patterns = different[rng.integers(len(different), size=images)]
    return lambda: count_regions(patterns), images


def attack(images: int, folder: Path) -> Call:
    """PGD-20 on so many images that nearly all withstand it."""
    network = build("cnn6(width=0.125)", input_shape=SHAPE, num_classes=10, seed=0).eval()
    points = torch.rand(images, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        labels = torch.cat([network(some).argmax(dim=1) for some in points.split(AT_ONCE)])
    threat = Threat("linf", "1/25500")
    return lambda: ATTACKS["pgd20"](
        network, points, labels, threat, make_generator("growth"), batch_size=AT_ONCE
    ), images


def curvature(classes: int, folder: Path) -> Call:
    """Mean curvature at ten images, over so many classes."""
    network = build("cnn6(width=0.125)", input_shape=SHAPE, num_classes=classes, seed=0).eval()
    points = torch.rand(10, *SHAPE, generator=torch.Generator().manual_seed(0))
    return lambda: mean_curvature(network, points, make_generator("growth")), classes


def training(eighths: int, folder: Path) -> Call:
    """A step of standard training of cnn6 at so many eighths of its width, 128 images in float32."""
    pixels = torch.randint(256, (128, *SHAPE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    step, _ = our_loop(f"cnn6(width={eighths / 8:g})", 0, Split(pixels, torch.arange(128) % 10), "fp32")
    with Work() as work:
        step()
    return step, work.operations


def site(records: int, folder: Path) -> Call:
    """Build a site of so many records from nothing."""
    write_records(folder / "records", records)
    return lambda: build_site(find_records(folder / "records"), folder / "site"), records


#: Name → what it is, what its sizes are, and the sizes.
WORKS: dict[str, tuple[Callable[[int, Path], Call], str, Sequence[int]]] = {
    "regions": (regions, "images", [100_000 * 2**power for power in range(5)]),
    "attack": (attack, "images", [250 * 2**power for power in range(5)]),
    "curvature": (curvature, "classes", [10 * 2**power for power in range(5)]),
    "training": (training, "operations of a step", [2, 4, 8, 16]),
    "site": (site, "records", [100 * 2**power for power in range(5)]),
}


@dataclass(frozen=True)
class Measured:
    """One work at one size: seconds of the CPU, and megabytes."""

    size: float
    seconds: float
    megabytes: float


def main() -> None:
    """Print a row for each work, and draw them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--svg", type=Path, help="write the plot here")
    options = parser.parse_args()
    table = Table(title="growth")
    for heading in ("work", "size", "seconds", "exponent", "MB", "exponent"):
        table.add_column(heading)
    found = {}
    for name in options.works:
        _, unit, sizes = WORKS[name]
        found[name] = rows = [measured(name, size) for size in sizes]
        words = [f"{rows[0].size:,.3g} to {rows[-1].size:,.3g} {unit}"]
        for values in ([row.seconds for row in rows], [row.megabytes for row in rows]):
            words += [
                f"{values[0]:.3g} to {values[-1]:.3g}",
                f"{exponent([row.size for row in rows], values):.2f}",
            ]
        table.add_row(name, *words)
    Console(width=140).print(table)
    if options.svg:
        options.svg.write_text(standalone(plot(found))[0], encoding="utf-8")


def measured(name: str, size: int) -> Measured:
    """Run one work at one size in a process of its own."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(name, size, there))
    process.start()
    there.close()
    here.recv()
    before = most = memory(process)
    here.send(None)
    while not here.poll(LOOK):
        most = max(most, memory(process))
    amount, seconds = here.recv()
    process.join()
    return Measured(amount, seconds, most - before)


def _run(name: str, size: int, parent: Connection) -> None:
    torch.set_num_threads(1)
    make, _, sizes = WORKS[name]
    with tempfile.TemporaryDirectory() as warm, tempfile.TemporaryDirectory() as folder:
        make(max(1, sizes[0] // 5), Path(warm))[0]()
        parent.send(None)
        parent.recv()
        call, amount = make(size, Path(folder))
        started = cpu_seconds()
        call()
        parent.send((amount, cpu_seconds() - started))


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The slope of the least squares line of log value over log size, where values are above zero."""
    told = [(size, value) for size, value in zip(sizes, values, strict=True) if value > 0]
    x, y = np.log(np.array(told)).T
    slope, _ = np.polyfit(x, y, 1)
    return float(slope)


def plot(found: dict[str, list[Measured]]) -> Chart:
    """Seconds over those of the smallest size, beside linear growth, and megabytes."""
    size = Axis(label="size, smallest = 1", log=True)
    seconds, megabytes = [], []
    for name, rows in found.items():
        x = [row.size / rows[0].size for row in rows]
        seconds.append(Line(name=name, x=x, y=[row.seconds / rows[0].seconds for row in rows], markers=True))
        megabytes.append(Line(name=name, x=x, y=[row.megabytes or None for row in rows], markers=True))
    ends = [1.0, max(max(line.x) for line in seconds)]
    marks = [*seconds, Line(name="linear", x=ends, y=ends)]
    panels = [
        Panel(x=size, y=Axis(label="CPU seconds, smallest = 1", log=True), marks=marks),
        Panel(x=size, y=Axis(label="MB", log=True), marks=megabytes),
    ]
    return Chart(name="growth", title="Growth with size", panels=panels)


if __name__ == "__main__":
    main()
