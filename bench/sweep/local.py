"""Worker processes on this machine, each a command of its own with a part of the processors and devices."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

#: Seconds between two looks at the workers.
PAUSE = 0.5
#: Seconds that a worker has to keep its checkpoint when it is asked to end.
GRACE = 30.0
#: How often a worker that died is started again, over the whole sweep.
MOST_RESTARTS = 100
_DEVICES = "CUDA_VISIBLE_DEVICES"
_THREADS = "OMP_NUM_THREADS"


@dataclass
class Workers:
    """Processes that run one command, started again where they die.

    Attributes:
        command: of a worker.
        jobs: processes at once.
        gpus_per_job: devices a process gets; a fraction shares one.
        log: folder of what they print.
    """

    command: Sequence[str]
    jobs: int
    gpus_per_job: float
    log: Path

    def run(self, look: Callable[[], None]) -> bool:
        """Run the workers to their end; True where all of them ended well.

        Args:
            look: called twice a second.
        """
        self.log.mkdir(parents=True, exist_ok=True)
        restarts, ended_well = 0, True
        with self._ending() as processes:
            for number in range(self.jobs):
                processes[number] = self._start(number)
            while processes:
                time.sleep(PAUSE)
                look()
                for number, process in list(processes.items()):
                    code = process.poll()
                    if code is None:
                        continue
                    del processes[number]
                    if code < 0 and restarts < MOST_RESTARTS:  # killed: another one goes on with its cell
                        restarts += 1
                        processes[number] = self._start(number)
                    elif code not in (0, 1):
                        ended_well = False
        return ended_well

    def said(self) -> str:
        """The last line of each worker, for a sweep that could not be worked on."""
        lines = {}
        for path in sorted(self.log.glob("worker-*.log")):
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            if text:
                lines[text.splitlines()[-1]] = path
        return "; ".join(lines)

    def _start(self, number: int) -> "subprocess.Popen[bytes]":
        with open(self.log / f"worker-{number}.log", "ab") as stream:
            return subprocess.Popen(
                self.command,
                env={**os.environ, **environment(number, self.jobs, self.gpus_per_job)},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    @contextmanager
    def _ending(self) -> "Iterator[dict[int, subprocess.Popen[bytes]]]":
        """No worker outlives the block: each is asked to end, and killed where it does not."""
        processes: dict[int, subprocess.Popen[bytes]] = {}
        try:
            yield processes
        finally:
            for process in processes.values():
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + GRACE
            for process in processes.values():
                try:
                    process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def environment(number: int, jobs: int, gpus_per_job: float) -> dict[str, str]:
    """What a worker's environment adds: its part of the threads, and its devices.

    Args:
        number: of the worker, from 0.
        jobs: workers in all.
        gpus_per_job: devices a worker gets; a fraction shares one.
    """
    variables = {}
    if _THREADS not in os.environ:
        variables[_THREADS] = str(max(1, len(os.sched_getaffinity(0)) // jobs))
    devices = visible_devices()
    if devices:
        share = max(1, round(gpus_per_job))
        first = int(number * gpus_per_job) if gpus_per_job < 1 else number * share
        variables[_DEVICES] = ",".join(devices[(first + step) % len(devices)] for step in range(share))
    return variables


def visible_devices() -> list[str]:
    """The CUDA devices that this process may use."""
    if _DEVICES in os.environ:
        return [name for name in os.environ[_DEVICES].split(",") if name]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def worker_command(words: Sequence[str]) -> list[str]:
    """The command of a worker: this program with other words."""
    return [sys.executable, "-m", "bench", *words]
