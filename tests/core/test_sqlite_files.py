"""Addresses of SQLite databases, and what is wrong with one."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, make_url, text

from bench.core.sqlite_files import damage, database_path, sqlite_address

NAMES = st.text(
    st.characters(exclude_characters="/", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20
).filter(lambda name: name not in (".", ".."))


@given(st.lists(NAMES, min_size=1, max_size=3), st.sampled_from(["", "timeout=3"]))
def test_an_address_leads_to_its_file_whatever_it_is_called(names: list[str], query: str) -> None:
    path = Path("/", *names)
    address = sqlite_address(path, query)
    assert database_path(address.partition("?")[0]) == path
    assert make_url(address).database == str(path)
    assert dict(make_url(address).query) == ({"timeout": "3"} if query else {})
    assert "{" not in address  # Optuna takes an address for a template


@pytest.mark.parametrize("name", ["plain", "what?", "a%20b", "a#b", "a b+c", "a?x=1&y#z"])
def test_a_database_is_made_where_its_path_says(tmp_path: Path, name: str) -> None:
    place = tmp_path / name / "x.db"
    place.parent.mkdir()
    engine = create_engine(sqlite_address(place))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE a (b)"))
    engine.dispose()
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.db")] == [Path(name, "x.db")]
    assert damage(place, ["a"], thorough=True) == ""


def test_what_is_wrong_with_a_database_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.touch()
    assert damage(path, ["a"]) == "is empty"
    path.write_bytes(b"text" * 1000)
    assert damage(path, ["a"]) == "is damaged (file is not a database)"
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE a (b)")
        connection.executemany("INSERT INTO a VALUES (?)", [("x" * 3000,)] * 20)
    connection.close()
    assert damage(path, ["a"], thorough=True) == ""
    assert damage(path, ["a", "c"]) == "has no table c"
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    path.write_bytes(content)
    assert damage(path, ["a"], thorough=True).startswith("is damaged")
    assert damage(tmp_path, ["a"]) == "is no file"
