"""The command line of this process, which a list of processes shows to every user of the machine."""

import ctypes
import sys
from pathlib import Path

from bench.core.secrets import redact, secrets_in


def hide_arguments() -> None:
    """Take note of secrets in the arguments, and blank them where Linux shows them; `sys.argv` keeps them."""
    for argument in sys.argv[1:]:
        if "://" in argument:
            redact(argument[argument.find("=") + 1 :] if argument.startswith("-") else argument)
    secrets = [secret.encode() for argument in sys.argv[1:] for secret in secrets_in(argument)]
    if secrets and sys.platform == "linux":
        _overwrite(secrets)


def _overwrite(secrets: list[bytes]) -> None:
    try:
        # Fields 48 and 49 hold where the arguments begin and end; the second field may hold spaces.
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        start, end = int(fields[45]), int(fields[46])
        shown = Path("/proc/self/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return
    if not start or len(shown) != end - start:
        return
    blank = shown
    for secret in secrets:
        blank = blank.replace(secret, b"*" * len(secret))
    ctypes.memmove(start, blank, len(blank))
