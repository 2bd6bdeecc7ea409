import io
import json
import os
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.archives import read_npz
from bench.core.errors import UserError
from bench.core.files import read_json, sha256
from bench.core.limits import exact_number, file_beside, range_problems
from bench.core.record import Score, load_record, possible_score
from bench.core.threat import Threat
from tests.records import make_arrays, make_record, write_record


@pytest.mark.parametrize(
    "eps",
    [
        "1e400",
        "1e1000000",
        "1e-9999999",
        "1e999999999999",
        "eight",
        "1/0",
        "-8/255",
        "",
        "9" * 300,
        "1_0",
        "٣",
    ],
)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_epsilon_of_too_many_digits_or_none_is_refused_at_once(norm: str, eps: str) -> None:
    with pytest.raises(UserError, match="ε must"):
        Threat(norm, eps)  # type: ignore[arg-type]
    with pytest.raises(UserError):
        Threat.parse(f"{norm}:{eps}")


@given(st.text(max_size=100))
def test_any_text_is_a_number_within_bounds_or_refused(text: str) -> None:
    try:
        threat = Threat.parse(text)
    except UserError:
        return
    assert 0 < threat.radius < 1e5


@given(st.integers(0, 255), st.integers(1, 255))
def test_a_fraction_is_read_exactly(above: int, below: int) -> None:
    number = exact_number(f"{above}/{below}")
    assert number.numerator * below == above * number.denominator


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("[" * 100_000, "nested"),
        ("[" * 50 + "]" * 50, "nested"),
        ('{"a": 1, "a": 2}', "twice"),
        ("NaN", "no number"),
        ("1e999", "numbers up to"),
        ("9" * 30, "whole numbers"),
        ('"\\ud800"', "surrogate"),
        (json.dumps("A" * 200_000), "characters"),
        ("", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
    ],
)
def test_json_outside_the_limits_is_refused_in_one_line(tmp_path: Path, content: Any, word: str) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=word) as refused:
        read_json(path)
    assert "\n" not in str(refused.value)


def test_a_pipe_is_refused_without_waiting_for_its_other_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "record.json")
    for read in (read_json, sha256, load_record, read_npz):
        with pytest.raises(UserError, match="no regular file"):
            read(tmp_path / "record.json")


@pytest.mark.parametrize("name", ["a" * 300, "record.json/arrays.npz"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "record.json").touch()
    with pytest.raises(UserError, match="cannot look for "):
        file_beside(tmp_path / "record.json", name)


def test_a_link_that_leads_outside_is_refused_and_one_inside_is_not(tmp_path: Path) -> None:
    path = write_record(tmp_path / "r", make_record())
    (tmp_path / "secret").write_text("secret")
    (path.parent / "out.npz").symlink_to(tmp_path / "secret")
    (path.parent / "in.npz").symlink_to("record.json")
    (path.parent / "loop").symlink_to("loop")
    assert file_beside(path, "in.npz").is_file()
    for name in ("out.npz", "../secret", "/etc/hostname", "", "loop", "."):
        with pytest.raises(UserError):
            file_beside(path, name)


def header(shape: str, dtype: str = "'<f8'") -> bytes:
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00v\x00" + text.ljust(117) + b"\n"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (header("(1000000000000,)"), "declares"),
        (header("(-1,)"), "declares|readable"),
        (header("(1,)", "'|O'") + bytes(8), "type"),
        (header("(1,)") + bytes(4), "declares"),
        (b"nothing", "readable"),
    ],
)
def test_arrays_are_refused_by_what_they_declare(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "arrays.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.npy", header("(2,)") + bytes(16))
        archive.writestr("a.npy", content)
    with pytest.raises(UserError, match=word):
        read_npz(path, ["good"])


def test_an_archive_that_grows_beyond_reason_or_is_encrypted_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(10**7))
    with pytest.raises(UserError, match="take"):
        read_npz(tmp_path / "bomb.npz")
    np.savez(tmp_path / "plain.npz", a=np.zeros(3))
    content = bytearray((tmp_path / "plain.npz").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "plain.npz").write_bytes(content)
    with pytest.raises(UserError, match="encrypted"):
        read_npz(tmp_path / "plain.npz")


@given(st.integers(0, 5000), st.integers(0, 255))
def test_a_changed_byte_of_an_archive_is_refused_or_harmless(at: int, value: int) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.arange(40), b=np.array(["x", "yz"]))
    content = bytearray(buffer.getvalue())
    content[at % len(content)] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        path.write_bytes(content)
        with suppress(UserError):
            read_npz(path)


@pytest.mark.parametrize(
    ("name", "unit", "value", "low", "high", "wrong"),
    [
        ("prs_ratio", "fraction", 1.0, None, None, False),
        ("robust_accuracy/x", "anything", 1.5, None, None, True),
        ("input_jacobian/first_order_margin", "ratio", -3.0, -4.0, -2.0, False),
        ("time_per_epoch_ratio", "ratio", -1.0, None, None, True),
        ("time_per_epoch_ratio", "ratio", 7.8, 7.0, 9.0, False),
        ("time_per_epoch", "seconds", -1.0, None, None, True),
        ("auc", "AUC", 1.0000000001, 1.0, 1.0, False),
        ("logit_motion", "cosine", -1.1, None, None, True),
        ("loss", "logits", 1e308, None, None, True),
        ("loss", "logits", -40.0, -50.0, -41.0, True),
        ("region_plane", "regions", 40.0, 50.0, 60.0, True),
    ],
)
def test_a_score_lies_in_the_range_of_its_unit_and_in_its_interval(
    name: str, unit: str, value: float, low: float | None, high: float | None, wrong: bool
) -> None:
    assert bool(list(range_problems(name, unit, value, low, high))) == wrong


def put(record: dict[str, Any], *path: str, value: Any) -> dict[str, Any]:
    part = record
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return record


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("id",), ""),
        (("id",), "\x1b[31mred"),
        (("model",), "A" * 400),
        (("model",), "abc\u202egnp.exe"),
        (("defense", "name"), " "),
        (("threat", "eps"), "1e999999999999"),
        (("provenance", "created"), "yesterday"),
        (("provenance", "command"), "A" * 10_240),
        (("cost", "evaluate_seconds"), -1),
        (("cost", "forwards"), -9),
        (("seed",), 10**30),
        (("metrics", "prs_ratio", "value"), 1e200),
    ],
)
def test_what_no_record_can_hold_is_not_admitted(tmp_path: Path, path: tuple[str, ...], value: Any) -> None:
    arrays = make_arrays()
    file = write_record(tmp_path, make_record(arrays), arrays)
    file.write_text(json.dumps(put(json.loads(file.read_text()), *path, value=value)))
    with pytest.raises(UserError, match=r"record\.json"):
        load_record(file)


def test_an_impossible_score_of_a_metric_gives_a_record_that_can_be_read(tmp_path: Path) -> None:
    good = Score(value=0.5, low=0.4, high=0.6, unit="fraction")
    assert possible_score("x", good) is good
    beside = possible_score("x", Score(value=0.5, low=0.6, high=0.7, unit="fraction"))
    assert (beside.value, beside.low, beside.high) == (0.5, 0.5, 0.7)
    above = possible_score("x", Score(value=1.2, unit="fraction"))
    assert above.value is None
    assert "got 1.2" in above.reason
    load_record(write_record(tmp_path, make_record(metrics={"x": beside, "y": above})))
