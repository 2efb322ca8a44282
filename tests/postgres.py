"""A real PostgreSQL server for the tests, where its programs are installed: in a temporary folder, on a Unix socket.

PostgreSQL refuses to run as root, so there it runs as nobody. Its one role needs a password, which nobody finds but
through PGPASSFILE.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
ROLE = "tester"


def programs() -> Path | None:
    """The folder of PostgreSQL's newest programs; None where there are none."""
    found = [Path(place) for pattern in PLACES for place in Path("/").glob(pattern.removeprefix("/"))]
    found += [Path(initdb).parent for initdb in [shutil.which("initdb")] if initdb]
    fit = [folder for folder in found if (folder / "initdb").exists() and (folder / "pg_ctl").exists()]
    return max(fit, default=None)


@dataclass
class Postgres:
    """A server that runs. `password_file` is for PGPASSFILE."""

    socket: Path
    password_file: Path
    password: str

    def url(self, database: str) -> str:
        return f"postgresql://{ROLE}@/{database}?host={self.socket}"

    def new(self) -> str:
        """The URL of a new, empty database."""
        name = f"made_{secrets.token_hex(6)}"
        self.run("postgres", f"CREATE DATABASE {name}")
        return self.url(name)

    def run(self, database: str, statement: str) -> list[tuple[object, ...]]:
        """Run a statement past everything that is tested."""
        where = f"host={self.socket} user={ROLE} password={self.password} dbname={database}"
        with psycopg.connect(where, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@contextmanager
def running(folder_of_programs: Path) -> Iterator[Postgres]:
    """A server in a temporary folder, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    data, password = folder / "data", secrets.token_hex(12)
    given, kept = folder / "given", folder / "passwords"
    given.write_text(password)
    kept.write_text(f"*:*:*:{ROLE}:{password}\n")
    kept.chmod(0o600)
    other: list[str] = []
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        for path in (folder, given):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        other = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]

    def run(program: str, *arguments: str) -> None:
        command = [*other, str(folder_of_programs / program), *arguments]
        log = folder / "output"
        with log.open("wb") as output:
            done = subprocess.run(command, cwd=folder, stdout=output, stderr=output, timeout=120, check=False)
        assert done.returncode == 0, log.read_text("utf-8", "replace")

    settings = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off -c max_connections=60"
    try:
        how = ("--auth=scram-sha-256", f"--pwfile={given}", "--no-sync", "--encoding=UTF8", "--locale=C")
        run("initdb", f"--pgdata={data}", f"--username={ROLE}", *how)
        run("pg_ctl", f"--pgdata={data}", f"--log={data / 'log'}", "--wait", "--options", settings, "start")
        try:
            yield Postgres(folder, kept, password)
        finally:
            run("pg_ctl", f"--pgdata={data}", "--wait", "--mode=immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
