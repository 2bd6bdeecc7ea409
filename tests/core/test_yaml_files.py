"""YAML of people: plain values, every key once, bounded."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bench.core.errors import UserError
from bench.core.yaml_files import MOST_BYTES, MOST_LEVELS, parse_yaml, read_yaml

ROOT = Path(__file__).resolve().parents[2]
OURS = [*sorted(ROOT.glob("studies/*.yaml")), ROOT / "mlflow.yaml"]
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))


@pytest.mark.parametrize(
    "path", [*sorted(ROOT.glob("studies/*.yaml")), ROOT / "mlflow.yaml"], ids=lambda path: path.name
)
def test_our_own_files_are_read_as_pyyaml_reads_them(path: Path) -> None:
    assert read_yaml(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3, column 1: the key 'a' stands twice, first in line 1"),
        ("s: {x: 1, 'x': 2}", "'x' stands twice"),
        ("1: a\n'1': b", "'1' stands twice"),
        ("[" * 5000, f"nested more than {MOST_LEVELS} deep"),
        (BOMB, "more than 50,000 values"),
        ("a: &a [*a]", "repeats what it is a part of"),
        ("a: !!python/object/apply:os.system [ls]", "tag"),
        ("a: !!binary aGVsbG8=", "tag"),
        ("a: !!set {x, y}", "tag"),
        ('a: "\\ud800"', "control characters"),
        ('a: "\\x1b[2J"', "control characters"),
        ("? [a]\n: b", "a key must be a word"),
        ("a: 1\n---\nb: 2", "another document"),
        ("a: *b", "undefined alias"),
        ("a: <<", "constructor"),
        ("a: '\0'", "unacceptable character"),
        ("a: [", "line 1, column 5: expected the node content"),
    ],
)
def test_what_is_no_plain_yaml_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match="is not valid YAML") as error:
        read_yaml(tmp_path / "x.yaml")
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("yes", "yes"),
        ("Off", "Off"),
        ("true", True),
        ("1:30", "1:30"),
        ("010", 10),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("2020-01-01", "2020-01-01"),
        ("1e-3", 0.001),
        (".5", 0.5),
        (".nan", ".nan"),
        (".inf", ".inf"),
        ("~", None),
        ("", None),
        ("9" * 5000, "9" * 5000),
        ("!!str 5", "5"),
        ("=", "="),
    ],
)
def test_a_value_is_what_it_looks_like(written: str, meant: Any, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(f"a: {written}\n")
    assert read_yaml(tmp_path / "x.yaml") == {"a": meant}


def test_anchors_and_merges_stay() -> None:
    text = "a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, y: 3}\nd: [*a, *a]"
    assert parse_yaml(text) == yaml.safe_load(text)


def test_only_a_small_regular_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_text("a: " + "x" * MOST_BYTES)
    for name in ("pipe", "large", ".", "absent", "/dev/zero"):
        with pytest.raises(UserError, match=r"cannot read"):
            read_yaml(tmp_path / name)


scalars = st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(-1e9, 1e9)
plain = st.recursive(
    scalars | st.text("ab c:#é-1", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(plain)
def test_plain_values_come_back(value: Any) -> None:
    # PyYAML writes the YAML 1.1 way: what looks like a date or like "yes" is quoted, and stays text.
    assert parse_yaml(yaml.safe_dump(value, allow_unicode=True)) == value
