"""`bench evaluate`."""

from typing import Any

import click

from bench.cli.options import SettingsCommand, json_option, print_paths, quiet_option, tracker_of
from bench.cli.types import PATH, PLACE, WHOLE, WORD
from bench.core.errors import UserError
from bench.core.values import is_link


@click.command(cls=SettingsCommand, settings=("data", "result"))
@click.option("--checkpoint", type=PATH, help="Weights: safetensors, or a torch state dict.")
@click.option(
    "--loader",
    type=PLACE,
    metavar="MODULE:FUNCTION",
    help="Makes your own network; given input_shape and num_classes where it takes them.",
)
@click.option(
    "--timm", type=WORD, metavar="NAME", help="A network of timm; its published weights without --checkpoint."
)
@click.option("--robustbench", type=WORD, metavar="ID", help="A network of RobustBench's model zoo.")
@click.option(
    "--defense",
    type=WORD,
    metavar="LABEL",
    default="external",
    show_default=True,
    help="What the board calls the training.",
)
@click.option(
    "--paper", type=WORD, metavar="URL", help="Where the method is described; its page links there."
)
@click.option(
    "--extra-data/--no-extra-data",
    default=None,
    help="Whether it was trained on more than the data set's training images.  [default: not stated]",
)
@click.option(
    "--seed", type=WHOLE, default=0, show_default=True, help="Base of the evaluation's random draws."
)
@json_option
@quiet_option
def evaluate(as_json: bool, quiet: bool, **given: Any) -> None:
    """Put someone else's weights through the same battery.

    The network is one of `bench list models`, what --loader returns (a torch.nn.Module from images in [0, 1] to
    logits), or one of timm's or RobustBench's.
    """
    from bench.runs.config import RunConfig

    checkpoint, paper, extra_data = (given.pop(name) for name in ("checkpoint", "paper", "extra_data"))
    if paper is not None and not is_link(paper):
        raise UserError(f"--paper: expected an address that begins with https:// or http://, got {paper!r}")
    seed = given.pop("seed")
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

    from bench.cli.display import make_progress
    from bench.core.torchrun import is_worker
    from bench.runs.external import evaluate_checkpoint, external_network
    from bench.runs.run import build_pages
    from bench.training.workers import joined, own_device, serve

    config = config.model_copy(update={"device": own_device(config.device)})
    with joined(config.device):
        if is_worker():
            network, *_ = external_network(config, checkpoint, loader)
            serve(network)
            return
        progress = make_progress(quiet)
        tracker = tracker_of(config.tracking, progress)
        path = evaluate_checkpoint(
            config, checkpoint, loader, tracker, progress, paper=paper, extra_data=extra_data
        )
        # Printed before the pages, as `bench run` does.
        print_paths([path], as_json)
        build_pages(config.out, tracker, progress)


def _one_loader(loader: str | None, **sources: str | None) -> str | None:
    given = {name: value for name, value in {"loader": loader, **sources}.items() if value is not None}
    if len(given) > 1:
        raise UserError(f"{' and '.join(f'--{name}' for name in given)} name two networks; give one of them")
    return next((value if name == "loader" else f"{name}:{value}" for name, value in given.items()), None)
