"""Evaluate weights that were trained elsewhere."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from bench.core.classifier import AnyClassifier
from bench.core.guards import evaluating
from bench.core.names import identity, safe_name
from bench.core.progress import Progress
from bench.core.record import RECORD
from bench.core.registry import load_object
from bench.core.threat import Threat
from bench.data import Dataset, defaults_of, fingerprint
from bench.evaluation.battery import make_battery
from bench.evaluation.describe import Trained, code_of_data
from bench.evaluation.estimate import estimate
from bench.evaluation.evaluate import evaluate_to_folder
from bench.evaluation.extra_checks import unanswered
from bench.evaluation.foreign_identity import network_identity
from bench.evaluation.inputs import check_network
from bench.models.loaders import make_network, names_code
from bench.models.robustbench import robustbench_loader
from bench.models.weights import load_weights, set_weights, weights_of
from bench.runs.config import RunConfig
from bench.runs.job import result_name
from bench.runs.kept import finished_record
from bench.runs.outcome import say_result, transfer_source
from bench.runs.plan import load_data, pick_device
from bench.runs.run import Tracker
from bench.version import __version__


def evaluate_checkpoint(
    config: RunConfig,
    checkpoint: Path | None,
    loader: str | None,
    tracker: Tracker,
    progress: Progress,
    paper: str | None = None,
    extra_data: bool | None = None,
) -> Path:
    """Evaluate a checkpoint and return the path of its record; no pages are drawn.

    Args:
        config: `defense` is what the board calls the training; `seeds` holds the one seed of the evaluation.
        checkpoint: weights for the network `config.model`, or for the one the loader makes.
        loader: `module:function`, given `input_shape` and `num_classes` where it takes them; `timm:NAME`;
            `robustbench:ID`. Without a checkpoint the last two bring their published weights.
        paper: address of the method's description, for its page.
        extra_data: whether it was trained on more than the training images of the data set. What is None is not
            stated.

    Raises:
        UserError: for a checkpoint that cannot be read or does not fit, or a network that cannot be made.
    """
    battery = make_battery(config.battery, config.metrics)
    classifier, data, threat, loader = external_network(config, checkpoint, loader)
    if checkpoint is None and loader is not None and names_code(loader):
        progress.say(f"no --checkpoint given: the weights are those that {loader} returns")
    check_network(classifier, *data.test.batch(slice(0, battery.images)))
    network = network_identity(classifier, data, loader)
    transfer = transfer_source(config, data)
    digits = identity(
        {
            "weights": fingerprint(*weights_of(classifier).values()),
            "network": [str(classifier), loader, *([network] if network else [])],
            "data": data.fingerprint,
            "threat": [threat.norm, str(threat.exact)],
            "battery": battery.version,
            "version": __version__,
        }
    )
    (seed,) = config.seeds
    run = f"{safe_name('-'.join((data.name, config.model, config.defense)))}-{digits}"
    folder = config.out / run / f"seed-{seed}" / result_name(battery, len(data.test))
    known = finished_record(folder, progress.say)
    stated = {"paper": paper, "extra_data": extra_data}
    stated = {name: value for name, value in stated.items() if value is not None}
    if known and stated.items() <= known.provenance.config.items() and not unanswered(known, config.escalate):
        return folder / RECORD
    images = min(len(data.test), battery.images or len(data.test))
    tracker.sync(folder.parent.parent)
    with evaluating(classifier):
        progress.say(estimate(images, classifier, data, battery))
        record = evaluate_to_folder(
            classifier,
            data,
            threat,
            battery,
            model=config.model,
            trained=Trained.elsewhere(config.defense),
            run=run,
            seed=seed,
            folder=folder,
            command=_command(config, checkpoint, loader, stated),
            config={
                **config.published(),
                "loader": loader,
                **({"network": network} if network else {}),
                **stated,
            },
            progress=progress,
            escalate=config.escalate,
            transfer_from=transfer,
            parts=[
                *([("loader", load_object(loader, "loader"))] if loader and names_code(loader) else []),
                *code_of_data(config.dataset),
            ],
        )
    say_result(record, progress)
    tracker.sync(folder.parent.parent, final=True)
    return folder / RECORD


def external_network(
    config: RunConfig, checkpoint: Path | None, loader: str | None
) -> tuple[AnyClassifier, Dataset, Threat, str | None]:
    """The network that is evaluated, its data and threat, and the loader as the record names it.

    Args:
        config, checkpoint, loader: as for `evaluate_checkpoint`.

    Raises:
        UserError: as `evaluate_checkpoint` does.
    """
    weights = load_weights(checkpoint) if checkpoint else None
    threat = Threat.parse(config.threat or defaults_of(config.dataset).threat)
    data = load_data(config).to(pick_device(config.device))
    loader = _in_full(loader, data, threat)
    classifier = make_network(config.model, loader, data, pretrained=checkpoint is None)
    if weights is not None:
        set_weights(classifier, weights, checkpoint or "")
    classifier.to(data.test.images.device).requires_grad_(False)
    return classifier, data, threat, loader


def _in_full(loader: str | None, data: Dataset, threat: Threat) -> str | None:
    """Put data set and norm before a RobustBench id, so that the record identifies the network."""
    source, _, identifier = (loader or "").partition(":")
    return robustbench_loader(identifier, data, threat) if source == "robustbench" else loader


def words_of_statements(config: Mapping[str, object]) -> list[str]:
    """The command-line words of what a submitter states of a network, from the settings of its record."""
    words = ["--paper", str(config["paper"])] if "paper" in config else []
    if (extra := config.get("extra_data")) is not None:
        words.append("--extra-data" if extra else "--no-extra-data")
    return words


def _command(
    config: RunConfig, checkpoint: Path | None, loader: str | None, stated: Mapping[str, object]
) -> str:
    words = ["bench", "evaluate"]
    if checkpoint:
        words += ["--checkpoint", checkpoint.name]
    source, _, name = (loader or "").partition(":")
    if source in ("timm", "robustbench"):
        words += [f"--{source}", name]
    elif loader:
        words += ["--loader", loader]
    # An evaluation has one seed, and its own word for it.
    words += ["--seed" if word == "--seeds" else word for word in config.words()]
    return shlex.join([*words, *words_of_statements(stated)])
