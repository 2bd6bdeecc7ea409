"""MLflow's SQLite store is there as a whole or not at all."""

import sqlite3
from pathlib import Path

import pytest

from bench.core.errors import UserError
from bench.tracking.create import prepare_database
from bench.tracking.settings import Settings
from bench.tracking.store import open_store


@pytest.mark.slow
def test_a_store_whose_making_was_cut_short_is_made_again(tmp_path: Path, empty_store: Path) -> None:
    for number, content in enumerate((b"", None)):
        path = tmp_path / str(number) / "mlflow.db"
        path.parent.mkdir()
        if content is None:
            with sqlite3.connect(path) as connection:
                connection.execute("CREATE TABLE experiments (experiment_id INTEGER)")
                connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
            connection.close()
        else:
            path.write_bytes(content)
        with (
            pytest.warns(UserWarning, match=r"its making was cut short; set aside as mlflow\.db\.broken"),
            open_store(Settings(uri=f"sqlite:///{path}")) as store,
        ):
            assert store.find("") == []
        assert {each.name for each in path.parent.iterdir()} == {
            "mlflow.db",
            "mlflow.db.broken",
            "mlflow.db.lock",
        }


def test_what_is_no_store_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE studies (study_id INTEGER)")
    connection.close()
    with pytest.raises(UserError, match="is no store of MLflow: it has a table 'studies'"):
        prepare_database(path, "artifacts")
    path.write_bytes(b"text" * 1000)
    with pytest.raises(UserError, match=r"is damaged \(file is not a database\); put a copy of it back"):
        prepare_database(path, "artifacts")
    assert [each.name for each in tmp_path.iterdir()] == ["other.db"]


def test_a_store_in_a_folder_of_any_name_stays_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path
) -> None:
    for name in ("what?", "a%20b", "a#b {c}"):
        monkeypatch.chdir(tmp_path)
        place = tmp_path / name
        place.mkdir()
        monkeypatch.chdir(place)
        (place / "mlflow.db").write_bytes(empty_store.read_bytes())
        with open_store(Settings(uri="sqlite:///mlflow.db")) as store:
            assert store.find("") == []
    names = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")}
    assert names == {"what?", "a%20b", "a#b {c}"}
