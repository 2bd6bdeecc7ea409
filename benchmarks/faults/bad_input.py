"""Bad values and options: refused in one line with exit code 2, and nothing written.

The trials follow from the commands' own parameters and from the fields of `RunConfig`: each gets every value of
`benchmarks.faults.bad_values` that its type or its name calls for, in a command that works without it.
"""

import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click

from benchmarks.faults import bad_values
from benchmarks.faults.command import Bench, Outcome
from benchmarks.faults.trial import Fault, FaultClass, Trial

#: Seconds on the clock after which a refusal counts as hanging; seconds of the CPU have a limit of their own.
SECONDS = 90
#: Longest answer that still is a line to read.
LENGTH = 1_500
#: A run of a second, which every trial of `bench run` spoils in one place.
SMALL = {
    "--epochs": "1",
    "--trials": "0",
    "--train-size": "60",
    "--test-size": "12",
    "--metrics": "clean_accuracy",
    "--tracking": "none",
}
#: Command → what its words name in the working folder.
FILES = {
    "study": {"study.yaml": bad_values.STUDY},
    "sweep": {
        "sweep.yaml": "".join(
            f"{name[2:]}: {value}\n" for name, value in SMALL.items() if name != "--tracking"
        )
        + "defense: [standard]\n"
    },
    "check": {"thing.py": "from defenses.standard import Standard as Thing\n"},
}
EVALUATED = {name: SMALL[name] for name in ("--train-size", "--test-size", "--metrics", "--tracking")}


@dataclass(frozen=True)
class Attempt:
    """One bad command line: its words, and files that it needs in the working folder."""

    words: tuple[str, ...]
    files: Mapping[str, str | bytes] = field(default_factory=dict)

    def __str__(self) -> str:
        shown = " ".join(bad_values.shown(word) for word in self.words)
        held = "".join(f" with {name}: {bad_values.shown(str(text))}" for name, text in self.files.items())
        return shown + held


@dataclass(frozen=True)
class Inputs:
    """Good files for commands to start from, and bad ones, in a folder that no command may change."""

    folder: Path

    @property
    def record(self) -> str:
        """A record with its weights."""
        return str(next((self.folder / "runs").glob("*/seed-0/*/record.json"), self.folder / "record.json"))

    @property
    def weights(self) -> str:
        """The weights of the record."""
        return str(Path(self.record).with_name("weights.safetensors"))

    @classmethod
    def make(cls, bench: Bench, folder: Path) -> "Inputs":
        """Train for a second, and lay bad files beside the run."""
        folder.mkdir()
        words = [word for pair in SMALL.items() for word in pair]
        made = bench("run", "--defense", "standard", *words, folder=folder, cpu_seconds=120)
        if made.code != 0:
            raise RuntimeError(f"the good run failed: {made.text}")
        (folder / "file").write_text("text\n")
        (folder / "junk.json").write_bytes(b"\x00\xff{")
        (folder / "empty.json").write_text("")
        (folder / "folder").mkdir()
        os.mkfifo(folder / "pipe")
        return cls(folder)


def attempts(inputs: Inputs) -> list[Attempt]:
    """Every bad command line."""
    found = [*_of_options(inputs), *_of_arguments(inputs), *_of_settings(), *_of_files(inputs)]
    return [*found, *(Attempt(words) for words in bad_values.LINES)]


def good(inputs: Inputs) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Command → its arguments, and options that make it quick; each works."""
    return {
        "run": ([], {"--defense": "standard", **SMALL}),
        "evaluate": ([], {"--checkpoint": inputs.weights, "--model": "cnn6", **EVALUATED}),
        "sweep": (["sweep.yaml"], {"--tracking": "none"}),
        "leaderboard build": ([], {"--records": str(inputs.folder / "runs")}),
        "leaderboard table": ([], {}),
        "leaderboard check": ([inputs.record], {}),
        "leaderboard export": ([], {"--records": str(inputs.folder / "runs"), "--format": "sarif"}),
        "list": (["attacks"], {}),
        "show": ([inputs.record], {}),
        "compare": ([inputs.record, inputs.record], {}),
        "check": (["thing:Thing"], {}),
        "cite": ([inputs.record], {}),
        "verify": ([inputs.record], {}),
        "figures": ([inputs.record], {}),
        "study": (["study.yaml"], {}),
        "ui": ([], {}),
        "track": ([inputs.record], {"--tracking": "sqlite:///kept.db"}),
        "doctor": ([], {"--tracking": "none"}),
        "upload": ([inputs.record, "memory://runs"], {}),
    }


def commands() -> dict[str, list[click.Parameter]]:
    """Every command by its words, with its parameters."""
    from bench.cli.main import cli

    found = {}
    for name, command in cli.commands.items():
        inner = command.commands.items() if isinstance(command, click.Group) else [("", command)]
        for second, each in inner:
            found[f"{name} {second}".strip()] = each.get_params(click.Context(each))
    return found


def _of_options(inputs: Inputs) -> Iterator[Attempt]:
    """Every option with every bad value of its kind."""
    known = good(inputs)
    for command, parameters in commands().items():
        arguments, options = known[command]
        files = FILES.get(command, {})
        for parameter in parameters:
            if not isinstance(parameter, click.Option) or parameter.name in ("help", "version"):
                continue
            flag = parameter.opts[0]
            clash = {"--records"} if (command, flag) == ("leaderboard build", "--tracking") else set()
            rest = [word for pair in options.items() if pair[0] not in {flag, *clash} for word in pair]
            for value in bad_values.of_option(command, parameter, inputs.folder):
                bad = [f"{flag}=1"] if parameter.is_flag else [flag, value]
                yield Attempt((*command.split(), *arguments, *rest, *bad), files)


def _of_arguments(inputs: Inputs) -> Iterator[Attempt]:
    """Every argument with paths that hold nothing of the kind."""
    known = good(inputs)
    for command, parameters in commands().items():
        arguments, options = known[command]
        rest = [word for pair in options.items() for word in pair]
        places = [each for each in parameters if isinstance(each, click.Argument)]
        for at, place in enumerate(places):
            for value in bad_values.of_argument(place, inputs.folder):
                words = [*arguments[:at], value, *arguments[at + 1 :]]
                yield Attempt((*command.split(), *rest, "--", *words))
        if places and places[0].required:
            yield Attempt(tuple(command.split()))
        yield Attempt((*command.split(), *arguments, *rest, "one", "too", "many"))


def _of_settings() -> Iterator[Attempt]:
    """Every setting of a run in a YAML file, with every bad value of its type."""
    from bench.runs.config import RunConfig

    small = {"defense": "standard", **{name[2:]: value for name, value in SMALL.items()}}
    for name, about in RunConfig.model_fields.items():
        rest = {key: value for key, value in small.items() if key.replace("-", "_") != name}
        lines = "".join(f"{key}: {value}\n" for key, value in rest.items())
        for value in bad_values.of_setting(name, about):
            yield Attempt(("run", "run.yaml"), {"run.yaml": f"{name}: {value}\n{lines}"})
    lines = "".join(f"{key}: {value}\n" for key, value in small.items())
    for text in bad_values.YAML:
        yield Attempt(("run", "run.yaml"), {"run.yaml": f"{lines}{text}\n"})


def _of_files(inputs: Inputs) -> Iterator[Attempt]:
    """Files that are no settings, given as settings, as a study and as tracking settings."""
    for content in bad_values.CONTENTS:
        yield Attempt(("run", "x.yaml"), {"x.yaml": content})
        yield Attempt(("study", "x.yaml"), {"x.yaml": content})
    for content in (*bad_values.CONTENTS, *bad_values.TRACKING_SETTINGS):
        yield Attempt(("track", inputs.record), {"mlflow.yaml": content})
    for change in bad_values.STUDY_CHANGES:
        yield Attempt(("study", "x.yaml"), {"x.yaml": bad_values.STUDY + change})


def _provoke(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    inputs = Inputs.make(bench, folder / "inputs")
    before = _listing(inputs.folder)
    every = attempts(inputs)
    for number, attempt in enumerate(draw.sample(every, min(tries, len(every)))):
        place = folder / str(number)
        place.mkdir()
        for name, content in attempt.files.items():
            (place / name).write_bytes(content.encode() if isinstance(content, str) else content)
        own = _listing(place)
        outcome = bench(*attempt.words, folder=place, wall_seconds=SECONDS)
        faults = list(refused_in_one_line(outcome))
        left = sorted((_listing(place) - own) | (_listing(inputs.folder) - before))
        before |= _listing(inputs.folder)
        if left:
            faults.append(Fault("leftover", ", ".join(left[:5])))
        yield Trial(str(attempt), tuple(faults))


def _listing(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*")}


def refused_in_one_line(outcome: Outcome) -> Iterator[Fault]:
    """What is wrong with how bad input was answered."""
    lines = outcome.errors.splitlines()
    if outcome.hung:
        yield Fault("hang", f"after {outcome.seconds:.0f} s")
    elif outcome.traceback:
        yield Fault("traceback", outcome.last_line)
    elif outcome.code == 0:
        yield Fault("accepted", outcome.last_line)
    elif outcome.code != 2:
        yield Fault("accepted", f"exit code {outcome.code}: {outcome.last_line}")
    elif len(lines) != 1 or not lines[0].startswith("Error: ") or outcome.output:
        yield Fault("wordy", f"{len(lines)} lines on standard error: {outcome.last_line}")
    elif len(lines[0]) > LENGTH or not lines[0].isprintable():
        yield Fault("wordy", f"a line of {len(lines[0])} characters: {lines[0][:80]!r}")


BAD_INPUT = FaultClass(name="input", title="bad values and options", tries=3_000, sample=24, provoke=_provoke)
