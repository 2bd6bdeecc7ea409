"""A zoo of plug-ins that misbehave: each ends in one line that names it, whatever it raises and wherever.

Every place at which we call the code of a plug-in raises everything that code can raise. Plug-ins that print must
not spoil `--json`, and one that has the name of a module of Python must not take its place.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.command import Bench, Outcome
from benchmarks.faults.plugin_sources import DATA, DEFENSE, ERRORS, METRIC, NETWORK, PRINTS, START
from benchmarks.faults.trial import Fault, FaultClass, Trial

SMALL = ("--train-size", "60", "--test-size", "12", "--tracking", "none", "--json")
RUN = ("run", "--epochs", "1", *SMALL)
SEARCH = (*RUN, "--defense", "zoo:Zoo", "--trials", "2")
TRAIN = (*RUN, "--defense", "zoo:Zoo", "--trials", "0", "--metrics", "clean_accuracy")
MEASURE = (*RUN, "--defense", "standard", "--trials", "0", "--metrics", "zoo:Zoo")
BUILD = (
    *RUN,
    "--defense",
    "standard",
    "--trials",
    "0",
    "--metrics",
    "clean_accuracy",
    "--model",
    "zoo:network",
)
EVALUATE = ("evaluate", "--loader", "zoo:make", *SMALL, "--metrics", "clean_accuracy")
READ = (
    "run",
    "--defense",
    "standard",
    "--dataset",
    "zoo:data",
    "--tracking",
    "none",
    "--epochs",
    "1",
    "--json",
)
DEFENSE_PLACES = (
    "import __init__ make space hyperparameters forward_units",
    "objective loss epoch report state_dict",
)
#: Source, command, and the places at which the command calls the plug-in.
KINDS = [
    (
        DEFENSE,
        TRAIN,
        " ".join(DEFENSE_PLACES),
    ),
    (DEFENSE, SEARCH, "objective loss epoch report"),
    (METRIC, MEASURE, "import __init__ names settings check measure reduce curves"),
    (NETWORK, EVALUATE, "import function forward"),
    (NETWORK, BUILD, "import function"),
    (DATA, READ, "import function"),
]
#: Sources that are wrong in a way of their own, with a command each.
WRONG = {
    "needs an argument": ("class Zoo:\n    def __init__(self, x): pass\n", MEASURE),
    "a defense needs an argument": (
        DEFENSE.replace("weight: Annotated[float, Uniform(0, 2)] = 1.0", "weight: float"),
        TRAIN,
    ),
    "an objective of another kind": (DEFENSE.replace("return Loss(training)", "return 3"), TRAIN),
    "a loss of another kind": (
        DEFENSE.replace("return self.cross_entropy", "return 3\n        return self.x"),
        TRAIN,
    ),
    "a space of another kind": (DEFENSE.replace("return super().space()", "return [1]"), TRAIN),
    "a range of another kind": (DEFENSE.replace("return super().space()", "return {'weight': 3}"), TRAIN),
    "an unknown name in the space": (DEFENSE.replace("super().space()", "{'x': Uniform(0, 1)}"), TRAIN),
    "a range in the wrong order": (DEFENSE.replace("Uniform(0, 2)", "Uniform(2, 0)"), TRAIN),
    "a default outside of its range": (DEFENSE.replace("Uniform(0, 2)", "Uniform(5, 6)"), SEARCH),
    "no name": (DEFENSE.replace('name: ClassVar[str] = "zoo"', "other: ClassVar[str] = 'zoo'"), TRAIN),
    "no method": (DEFENSE.replace("def objective", "def other"), TRAIN),
    "no defense": ("Zoo = 3\n", TRAIN),
    "no such class": ("Other = 3\n", TRAIN),
    "a syntax error": ("def broken(:\n", TRAIN),
    "missing package": ("import no_such_package\n", TRAIN),
    "imports itself": ("from zoo import Zoo\n", TRAIN),
    "recursion at import": ("def f(): f()\nf()\n", TRAIN),
    "data of another kind": ("def data(data_dir, download): return 3\n", READ),
    "data without arguments": ("def data(): return 3\n", READ),
    "a network of another kind": ("def make(): return 3\ndef network(shape, classes): return 3\n", BUILD),
    "a loader that returns None": ("def make(): pass\n", EVALUATE),
    "a loader that needs an argument": ("def make(x): pass\n", EVALUATE),
    "a loader that is no function": ("make = 3\n", EVALUATE),
    "names() of another kind": (METRIC.replace('return ("zoo",)', "return 3"), MEASURE),
    "arrays of another kind": (METRIC.replace('{"values": np.ones(3)}', "3"), MEASURE),
    "scores of another kind": (METRIC.replace('{"zoo": self.score(0.5)}', "3"), MEASURE),
}
#: Modules of Python, and of packages that we import; a file of that name stands in the working folder.
NAMES = ("json", "queue", "statistics", "csv", "random", "ast", "secrets", "numpy", "torch", "click", "bench")


@dataclass(frozen=True)
class Attempt:
    """A plug-in and a command; `works` where the command must succeed."""

    what: str
    file: str
    source: str
    words: tuple[str, ...]
    works: bool = False


def attempts() -> Iterator[Attempt]:
    """Every plug-in of the zoo with its command."""
    for source, words, places in KINDS:
        for place in places.split():
            for title, error in ERRORS.items():
                start = START.format(place=place, error=error)
                yield Attempt(f"{title} in {place}: {words[0]} {words[-1]}", "zoo", start + source, words)
        start = START.format(place="", error="pass")
        printing = start + "".join(f"{line}\n{_printing(line)}" for line in source.splitlines())
        yield Attempt(
            f"prints everywhere: {words[0]} {words[-1]}", "zoo", PRINTS + printing, words, works=True
        )
    for what, (source, words) in WRONG.items():
        yield Attempt(what, "zoo", START.format(place="", error="pass") + source, words)
    for name in NAMES:
        words = tuple(word.replace("zoo:", f"{name}:") for word in TRAIN)
        yield Attempt(f"is called {name}.py", name, "raise RuntimeError\n", words)
        # One that is not asked for must do no harm.
        yield Attempt(f"stands beside {name}.py", f"{name}", "raise RuntimeError\n", TRAIN, works=True)


def _printing(line: str) -> str:
    """A line that prints, after the head of a function."""
    indent = len(line) - len(line.lstrip())
    return " " * (indent + 4) + "print('noise')\n" if line.lstrip().startswith("def ") else ""


def _provoke(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    every = list(attempts())
    for number, attempt in enumerate(draw.sample(every, min(tries, len(every)))):
        place = folder / str(number)
        place.mkdir()
        (place / "zoo.py").write_text(START.format(place="", error="pass") + DEFENSE)
        (place / f"{attempt.file}.py").write_text(attempt.source)
        outcome = bench(*attempt.words, folder=place, cpu_seconds=60)
        judge = _succeeded if attempt.works else _named
        yield Trial(attempt.what, tuple(judge(outcome, attempt.file)))


def _succeeded(outcome: Outcome, name: str) -> Iterator[Fault]:
    if outcome.code != 0:
        yield Fault("refused", outcome.last_line)
        return
    try:
        json.loads(outcome.output)
    except ValueError:
        yield Fault("wordy", f"standard output is no JSON: {outcome.output[:80]!r}")


def _named(outcome: Outcome, name: str) -> Iterator[Fault]:
    lines = outcome.errors.splitlines() or [""]
    if outcome.hung:
        yield Fault("hang", f"after {outcome.seconds:.0f} s")
    elif outcome.traceback:
        yield Fault("traceback", outcome.last_line)
    elif outcome.code != 2:
        yield Fault("accepted", f"exit code {outcome.code}: {outcome.last_line}")
    elif not lines[-1].startswith("Error: ") or sum(line.startswith("Error: ") for line in lines) != 1:
        yield Fault("wordy", outcome.last_line)
    elif name not in lines[-1] and "the network" not in lines[-1]:
        yield Fault("wordy", f"the plug-in is not named: {lines[-1][:200]}")
    elif outcome.output:
        yield Fault("wordy", f"on standard output: {outcome.output[:80]!r}")


PLUGINS = FaultClass(name="plugins", title="plug-ins that misbehave", tries=264, sample=6, provoke=_provoke)
