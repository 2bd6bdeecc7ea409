"""What `torchrun` tells the processes that it starts."""

import os
import sys

from bench.core.errors import UserError


def processes() -> int:
    """How many there are; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1)) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def is_worker() -> bool:
    """Whether this is another process than the first."""
    return processes() > 1 and os.environ.get("RANK") != "0"


def silence_workers() -> None:
    """Let the first process alone print; `sys.__stderr__` stays for what another one has to say of itself."""
    if is_worker():
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives


def refuse_others(command: str | None) -> None:
    """Refuse every command but `bench run` and `bench evaluate` where several processes would give it.

    Raises:
        UserError: with what to do.
    """
    if processes() > 1 and command not in (None, "run", "evaluate"):
        raise UserError(
            f"torchrun is for `bench run` and `bench evaluate`; give `bench {command}` without it"
        )
