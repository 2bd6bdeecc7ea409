"""The door: parse, one call, echo. Everything heavy is imported inside the command that needs it."""

import errno
import json
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli_options import FilePath, data_options, result_options
from bench.commands.compare import compare
from bench.commands.figures import figures
from bench.commands.study import study
from bench.commands.verify import verify
from bench.core.errors import UserError
from bench.version import __version__

if TYPE_CHECKING:
    from bench.core.progress import Progress

#: The environment variable that shows a traceback above the line on an error of the operating system.
TRACEBACK = "BENCH_TRACEBACK"


def main() -> None:
    """Run the command line; a user's mistake is one line on standard error and exit code 2."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn  # type: ignore[assignment]
            cli(standalone_mode=False)
    except UserError as error:
        _fail(str(error))
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "bench"
        _fail(f"{error.format_message()} (see `{where} --help`)")
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("stopped; the same command goes on from here", err=True)
        sys.exit(130)
    except click.ClickException as error:
        _fail(error.format_message())
    except OSError as error:
        if os.environ.get(TRACEBACK):
            traceback.print_exception(error)
        _fail(*_refused(error))


def _refused(error: OSError) -> tuple[str, int]:
    """What the operating system refused, in words, and the exit code: 2 where the user can name another file."""
    again = "and give the same command again"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full: {error.filename or error}; free some space {again}", 2
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"too many open files; raise the limit (`ulimit -n`) {again}", 1
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}", 2
    words = " ".join(str(error).split()) or type(error).__name__
    return f"the system refused: {words}; {TRACEBACK}=1 shows where", 1


def _warn(message: Warning | str, *_: object) -> None:
    click.echo(f"Warning: {message}", err=True)


def _fail(message: str, code: int = 2) -> None:
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="bench")
def cli() -> None:
    """Train defenses, measure them with one fixed battery, and rank them honestly.

    \b
    bench run --defense prs --model resnet18    search, train, evaluate, log, draw the pages
    bench ui                                    compare runs in MLflow
    """


for command in (compare, figures, study, verify):
    cli.add_command(command)


@cli.command()
@click.argument("file", required=False, type=FilePath)
@click.option("--defense", metavar="NAME", help="A name of `bench list defenses`, or module:Class.")
@click.option(
    "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Fix a hyper-parameter; repeatable."
)
@click.option(
    "--recipe",
    metavar="NAME[,FIELD=VALUE…]",
    help="paper; strong (SGD, for networks with batch norm); or one with changes.  [default: paper]",
)
@click.option("--epochs", type=int, help="Passes over the training data.  [default: per data set]")
@click.option("--trials", type=int, help="Settings to try; 0 takes the defaults.  [default: per data set]")
@click.option(
    "--clean-floor",
    type=float,
    help="Validation clean accuracy a setting must reach.  [default: the defaults' less 0.10]",
)
@click.option("--seeds", metavar="N[,N…]", help="Seeds the best setting is trained with.  [default: 0]")
@click.option(
    "--probe-every",
    type=int,
    metavar="K",
    help="Look at regions and robustness after every K epochs.  [default: off]",
)
@click.option("--probe-images", type=int, help="Test images a probe attacks.  [default: 500]")
@click.option("--precision", metavar="NAME", help="Of training: auto (fp32), fp32 or bf16.  [default: auto]")
@data_options
@result_options
def run(
    file: Path | None, assignments: tuple[str, ...], as_json: bool | None, quiet: bool | None, **given: Any
) -> None:
    """Search hyper-parameters, train the best, evaluate, log to MLflow and draw the leaderboard.

    FILE.yaml holds the same words as keys; options on the command line win over it. Giving the same command again
    goes on where a stopped run was, and does nothing twice.
    """
    from bench.config import RunConfig, load_yaml

    values = load_yaml(file) if file else {}
    values |= {key: value for key, value in given.items() if value is not None}
    if assignments:
        values["set"] = {**(values.get("set") or {}), **dict(map(_assignment, assignments))}
    if isinstance(values.get("seeds"), str | int):
        values["seeds"] = _seeds(str(values["seeds"]))
    as_json = as_json or bool(values.pop("json", False))
    quiet = quiet or bool(values.pop("quiet", False))
    if "defense" not in values:
        raise UserError("--defense is missing; `bench list defenses` names them")
    config = RunConfig.make(values)
    progress = _progress(quiet)

    from bench.run import run as run_config

    paths = run_config(config, _tracker(config.tracking, progress), progress)
    if not as_json:
        progress.say(f"pages: {config.out / 'site' / 'index.html'}")
    _print_paths(paths, as_json)


@cli.command()
@click.option("--checkpoint", type=FilePath, help="Weights: safetensors, or a torch state dict.")
@click.option("--loader", metavar="MODULE:FUNCTION", help="Makes your own network; called without arguments.")
@click.option("--timm", metavar="NAME", help="A network of timm; its published weights without --checkpoint.")
@click.option("--robustbench", metavar="ID", help="A network of RobustBench's model zoo.")
@click.option(
    "--defense",
    metavar="LABEL",
    default="external",
    show_default=True,
    help="What the board calls the training.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Base of the evaluation's random draws.")
@data_options
@result_options
def evaluate(**given: Any) -> None:
    """Put someone else's weights through the same battery.

    The network is one of `bench list models`, what --loader returns (a torch.nn.Module from images in [0, 1] to
    logits), or one of timm's or RobustBench's.
    """
    from bench.config import RunConfig

    checkpoint, suspicious = given.pop("checkpoint"), bool(given.pop("suspicious"))
    as_json, quiet, seed = given.pop("as_json"), given.pop("quiet"), given.pop("seed")
    loader = _one_loader(given.pop("loader"), timm=given.pop("timm"), robustbench=given.pop("robustbench"))
    if loader is not None:
        given["model"] = given["model"] or loader.rpartition(":")[2]
    elif checkpoint is None or given["model"] is None:
        raise UserError(
            "give --checkpoint FILE with --model NAME (see `bench list models`), or a network of another kind: "
            "--loader module:function, --timm NAME, --robustbench ID"
        )
    config = RunConfig.make(
        {"seeds": (seed,), **{key: value for key, value in given.items() if value is not None}}
    )
    progress = _progress(quiet)

    from bench.external import evaluate_checkpoint

    tracker = _tracker(config.tracking, progress)
    path = evaluate_checkpoint(config, checkpoint, loader, tracker, progress, suspicious=suspicious)
    _print_paths([path], as_json)


@cli.group()
def leaderboard() -> None:
    """Draw the static pages, or check a submission."""


@leaderboard.command("build")
@click.option("--records", type=FilePath, help="Folder of records.  [default: runs]")
@click.option("--tracking", metavar="URI", help="Take the records from this MLflow store instead.")
@click.option("--out", type=FilePath, default=Path("site"), show_default=True, help="Folder for the pages.")
@click.option("--quiet", is_flag=True, help="No progress.")
def leaderboard_build(records: Path | None, tracking: str | None, out: Path, quiet: bool) -> None:
    """Draw index, boards and entry pages from a folder of records or from MLflow."""
    import tempfile

    from bench.core.record import find_records
    from bench.tracking import fetch_records, load_settings
    from leaderboards.build import build

    if records and tracking:
        raise UserError("give --records or --tracking, not both")
    progress = _progress(quiet)
    with tempfile.TemporaryDirectory() as scratch:
        links: dict[str, str] = {}
        if tracking:
            settings = load_settings(tracking)
            if settings is None:
                raise UserError("--tracking none holds no records; give --records FOLDER")
            paths, links = fetch_records(settings, Path(scratch))
        else:
            paths = find_records(records or Path("runs"))
        if not paths:
            raise UserError(f"no records in {tracking or records or 'runs'}; `bench run` makes them")
        site = build(paths, out, links=links, strict=False)
    for warning in site.warnings:
        progress.say(f"left out: {warning}")
    click.echo(out / "index.html")


@leaderboard.command("table")
@click.option("--records", type=FilePath, default=Path("runs"), show_default=True, help="Folder of records.")
def leaderboard_table(records: Path) -> None:
    """Print the boards of a folder of records as Markdown tables."""
    from bench.core.record import find_records
    from leaderboards.board import make_boards
    from leaderboards.markdown import board_markdown
    from leaderboards.result import read_results

    paths = find_records(records)
    if not paths:
        raise UserError(f"no records in {records}; `bench run` makes them")
    results, warnings = read_results(paths, strict=False)
    for warning in warnings:
        click.echo(f"left out: {warning}", err=True)
    click.echo("\n".join(map(board_markdown, make_boards(results))), nl=False)


@leaderboard.command("check")
@click.argument("file", type=FilePath)
def leaderboard_check(file: Path) -> None:
    """Check a submission: schema, hashes of the files beside it, and numbers that contradict each other."""
    from leaderboards.check import check

    problems = [problem.removeprefix(f"{file}: ") for problem in check(file)]
    if problems:
        raise UserError(f"{file}: {'; '.join(problems)}")
    click.echo(f"{file}: a valid record")


@cli.command("list")
@click.argument(
    "kind", type=click.Choice(["defenses", "models", "datasets", "metrics", "attacks", "batteries"])
)
def list_parts(kind: str) -> None:
    """Show what there is, with hyper-parameters and search ranges for defenses."""
    from bench.catalog import describe

    click.echo(describe(kind))


@cli.command()
@click.argument("record", type=FilePath)
def show(record: Path) -> None:
    """Print a record: scores with intervals, alarms, settings, cost."""
    from bench.core.record import load_record
    from bench.show import show_record

    show_record(load_record(record))


@cli.command()
@click.option(
    "--data-dir",
    type=FilePath,
    default=Path("data"),
    show_default=True,
    help="Where data sets are looked for.",
)
@click.option("--tracking", metavar="URI", help="MLflow tracking URI to try.")
def doctor(data_dir: Path, tracking: str | None) -> None:
    """Say what works on this machine: device, data, tracking, versions."""
    from bench.doctor import examine

    for line in examine(data_dir, tracking):
        click.echo(line)


@cli.command()
@click.option("--tracking", metavar="URI", help="MLflow tracking URI.  [default: mlflow.yaml]")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=int, default=5000, show_default=True)
def ui(tracking: str | None, host: str, port: int) -> None:
    """Open the MLflow UI on the store that runs are logged to."""
    from bench.tracking import load_settings, serve_ui

    settings = load_settings(tracking)
    if settings is None:
        raise UserError("--tracking none has no UI")
    serve_ui(settings, host, port, lambda line: click.echo(line, err=True))


@cli.command()
@click.argument("records", nargs=-1, required=True, type=FilePath)
@click.option("--tracking", metavar="URI", help="MLflow tracking URI.  [default: mlflow.yaml]")
def track(records: tuple[Path, ...], tracking: str | None) -> None:
    """Log records or whole run folders to MLflow that were made without it; nothing is logged twice."""
    from bench.tracking import load_settings, track_records

    settings = load_settings(tracking)
    if settings is None:
        raise UserError("--tracking none logs nothing")
    track_records(list(records), settings, lambda line: click.echo(line, err=True))


def _one_loader(loader: str | None, **sources: str | None) -> str | None:
    given = {name: value for name, value in {"loader": loader, **sources}.items() if value is not None}
    if len(given) > 1:
        raise UserError(f"{' and '.join(f'--{name}' for name in given)} name two networks; give one of them")
    return next((value if name == "loader" else f"{name}:{value}" for name, value in given.items()), None)


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"--set {text!r} must have the form name=value")
    return name.strip(), value.strip()


def _seeds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds must be whole numbers such as 0,1,2, got {text!r}") from None


def _progress(quiet: bool | None) -> "Progress":
    from bench.display import make_progress

    return make_progress(bool(quiet))


def _tracker(uri: str | None, progress: "Progress") -> Any:
    from bench.tracking import NullTracker, Tracker, load_settings

    settings = load_settings(uri)
    return Tracker(settings, progress.say) if settings else NullTracker()


def _print_paths(paths: list[Path], as_json: bool | None) -> None:
    if as_json:
        click.echo(json.dumps([str(path) for path in paths]))
    else:
        for path in paths:
            click.echo(path)
