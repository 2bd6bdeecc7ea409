"""Run a server that ends with the process which started it, even where that one is killed.

Run as a script: `python guard.py COMMAND…`, as the leader of a session of its own, with a pipe as standard input.
Nobody writes into the pipe; it closes when its other end is gone, and then every process of the group is ended.
"""

import os
import signal
import subprocess
import sys
import threading
import time

#: Seconds between asking a server to end and ending it.
STOP_SECONDS = 5


def main() -> None:
    """Start the command, and exit as it does."""
    # The group is asked to end by a signal that reaches this process too, which has to stay until the end.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, preexec_fn=_hear_signals)
    threading.Thread(target=_end_with_the_pipe, daemon=True).start()
    sys.exit(server.wait())


def _hear_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end_with_the_pipe() -> None:
    sys.stdin.buffer.read()
    os.killpg(os.getpgrp(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
