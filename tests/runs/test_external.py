"""Networks from elsewhere: told apart by more than their weights, and verified with a reason where that fails."""

import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import pytest
import torch
from torch import nn

import bench
from bench.cli.main import cli
from bench.core.progress import Progress
from bench.core.record import Record, load_record
from bench.data import Dataset, load
from bench.evaluation.battery import make_battery
from bench.evaluation.foreign_identity import network_identity
from bench.evaluation.inputs import as_classifier
from bench.results.verification.check import Check
from bench.results.verification.provenance import check_provenance
from bench.results.verify import verify
from bench.runs.config import RunConfig
from bench.runs.external import evaluate_checkpoint
from bench.tracking import NullTracker
from leaderboards.build import build
from leaderboards.entry import group, identity
from leaderboards.result import read_results

SOURCE = """
import torch
from torch import nn

def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

class Seen(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.network, self.change = plain(), change

    def forward(self, images):
        return self.network(self.change(images))

def same():
    return Seen(lambda images: images)

def rounded():
    return Seen(lambda images: (16 * images).round() / 16)

def centered():
    return Seen(lambda images: images - images.mean(dim=0, keepdim=True))
"""


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", train_size=60, test_size=40)


@pytest.fixture
def loaders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("strangers.py").write_text(SOURCE)
    yield tmp_path
    sys.modules.pop("strangers", None)


class Said(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def evaluate(
    name: str, said: Progress | None = None, paper: str | None = None, extra_data: bool | None = None
) -> Path:
    config = RunConfig.make(
        {
            "defense": "external",
            "model": "theirs",
            "metrics": ("clean_accuracy",),
            "train_size": 60,
            "test_size": 40,
            "device": "cpu",
            "out": Path("out"),
        }
    )
    return evaluate_checkpoint(
        config, None, f"strangers:{name}", NullTracker(), said or Progress(), paper, extra_data
    )


def test_loaders_of_equal_weights_are_rows_of_their_own(loaders: Path) -> None:
    paths = [evaluate(name) for name in ("same", "rounded", "same")]
    assert paths[0] == paths[2] != paths[1]
    first, second = (load_record(path) for path in paths[:2])
    assert first.id != second.id
    assert first.files["weights"] == second.files["weights"]
    entries = group(read_results(paths)[0])
    assert len(entries) == 2
    assert len({entry.page for entry in entries}) == 2


def test_the_page_of_a_network_links_to_its_paper(loaders: Path, tmp_path: Path) -> None:
    assert "paper" not in load_record(evaluate("same")).provenance.config
    address = "https://example.org/?a=1&b=2"
    path = evaluate("same", paper=address)
    assert load_record(path).provenance.config["paper"] == address
    assert load_record(evaluate("same")).provenance.config["paper"] == address
    build([path], tmp_path / "site")
    (page,) = (tmp_path / "site" / "entries").glob("*.html")
    assert 'href="https://example.org/?a=1&amp;b=2" rel="noopener noreferrer"' in page.read_text()
    record = json.loads(path.read_text())
    record["provenance"]["config"]["paper"] = "javascript:alert(1)"
    path.write_text(json.dumps(record))
    build([path], tmp_path / "other")
    (page,) = (tmp_path / "other" / "entries").glob("*.html")
    assert 'href="javascript' not in page.read_text()


def test_boards_tell_apart_who_used_extra_data(loaders: Path) -> None:
    paths = [
        evaluate("same"),
        evaluate("rounded", extra_data=True),
        evaluate("centered", extra_data=False),
    ]
    assert evaluate("rounded") == paths[1]
    stated = {entry.results[0].path: entry.extra_data for entry in group(read_results(paths)[0])}
    assert [stated[path] for path in paths] == [None, True, False]
    assert evaluate("rounded", extra_data=False) == paths[1]
    (entry,) = group(read_results([paths[1]])[0])
    assert entry.extra_data is False


@pytest.mark.parametrize("extra_data", [None, True, False])
def test_the_command_of_a_record_says_again_what_was_stated(loaders: Path, extra_data: bool | None) -> None:
    address = "https://example.org/?a=1&b=2"
    record = load_record(evaluate("same", paper=address, extra_data=extra_data))
    program, name, *words = shlex.split(record.provenance.command)
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    said = command.make_context(name, words).params
    assert (program, said["paper"], said["extra_data"]) == ("bench", address, extra_data)

    def check(record: Record) -> Check:
        found = check_provenance(record, loaders)
        return next(each for each in found if isinstance(each, Check) and each.name == "provenance")

    assert check(record).outcome == "match"
    other = record.provenance.command.replace("a=1", "a=2")
    changed = record.model_copy(
        update={"provenance": record.provenance.model_copy(update={"command": other})}
    )
    assert "--paper" in check(changed).message


def test_a_loader_says_whose_weights_it_has(loaders: Path) -> None:
    said = Said()
    evaluate("same", said)
    assert any(
        "no --checkpoint given: the weights are those that strangers:same" in each for each in said.said
    )


def test_the_code_of_the_loader_counts_and_its_prose_does_not(loaders: Path, digits: Dataset) -> None:
    found, network = [], as_classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), digits)
    for source in (SOURCE, f"# a remark\n{SOURCE}", SOURCE.replace("16 *", "15 *")):
        Path("strangers.py").write_text(source)
        sys.modules.pop("strangers", None)
        found.append(network_identity(network, digits, "strangers:same"))
    assert found[0] == found[1] != found[2]


class Scaled(nn.Module):
    """Equal weights, other answers."""

    def __init__(self, scale: float, at: str) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        self.scale, self.at = scale, at

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.at == "images":
            return self.network((images / self.scale).round() * self.scale)
        return self.scale * self.network(images)


def test_networks_given_from_python_are_told_by_their_answers(digits: Dataset, tmp_path: Path) -> None:
    battery = make_battery("quick", ["clean_accuracy"])
    networks = [Scaled(0.25, "images"), Scaled(0.5, "images"), Scaled(1, "logits"), Scaled(1e4, "logits")]
    for number, network in enumerate([*networks, networks[0]]):
        bench.evaluate(network, digits, "linf:0.1", battery, out=tmp_path / str(number))
    ids = [load_record(tmp_path / str(number)).id for number in range(5)]
    assert len(set(ids[:4])) == 4
    assert ids[4] == ids[0]
    assert len(group(read_results([tmp_path / str(number) for number in range(5)])[0])) == 4


def test_a_record_of_before_has_the_identity_it_had(digits: Dataset, tmp_path: Path) -> None:
    battery = make_battery("quick", ["clean_accuracy"])
    record = bench.evaluate(Scaled(1, "logits"), digits, "linf:0.1", battery)
    ((result,), _) = read_results([_saved(record, tmp_path)])
    assert "network" in identity(result)
    before = record.provenance.model_copy(update={"config": {}})
    ((old,), _) = read_results([_saved(record.model_copy(update={"provenance": before}), tmp_path)])
    assert identity(old) == {key: value for key, value in identity(result).items() if key != "network"}


def _saved(record: Record, folder: Path) -> Path:
    record.save(folder / "record.json")
    return folder


def test_a_mismatch_of_a_network_that_depends_on_the_batch_says_so(loaders: Path) -> None:
    path = evaluate("centered")
    found = verify(path, device="cpu", trust=True)
    (check,) = (check for check in found.checks if check.name == "predictions depend on the batch")
    assert check.outcome == "not checked"
    record = load_record(path)
    score = record.metrics["clean_accuracy"]
    worse = replace(score, value=0.5 * (score.value or 1))
    record.model_copy(update={"metrics": {"clean_accuracy": worse}}).save(path)
    contradicted = verify(path, device="cpu", trust=True)
    assert contradicted.verdict == "MISMATCH"
    assert check in contradicted.checks
    sound = verify(evaluate("same"), device="cpu", trust=True)
    assert all(check.name != "predictions depend on the batch" for check in sound.checks)
