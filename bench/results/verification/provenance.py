"""Compare what a record claims with its own provenance, and with the run folder that it lies in."""

import hashlib
import shlex
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.core.files import read_json
from bench.core.foreign_code import content_of
from bench.core.names import identity
from bench.core.record import RUN, SEARCH, Record
from bench.core.threat import Threat
from bench.data import defaults_of
from bench.evaluation.battery import BATTERY_VERSION, make_battery
from bench.evaluation.describe import describe_battery
from bench.models.loaders import names_code
from bench.results.verification.check import Check, Findings, Unproven, first_few, outcome_of
from bench.runs.config import RunConfig
from bench.runs.external import words_of_statements
from bench.training.history import read_history
from bench.training.recipe import make_recipe
from defenses import get as get_defense

#: Fields that no command, file or computation can confirm.
REPORTED = (
    "cost",
    "provenance.commit",
    "provenance.dirty",
    "provenance.versions",
    "provenance.hardware",
    "provenance.created",
)
#: Kinds of command whose options follow from the settings. That of a study names a file.
WORDED = ("run", "evaluate")


def check_provenance(record: Record, folder: Path, *, trust: bool = False) -> Findings:
    """Compare threat, battery, seed, data, defense and training with the stored settings, command and run folder.

    Args:
        record: whose fields are compared.
        folder: of the record; the run's own files are two folders above, if anywhere.
        trust: allow importing code that the record names as `module:Class`.
    """
    stored = {key: value for key, value in record.provenance.config.items() if key in RunConfig.model_fields}
    try:
        config = RunConfig.make({"defense": record.defense.name, **stored})
    except UserError as error:
        yield Check("provenance", "not checked", f"its settings cannot be read: {error}")
    else:
        problems = [*_against_config(record, config, stored.keys(), trust)]
        if stored.keys() >= _always_stored():
            problems += _against_command(record, config)
        else:
            yield Unproven(("provenance.command",), "the settings to compare it with are not complete")
        what = "threat, battery, seed, data and defense are those of its settings and its command"
        if stored or problems:
            yield Check("provenance", outcome_of(not problems), first_few(problems, "; ") or what)
    if missing := sorted({"threat", "battery", "seeds", "defense"} - stored.keys()):
        fields = tuple("seed" if each == "seeds" else each for each in missing)
        yield Unproven(fields, "the provenance does not name it; only the identifier agrees")
    yield from _against_run(record, folder)
    yield Unproven(REPORTED, "as reported by whoever measured")
    yield from _training_unproven(record)


def check_sources(record: Record) -> Findings:
    """Whether the plug-ins that ran here are the files that the record names."""
    here = [
        (source, content)
        for source in record.provenance.sources
        if (module := source.name.partition(":")[0]) != "__main__" and (content := content_of(module))
    ]
    others = {source.file for source, content in here if hashlib.sha256(content).hexdigest() != source.sha256}
    if others:
        message = f"{', '.join(sorted(others))} here: not the code that the record was made with"
        yield Check("source", "not checked", message)
    elif here:
        files = sorted({source.file for source, _ in here})
        yield Check("source", "match", f"{', '.join(files)} here: the code that the record was made with")


def _training_unproven(record: Record) -> Findings:
    fields = ["defense.hyperparameters", "defense.defaults", "defense.search", "training", "history"]
    if record.training is None:
        fields = ["defense", *(["history"] if record.history else [])]
    reason = "consistent with what is stored beside it, but the training did not run again"
    yield Unproven(tuple(fields), reason)


def _against_config(record: Record, config: RunConfig, stored: Set[str], trust: bool) -> Iterator[str]:
    """Fields of a record that contradict the stored settings, in words.

    Args:
        stored: names of the settings that the record has; the others are unknown.
    """
    if "threat" in stored:
        threat = Threat.parse(config.threat or defaults_of(config.dataset).threat)
        if (threat.norm, threat.eps) != (record.threat.norm, record.threat.eps):
            yield f"the threat is {record.threat.norm}:{record.threat.eps}, its settings say {threat}"
    if "seeds" in stored and record.seed not in config.seeds:
        yield f"the seed is {record.seed}, its settings say {', '.join(map(str, config.seeds))}"
    if "model" in stored and config.model != record.model:
        yield f"the network is {record.model}, its settings say {config.model}"
    if "battery" in stored and not record.provenance.command.startswith("bench study"):
        yield from _against_battery(record, config, trust)
    if "defense" in stored:
        yield from _against_defense(record, config, trust)
        yield from _against_training(record, config)


def _against_battery(record: Record, config: RunConfig, trust: bool) -> Iterator[str]:
    if any(names_code(each.partition("(")[0]) for each in config.metrics) and not trust:
        return
    battery = make_battery(config.battery, config.metrics)
    expected = describe_battery(battery)
    if record.battery.name != expected.name and record.battery.version == BATTERY_VERSION:
        yield f"the battery is {record.battery.name}, its settings give {expected.name}"
    size = min(record.dataset.test_size, battery.images or record.dataset.test_size)
    if record.dataset.evaluated_size != size:
        yield f"{record.dataset.evaluated_size} images were attacked, its settings give {size}"
    if record.battery.version != BATTERY_VERSION:
        return
    for name, settings in record.battery.settings.items():
        # A metric may have joined the battery since; none has left it, or changed without a new version.
        if expected.settings.get(name) != settings:
            yield f"the settings of {name} are not those of the battery"


def _against_defense(record: Record, config: RunConfig, trust: bool) -> Iterator[str]:
    name = config.defense
    if record.training is None or (names_code(name) and not trust):
        if name != record.defense.name:
            yield f"the defense is {record.defense.name}, its settings say {name}"
        return
    defense = get_defense(name)
    if record.defense.name != (name if ":" in name else defense.name):
        yield f"the defense is {record.defense.name}, its settings say {name}"
        return
    chosen, usual = (defense.make(each).hyperparameters() for each in (config.set, {}))
    searched = set(record.defense.search.space) - set(config.set) if record.defense.search else set()
    for key, value in record.defense.hyperparameters.items():
        if key in chosen.keys() - searched and chosen[key] != value:
            yield f"hyper-parameter {key} is {value}, its settings give {chosen[key]}"
    for key, value in record.defense.defaults.items():
        if key in usual and usual[key] != value:
            yield f"the default of hyper-parameter {key} is {value}, the defense's is {usual[key]}"


def _against_training(record: Record, config: RunConfig) -> Iterator[str]:
    if record.training is None:
        return
    expected: dict[str, Any] = {
        "epochs": config.epochs or defaults_of(config.dataset).epochs,
    }
    if config.precision != "auto":
        expected["precision"] = config.precision
    for key, wanted in expected.items():
        if getattr(record.training, key) != wanted:
            yield f"training.{key} is {getattr(record.training, key)}, its settings give {wanted}"
    recipe = make_recipe(config.recipe).model_dump()
    for key, value in record.training.recipe.items():
        if key in recipe and recipe[key] != value:
            yield f"training.recipe.{key} is {value}, its settings give {recipe[key]}"


def _against_command(record: Record, config: RunConfig) -> Iterator[str]:
    """Options of the stored command that contradict the stored settings."""
    try:
        program, kind, *words = shlex.split(record.provenance.command)
    except ValueError:
        program, kind, words = "", "", []
    if (program, kind) == ("bench", "study"):
        return
    if program != "bench" or kind not in WORDED:
        yield f"the command is no `bench {' or '.join(WORDED)}`"
        return
    ours, theirs = _options(config.words()), _options(words)
    if kind == "evaluate":
        ours = {"--seed" if key == "--seeds" else key: value for key, value in ours.items()}
        theirs.pop("--checkpoint", None)
        # Earlier commands left out what the submitter states.
        stated = _options(words_of_statements(record.provenance.config))
        ours |= {key: value for key, value in stated.items() if key in theirs}
        loaders = [theirs.pop(f"--{source}", None) for source in ("loader", "timm", "robustbench")]
        given = next((each[0] for each in loaders if each), None)
        loader = record.provenance.config.get("loader")
        if (given is None) != (loader is None) or not str(loader or "").endswith(given or ""):
            yield f"its command loads {given or 'no network'}, its settings say {loader}"
    ignored = {f"--{name.replace('_', '-')}" for name in _local()}
    # Evaluations had this option before it was a setting.
    ignored |= {"--suspicious"} - ours.keys()
    for key in sorted((ours.keys() | theirs.keys()) - ignored):
        if ours.get(key) != theirs.get(key):
            said, settings = (" ".join(each.get(key, ["nothing"])) or "given" for each in (theirs, ours))
            yield f"{key} is {said} in its command, {settings} in its settings"


def _always_stored() -> set[str]:
    """Names of the settings that every record stores, also at their default."""
    return {name for name, field in RunConfig.model_fields.items() if not field.exclude_if} - _local()


def _local() -> set[str]:
    """Names of the settings that no record stores."""
    return {name for name, option in RunConfig.options().items() if option.local}


def _options(words: Sequence[str]) -> dict[str, list[str]]:
    """The values of each option, in order; a flag has none."""
    found: dict[str, list[str]] = {}
    key = ""
    for word in words:
        if word.startswith("--"):
            key = word
            found.setdefault(key, [])
        else:
            found.setdefault(key, []).append(word)
    return found


def _against_run(record: Record, folder: Path) -> Findings:
    """Compare with `run.json`, `search.json` and `history.jsonl`, where the record lies in its run's folder."""
    home = folder.resolve().parent.parent
    if not (home / RUN).is_file():
        return
    problems: list[str] = []
    try:
        about = read_json(home / RUN)
        problems += _against_run_file(record, about if isinstance(about, dict) else {})
        search = record.defense.search
        if (
            search
            and (home / SEARCH).is_file()
            and read_json(home / SEARCH) != search.model_dump(mode="json")
        ):
            problems.append(f"defense.search is not that of {SEARCH}")
        history = read_history(folder.resolve().parent)
        if history and record.history and history != record.history:
            problems.append("history is not that of the training's folder")
    except (UserError, ValueError, KeyError, TypeError) as error:
        yield Check("run folder", "not checked", f"{home.name}: {error}")
        return
    what = f"{home.name}: run.json and what lies beside it agree"
    yield Check("run folder", outcome_of(not problems), first_few(problems, "; ") or what)


def _against_run_file(record: Record, about: Mapping[str, Any]) -> Iterator[str]:
    if about.get("run") != record.provenance.run:
        yield f"the run is {record.provenance.run}, {RUN} says {about.get('run')}"
    values = about.get("identity") or {}
    if values and not record.provenance.run.endswith(identity(values)):
        yield f"the run's name does not end in the hash of the settings in {RUN}"
    training = record.training
    if not values or training is None:
        return
    recipe = {key: value for key, value in training.recipe.items() if key != "name"}
    with suppress(UserError):
        exact = str(Threat(record.threat.norm, record.threat.eps).exact)
        found = {
            "defense": record.defense.name,
            "model": record.model,
            "threat": [record.threat.norm, exact],
            "recipe": recipe,
            "epochs": training.epochs,
            "precision": training.precision,
        }
        for key, value in found.items():
            if key in values and values[key] != value:
                yield f"{key} is {value}, {RUN} says {values[key]}"
        searched = set(values.get("space") or {}) if record.defense.search else set()
        for key, value in (values.get("hyperparameters") or {}).items():
            ours = record.defense.hyperparameters.get(key, value)
            if key not in searched and ours != value:
                yield f"hyper-parameter {key} is {ours}, {RUN} says {value}"
