"""Errors from users' mistakes, each explained in one line."""

import difflib
from collections.abc import Iterable

from bench.core.values import WORD_LENGTH, shown

#: How many names a message lists; a battery knows 40 metrics.
MOST_KNOWN = 50


#: How PyTorch's allocators, cuBLAS, cuDNN and oneDNN say that memory ran out, in a RuntimeError.
_MEMORY_SIGNS = (
    "defaultcpuallocator",
    "out of memory",
    "can't allocate memory",
    "alloc_failed",
    "could not create a memory object",
)


class UserError(Exception):
    """What was expected, what came, the likely fix. The command line prints it and exits with code 2."""


class NotFinite(UserError):
    """A network gave NaN or infinity; a training that meets this has diverged."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a GPU or (a plain RuntimeError) on the CPU."""
    # By its name, since mistakes are told without loading torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    message = str(error).lower() if isinstance(error, RuntimeError) else ""
    return any(sign in message for sign in _MEMORY_SIGNS)


def failed_import(error: BaseException) -> bool:
    """Whether an exception says that a library cannot be imported; torchvision raises a RuntimeError then."""
    importing, last = False, ""
    trace = error.__traceback__
    while trace is not None:
        importing |= trace.tb_frame.f_code.co_filename.startswith("<frozen importlib")
        last = str(trace.tb_frame.f_globals.get("__name__"))
        trace = trace.tb_next
    ours = last.partition(".")[0] in ("bench", "defenses", "metrics", "leaderboards")
    return isinstance(error, ImportError) or (importing and not ours)


def first_line(error: BaseException) -> str:
    """The first line of an exception's message; its type where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """A `UserError` for a name that nobody registered, with the nearest known ones.

    Args:
        kind: what was looked up, in the singular ("defense").
        name: what the user wrote.
        known: every registered name.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name[:WORD_LENGTH].lower(), known, n=3, cutoff=0.5)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    else:
        more = f" and {len(known) - MOST_KNOWN} more" if len(known) > MOST_KNOWN else ""
        hint = f"known: {', '.join(known[:MOST_KNOWN])}{more}" if known else "none is registered"
    return UserError(f"unknown {kind} {shown(name)}; {hint}")
