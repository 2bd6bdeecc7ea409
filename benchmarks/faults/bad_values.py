"""Values that no parameter of their kind can have; those without blanks are written as words."""

# ruff: noqa: SIM905

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click

#: For every option and argument: blank, more than a file name or a page can hold, and what moves a cursor.
TEXT = ["", " ", "\t", "a\nb", "\x1b[31m", "\udcff", "x" * 5_000, "\u202etxt"]
#: The digits of other scripts among them, which Python's int() and float() read.
NUMBERS = [*"-1 nan inf -inf ten true None ١٢ １２ 1_000 0x10 1e400 1,2 -- 0.5.1".split(), "9" * 5_000]
WHOLE = [*NUMBERS, "1.5", "1e26", f"{10**26}", "1e3"]
FRACTIONS = [*NUMBERS, "1.01", "٠.٥"]
#: Only for `bench run`: an evaluation takes any label.
DEFENSES = (
    "STANDARD standart prs+ + awp awp() awp( awp(awp(at)) prs+prs x:y json:dumps no_module:x standard,prs "
    "os:nothing"
)
RECIPES = (
    "PAPER paper, paper,lr paper,lr= paper,lr=nan paper,lr=0 paper,lr=٠.١ paper,batch_size=1e20 paper,batch_size=0 "
    f"paper,batch_size={10**20} paper,batch_size=١٢ paper,batch_size=1.5 paper,name=x paper,momentum=1 "
    "paper,optimizer=ADAM paper,patience=true paper,lr=1,lr=2"
)
THREATS = (
    "linf linf: : l2:-1 l2:nan l2:inf l2:1e400 l2:1e-400 linf:2 linf:٨/255 l3:1 linf:8/0 linf:0 linf:1/2/3 "
    "linf:1e999999999999 linf:1e-9999999 linf:0x1 linf:1_0/255"
)
METRICS = (
    "prs_ratio, ,prs_ratio prs_ratio,prs_ratio PRS_RATIO prs_by_layer( prs_by_layer(1) prs_by_layer(x=1) "
    "prs_by_layer(train_images=-1) prs_by_layer(train_images='x') prs_by_layer(train_images=1e26) "
    "no_module:x json:dumps"
)
#: By the name of the parameter, whatever the command.
WORDS = {
    "defense": DEFENSES.split(),
    "device": "x CPU cuda:9 gpu cpu,cuda".split(),
    "battery": "huge QUICK quick,full".split(),
    "precision": "fp16 FP32 32".split(),
    "model": "CNN6 cnn7 : x: :x no_module:x json:dumps os:nothing ../cnn6".split(),
    "dataset": [
        *"DIGITS digit : imagefolder imagefolder: imagefolder:absent json:loads x:y".split(),
        "imagefolder: ",
    ],
    "threat": [*THREATS.split(), "l2:" + "9" * 5_000],
    "recipe": RECIPES.split(),
    "metrics": [*METRICS.split(), f"prs_by_layer(train_images={'9' * 5_000})", f"prs_by_layer({'(' * 3_000}"],
    "attacks": "pgd20, pgd20,pgd20 PGD20 no ,".split(),
    "seeds": [*f"-1 1,1 1, , 1.5 1e26 {10**26} ١,٢ nan a 0;1 true".split(), "1 2"],
    "set": "x =1 x= = x=1 unknown=1".split(),
    "tracking": (
        "x ftp://host/x sqlite:// sqlite:/// http:// http://host:99999 http://[::1 file:///x :// http://host:x"
    ).split(),
    "host": ["a b", *"999.999.999.999 http://x - a/b".split(), "x" * 300],
    "port": f"0 65536 99999 {10**26}".split(),
    "loader": "x x: :x : no_module:x os:nothing json:loads a-b:c os:getcwd".split(),
    "timm": ["no_such_network"],
    "robustbench": "no/such a/b/c/d".split(),
    "kind": "defences DEFENSES all".split(),
}
#: Names of options whose path is made; the others' are read.
MADE = ("out",)
#: Options whose path need not exist.
MAY_BE_ABSENT = ("data_dir",)


def shown(word: str) -> str:
    """A word for a line of a report."""
    word = word.encode("unicode_escape", "surrogateescape").decode("ascii", "replace") or "''"
    return word if len(word) <= 90 else f"{word[:60]}… ({len(word)} characters)"


def of_option(command: str, option: click.Option, folder: Path) -> Iterator[str]:
    """The bad values of an option; one that stands for any value of a flag."""
    if option.is_flag:
        yield ""
        return
    name, kind = str(option.name), option.type.name
    yield from TEXT
    if kind == "integer":
        # These may be zero.
        yield from WHOLE if name in ("trials", "seed", "retry", "index") else [*WHOLE, "0"]
    elif kind == "float":
        # A number of devices or of seconds may be above 1.
        yield from (each for each in FRACTIONS if each != "1.01" or command != "sweep")
    elif kind == "path":
        yield from _paths(name, folder)
    if (command, name) != ("evaluate", "defense"):
        yield from WORDS.get(name, [])


def of_argument(argument: click.Argument, folder: Path) -> Iterator[str]:
    """The bad values of an argument."""
    yield from (value for value in TEXT if value != "\t")
    if argument.type.name == "path":
        yield from _paths(str(argument.name), folder)
    yield from WORDS.get(str(argument.name), [])


def _paths(name: str, folder: Path) -> list[str]:
    below_a_file = str(folder / "file" / "x")
    if name in MADE:
        return [below_a_file, str(folder / "file"), "/dev/null", "/proc/none", "/proc/none/x", "/sys/none"]
    if name in MAY_BE_ABSENT:
        return [below_a_file, str(folder / "file"), "/dev/null"]
    files = [str(folder / each) for each in ("file", "junk.json", "empty.json", "pipe", "folder", "absent")]
    return [below_a_file, *files, "/dev/null", "/dev/zero", "/proc/self/mem"]


#: By the kind of a setting, as YAML writes them; "|" stands between two.
SETTING = {
    "any": '[[1]]|{a: {b: 1}}|\'\'|\' \'|"\\x1b[31m"|"\\ud800"|"a\\nb"|!!binary aGVsbG8=',
    "flag": "maybe|3|[true]|2020-01-01",
    "number": f"true|yes|ten|-1|.nan|.inf|1e400|1e26|'١٢'|2020-01-01|[1]|1.5|{'9' * 5_000}",
    "whole": "0x10|1:30",
    "text": "true|3|1.5|[a, b]|2020-01-01|&a [*a]",
    "path": "true|3|1.5|[a, b]|&a [*a]",  # a folder may be called like a date
    "threat": "true|3|[a]",
    "set": "3|[1]|x|{'': 1}|{unknown: 1}|{a: 1, a: 2}",
    "seeds": "-1|[1, 1]|[]|[yes]|true|1.5|1e26|'١'|[1, [2]]|{1: 2}|x|[null]",
    "metrics": "3|[3]|[prs_ratio, prs_ratio]|['']|true|[null]|x|{prs_ratio: 1}",
}


def of_setting(name: str, about: Any) -> Iterator[str]:
    """The bad values of a setting in a YAML file, by the types that its annotation allows."""
    kinds = _kinds(about.annotation)
    wanted = ["any"]
    if about.is_required() or not kinds & {type(None), dict, tuple}:
        yield "null"
    if bool in kinds:
        wanted += ["flag"]
    elif kinds & {int, float}:
        wanted += ["number", *(["whole"] if int in kinds else [])]
    elif name in (*MADE, *MAY_BE_ABSENT):
        wanted += ["path"]
    else:
        wanted += [name if name in SETTING else "text"]
    for each in wanted:
        yield from SETTING[each].split("|")


def _kinds(annotation: Any) -> set[Any]:
    """The plain types in an annotation; text stands for a choice of words."""
    origin = getattr(annotation, "__origin__", None)
    if origin in (dict, tuple):
        return {origin}
    parts = get_args(annotation)
    if parts:
        return {kind for part in parts for kind in _kinds(part)}
    return {annotation if isinstance(annotation, type) else str}


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
#: Lines after good settings that spoil them.
YAML = [
    *(
        "defense: prs",
        "train_size: 70",
        "test_size: 12",
        "? [a]\n: b",
        "<<: {epochs: 2, x: 1}",
        "a: *b",
        "1: 2",
    ),
    *("null: 3", "---\nseeds: 1", "epoch: 3", "\tx: 1", "json: maybe", "quiet: 3", "set: {a: 1, a: 2}"),
]
#: Whole files that are no settings.
CONTENTS: list[str | bytes] = [
    *(
        "[" * 5_000,
        "{a: " * 5_000,
        "- " * 5_000 + "x",
        BOMB,
        "x" * 2_000_000,
        "a: [",
        "- a\n- b",
        "3",
        "text",
    ),
    *("a: 1\na: 2", b"\xff\xfe\x00d", b"a: \x00", "a: !!python/object/apply:os.system [ls]", "&a [*a]"),
    *("%YAML 9\n---\na: 1", "a: &x 1\nb: &x 2\nc: *y", "2020-01-01", "!!set {a, b}"),
]
TRACKING_SETTINGS = [
    *(
        "uri: 3",
        "uri: ''",
        "uri: [a]",
        "timeout: -1",
        "timeout: yes",
        "timeout: 1e26",
        "interval: .nan",
        "uro: x",
    ),
    *("interval: .inf", "experiment: ''", "experiment: [1]", "tags: 3", "tags: {a: [1]}", "artifacts: ''"),
    *("timeout: 'x'", "pause: -1", "upload_timeout: 0"),
]
STUDY = """study: table
title: Two defenses
train: {dataset: digits, epochs: 1, train_size: 60, test_size: 12}
rows:
  natural: {defense: standard}
columns: [clean_accuracy]
"""
STUDY_CHANGES = [
    *(
        "title: again",
        "rows: {}",
        "x: *y",
        "unknown: 1",
        "images: 0",
        "images: true",
        "battery: huge",
        "claims: [x]",
    ),
    *("charts: x", "bars: [none]", "attacks: {a: {steps: 1e26}}", "text: [1]", "images: 1e26"),
]
#: Command lines of other kinds.
LINES: list[tuple[str, ...]] = [
    *(("",), (" ",), ("nothing",), ("RUN",), ("verify",), ("--port", "1"), ("leaderboard", "nothing")),
    *(("run", "--no-such"), ("run", "--defense"), ("evaluate", "--loader", "a:b", "--timm", "x")),
    ("run", "--defense", "prs", "--set", "ham=1", "--set", "ham=2"),
    *(("run", "--defense", "prs", "--set", f"ham={value}") for value in ("nan", "inf", "-1", "1e400", "٣")),
    *(("run", "--defense", "at", "--set", f"steps={value}") for value in ("1e26", "true", "١٠", "0", "1.5")),
]
