"""Submit a sweep to Slurm as job arrays; each task does a part, and the time limit's signal requeues it."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.core.errors import UserError
from bench.core.files import write_text

#: Seconds before the time limit at which a task is asked to keep its checkpoint.
NOTICE = 120
#: Slurm's own default limit of tasks in an array.
MOST_TASKS = 1001
_SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --output={log}/%A_%a.log
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@{notice}
#SBATCH --requeue
{lines}
# The time limit's signal ends the work at a checkpoint, and the task is queued again to go on from there.
{command} --index $((SLURM_ARRAY_TASK_ID + {first})) --count {count} &
worker=$!
requeue() {{
  kill -TERM "$worker"
  wait "$worker"
  scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
  exit 0
}}
trap requeue TERM
wait "$worker"
"""


def check_options(options: Sequence[str]) -> None:
    """Look at options of `sbatch` before anything is written.

    Raises:
        UserError: for what is no option.
    """
    for option in options:
        if not option.startswith("-") or "\n" in option:
            raise UserError(f"--sbatch: expected an option such as --partition=gpu, got {option!r}")


def submit(
    command: Sequence[str], folder: Path, *, name: str, count: int, options: Sequence[str]
) -> list[str]:
    """Write the scripts of job arrays with `count` tasks in all, and submit them.

    Args:
        command: of a worker, without its part.
        folder: of the scripts and of what the tasks print.
        name: of the jobs.
        count: parts that the sweep is divided into.
        options: of `sbatch`, such as "--partition=gpu".

    Returns:
        Numbers of the jobs.

    Raises:
        UserError: when there is no `sbatch`, or it refuses; the scripts stay, to be looked at.
    """
    log = folder / "logs"
    log.mkdir(parents=True, exist_ok=True)
    most = _largest_array()
    jobs = []
    for first in range(0, count, most):
        tasks = min(most, count - first)
        script = folder / (f"sweep-{first}.sbatch" if count > most else "sweep.sbatch")
        text = _SCRIPT.format(
            name=name,
            last=tasks - 1,
            log=log.resolve(),
            notice=NOTICE,
            lines="".join(f"#SBATCH {option}\n" for option in options),
            command=shlex.join(command),
            first=first,
            count=count,
        )
        write_text(script, text)
        jobs.append(_sbatch(script))
    return jobs


def _largest_array() -> int:
    """The site's limit of tasks in an array."""
    if shutil.which("scontrol"):
        done = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, check=False)
        found = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE)
        if found and int(found[1]) > 1:
            return int(found[1]) - 1  # the largest number, of which 0 is the first
    return MOST_TASKS - 1


def _sbatch(script: Path) -> str:
    if shutil.which("sbatch") is None:
        raise UserError(f"there is no `sbatch` here; {script} is written, submit it where Slurm is")
    done = subprocess.run(["sbatch", "--parsable", str(script)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"sbatch refused {script}: {' '.join(done.stderr.split())}")
    return done.stdout.strip().partition(";")[0]
