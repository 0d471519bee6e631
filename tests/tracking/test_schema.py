"""MLflow's schema in SQLite: whole or absent, wherever a start was killed, and whoever starts beside it."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from autosparse.errors import AutosparseError, Unreachable
from autosparse.tracking import schema
from autosparse.tracking.client import connect, tracking_errors

KILLED_IN_STEP = """
import os, sys
import alembic.runtime.migration as migration
from autosparse.tracking.client import connect

step, steps = migration.HeadMaintainer.update_to_step, []

def counted(self, of):
    steps.append(of)
    if len(steps) == int(sys.argv[2]):
        os._exit(9)
    return step(self, of)

migration.HeadMaintainer.update_to_step = counted
connect(sys.argv[1])
"""
OLDER = "27a6a02d2cf1"
"""An early revision."""


def started(database, step):
    return subprocess.Popen([sys.executable, "-c", KILLED_IN_STEP, f"sqlite:///{database}", str(step)])


def beside(database):
    """The names in the folder of a database."""
    return sorted(path.name for path in database.parent.iterdir())


def execute(database, *statements):
    with closing(sqlite3.connect(database)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_a_start_killed_in_its_migration_leaves_nothing_in_the_way_of_the_next(tmp_path):
    database = tmp_path / "mlflow.db"
    assert started(database, 12).wait() == 9
    client = connect(f"sqlite:///{database}")
    assert [experiment.name for experiment in client.search_experiments()] == ["Default"]
    assert beside(database) == ["mlflow.db"]


@pytest.mark.slow
def test_two_that_start_at_once_share_one_schema(tmp_path):
    database = tmp_path / "mlflow.db"
    both = [started(database, 0), started(database, 0)]
    assert [process.wait() for process in both] == [0, 0]
    assert beside(database) == ["mlflow.db"]


@pytest.fixture
def half(tmp_path, empty_store):
    """A database whose last steps were done, and not noted: what a kill leaves of a migration in place."""
    empty_store(tmp_path)
    database = tmp_path / "mlflow.db"
    execute(database, f"UPDATE alembic_version SET version_num = '{OLDER}'")
    return database


def test_one_left_half_migrated_that_holds_nothing_is_made_anew(half):
    client = connect(f"sqlite:///{half}")
    client.create_experiment("works")
    assert beside(half) == ["mlflow.db"]


def test_one_left_half_migrated_that_holds_runs_is_told_of_with_what_to_do(half, tmp_path):
    execute(half, "INSERT INTO experiments (experiment_id, name) VALUES (7, 'mine')")
    before = half.read_bytes()
    with pytest.raises(AutosparseError) as told:
        connect(f"sqlite:///{half}")
    assert "left half-migrated by a killed process, and cannot be repaired (" in str(told.value)
    assert f"move it away (mv {half} {half}.broken) and run the same command" in str(told.value)
    assert "..." not in str(told.value)
    assert "start it" not in str(told.value)
    assert half.read_bytes() == before
    assert beside(half) == ["mlflow.db"]
    half.rename(f"{half}.broken")
    connect(f"sqlite:///{half}")


def test_an_older_one_is_migrated_with_what_it_holds_and_kept_as_it_was(tmp_path):
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine

    database = tmp_path / "mlflow.db"
    engine = create_engine(f"sqlite:///{database}")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        config = _get_alembic_config(str(engine.url))
        config.attributes["connection"] = connection
        command.upgrade(config, OLDER)
    engine.dispose()
    execute(database, "INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (7, 'mine', 'active')")
    with closing(sqlite3.connect(database)) as open_before:
        open_before.execute("SELECT * FROM experiments").fetchall()
        client = connect(f"sqlite:///{database}")
        assert client.get_experiment_by_name("mine") is not None
        client.create_experiment("after")
        seen = open_before.execute("SELECT name FROM experiments").fetchall()
    assert ("after",) in seen, "who had it open sees it, too"
    assert beside(database) == ["mlflow.db", f"mlflow.db.{OLDER}.bak"]
    with closing(sqlite3.connect(tmp_path / f"mlflow.db.{OLDER}.bak")) as kept:
        assert kept.execute("SELECT version_num FROM alembic_version").fetchall() == [(OLDER,)]
        assert kept.execute("SELECT name FROM experiments").fetchall() == [("mine",)]


def test_one_of_a_newer_mlflow_is_left_alone(half):
    revision = "UPDATE alembic_version SET version_num = 'ffffffffffff'"
    execute(half, revision, "INSERT INTO experiments (experiment_id, name) VALUES (7, 'mine')")
    with pytest.raises(AutosparseError, match=r"made by a newer MLflow.*install that one, or choose another"):
        connect(f"sqlite:///{half}")


def test_one_that_is_up_to_date_is_read_without_a_lock(tmp_path, empty_store, monkeypatch):
    uri = empty_store(tmp_path)
    monkeypatch.setattr(schema, "_held", None)
    connect(uri)


def test_a_full_disk_in_the_migration_is_told_as_one(half, monkeypatch):
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    execute(half, "INSERT INTO experiments (experiment_id, name) VALUES (7, 'mine')")

    def migrate(database):
        raise full

    monkeypatch.setattr(schema, "_migrate", migrate)
    with pytest.raises(Unreachable, match="disk is full; see that its folder has room"):
        connect(f"sqlite:///{half}")


def test_the_cure_that_mlflow_tells_of_an_older_schema_is_shown_whole():
    from mlflow.exceptions import MlflowException

    told = (
        "Detected out-of-date database schema (found version 27a6a02d2cf1, but expected 1b5f0d9ad7c1). Take a backup "
        "of your database, then run 'mlflow db upgrade <database_uri>' to migrate your database to the latest schema."
    )
    with pytest.raises(AutosparseError) as shown, tracking_errors("postgresql://me:secret@db/mlflow"):
        raise MlflowException(told)
    assert str(shown.value) == f"MLflow at postgresql://***@db/mlflow: {told}"
