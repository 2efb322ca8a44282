"""A database by URL, and the few words in which SQLite and PostgreSQL differ.

SQLite writers begin with BEGIN IMMEDIATE: the lock is taken (and waited for) at the start of a transaction, never
asked for in the middle of one, where waiting would be a deadlock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine

from gradatim.store import migrations

_BUSY_MILLISECONDS = 10_000


class Database:
    """Connections in which to read or write; the schema is brought up to date first."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url)
        if self._engine.dialect.name == "sqlite":
            _prepare_sqlite(self._engine)
        with self.writing() as connection:
            migrations.upgrade(connection)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that commits at the end, or rolls back."""
        with self._engine.connect().execution_options(writing=True) as connection, connection.begin():
            yield connection

    def insert_new(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An insert that does nothing when the row is already there; its rowcount tells."""
        if self._engine.dialect.name == "sqlite":
            return sqlite.insert(table).on_conflict_do_nothing()
        return postgresql.insert(table).on_conflict_do_nothing()


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver's own transactions would leave DDL outside
        for pragma in (f"busy_timeout={_BUSY_MILLISECONDS}", "journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get("writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
