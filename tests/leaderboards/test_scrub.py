"""What is published names no folder of a machine."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboards.build import build
from leaderboards.check import check
from leaderboards.scrub import scrub, scrubbed
from tests.records import make_arrays, make_record, write_record


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "bench run --data /home/alice/sets/mine.npz --out runs/x",
            "bench run --data DIR/mine.npz --out runs/x",
        ),
        ("imagefolder:/mnt/disk/cats", "imagefolder:DIR/cats"),
        (r"npz:C:\Users\Bob\x.npz", "npz:DIR/x.npz"),
        ("file:///root/weights.pt", "file:DIR/weights.pt"),
        ("sqlite:////home/a/mlflow.db", "sqlite:DIR/mlflow.db"),
        ("~/thesis/net.py", "DIR/net.py"),
        ("/etc/hostname", "DIR/hostname"),
        ("8/255, 1/2, images/s, robust_accuracy/fgsm", "8/255, 1/2, images/s, robust_accuracy/fgsm"),
        ("see https://arxiv.org/abs/1706.06083", "see https://arxiv.org/abs/1706.06083"),
        ("robustbench:cifar10/Linf/Carmon2019Unlabeled", "robustbench:cifar10/Linf/Carmon2019Unlabeled"),
    ],
)
def test_folders_are_hidden_and_nothing_else(text: str, expected: str) -> None:
    assert scrub(text) == expected


@given(st.text(max_size=80))
def test_scrubbing_again_changes_nothing(text: str) -> None:
    assert scrub(scrub(text)) == scrub(text)
    assert scrubbed({text: [text, 1, None]}) == {scrub(text): [scrub(text), 1, None]}


def test_no_file_of_a_site_names_the_folders_of_its_submitter(tmp_path: Path) -> None:
    arrays = make_arrays()
    record = make_record(
        arrays,
        provenance={
            "command": "bench run --data-dir /home/alice/data",
            "config": {"data_dir": "C:\\Users\\alice\\data", "nested": ["~/alice/x"]},
        },
        alarms=[{"name": "a", "raised": True, "message": "see /home/alice/log.txt", "numbers": {}}],
    )
    path = write_record(tmp_path / "r", record, arrays)
    assert check(path) == []
    build([path], tmp_path / "site")
    for file in (each for each in (tmp_path / "site").rglob("*") if each.is_file()):
        assert b"alice" not in file.read_bytes(), file
    (copy,) = (tmp_path / "site" / "records").iterdir()
    assert json.loads(copy.read_text())["provenance"]["command"] == "bench run --data-dir DIR/data"
