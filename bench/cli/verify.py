"""`bench verify`."""

from pathlib import Path

import click

from bench.cli.options import quiet_option
from bench.cli.streams import print_json, print_result
from bench.cli.types import DEVICE, FOLDER, NAMES, PATH, PLACE


@click.command()
@click.argument("record", type=PATH)
@click.option(
    "--attacks",
    type=NAMES,
    metavar="NAME[,NAME…]",
    default=(),
    help="Attacks to run again on all images, such as pgd20,cw; the others run on a sample.",
)
@click.option("--quick", is_flag=True, help="Run no attack again but those of --attacks.")
@click.option("--checkpoint", type=PATH, help="The weights, where they do not lie beside the record.")
@click.option(
    "--loader", type=PLACE, metavar="MODULE:FUNCTION", help="Makes the network, where it is none of ours."
)
@click.option("--trust", is_flag=True, help="Run the code that the record names as module:function.")
@click.option("--data-dir", type=FOLDER, help="Where the data set's files are.  [default: data]")
@click.option(
    "--device",
    type=DEVICE,
    default="auto",
    show_default=True,
    metavar="NAME",
    help="auto, cpu, cuda or cuda:N.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON, nothing else.")
@quiet_option
def verify(
    record: Path,
    attacks: tuple[str, ...],
    quick: bool,
    checkpoint: Path | None,
    loader: str | None,
    data_dir: Path | None,
    device: str,
    trust: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check a record against its weights, its data and its provenance, and run its attacks again on a sample.

    One line for each check, then the verdict, what it does not prove, and the raised alarms. Exit code 0: match.
    1: something contradicts the record. 3: nothing does, but not all could be checked.
    """
    from bench.cli.display import make_progress
    from bench.results.verify import verify as verify_record

    found = verify_record(
        record,
        attacks=attacks,
        quick=quick,
        data_dir=data_dir,
        weights=checkpoint,
        loader=loader,
        device=device,
        trust=trust,
        progress=make_progress(quiet),
    )
    if as_json:
        print_json(found.as_json())
    else:
        for check in found.checks:
            print_result(f"{check.outcome:<11}  {check.name}: {check.message}")
        print_result(f"{record}: {found.verdict}")
        for each in found.unproven if not found.contradicted else ():
            print_result(f"not proven   {each}")
        print_result(
            f"alarms       {', '.join(found.alarms) or 'none raised; that is no proof of robustness'}"
        )
        if found.stands.raised and found.stands.finding:
            word = "in doubt" if found.stands.in_doubt else "answered"
            print_result(f"{word:<11}  {found.stands.finding}")
    if not found.matches:
        raise SystemExit(1 if found.contradicted else 3)
