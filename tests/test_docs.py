"""The documentation: every command parses and runs, every link, path and name exists, and nothing is left out.

A fenced block is run as it stands, unless a comment stands right before it: `<!-- slow: why -->` leaves it to
the slow tests, where trainings are small; of `<!-- not run: why -->` only the options are checked. A block of
Python or YAML whose first line is a comment with a file name is written to that file.
"""

import inspect
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from torch import nn

import bench
from bench.attacks import ATTACKS
from bench.cli import cli
from bench.core.record import RECORD, WEIGHTS, Record
from bench.core.threat import Threat
from bench.data import DATASETS
from bench.evaluation.alarms import attacks, curve, gradients, network, read_alarms
from bench.evaluation.battery import BATTERIES, BATTERY_VERSION, make_battery
from bench.models import MODELS
from bench.runs.config import RunConfig
from bench.tracking.settings import ENVIRONMENT
from bench.training.recipe import RECIPES, Recipe, make_recipe
from defenses import DEFENSES
from defenses import get as get_defense
from metrics import METRICS
from tests.records import make_arrays

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
BLOCK = re.compile(
    r"(?:^<!-- (?P<kind>slow|not run): (?P<why>[^\n]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
FILE = re.compile(r"# (?P<name>[\w-]+\.(?:py|yaml))\n")
LINK = re.compile(r"(?<!`)\]\((?P<target>[^)\s]+)\)")
ROOMS = ("bench", "defenses", "metrics", "leaderboards", "tests", "studies", "examples", "benchmarks", "docs")
QUOTED_PATH = re.compile(rf"`(?P<path>(?:{'|'.join(ROOMS)})/[\w./-]*)(?:: (?P<name>\w+))?`")
QUOTED_NAME = re.compile(r"`(?P<name>(?:bench|defenses|metrics|leaderboards)(?:\.\w+)+)`")
GROUPS = ("bench.defenses", "bench.metrics", "bench.models", "bench.datasets")

#: What the package in `examples/` brings, by entry-point group.
EXAMPLES = tomllib.loads((ROOT / "examples" / "pyproject.toml").read_text())["project"]["entry-points"]

#: What makes a training or an evaluation of the pages a matter of seconds.
SMALL = {"--train-size": "100", "--test-size": "30", "--tracking": "none"}
SMALL_TRAINING = {**SMALL, "--epochs": "2", "--trials": "0"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `kind` is "", "slow" or "not run"."""

    language: str
    text: str
    kind: str

    def commands(self) -> Iterator[list[str]]:
        """The words of each command line; settings of environment variables in front are left out."""
        assert self.language == "sh"
        for line in self.text.splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words:
                yield words


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    found = [
        Block(match["language"], match["text"], match["kind"] or "")
        for match in BLOCK.finditer(text_of(page))
    ]
    assert 2 * len(found) == len(re.findall(r"^```", text_of(page), re.MULTILINE)), "a fence is not closed"
    return found


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def by_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


pages = pytest.mark.parametrize("page", PAGES, ids=by_name)


@pages
def test_every_command_of_a_page_has_known_options(page: Path) -> None:
    for block in blocks(page):
        assert block.language in ("sh", "python", "yaml", "toml", "")
        for words in block.commands() if block.language == "sh" else ():
            check_command(words, page)


def check_command(words: list[str], page: Path) -> None:
    if words[0] == "torchrun" and "bench" in words:
        words = words[words.index("bench") :]
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", text_of(ROOT / "Makefile"), re.MULTILINE), words
    elif words[0] == "bench":
        parsed = parse(words[1:])
        if parsed.command.name == "run" and parsed.params.get("defense"):
            check_names({name: value for name, value in parsed.params.items() if value is not None})
    else:
        assert words[:2] in (["pip", "install"], ["python", "-m"]), f"{words}: an unknown command"
        for word in words[2:]:
            assert "/" not in word or "://" in word or (ROOT / word).exists(), word


def parse(words: list[str]) -> click.Context:
    """The context of the command that these words call; nothing is run."""
    command: click.Command = cli
    context = click.Context(cli, info_name="bench")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        _, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, info_name=found.name, parent=context)
    try:
        return command.make_context(command.name, list(words))
    except click.exceptions.Exit:  # --help and --version
        return context


def check_names(given: Mapping[str, Any]) -> None:
    """The names and values that `bench run` is given exist; plug-ins of a page are met when it is run."""
    if ":" not in given["defense"] and given["defense"] not in EXAMPLES["bench.defenses"]:
        defense = get_defense(given["defense"])
        defense.make(dict(given["set"]))
    if ":" not in given.get("metrics", ":"):
        metrics = RunConfig.make({"defense": given["defense"], "metrics": given["metrics"]}).metrics
        make_battery(given.get("battery", "quick"), metrics)
    assert given.get("battery", "quick") in BATTERIES
    dataset = given.get("dataset", "digits")
    assert ":" in dataset or dataset in DATASETS.names()
    model = given.get("model", "cnn6")
    if ":" not in model and model not in EXAMPLES["bench.models"]:
        MODELS.get(model)
    make_recipe(given.get("recipe", "paper"))
    Threat.parse(given.get("threat", "linf:0.1"))


@pages
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for match in LINK.finditer(BLOCK.sub("", text_of(page))):
        if "://" in match["target"]:
            continue
        path, _, anchor = match["target"].partition("#")
        target = page.parent / path if path else page
        assert target.exists(), match["target"]
        if anchor:
            headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", text_of(target)), re.MULTILINE)
            assert anchor in map(anchor_of, headings), match["target"]


def anchor_of(heading: str) -> str:
    """The anchor that a Markdown renderer gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pages
def test_every_path_and_name_on_a_page_exists(page: Path) -> None:
    text = BLOCK.sub("", text_of(page))
    for match in QUOTED_PATH.finditer(text):
        if "NAME" in match["path"]:
            continue
        path = ROOT / match["path"]
        assert path.exists(), match["path"]
        if match["name"]:
            defined = rf"^(?:def |class )?{match['name']}\b(?! import)"
            assert re.search(defined, text_of(path), re.MULTILINE), f"{match['path']}: {match['name']}"
    for match in QUOTED_NAME.finditer(text):
        if match["name"] not in GROUPS:
            pkgutil.resolve_name(match["name"])


def cells(page: str) -> set[str]:
    """Everything that stands between backticks in a page of `docs/`."""
    return set(re.findall(r"`([^`\n]+)`", BLOCK.sub("", text_of(ROOT / "docs" / page))))


COMPLETE: dict[str, tuple[str, Callable[[], list[str]]]] = {
    "data sets": ("data.md", DATASETS.names),
    "defenses": ("defenses.md", lambda: [name for name in DEFENSES.names() if name.isidentifier()]),
    "recipe fields": ("defenses.md", lambda: [*RECIPES, *(set(Recipe.model_fields) - {"name"})]),
    "batteries": ("batteries.md", lambda: [*BATTERIES]),
    "attacks": ("batteries.md", lambda: [*ATTACKS]),
    "fields of a record": ("records.md", lambda: [*Record.model_fields]),
    "arguments of evaluate": ("python.md", lambda: [*inspect.signature(bench.evaluate).parameters]),
    "variables": ("tracking.md", lambda: [*ENVIRONMENT.values()]),
}


@pytest.mark.parametrize("part", COMPLETE)
def test_a_page_names_everything_that_it_is_about(part: str) -> None:
    page, names = COMPLETE[part]
    words = {word for cell in cells(page) for word in re.split(r"[,\s(…)]+", cell)}
    assert set(names()) <= words


def test_every_metric_is_on_the_page_of_metrics() -> None:
    shown = cells("batteries.md")
    missing = [
        name
        for name in METRICS.names()
        if METRICS.origin(name) == "built in" and name not in shown and name.rpartition("/")[2] not in shown
    ]
    assert missing == []


def test_every_alarm_is_on_the_page_of_alarms() -> None:
    table = re.findall(
        r"^\| ([\w -]+) \| .* \| .* \|$", text_of(ROOT / "docs" / "batteries.md"), re.MULTILINE
    )
    names = [name for name in table if name in {alarm.name for alarm in alarms()}]
    assert names == [alarm.name for alarm in alarms()]


def test_the_limits_on_the_page_of_alarms_are_the_codes() -> None:
    rows = dict(
        re.findall(r"^\| ([\w -]+) \| (.*) \| .* \|$", text_of(ROOT / "docs" / "batteries.md"), re.MULTILINE)
    )
    shown = {
        "more steps still help": f"over {100 * attacks.MORE_STEPS_LIMIT:g} point, p < {attacks.SIGNIFICANT:g}",
        "PGD far above the strongest attack": (
            f"over {100 * attacks.FAR_ABOVE_LIMIT:g} points, and the battery's descents along the gradient "
            f"together − worst case over {100 * attacks.UNEXPLAINED_LIMIT:g} points"
        ),
        "gradient contradicts the output": f"off by over {100 * gradients.SLOPE_LIMIT:g} %",
        "black box beats white box": f"over {100 * attacks.ONLY_SQUARE_LIMIT:g} %",
        "loss still moving": f"over {100 * gradients.LOSS_CHANGE_LIMIT:g} %",
        "randomised output": f"over {network.OUTPUT_LIMIT:.0e} of the largest".replace("e-0", "e-"),
    }
    for alarm, limit in shown.items():
        assert limit in rows[alarm]
    assert (curve.HALF, curve.ABOVE_CHANCE_ERRORS, gradients.LAST_STEPS) == (1 / 2, 2, 10)


def alarms() -> list[Any]:
    """Every alarm of a battery that ran but the cheapest metrics."""
    import numpy as np

    points = {"norm": np.array("linf"), "eps": np.array([0.0, 1.0]), "right": np.zeros((2, 3), bool)}
    return read_alarms({"security_curve": points}, 10)


def test_every_command_is_on_the_first_page() -> None:
    shown = {" ".join(cell.split()[1:3]) for cell in cells("index.md") if cell.startswith("bench ")}
    for name, command in cli.commands.items():
        names = [f"{name} {sub}" for sub in command.commands] if isinstance(command, click.Group) else [name]
        for each in names:
            assert any(cell == each or cell.split()[0] == each for cell in shown), each


def test_every_option_is_on_a_page() -> None:
    text = "".join(map(text_of, PAGES))
    missing = [
        f"{command.name} {option}"
        for command in leaves(cli)
        for parameter in command.get_params(click.Context(command))
        if isinstance(parameter, click.Option) and not parameter.hidden and "--help" not in parameter.opts
        for option in parameter.opts
        if not re.search(rf"{option}(?![\w-])", text)
    ]
    assert missing == []


def leaves(command: click.Command) -> Iterator[click.Command]:
    """Every command below one, and the command itself if there are none."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from leaves(below)
    else:
        yield command


def test_the_version_of_the_batteries_is_the_codes() -> None:
    assert f"The version of the batteries, {BATTERY_VERSION} at present" in text_of(
        ROOT / "docs" / "batteries.md"
    )


def test_the_order_of_the_rooms_is_that_of_the_contract() -> None:
    config = tomllib.loads(text_of(ROOT / "pyproject.toml"))
    layers = config["tool"]["importlinter"]["contracts"][0]["layers"]
    contract = [
        layer.replace("bench.", "") for layer in layers if "__main__" not in layer and "moved" not in layer
    ]
    (shown,) = (block.text for block in blocks(ROOT / "CONTRIBUTING.md") if "→" in block.text)
    assert [" ".join(part.split()) for part in shown.split("→")] == contract


# Running


class Workplace:
    """A working folder in which the blocks of a page are run, in this process.

    Args:
        folder: the working folder.
        results: what RECORD, A and B stand for.
    """

    def __init__(self, folder: Path, results: Mapping[str, Path]) -> None:
        self.folder, self.results = folder, results
        self.module = ModuleType("page")
        self.module.my_network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))  # type: ignore[attr-defined]

    def write_files(self, page: Path) -> None:
        """The files that a page shows, into the working folder."""
        for block in blocks(page):
            if match := FILE.match(block.text):
                (self.folder / match["name"]).write_text(block.text, encoding="utf-8")

    def run(self, block: Block) -> None:
        """Run one block."""
        if block.language == "sh":
            for words in block.commands():
                assert words[0] == "bench", f"{words} cannot be run here; say `not run`"
                run_bench([str(self.results.get(word, word)) for word in words[1:]])
        elif block.language == "python" and not FILE.match(block.text):
            exec(compile(block.text, "page", "exec"), vars(self.module))  # noqa: S102


def run_bench(words: list[str]) -> None:
    small = {"run": SMALL_TRAINING, "evaluate": SMALL}.get(words[0], {})
    added = [word for option, value in small.items() for word in (option, value)]
    if words[:2] == ["leaderboard", "table"] and Path("runs").exists() and "--columns" in words:
        added = ["--columns", "clean_accuracy"]  # all that small trainings measure
    if small and "--metrics" not in words and "--help" not in words:
        added += ["--metrics", "clean_accuracy"]
    try:
        cli([*words, *([] if "--help" in words else added)], standalone_mode=False)
    except SystemExit as leave:
        # A verification that leaves attacks out ends with the verdict "partly".
        partly = words[0] == "verify" and {"--quick", "--attacks"} & set(words)
        if not partly or leave.code != 3:
            raise


@pytest.fixture
def imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Import modules from the working folder, and forget those of a page after it."""
    _forget_modules()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    # Those of earlier working folders, which would be asked first.
    finders = [finder for finder in sys.meta_path if type(finder).__name__ != "_WorkingFolder"]
    monkeypatch.setattr(sys, "meta_path", finders)
    yield
    _forget_modules()


def _forget_modules() -> None:
    for name in list(sys.modules):
        if name.startswith(("my_", "test_contract")):
            del sys.modules[name]


@pytest.fixture
def made_up(
    tmp_path: Path, make_record: Callable[..., Record], write_record: Callable[..., Path]
) -> Mapping[str, Path]:
    """Two records of the same images, below `records/` of the working folder."""
    arrays = make_arrays()
    paths = [
        write_record(
            tmp_path / "records" / name,
            make_record(arrays, id=f"{name}-seed-0", defense={"name": name}),
            arrays,
        )
        for name in ("prs", "at")
    ]
    return {"RECORD": paths[0], "A": paths[0], "B": paths[1]}


@pages
@pytest.mark.usefixtures("imports")
def test_a_page_runs(
    page: Path, tmp_path: Path, made_up: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").symlink_to(ROOT / "studies")
    work = Workplace(tmp_path, made_up)
    work.write_files(page)
    for block in blocks(page):
        if not block.kind:
            work.run(block)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Two small results of `bench run`."""
    folder = tmp_path_factory.mktemp("trained")
    metrics = "clean_accuracy,robust_accuracy/pgd20,robust_accuracy/cw,robust_accuracy/worst_case"
    for name in ("standard", "fast"):
        run_bench(["run", "--defense", name, "--metrics", metrics, "--out", str(folder / "runs"), "--quiet"])
    first, second = sorted((folder / "runs").rglob(RECORD))
    return {"RECORD": first, "A": first, "B": second}


#: Pages that take 20 seconds.
LONG = ("defenses.md", "index.md", "records.md")
SLOW = [
    pytest.param(page, marks=pytest.mark.long if page.name in LONG else ())
    for page in PAGES
    if any(block.kind == "slow" for block in blocks(page))
]


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW, ids=by_name)
@pytest.mark.usefixtures("imports")
def test_a_page_trains_and_measures(
    page: Path, tmp_path: Path, trained: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(trained["RECORD"].parent / WEIGHTS, tmp_path / WEIGHTS)
    work = Workplace(tmp_path, trained)
    work.write_files(page)
    for block in blocks(page):
        if block.kind == "slow":
            work.run(block)


@pytest.mark.slow
@pytest.mark.usefixtures("imports")
def test_the_plug_ins_of_the_page_keep_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Workplace(tmp_path, {}).write_files(ROOT / "docs" / "plugins.md")
    contract = __import__("test_contract")
    for check, part in contract.CHECKS:
        check(part)


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-b",
        "html",
        "docs",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in ("index", "tutorial", "reviewers", "api"):
        assert (tmp_path / f"{page}.html").exists()
    # The pages link each other, and no file that the site lacks.
    for page in tmp_path.glob("*.html"):
        for target in re.findall(r'href="([^"#:]+\.html)', page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_reference_has_every_public_name() -> None:
    listed = re.findall(r"^\.\. auto\w+:: (\S+)", text_of(ROOT / "docs" / "api.rst"), re.MULTILINE)
    for name in listed:
        pkgutil.resolve_name(name)
    assert {f"bench.{name}" for name in bench.__all__ if name != "__version__"} <= set(listed)
