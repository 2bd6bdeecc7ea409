"""Command-line entry point. Each command imports what it needs inside its function, so that `--help` is fast."""

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import click

from bench.cli.check import check
from bench.cli.cite import cite
from bench.cli.compare import compare
from bench.cli.doctor import doctor
from bench.cli.evaluate import evaluate
from bench.cli.figures import figures
from bench.cli.leaderboard import leaderboard
from bench.cli.list import list_parts
from bench.cli.run import run
from bench.cli.show import show
from bench.cli.signals import exit_code, stopping
from bench.cli.streams import prepare_streams, print_note, results_alone, without_secrets
from bench.cli.study import study
from bench.cli.sweep import sweep
from bench.cli.tracking import track, ui
from bench.cli.upload import upload
from bench.cli.verify import verify
from bench.core.command_line import hide_arguments
from bench.core.errors import UserError, failed_import, out_of_memory
from bench.core.foreign_code import PluginFailed, named
from bench.core.torchrun import refuse_others, silence_workers
from bench.version import __version__

#: The environment variable that shows a traceback above the line on an error of the operating system or a plug-in.
TRACEBACK = "BENCH_TRACEBACK"


class EndedEarly(Exception):
    """A file or an answer ended before its content did, and nobody who read it expected that."""


def main() -> None:
    """Run the command line; a user's mistake is one line on standard error and exit code 2."""
    prepare_streams()
    silence_workers()
    with without_secrets():
        hide_arguments()
        try:
            _run()
        except SystemExit as leave:
            _leave(leave.code)
            raise
        _leave(0)


def _run() -> None:
    try:
        with stopping(), warnings.catch_warnings():
            warnings.showwarning = _warn  # type: ignore[assignment]
            _check_working_folder()
            cli(standalone_mode=False)
    except UserError as error:
        if isinstance(error, PluginFailed) and os.environ.get(TRACEBACK):
            traceback.print_exception(error)
        _fail(str(error))
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "bench"
        _fail(f"{_shortened(error.format_message())} (see `{where} --help`)")
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except EndedEarly as error:
        if os.environ.get(TRACEBACK):
            traceback.print_exception(error)
        _fail(f"{error}; {TRACEBACK}=1 shows where", 1)
    except (KeyboardInterrupt, click.Abort) as stop:
        print_note("stopped; the same command goes on from here")
        sys.exit(exit_code(stop))
    except click.ClickException as error:
        _fail(error.format_message())
    except Exception as error:
        if not isinstance(error, OSError) and not failed_import(error) and not out_of_memory(error):
            raise  # a fault of ours, whose traceback is wanted
        if os.environ.get(TRACEBACK):
            traceback.print_exception(error)
        _fail(*_refused(error))


def _check_working_folder() -> None:
    """Refuse a working folder that is gone, in which libraries fail one after another."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UserError("the working folder was deleted; change to another one") from None


def _shortened(message: str) -> str:
    """A message without the middle of what somebody gave in thousands of characters."""
    return message if len(message) <= 1_000 else f"{message[:600]}…{message[-300:]}"


def _leave(code: object) -> None:
    """End the process at once where a thread still waits for a tracking server; its libraries would join it."""
    background = sys.modules.get("bench.tracking.background")
    if background is not None and background.busy():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _refused(error: Exception) -> tuple[str, int]:
    """Describe an error of the system; the exit code is 2 where naming another file can help."""
    again = "and give the same command again"
    words = " ".join(str(error).split()) or type(error).__name__
    if out_of_memory(error):
        return f"out of memory ({words[:200]}); free some {again}, or take fewer or smaller images", 1
    if not isinstance(error, OSError):
        again = (
            " (torch and torchvision have to be of one release and from one index)"
            if "torch" in words
            else ""
        )
        return f"a library cannot be imported: {words}{again}; {TRACEBACK}=1 shows where", 1
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full: {error.filename or error}; free some space {again}", 2
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"too many open files; raise the limit (`ulimit -n`) {again}", 1
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}", 2
    return f"the system refused: {words}; {TRACEBACK}=1 shows where", 1


def _warn(message: Warning | str, *_: object) -> None:
    print_note(f"Warning: {' '.join(str(message).split())}")


def _fail(message: str, code: int = 2) -> None:
    print_note(f"Error: {' '.join(message.split())}")
    sys.exit(code)


@contextmanager
def _command() -> Iterator[None]:
    """What holds around the body of every command; within click, which makes errors of its own of some."""
    try:
        with results_alone(), named():
            yield
    except EOFError as error:
        # Click takes it for the end of what a user types, and that for Ctrl-C.
        raise EndedEarly(f"a file or an answer ended too early: {error or 'EOFError'}") from error


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="bench")
@click.pass_context
def cli(context: click.Context) -> None:
    """Train defenses, measure them with one fixed battery, and rank them honestly.

    \b
    bench run --defense prs --model resnet18    search, train, evaluate, log, draw the pages
    bench ui                                    compare runs in MLflow
    """
    refuse_others(context.invoked_subcommand)


for command in (
    run,
    sweep,
    evaluate,
    leaderboard,
    list_parts,
    show,
    compare,
    check,
    cite,
    verify,
    figures,
    upload,
    study,
    ui,
    track,
    doctor,
):
    cli.add_command(command)
for command in (*cli.commands.values(), *leaderboard.commands.values()):
    if command.callback is not None:
        command.callback = _command()(command.callback)
