"""Run the command line in processes of its own, forked from one that has imported everything already.

An import of torch and MLflow takes seconds; a fork takes milliseconds. The command still has its own process,
exit code, standard streams and signals.
"""

import itertools
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.child import run_command

#: What a forked command finds imported already.
PRELOADED = [
    *("benchmarks.faults.child", "torch", "torchvision", "mlflow", "optuna", "scipy.stats", "pandas"),
    *("sklearn.datasets", "sklearn.metrics", "matplotlib.figure", "matplotlib.backends.backend_agg"),
    *(
        "safetensors.torch",
        "PIL.Image",
        "jinja2",
        "pydantic_settings",
        "joblib",
        "rich.table",
        "bench.cli.main",
    ),
]
#: CPU seconds after which a command that only reads counts as hanging.
LIMIT = 10
#: Seconds after which any command counts as hanging, even one that uses no CPU. Like all seconds of the clock here,
#: without those in which a command was ready to run and every core was busy with other work.
WALL_LIMIT = 120


@dataclass(frozen=True)
class Outcome:
    """What a command did: exit code (negative: the signal that ended it), both streams, seconds as `WALL_LIMIT`."""

    code: int
    output: str
    errors: str
    seconds: float
    hung: bool = False

    @property
    def text(self) -> str:
        """Both streams, standard output first."""
        return self.output + self.errors

    @property
    def traceback(self) -> bool:
        """Whether a traceback was printed, by Python itself or drawn by a library."""
        return bool(re.search(r"Traceback \(most recent call last\)|Fatal Python error", self.text))

    @property
    def last_line(self) -> str:
        """The last line that says something, for reports."""
        lines = [line for line in self.text.splitlines() if line.strip()]
        return lines[-1][:200] if lines else f"exit code {self.code}, no output"


class Bench:
    """The `bench` command of this checkout."""

    def __init__(self) -> None:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        self._numbers = itertools.count(1)

    def __call__(
        self,
        *arguments: str | os.PathLike[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        cpu_seconds: int = LIMIT,
        wall_seconds: float = WALL_LIMIT,
    ) -> Outcome:
        """Run `bench *arguments` in a folder, with variables of the environment set besides those of this process.

        The streams go to files of a folder beside `folder`, so that commands find nothing new in theirs.
        """
        number = next(self._numbers)
        streams = folder.parent / f".{folder.name}-streams"
        streams.mkdir(exist_ok=True)
        output, errors = streams / f"{number}.out", streams / f"{number}.err"
        started = time.monotonic()
        process = self._context.Process(
            target=run_command,
            args=(
                [os.fspath(argument) for argument in arguments],
                str(folder),
                dict(environment or {}),
                str(output),
                str(errors),
                cpu_seconds,
            ),
        )
        process.start()
        waited = 0.0
        while process.exitcode is None and (left := wall_seconds + waited - (time.monotonic() - started)) > 0:
            process.join(min(left, 0.5))
            waited = max(waited, waited_for_core(process.pid))
        hung = process.exitcode is None
        if hung:
            process.kill()
            process.join()
        code = process.exitcode if process.exitcode is not None else -signal.SIGKILL
        return Outcome(
            code=code,
            output=output.read_text(errors="replace") if output.exists() else "",
            errors=errors.read_text(errors="replace") if errors.exists() else "",
            seconds=time.monotonic() - started - waited,
            hung=hung or code == -signal.SIGXCPU,
        )

    def start(
        self,
        *arguments: str | os.PathLike[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
    ) -> "subprocess.Popen[str]":
        """Start `bench *arguments` as a fresh interpreter, to be sent signals at any time of its life.

        `before` is a command that becomes it, such as `unshare`.
        """
        root = Path(__file__).resolve().parents[2]
        variables = {**os.environ, "PYTHONPATH": str(root), **(environment or {})}
        return subprocess.Popen(
            [*before, sys.executable, "-m", "bench", *(os.fspath(each) for each in arguments)],
            preexec_fn=_hear_interrupts,
            cwd=folder,
            env=variables,
            text=True,
            errors="replace",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


def waited_for_core(process: int | None) -> float:
    """Seconds in which a process was ready to run while every core was taken; 0 where the system does not say."""
    try:
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def _hear_interrupts() -> None:
    """Take Ctrl-C, which shells have their background jobs ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
