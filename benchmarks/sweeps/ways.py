"""The ways to have a sweep done on this machine: as a laptop, a Slurm or a Ray cluster, or a shared folder."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: A cluster of two nodes: it does an array's tasks, two at a time, and answers when they have ended.
SBATCH = """#!/bin/bash
script="${@: -1}"
last=$(sed -n 's/^#SBATCH --array=0-//p' "$script")
export SLURM_ARRAY_JOB_ID=1 SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_COUNT=$((last + 1))
seq 0 "$last" | xargs -P 2 -I {} env SLURM_ARRAY_TASK_ID={} bash "$script" > "$script.log" 2>&1
echo 1
"""
#: Fields of a record that say when, where and how long, not what.
TIMES = re.compile(r"(^|\.)(id|created|commit|dirty|peak_memory_bytes|\w*seconds\w*)(\.|$)")


@dataclass(frozen=True)
class Sweep:
    """A sweep's file and a folder for what is done with it."""

    file: Path
    folder: Path

    def command(self, out: str, *options: str) -> list[str]:
        """The command that does it into a folder of its own."""
        words = ["sweep", str(self.file), "--out", str(self.folder / out), "--tracking", "none", *options]
        return [sys.executable, "-m", "bench", *words]

    def start(
        self, out: str, *options: str, variables: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        """Begin to do it."""
        words, nothing = self.command(out, *options), subprocess.DEVNULL
        return subprocess.Popen(words, env=environment(variables), stdout=nothing, stderr=nothing)


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables of a command: one thread for each process, so that all ways compute the same bits."""
    own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    return {**os.environ, **own, **(more or {})}


def alone(sweep: Sweep) -> list[float]:
    """Do the cells one after another in one process; gives the seconds of each."""
    started, seconds = 0.0, []
    with subprocess.Popen(
        sweep.command("alone"),
        env=environment(),
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.rstrip().endswith(": started"):
                started = time.monotonic()
            elif line.rstrip().endswith(": done"):
                seconds.append(time.monotonic() - started)
    if process.returncode:
        raise RuntimeError("the sweep failed")
    return seconds


def local(sweep: Sweep) -> None:
    """Two processes of one machine."""
    _wait(sweep.start("local", "--jobs", "2"))


def slurm(sweep: Sweep) -> None:
    """An array of four tasks on two simulated nodes."""
    programs = sweep.folder / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text(SBATCH)
    (programs / "sbatch").chmod(0o755)
    variables = {"PATH": f"{programs}:{os.environ['PATH']}"}
    _wait(sweep.start("slurm", "--executor", "slurm", "--jobs", "4", variables=variables))


def folder(sweep: Sweep) -> None:
    """Three processes that know of each other through the folder of the runs alone."""
    _wait(*[sweep.start("folder") for _ in range(3)])


def ray(sweep: Sweep) -> None:
    """Two nodes of Ray on this machine, of which one is killed when a third of the records is there."""
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"})
    from ray.cluster_utils import Cluster

    cells = len(list((sweep.folder / "alone").glob("*/seed-*/*/record.json")))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        node = cluster.add_node(num_cpus=1)
        process = sweep.start("ray", "--executor", "ray", "--ray-address", cluster.address)
        while len(list((sweep.folder / "ray").glob("*/seed-*/*/record.json"))) < cells / 3:
            if process.poll() is not None:
                break
            time.sleep(0.1)
        cluster.remove_node(node, allow_graceful=False)
        _wait(process)
    finally:
        cluster.shutdown()


def _wait(*processes: "subprocess.Popen[bytes]") -> None:
    """Wait for processes, of which each must end well."""
    codes = [process.wait() for process in processes]
    if any(codes):
        raise RuntimeError(f"the sweep failed: exit codes {codes}")


#: Each way with the processes that it has.
WAYS: dict[str, tuple[Callable[[Sweep], None], int]] = {
    "local": (local, 2),
    "slurm": (slurm, 2),
    "folder": (folder, 3),
    "ray": (ray, 2),
}


def records(out: Path) -> dict[str, dict[str, Any]]:
    """Every record below a folder, without what says when, where and how long."""
    return {
        str(path.relative_to(out)): dict(_timeless(json.loads(path.read_text())))
        for path in sorted(out.glob("*/seed-*/*/record.json"))
    }


def _timeless(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if TIMES.search(place):
        return
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in pairs:
            yield from _timeless(each, f"{place}.{key}".removeprefix("."))
    else:
        yield place, value
