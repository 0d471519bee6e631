"""Make or migrate MLflow's schema in a copy of an SQLite file, then put it in place in one transaction.

MLflow migrates a database in some seventy steps, which SQLite does not undo as a whole. If a migration is killed
midway, the database is neither old nor new, and no later start can mend it. So the migration is done in a copy, whose
pages the file takes over in a single transaction. The file keeps its inode: a server that has it open writes to it, not
to a deleted file.
"""

import contextlib
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from autosparse.errors import AutosparseError
from autosparse.files import make_folder, refusing_unwritable

PATIENCE = 120.0
"""Most seconds to wait for another process that migrates the file, or writes to it."""
OWN = {"runs": "1", "experiments": "name <> 'Default'", "registered_models": "1"}
"""Tables that hold the user's own rows, and the condition that finds them."""

OF_THE_DISK = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
"""SQLite's error codes that concern the disk, not the database's content."""


def bring_up_to_date(database: Path) -> None:
    """Bring ``database`` to the schema of the installed MLflow, wherever an earlier attempt was killed.

    A new or empty file gets a fresh schema; so does one that a killed migration left without any of the user's rows.
    An older file is migrated; its old content is kept beside it as ``NAME.REVISION.bak``.

    :raises AutosparseError: if a killed migration left it with runs in it, or if a newer MLflow made it.
    :raises sqlite3.Error: if it is not a database, or if the disk is full.
    """
    head = _revisions()[0]
    if _revision_as_it_lies(database) == head:
        return
    with refusing_unwritable(database):
        make_folder(database.absolute().parent)
    with _held(database) as held:
        _remove_leftovers(database)
        if (revision := _revision(held)) == head:  # another process was quicker
            return
        beside = database.with_name(f".{database.name}.{secrets.token_hex(4)}.tmp")
        try:
            _make_beside(database, held, revision, beside)
            with contextlib.closing(sqlite3.connect(beside)) as made:
                made.backup(held)
        finally:
            _remove_leftovers(database)


def _make_beside(database: Path, held: sqlite3.Connection, revision: str | None, beside: Path) -> None:
    """Write the new content of ``database`` to ``beside``."""
    if not _holds_anything(held):
        _migrate(beside)
        return
    if revision and revision not in _revisions():
        raise AutosparseError(
            f"the MLflow database {database} was made by a newer MLflow (its schema is {revision}): install that one, "
            "or choose another database with --tracking-uri"
        )
    _copy(held, beside)
    try:
        _migrate(beside)
    except Exception as error:  # a step may fail in any way if it finds what should not be there yet
        cause = getattr(error, "orig", None) or error  # SQLAlchemy wraps SQLite's own
        if getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in OF_THE_DISK:
            raise
        reason = str(cause).partition("\n")[0]
        raise AutosparseError(
            f"the MLflow database {database} was left half-migrated by a killed process, and cannot be "
            f"repaired ({reason}): put a backup of it in its place, or move it away (mv {database} {database}.broken) "
            "and run the same command, which makes a new one and writes all finished work to it from the results folder"
        ) from error
    kept = database.with_name(f"{database.name}.{revision or 'unversioned'}.bak")
    unnamed = beside.with_name(f".{database.name}.{secrets.token_hex(4)}.tmp")
    _copy(held, unnamed)
    unnamed.replace(kept)


@contextlib.contextmanager
def _held(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection that keeps all others from reading and writing until the block, or this process, ends."""
    with contextlib.closing(sqlite3.connect(database, timeout=PATIENCE, isolation_level=None)) as held:
        held.execute("PRAGMA locking_mode = EXCLUSIVE")  # outlives the transaction: backup() needs none to be open
        held.execute("BEGIN EXCLUSIVE")
        held.execute("COMMIT")
        yield held


def _revision_as_it_lies(database: Path) -> str | None:
    """The revision of a file that may be read-only; None if it cannot be read without a lock, for any reason."""
    address = f"file:{quote(str(database.absolute()))}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=PATIENCE)) as reader:
            return _revision(reader)
    except sqlite3.Error:
        return None


def _revision(connection: sqlite3.Connection) -> str | None:
    if "alembic_version" not in _tables(connection):
        return None
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(found[0]) if found else None


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _holds_anything(connection: sqlite3.Connection) -> bool:
    tables = _tables(connection)
    return any(
        connection.execute(f"SELECT 1 FROM {table} WHERE {which} LIMIT 1").fetchone()
        for table, which in OWN.items()
        if table in tables
    )


def _copy(source: sqlite3.Connection, target: Path) -> None:
    with contextlib.closing(sqlite3.connect(target)) as copy:
        source.backup(copy)


def _revisions() -> list[str]:
    """The schema revisions that the installed MLflow knows, newest first."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    return [script.revision for script in ScriptDirectory.from_config(_get_alembic_config("")).walk_revisions()]


def _migrate(database: Path) -> None:
    """Make or migrate the tables, as MLflow does if some are missing."""
    from mlflow.store.db.utils import _initialize_tables, _upgrade_db, create_sqlalchemy_engine

    engine = create_sqlalchemy_engine(f"sqlite:///{database.absolute()}")
    with contextlib.closing(sqlite3.connect(database)) as found:
        known = _revision(found)
    try:
        (_upgrade_db if known else _initialize_tables)(engine)
    finally:
        engine.dispose()


def _remove_leftovers(database: Path) -> None:
    """Remove temporary copies, even those of a killed process: whoever holds the database is alone with them."""
    for path in database.absolute().parent.iterdir():
        name = path.name.removesuffix("-journal").removesuffix("-wal").removesuffix("-shm")
        if name.startswith(f".{database.name}.") and name.endswith(".tmp"):
            with contextlib.suppress(OSError):
                path.unlink()
