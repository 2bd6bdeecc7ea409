"""Values as people write them: one reader for the command line and for files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core import values

#: The digits of other scripts, which Python's int() and float() read.
OTHER_DIGITS = ["١٢", "１２", "१२", "٠.٥"]


@pytest.mark.parametrize("read", [values.whole_number, values.number, values.whole_numbers])
@pytest.mark.parametrize(
    "written",
    [*OTHER_DIGITS, "", " ", "1_000", "nan", "inf", "0x10", "ten", True, None, [[1]], "1e", "9" * 5000],
)
def test_what_is_no_number_is_refused(read: Callable[[Any], Any], written: Any) -> None:
    with pytest.raises(ValueError, match=r"expected|not a valid"):
        read(written)


@pytest.mark.parametrize("written", ["1e26", 10**26, 1e26, "1" * 30, 2.0, "2.0", -(10**400)])
def test_no_library_holds_such_a_whole_number(written: Any) -> None:
    with pytest.raises(ValueError, match=r"(expected at (most|least)|not a valid integer)") as error:
        values.whole_number(written)
    assert len(str(error.value)) < 200


@given(st.integers(-values.LARGEST, values.LARGEST))
def test_whole_numbers_are_read_as_they_are_written(number: int) -> None:
    assert values.whole_number(str(number)) == values.whole_number(number) == number


@given(st.floats(-1e18, 1e18))
def test_numbers_are_read_as_they_are_written(number: float) -> None:
    assert values.number(repr(number)) == values.number(number) == number


@given(st.one_of(st.text(), st.binary(), st.integers(), st.floats(), st.lists(st.text()), st.none()))
def test_every_reader_returns_or_raises_a_value_error_that_fits_a_line(written: Any) -> None:
    readers: list[Callable[[Any], Any]] = [
        values.text,
        values.word,
        values.path,
        values.names,
        values.whole_number,
        values.whole_numbers,
        values.number,
        values.flag,
        values.assignment,
        values.host,
        values.place_of_code,
    ]
    for read in readers:
        message = said(read, written)
        assert len(message.splitlines()) <= 1
        assert len(message) < 400


def said(read: Callable[[Any], Any], written: Any) -> str:
    try:
        read(written)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "written", ["", " ", "\t", "a\x1b[31m", "a\nb", "\ud800", "a\u202eb", "a" * 5000, 3, None]
)
def test_text_is_not_blank_and_moves_no_cursor(written: Any) -> None:
    with pytest.raises(ValueError, match=r"expected"):
        values.text(written)


def test_paths_may_have_any_letters() -> None:
    assert values.path("Bilder/ä \u00a0é") == Path("Bilder/ä \u00a0é")


def test_a_path_has_no_more_folders_than_can_be_made() -> None:
    with pytest.raises(ValueError, match="at most 200 folders"):
        values.path("x/" * 1_500)


@pytest.mark.parametrize("written", ["", ",", "a,", "a,,b", "a,a", [""], [3], "a, ,b", {"a": 1}])
def test_names_are_written_once_each(written: Any) -> None:
    with pytest.raises(ValueError, match=r"expected|twice"):
        values.names(written)


def test_names_are_split_outside_of_brackets() -> None:
    assert values.names("a, b(x=1, y=[2,3])") == ("a", "b(x=1, y=[2,3])")
    assert values.names([]) == values.names(None) == ()


@pytest.mark.parametrize("written", ["x", "=1", "x=", " = ", ""])
def test_an_assignment_has_two_sides(written: str) -> None:
    with pytest.raises(ValueError, match=r"name=value|expected"):
        values.assignment(written)
    assert values.assignment(" x = 1=2 ") == ("x", "1=2")


@pytest.mark.parametrize("written", ["", "999 9", "a b", "-x", "a/b", "http://x", "x" * 300])
def test_a_host_is_one_word(written: str) -> None:
    with pytest.raises(ValueError, match=r"expected"):
        values.host(written)


@pytest.mark.parametrize("written", ["", "x", "x:", ":y", "a-b:c", "a..b:c", "a:b c", "/a/b.py:c"])
def test_a_place_of_code_is_a_module_and_a_name(written: str) -> None:
    with pytest.raises(ValueError, match=r"expected"):
        values.place_of_code(written)


def test_long_values_are_cut_in_messages() -> None:
    assert len(values.shown("x" * 10**6)) < 100
    assert values.shown(10**5000) == "a number of more than 30 digits"
    assert values.shown("\x1b") == "'\\x1b'"
