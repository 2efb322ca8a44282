"""All rows of one database into an empty other one, SQLite or PostgreSQL, in one transaction."""

from __future__ import annotations

from sqlalchemy import BigInteger, Connection, func, select, text

from gradatim.errors import WorkspaceError
from gradatim.store.database import Database
from gradatim.store.tables import metadata

_AT_A_TIME = 1000


def copy_rows(source: Connection, target: Database) -> int:
    """How many were copied. WorkspaceError, and nothing changed, when the target holds rows already."""
    copied = 0
    with target.writing() as connection:
        for table in metadata.sorted_tables:  # what others refer to comes first
            if connection.execute(select(func.count()).select_from(table)).scalar_one():
                raise WorkspaceError(f"The database holds {table.name} already: rows are only put into an empty one")
            order = table.c.position if "position" in table.c else table.c.key
            query = select(table).order_by(order).execution_options(stream_results=True, yield_per=_AT_A_TIME)
            for rows in source.execute(query).mappings().partitions():
                connection.execute(table.insert(), [dict(row) for row in rows])
                copied += len(rows)
            if "position" in table.c and connection.dialect.name == "postgresql":
                _count_on(connection, table.name)
    return copied


def _count_on(connection: Connection, table: str) -> None:
    """Let PostgreSQL number new rows from the last one on, as SQLite does by itself."""
    last = f"(SELECT max(position) FROM {table})"
    sequence = f"pg_get_serial_sequence('{table}', 'position')"
    connection.execute(text(f"SELECT setval({sequence}, {last}) WHERE {last} IS NOT NULL").columns(x=BigInteger))
