"""What decides a training, and the folder that its run works in."""

import json
import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.core.progress import Progress
from bench.runs.config import RunConfig
from bench.runs.identity import source_digest
from bench.runs.job import resolve
from bench.runs.run import run
from bench.tracking import NullTracker

SMALL: dict[str, Any] = {
    "defense": "standard",
    "train_size": 60,
    "test_size": 12,
    "epochs": 2,
    "trials": 0,
    "metrics": "clean_accuracy",
    "tracking": "none",
}

SOURCE = '''"""A module."""

import math


class Part:
    """A class."""

    size = 3

    def area(self):
        """The area."""
        # of a square
        return self.size ** 2
'''


@pytest.fixture
def digest_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The digest of a class `Part` in a module with a given source."""
    written: list[Path] = []

    def digest(source: str) -> str:
        path = tmp_path / f"digested_{len(written)}.py"
        path.write_text(source)
        written.append(path)
        spec = spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        monkeypatch.setitem(sys.modules, path.stem, module)
        spec.loader.exec_module(module)
        return source_digest(module.Part)

    return digest


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"""A module."""\n\n', ""),
        ('"""A class."""', '"""Some class.\n\n    With more to say.\n    """'),
        ("# of a square", "# squared"),
        ("import math", "import math\nfrom os import path"),
        ("self.size ** 2", "(self.size**2)"),
    ],
)
def test_prose_layout_and_imports_leave_the_digest_alone(digest_of: Any, before: str, after: str) -> None:
    assert before in SOURCE
    assert digest_of(SOURCE) == digest_of(SOURCE.replace(before, after))


@pytest.mark.parametrize(
    ("before", "after"),
    [("size = 3", "size = 3.0"), ("** 2", "* 2"), ("size = 3", "size = None"), ("area", "square")],
)
def test_any_other_edit_changes_the_digest(digest_of: Any, before: str, after: str) -> None:
    assert digest_of(SOURCE) != digest_of(SOURCE.replace(before, after))


def test_what_has_no_source_has_an_empty_digest() -> None:
    assert source_digest(len) == ""


def config(tmp_path: Path, **changes: Any) -> RunConfig:
    return RunConfig.make({**SMALL, "out": tmp_path, **changes})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    (record,) = run(config(tmp_path_factory.mktemp("runs")), NullTracker(), Progress())
    return record.parents[2]


@pytest.fixture
def old(finished: Path, tmp_path: Path) -> Path:
    """A finished run as the first ones were left: another hash in its name, and no `identity`."""
    folder = tmp_path / f"{finished.name[:-8]}0123abcd"
    shutil.copytree(finished, folder)
    about = json.loads((folder / "run.json").read_text())
    del about["identity"]
    (folder / "run.json").write_text(json.dumps({**about, "run": folder.name}))
    return folder


@pytest.mark.slow
def test_a_run_that_was_named_by_source_text_is_continued_in_its_folder(old: Path, tmp_path: Path) -> None:
    checkpoint = old / "seed-0" / "checkpoint.pt"
    trained = checkpoint.stat().st_mtime_ns
    # The same words in another form, another battery and more test images decide nothing about the training.
    paths = run(
        config(tmp_path, threat="linf:1/5", test_size=14, seeds=[0, 1], set={}), NullTracker(), Progress()
    )
    assert {path.parents[2] for path in paths} == {old}
    assert checkpoint.stat().st_mtime_ns == trained
    assert json.loads(paths[1].read_text())["provenance"]["run"] == old.name
    assert resolve(config(tmp_path)).name == old.name


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 3},
        {"threat": "linf:0.1"},
        {"recipe": "paper,lr=0.01"},
        {"train_size": 80},
        {"precision": "bf16"},
        {"probe_every": 1},
        {"defense": "jacobian"},
    ],
    ids=str,
)
def test_another_training_does_not_continue_in_a_folder_without_identity(
    old: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    assert resolve(config(tmp_path)).folder == old
    assert resolve(config(tmp_path, **change)).folder != old


def test_other_data_of_the_same_name_are_another_run(old: Path, tmp_path: Path) -> None:
    about = json.loads((old / "run.json").read_text())
    about["dataset"]["fingerprint"] = "0" * 64
    (old / "run.json").write_text(json.dumps(about))
    assert resolve(config(tmp_path)).folder != old


def test_a_run_begun_on_another_kind_of_device_is_not_continued(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = torch.load

    def load_as_if_from_a_gpu(path: Path, map_location: Any, **rest: Any) -> Any:
        return load(path, map_location=lambda storage, location: map_location(storage, "cuda:0"), **rest)

    assert resolve(config(tmp_path)).folder == old
    monkeypatch.setattr(torch, "load", load_as_if_from_a_gpu)
    assert resolve(config(tmp_path)).folder != old


def test_the_newest_of_several_folders_is_continued_and_broken_ones_are_left_out(
    old: Path, tmp_path: Path
) -> None:
    about = json.loads((old / "run.json").read_text())
    for digits, text in {
        "00000001": json.dumps({**about, "created": "2001-01-01T00:00:00+00:00"}),
        "00000002": json.dumps({**about, "created": "2999-01-01T00:00:00+00:00"}),
        "00000003": json.dumps({**about, "created": "3999-01-01T00:00:00+00:00", "identity": {}}),
        "00000004": "{",
        "00000005": "[]",
        "00000006": json.dumps(
            {**about, "config": {"no": "setting"}, "created": "3999-01-01T00:00:00+00:00"}
        ),
        "another1": json.dumps({**about, "created": "3999-01-01T00:00:00+00:00"}),
    }.items():
        folder = old.with_name(f"{old.name[:-8]}{digits}")
        folder.mkdir()
        (folder / "run.json").write_text(text)
    assert resolve(config(tmp_path)).name.endswith("00000002")


def test_a_run_of_its_own_name_comes_before_an_earlier_one(finished: Path, old: Path, tmp_path: Path) -> None:
    name = finished.name
    assert resolve(config(tmp_path)).folder == old
    (tmp_path / name).mkdir()
    assert resolve(config(tmp_path)).name == name
