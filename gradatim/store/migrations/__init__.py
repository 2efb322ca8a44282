"""Numbered migrations of the tables, applied when `Records` opens a database.

Add one as `versions/NNNN_what.py` with the next `revision` and the one before it as `down_revision`; a released
migration is never edited.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from gradatim.errors import WorkspaceError


def upgrade(connection: Connection, to: str = "head") -> None:
    """Bring the database up to a migration, the newest by default, in the connection's transaction and silently."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise WorkspaceError(f"The database is of a newer Gradatim (migration {current}): upgrade the package")
    if current != scripts.get_current_head():
        command.upgrade(config, to)
