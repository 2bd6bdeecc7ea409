"""`bench leaderboard`."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

import leaderboards
from bench.cli.options import quiet_option
from bench.cli.serve import serve
from bench.cli.streams import print_note, print_result
from bench.cli.types import FOLDER, FOLDER_OR_URL, FOLDER_TO_WRITE, NAMES, PATH, PLACE, PORT_OR_ANY, TEXT
from bench.core.errors import UserError

if TYPE_CHECKING:
    from leaderboards.board import Board

columns_option = click.option(
    "--columns",
    type=NAMES,
    default=(),
    metavar="SCORE[,SCORE…]",
    help="Scores to show, such as robust_accuracy/pgd100 or your own metric's.  [default: the main ones]",
)

#: Records of real runs, which come with the package.
SHIPPED = Path(leaderboards.__file__).parent / "results"
#: Where records are when nobody says otherwise.
RUNS = Path("runs")

records_option = click.option(
    "--records", type=FOLDER_OR_URL, help="Folder or URL of records.  [default: runs]"
)
shipped_option = click.option(
    "--shipped",
    is_flag=True,
    help="Take the records of real runs that come with the package, beside those that another option names.",
)


@click.group()
def leaderboard() -> None:
    """Draw the static pages, or check a submission."""


@leaderboard.command("build")
@records_option
@click.option("--tracking", type=TEXT, metavar="URI", help="Take the records from this MLflow store instead.")
@click.option(
    "--out", type=FOLDER_TO_WRITE, default=Path("site"), show_default=True, help="Folder for the pages."
)
@shipped_option
@click.option("--serve", "served", is_flag=True, help="Then serve the pages on 127.0.0.1 until Ctrl-C.")
@click.option("--port", type=PORT_OR_ANY, default=8000, show_default=True, help="For --serve; 0: any.")
@columns_option
@click.option(
    "--robustbench",
    type=FOLDER,
    help="Folder of RobustBench's model_info files, to show below the boards of the same data and threat.",
)
@click.option("--strict", is_flag=True, help="Exit with code 1 when a record or a figure was left out.")
@quiet_option
def leaderboard_build(
    records: Path | str | None,
    tracking: str | None,
    out: Path,
    shipped: bool,
    served: bool,
    port: int,
    columns: tuple[str, ...],
    robustbench: Path | None,
    strict: bool,
    quiet: bool,
) -> None:
    """Draw index, boards and entry pages from a folder of records or from MLflow.

    A record that is not admitted is left out, and the front page lists it with the reason. With --strict the pages
    are drawn all the same, and the exit code is 1. --columns adds columns to the usual ones. --shipped --serve
    shows what pages look like, --shipped --records runs where rows of yours stand; --serve without a record shows
    how to make one. What an earlier site in the same folder drew from the same records is used again.
    """
    from bench.core.record import find_records
    from bench.core.remote import local_copy
    from bench.core.temporary import scratch_folder
    from bench.runs.cards import defense_cards
    from bench.tracking import Fetched, fetch_records, kept_copy, load_settings
    from leaderboards.build import build
    from leaderboards.exchange.robustbench import find_published
    from leaderboards.left_out import LeftOut
    from leaderboards.studies import PATTERNS as STUDIES
    from leaderboards.studies import find_studies
    from metrics import titles

    if records is not None and tracking is not None:
        raise UserError("give one of --records and --tracking")
    with scratch_folder() as scratch:
        fetched, folders = Fetched([], {}, {}), [SHIPPED] if shipped else []
        if tracking:
            settings = load_settings(tracking)
            if settings is None:
                raise UserError("--tracking none holds no records; give --records FOLDER")
            fetched = fetch_records(settings, kept_copy(settings) or scratch)
        elif own := _own(records, shipped):
            folders.insert(0, local_copy(own, print_note, STUDIES))
        found = [find_records(each) for each in folders if each.exists() or not served]
        paths = [*fetched.paths, *(path for each in found for path in each)]
        left_out = [LeftOut(path, reason) for path, reason in fetched.left_out.items()]
        if not served and not (fetched.paths if tracking else found[0]):
            why = f"; left out: {left_out[0].reason}" if left_out else "; `bench run` makes them"
            raise UserError(f"no records in {tracking or records or RUNS}{why}")
        published, unread = find_published(robustbench) if robustbench else ([], [])
        site = build(
            paths,
            out,
            links=fetched.links if tracking else _remembered(paths),
            titles=titles(),
            cards=defense_cards(),
            columns=columns,
            strict=False,
            left_out=[*left_out, *unread],
            published=published,
            studies=[study for each in folders for study in find_studies(each)],
            empty=served,
        )
    _say_left_out(site.warnings)
    print_result(out / "index.html")
    if served:
        serve(out, port)
    if strict and site.left_out:
        raise SystemExit(1)


def _own(records: Path | str | None, shipped: bool) -> Path | str | None:
    """The folder of records to take besides the shipped ones."""
    return records or (None if shipped else RUNS)


def _remembered(records: Iterable[Path]) -> dict[str, str]:
    """Record id → MLflow run in the store that the working folder tracks to, as far as run folders remember it."""
    from bench.tracking import load_settings, run_links

    try:
        settings = load_settings()
    except UserError:  # a site from a folder needs no store
        return {}
    return run_links(records, settings) if settings else {}


@leaderboard.command("table")
@records_option
@shipped_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["markdown", "latex", "csv"]),
    default="markdown",
    show_default=True,
    help="latex needs booktabs; csv is one table of all boards.",
)
@columns_option
def leaderboard_table(records: Path | str | None, shipped: bool, form: str, columns: tuple[str, ...]) -> None:
    """Print the boards of a folder of records as tables, with 95 % intervals and marks of significance."""
    from leaderboards.downloads import boards_csv
    from leaderboards.latex import board_latex
    from leaderboards.markdown import board_markdown

    boards = _boards(records, shipped, columns)
    if form == "csv":
        print_result(boards_csv(boards, columns), nl=False)
        return
    draw = board_latex if form == "latex" else board_markdown
    print_result("\n".join(draw(board, columns) for board in boards), nl=False)


def _say_left_out(left_out: Iterable[object]) -> None:
    for each in left_out:
        print_note(f"left out: {each}")


@leaderboard.command("export")
@records_option
@shipped_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["robustbench", "every-eval-ever", "model-index", "croissant", "sarif"]),
    required=True,
    help="sarif holds the alarms alone.",
)
@click.option(
    "--out", type=FOLDER_TO_WRITE, default=Path("exchange"), show_default=True, help="Folder for the files."
)
def leaderboard_export(records: Path | str | None, shipped: bool, form: str, out: Path) -> None:
    """Write results as RobustBench, Every Eval Ever, Hugging Face or Croissant read them, or alarms as SARIF.

    Prints the files. Folders of the machine in texts of records become DIR.
    """
    from bench.runs.cards import defense_cards
    from leaderboards.exchange.export import export
    from metrics import titles

    paths = export(_boards(records, shipped), form, out, titles(), defense_cards())
    if not paths:
        raise UserError(f"no entry has the scores that {form} holds, clean accuracy and AutoAttack")
    for path in paths:
        print_result(path)


def _boards(records: Path | str | None, shipped: bool, columns: tuple[str, ...] = ()) -> "list[Board]":
    """The boards of a folder of records, the shipped ones among them or alone; says what was left out."""
    from bench.core.record import find_records
    from bench.core.remote import local_copy
    from leaderboards.board import make_boards
    from leaderboards.ranked import read_ranked

    paths = find_records(SHIPPED) if shipped else []
    if own := _own(records, shipped):
        found = find_records(local_copy(own, print_note))
        if not found:
            raise UserError(f"no records in {own}; `bench run` makes them")
        paths += found
    results, left_out = read_ranked(paths, strict=False)
    _say_left_out(left_out)
    if not results:
        raise UserError(f"no record in {records or RUNS} was admitted")
    return make_boards(results, columns)


@leaderboard.command("check")
@click.argument("file", type=PATH)
@click.option(
    "--reverify", is_flag=True, help="Also restore the network and try its stored adversarial images."
)
@click.option("--checkpoint", type=PATH, help="For --reverify: the weights, where they lie elsewhere.")
@click.option(
    "--loader",
    type=PLACE,
    metavar="MODULE:FUNCTION",
    help="For --reverify: makes the network, where it is none of ours.",
)
@click.option(
    "--data-dir", type=FOLDER, help="For --reverify: where the data set's files are.  [default: data]"
)
@click.option("--trust", is_flag=True, help="For --reverify: run the code that the record names.")
def leaderboard_check(
    file: Path,
    reverify: bool,
    checkpoint: Path | None,
    loader: str | None,
    data_dir: Path | None,
    trust: bool,
) -> None:
    """Check a submission: schema, hashes of the files beside it, and numbers that contradict each other.

    A record without problems is shown on a board, and no board shows a record that contradicts itself. --reverify
    needs the weights, the data and `examples.npz`: it measures clean accuracy again, and looks whether each stored
    image lies in the ball and is misclassified. Exit code 1 when something contradicts the record, 3 when not all
    of that could be checked.
    """
    from bench.core.record import RECORD
    from leaderboards.check import absent, check

    if not reverify and (checkpoint or loader or data_dir or trust):
        raise UserError("--checkpoint, --loader, --data-dir and --trust need --reverify")
    path = file / RECORD if file.is_dir() else file
    found = check(path)
    problems = [problem.removeprefix(f"{path}: ") for problem in found]
    if problems:
        raise UserError(f"{file}: {'; '.join(problems)}")
    print_result(f"{file}: a valid record")
    for line in absent(path):
        print_result(f"  {line}")
    if reverify:
        from bench.results.verify import verify

        verified = verify(path, quick=True, weights=checkpoint, loader=loader, data_dir=data_dir, trust=trust)
        for each in verified.checks:
            print_result(f"{each.outcome:<11}  {each.name}: {each.message}")
        # That no attack ran again is what this command is asked for.
        unknown = [
            each.name for each in verified.checks if each.outcome == "not checked" and each.name != "attacks"
        ]
        if verified.contradicted:
            print_result(f"{file}: MISMATCH")
            raise SystemExit(1)
        if unknown:
            print_result(f"{file}: partly; not checked: {', '.join(unknown)}")
            raise SystemExit(3)
        print_result(f"{file}: match, without its attacks; `bench verify` runs them again")
