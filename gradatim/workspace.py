"""A workspace: the folder in which one deployed model improves itself.

    charter.toml     the human's bounds
    workspace.json   the base model; written last, so a folder that has it is whole
    ledger/          what happened, signed
    blobs/           documents, releases, results of phases, by digest
    adapters/        adapters, by digest
    records.sqlite   documents, answers, feedback and outcomes, as rows (made when first used)
    database.toml    where these rows are instead, in PostgreSQL, if anywhere; without its password
    live             id of the live release
    partial/         scratch folders of an unfinished step
    writer/          rounds of an unfinished outer loop
    lock, run.lock   held while a step runs, and while `gradatim run` does; they say by which process
    step.log         what the last step that `gradatim run` took said

A new workspace is built aside and renamed into place. In a folder that already holds other things its pieces are
moved in one by one, `workspace.json` last; a kill in between is cleared away by the next `create`.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradatim.errors import GradatimError, IntegrityError, WorkspaceError
from gradatim.ledger.log import Ledger
from gradatim.release.registry import Registry
from gradatim.store import durable, locks
from gradatim.store.adapters import Adapters
from gradatim.store.blobs import Blobs
from gradatim.store.canonical import canonical, digest_of
from gradatim.watch.incidents import Incidents

if TYPE_CHECKING:
    from gradatim.store.records import Records

SETTINGS, CHARTER, STEP_LOCK = "workspace.json", "charter.toml", "lock"
DATABASE, RECORDS = "database.toml", "records.sqlite"
_PIECES = ("ledger", "blobs", "adapters", "live", CHARTER, DATABASE, SETTINGS)
_BUILDING = f"{durable.TEMPORARY}workspace"
FORMAT = 1


class Workspace:
    """An open workspace. Make one with `Workspace.create` or `Workspace.open`."""

    def __init__(self, folder: Path, base: dict[str, Any]) -> None:
        self.folder = folder
        self.base = base
        self.charter_path = folder / CHARTER
        self.ledger = Ledger.open(folder / "ledger")
        self.blobs = Blobs(folder / "blobs")
        self.adapters = Adapters(folder / "adapters")
        self.registry = Registry(folder, self.ledger, self.blobs, self.adapters)
        self.incidents = Incidents(folder, self.ledger, self.blobs)

    @classmethod
    def create(cls, folder: Path, base: dict[str, Any], charter_text: str, *, database: str | None = None) -> Workspace:
        """Make a workspace whose release 0 is the base model alone; `base` needs its "digest".

        `database` is the URL of a PostgreSQL database that no other workspace has. WorkspaceError when the folder is
        a workspace already, holds files of the same names, or can't be written, or the database can't be had.
        """
        if (folder / SETTINGS).exists():
            raise WorkspaceError(f"{folder} is a workspace already: use it, or choose another folder")
        if database is not None:
            refuse_taken(database)
        try:
            _create(folder, _Pieces(base, charter_text, database))
        except OSError as error:
            raise WorkspaceError(f"Can't make a workspace in {folder}: {error.strerror or error}") from error
        made = cls.open(folder)
        if database is not None:
            made.records.close()  # they are this workspace's from now on
            del made.records
        return made

    @classmethod
    def open(cls, folder: Path) -> Workspace:
        """Open a workspace, check its ledger and mend what a crash left."""
        path = folder / SETTINGS
        if not path.is_file():
            raise WorkspaceError(f"No workspace in {folder}: run `gradatim init {folder}` first")
        try:
            settings = json.loads(path.read_bytes())
            version, base = settings["format"], settings["base"]
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"{path} is damaged: restore it from a copy of the workspace") from error
        if version != FORMAT:
            raise WorkspaceError(f"{folder} has workspace format {version}: this Gradatim reads format {FORMAT}")
        for name in ("", "blobs", "adapters"):
            durable.sweep(folder / name)
        return cls(folder, base)

    @cached_property
    def records(self) -> Records:
        """The tables, opened and migrated at first use (SQLAlchemy is imported then)."""
        from gradatim.store.records import Records

        url = read_database(self.folder)
        if url is None:
            return Records(f"sqlite:///{self.folder.resolve() / RECORDS}")
        records = Records(url)
        if not records.claim(self.ledger.origin):
            records.close()
            raise WorkspaceError(f"The database {url} is another workspace's: name this one's in {DATABASE}")
        return records

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only step that runs here; WorkspaceError at once when another one does."""
        busy = f"Another step is running in {self.folder} (process {{holder}}): wait for it, or stop it"
        with locks.held(self.folder / STEP_LOCK, busy):
            yield

    def stepping(self) -> str | None:
        """The process that takes a step here at this moment."""
        return locks.holder(self.folder / STEP_LOCK)


def read_database(folder: Path) -> str | None:
    """The URL of a workspace's database; None for the SQLite file beside it."""
    path = folder / DATABASE
    if not path.exists():
        return None
    try:
        settings = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WorkspaceError(f"{path} is not TOML ({error}): mend it") from None
    url = settings.get("url")
    if not isinstance(url, str) or settings.keys() != {"url"}:
        raise WorkspaceError(f'{path} must hold one line: url = "postgresql://USER@HOST/NAME"')
    return url


def write_database(folder: Path, url: str) -> None:
    """Say where the rows of a workspace are that has not said so yet."""
    durable.write_new(folder / DATABASE, f"url = {json.dumps(url)}\n".encode())


def refuse_taken(url: str) -> None:
    """WorkspaceError when a database can't be reached, or is a workspace's already."""
    from gradatim.store.records import Records

    records = Records(url)
    try:
        if records.owner is not None:
            raise WorkspaceError(f"The database {url} is a workspace's already: name an empty one")
    finally:
        records.close()


@dataclass(frozen=True, slots=True)
class _Pieces:
    """What a new workspace is made from."""

    base: dict[str, Any]
    charter: str
    database: str | None


def _create(folder: Path, pieces: _Pieces) -> None:
    if folder.exists() and not folder.is_dir():
        raise WorkspaceError(f"{folder} is a file: name a folder for the workspace")
    if folder.is_dir() and any(folder.iterdir()):
        _create_among(folder, pieces)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with durable.temporary_folder(folder.parent) as building:
        _build(building, pieces)
        building.rename(folder)
    durable.fsync_folder(folder.parent)


def _create_among(folder: Path, pieces: _Pieces) -> None:
    """Make a workspace in a folder that holds other things."""
    building = folder / _BUILDING
    _clear_interrupted(folder, building)
    for name in _PIECES:
        if (folder / name).exists():
            raise WorkspaceError(f"{folder} already holds {name}: move it away, or choose another folder")
    building.mkdir()
    try:
        _build(building, pieces)
        for name in _PIECES:
            if (building / name).exists():
                (building / name).rename(folder / name)
    except (OSError, GradatimError):
        _clear_interrupted(folder, building)
        raise
    building.rmdir()
    durable.fsync_folder(folder)


def _clear_interrupted(folder: Path, building: Path) -> None:
    """Remove what a killed `_create_among` left: the build, and the pieces of it that had been moved."""
    if (building / SETTINGS).exists():
        for name in _PIECES:
            if not (building / name).exists():
                path = folder / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.rmtree(building, ignore_errors=True)


def _build(folder: Path, pieces: _Pieces) -> None:
    base, charter = pieces.base, pieces.charter.encode()
    settings = canonical({"format": FORMAT, "base": base})
    ledger = Ledger.create(folder / "ledger")
    ledger.append("init", {"workspace": digest_of(settings), "charter": digest_of(charter), "base": base})
    registry = Registry(folder, ledger, Blobs(folder / "blobs"), Adapters(folder / "adapters"))
    release = registry.create(base=base["digest"])
    registry.promote(release.id, reason="the base model alone", by="init")
    durable.write_new(folder / CHARTER, charter)
    if pieces.database is not None:
        write_database(folder, pieces.database)
    durable.write_new(folder / SETTINGS, settings)
    durable.fsync_folder(folder)
