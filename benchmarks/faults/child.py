"""What a forked process does: become `bench` with these arguments."""

import os
import resource
import sys


def run_command(
    arguments: list[str],
    folder: str,
    environment: dict[str, str],
    output: str,
    errors: str,
    cpu_seconds: int,
) -> None:
    """Run `bench *arguments` in `folder` with its streams in two files, and exit as it does."""
    os.setpgid(0, 0)
    os.chdir(folder)
    os.environ.update(environment)
    for path, stream in ((output, 1), (errors, 2)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(descriptor, stream)
        os.close(descriptor)
    sys.stdout = open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, encoding="utf-8", buffering=1)  # noqa: SIM115
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + cpu_seconds, int(used) + cpu_seconds + 5))
    sys.argv = ["bench", *arguments]
    from bench.cli import main

    try:
        main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
