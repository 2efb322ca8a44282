"""A database by URL, and the few words in which SQLite and PostgreSQL differ.

Writers take turns, in both: what is read in a writing transaction still holds when it commits, and `position` counts
up in the order of commits, so that nobody who reads on from a position misses a row. SQLite has one writer at a time,
and its lock is taken (and waited for) at the start of a transaction with BEGIN IMMEDIATE, never asked for in the middle
of one, where waiting would be a deadlock. In PostgreSQL an advisory lock of the transaction does the same. Whoever
waits ten seconds for a turn gets an error.

A password is never part of a URL here: libpq finds it in PGPASSWORD, PGPASSFILE or ~/.pgpass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from gradatim.errors import InputError, WorkspaceError
from gradatim.store import migrations

_BUSY_MILLISECONDS = 10_000
_VANISHED_MILLISECONDS = 60_000  # after which a writer that went silent in its turn loses it
_TURN = 0x67726164  # "grad": of all advisory locks of the database, the one that writers take


class Database:
    """Connections in which to read or write; the schema is brought up to date first.

    WorkspaceError when PostgreSQL can't be reached, now or later.
    """

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url) if url.startswith("sqlite:") else _postgresql(checked_url(url))
        if self._engine.dialect.name == "sqlite":
            _prepare_sqlite(self._engine)
        try:
            with self.writing() as connection:
                migrations.upgrade(connection)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._reached(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """The whole database as it is now, however long it is read."""
        with self._reached(), self._engine.connect() as connection:
            if self._engine.dialect.name == "postgresql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            connection.execute(text("SELECT version_num FROM alembic_version"))  # from the first statement on
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that commits at the end, or rolls back; no other one writes meanwhile."""
        options = {"writing": True, "preserve_rowcount": True}  # of inserts too
        with self._reached(), self._engine.connect().execution_options(**options) as connection, connection.begin():
            if self._engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_TURN})")
            yield connection

    def insert_new(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An insert that does nothing when the row is already there; its rowcount tells."""
        if self._engine.dialect.name == "sqlite":
            return sqlite.insert(table).on_conflict_do_nothing()
        return postgresql.insert(table).on_conflict_do_nothing()

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            if self._engine.dialect.name == "sqlite":
                raise  # the command line knows what SQLite says
            said = " ".join(str(error.orig).split())[:300]
            shown = self._engine.url.render_as_string()
            raise WorkspaceError(f"The database {shown} can't be used: {said}") from error


def checked_url(given: str) -> URL:
    """The URL of a PostgreSQL database; InputError when it is none, or holds a password."""
    try:
        url = make_url(given)
    except ArgumentError:
        raise InputError("This is no URL of a database: write postgresql://USER@HOST/NAME") from None
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise InputError(f"A database of {url.drivername} can't be used: name a PostgreSQL one, or none for SQLite")
    if url.password is not None or "password" in url.query:
        raise InputError("Leave the password out of the database's URL: put it in PGPASSWORD, or in PGPASSFILE")
    if not url.database:
        raise InputError("The URL names no database: write postgresql://USER@HOST/NAME")
    return url.set(drivername="postgresql+psycopg")


def _postgresql(url: URL) -> Engine:
    try:
        engine = create_engine(url, isolation_level="READ COMMITTED", pool_pre_ping=True, pool_size=8)
    except ModuleNotFoundError:
        raise WorkspaceError("PostgreSQL needs one more package: pip install 'gradatim[postgres]'") from None

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.execute(f"SET lock_timeout = {_BUSY_MILLISECONDS}")
        connection.execute(f"SET idle_in_transaction_session_timeout = {_VANISHED_MILLISECONDS}")
        connection.execute("SET client_encoding = 'UTF8'")
        # A commit is told when it is on disk, whatever the server does for others.
        weak = "current_setting('synchronous_commit') = 'off'"
        connection.execute(f"SELECT set_config('synchronous_commit', 'on', false) WHERE {weak}")
        connection.commit()

    return engine


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
