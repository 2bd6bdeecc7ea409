"""The settings of a run, from values as people write them."""

from pathlib import Path

import pytest

from bench.core.errors import UserError
from bench.runs.config import RunConfig, load_yaml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train-size: 1\ntrain_size: 2", "train_size stands twice, with - and with _"),
        ("train_size: 1\ntrain_size: 2", "stands twice"),
        ("- a", "must hold settings"),
    ],
)
def test_a_key_stands_once_however_it_is_written(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        load_yaml(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    "bad",
    [
        {"epochs": True},
        {"epochs": "yes"},
        {"epochs": 2**31},
        {"epochs": 1.5},
        {"trials": 10**20},
        {"seeds": 1e26},
        {"seeds": 2**63},
        {"seeds": [True]},
        {"seeds": []},
        {"clean_floor": True},
        {"clean_floor": float("nan")},
        {"download": 1},
        {"suspicious": "maybe"},
        {"threat": ""},
        {"threat": True},
        {"model": 3},
        {"model": "x" * 1000},
        {"dataset": "a\nb"},
        {"metrics": ""},
        {"metrics": ["prs_ratio", "prs_ratio"]},
        {"set": {"": 1}},
        {"out": ""},
        {"out": "/dev/null"},
        {"data_dir": 3},
        {"tracking": " "},
    ],
    ids=str,
)
def test_a_bad_value_is_one_line_that_names_its_key(bad: dict[str, object]) -> None:
    with pytest.raises(UserError) as error:
        RunConfig.make({"defense": "standard", **bad})
    (key,) = bad
    assert str(error.value).startswith(key)
    assert len(str(error.value)) < 300
    assert "\n" not in str(error.value)


def test_values_are_read_as_they_are_written() -> None:
    written = {
        "epochs": "3",
        "seeds": "2,1",
        "clean_floor": "0.5",
        "download": "yes",
        "metrics": "a, b",
        "threat": 0.1,
    }
    config = RunConfig.make({"defense": "standard", **written})
    assert (config.epochs, config.seeds, config.clean_floor) == (3, (2, 1), 0.5)
    assert (config.download, config.threat) == (True, "0.1")
    assert RunConfig.make({"defense": "x", "seeds": 4, "metrics": None, "set": None}).seeds == (4,)
