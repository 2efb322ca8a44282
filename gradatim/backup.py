"""A copy of a workspace in one file, made while others write in it; and a workspace made from such a file.

What a backup holds is one moment: the ledger's lock and the database's turn are held together while the ledger is read
and a snapshot of the rows begins, some milliseconds, as if everybody had been killed just then. So everything that was
acknowledged before the backup began is in it. Blobs and adapters are never changed and are there before anything names
them, so they are taken afterwards. The copy is verified as `gradatim verify` does before it becomes a file.

The file is a tar archive: `manifest.json` with the digest of every file, then the files. Rows are always an SQLite
file in it, whatever the database, and go back into either. The signing key and the secret of the feedback tokens are
part of it unless they are left out: then keep them elsewhere, for without its key a ledger can't be appended to.

Limits: the manifest shows accidents; that nobody made the archive up is shown by the ledger's signature, and by a
checkpoint kept elsewhere (`gradatim verify --trusted`). The scratch of an unfinished step, or of an unfinished outer
loop, is left out: it begins its phase again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from gradatim.errors import InputError, IntegrityError, WorkspaceError
from gradatim.ledger.audit import PRIVATE_KEY, PUBLIC
from gradatim.ledger.verify import verify_workspace
from gradatim.store import durable
from gradatim.store.canonical import canonical
from gradatim.workspace import CHARTER, RECORDS, SETTINGS, Workspace, write_database

if TYPE_CHECKING:
    from gradatim.store.records import Records

MANIFEST = "manifest.json"
SECRETS = (f"ledger/{PRIVATE_KEY}", "serve.secret")
_PLAIN = (SETTINGS, CHARTER, "serve.toml", "probes.jsonl")
_FIXED = {*_PLAIN, *SECRETS, RECORDS, "live", *(f"ledger/{name}" for name in PUBLIC)}
_BY_DIGEST = re.compile(r"blobs/[0-9a-f]{64}|adapters/[0-9a-f]{64}/[\w-][\w.-]{0,200}", re.ASCII)
_CHUNK = 1 << 20
_LARGEST_MANIFEST = 1 << 28


@dataclass(frozen=True, slots=True)
class Backup:
    """What a file holds, or what was made from one."""

    files: int
    bytes: int
    entries: int  # of the ledger
    head: str
    rows: int
    secrets: bool  # whether the signing key is among it


def back_up(workspace: Workspace, file: Path, *, secrets: bool = True) -> Backup:
    """Copy a workspace into a new file. Raises GradatimError, and leaves nothing, when that can't be."""
    if file.exists():
        raise InputError(f"{file} exists already: name a new file")
    if not file.parent.is_dir():
        raise InputError(f"{file.parent} is no folder: make it first")
    with durable.temporary_folder(file.parent) as building:
        copy, archive = building / "workspace", building / "archive"
        copy.mkdir(mode=0o700)
        rows = _copy(workspace, copy, secrets=secrets)
        made = _verified(copy, rows)
        _write_archive(copy, archive)
        _check_archive(archive)
        try:
            os.link(archive, file)  # unlike a rename, never over another file
        except FileExistsError:
            raise InputError(f"{file} was made meanwhile: name a new file") from None
        durable.fsync_folder(file.parent)
    return made


def restore(file: Path, folder: Path, database: str | None = None) -> Backup:
    """Make a workspace from a backup, its rows in a PostgreSQL database where one is named.

    Raises GradatimError, and leaves no folder, when the file is damaged or not a backup, or the folder is there.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder} is there already, and nothing is overwritten: name a new folder")
    if not file.is_file():
        raise InputError(f"No file {file}: name a backup that `gradatim backup` made")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with durable.temporary_folder(folder.parent) as building:
        copy = building / "workspace"
        _unpack(file, copy)
        made = _verified(copy, _count_rows(copy))
        if database is not None:
            _move_rows(copy, database)
        copy.chmod(0o755)
        copy.rename(folder)
        durable.fsync_folder(folder.parent)
    return made


# ------------------------------------------------------------------ copying


def _copy(workspace: Workspace, copy: Path, *, secrets: bool) -> int:
    """Everything of a workspace as it is at one moment: how many rows."""
    from gradatim.store.copying import copy_rows

    kept: dict[str, bytes] = {}
    with ExitStack() as stack:
        records = workspace.records
        with workspace.ledger.still() as ledger, records.database.writing():  # for as long as it takes to read
            rows = stack.enter_context(records.database.snapshot())
            kept |= {f"ledger/{name}": data for name, data in ledger.items()}
            for name in (*_PLAIN, *(SECRETS if secrets else ())):
                with suppress(FileNotFoundError):
                    kept[name] = (workspace.folder / name).read_bytes()
        (copy / "ledger").mkdir()
        for name, data in kept.items():
            durable.write_new(copy / name, data, 0o600 if name in SECRETS else 0o644)
        with closing(_records(copy)) as target:
            count = copy_rows(rows, target.database)
    (copy / "blobs").mkdir()
    for name in workspace.blobs.names():
        _same(workspace.folder / "blobs" / name, copy / "blobs" / name)
    for name in workspace.adapters.names():
        (copy / "adapters" / name).mkdir(parents=True)
        for path in (workspace.folder / "adapters" / name).iterdir():
            _same(path, copy / "adapters" / name / path.name)
    return count


def _same(source: Path, target: Path) -> None:
    """The same file under another name where that can be, else a copy: it is never changed."""
    try:
        os.link(source, target)
    except OSError:
        durable.copy_new(source, target)


def _records(folder: Path) -> Records:
    from gradatim.store.records import Records

    return Records(f"sqlite:///{folder.resolve() / RECORDS}")


def _count_rows(folder: Path) -> int:
    from sqlalchemy import func, select

    from gradatim.store.tables import metadata

    if not (folder / RECORDS).exists():
        return 0
    with closing(_records(folder)) as records, records.database.reading() as connection:
        counts = [connection.execute(select(func.count()).select_from(one)) for one in metadata.sorted_tables]
        return sum(int(count.scalar_one()) for count in counts)


def _move_rows(folder: Path, url: str) -> None:
    from gradatim.store.copying import copy_rows
    from gradatim.store.records import Records

    owner = Workspace.open(folder).ledger.origin
    with closing(Records(url)) as target, closing(_records(folder)) as source:
        if target.owner is not None:
            raise WorkspaceError(f"The database {url} is a workspace's already: name an empty one")
        with source.database.snapshot() as rows:
            copy_rows(rows, target.database)
        target.claim(owner)
    (folder / RECORDS).unlink()
    write_database(folder, url)


def _verified(folder: Path, rows: int) -> Backup:
    """What is in a copy; IntegrityError when `gradatim verify` would find something wrong with it."""
    Workspace.open(folder)  # mends what a kill may have left, and writes which release is live
    found = verify_workspace(folder)
    if not found.ok:
        raise IntegrityError(f"The copy does not verify: {found.problem}")
    sizes = [path.stat().st_size for path in _files(folder)]
    return Backup(len(sizes), sum(sizes), found.entries, found.head, rows, (folder / SECRETS[0]).exists())


# ------------------------------------------------------------------ the archive


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _write_archive(folder: Path, archive: Path) -> None:
    paths = {str(path.relative_to(folder)): path for path in _files(folder)}
    digests = {name: [_digest(path), path.stat().st_size] for name, path in paths.items()}
    manifest = canonical({"format": 1, "files": digests})
    descriptor = os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # it may hold the signing key
    with os.fdopen(descriptor, "wb") as output:
        with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as tar:
            tar.addfile(_member(MANIFEST, len(manifest)), io.BytesIO(manifest))
            for name, path in paths.items():
                with path.open("rb") as reader:
                    tar.addfile(_member(name, path.stat().st_size), reader)
        output.flush()
        os.fsync(output.fileno())


def _member(name: str, size: int) -> tarfile.TarInfo:
    """Without the names and times of whoever made it: the same workspace makes the same archive."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


def _digest(path: Path) -> str:
    with path.open("rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()


def _check_archive(archive: Path) -> None:
    """Read it back, as it will be when it is needed."""
    for _, chunks in _members(archive):
        for _ in chunks:
            pass


def _unpack(archive: Path, folder: Path) -> None:
    folder.mkdir(mode=0o700)
    for name in ("ledger", "blobs", "adapters"):
        (folder / name).mkdir()
    for name, chunks in _members(archive):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if name in SECRETS else 0o644)
        with os.fdopen(descriptor, "wb") as output:
            for chunk in chunks:
                output.write(chunk)
            output.flush()
            os.fsync(output.fileno())
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        durable.fsync_folder(path)


def _members(archive: Path) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The files of a backup, in order, each to be read to its end; whatever is no backup of ours is refused."""
    try:
        with tarfile.open(archive, mode="r:") as tar:
            expected = _manifest(tar)
            while (member := tar.next()) is not None:
                if member.name not in expected or not member.isreg():
                    raise IntegrityError(f"{archive} holds {member.name[:200]!r}, which is no part of a backup")
                digest, size = expected.pop(member.name)
                yield member.name, _chunks(archive, tar, member, digest, size)
            if expected:
                raise IntegrityError(f"{archive} lacks {min(expected)}, and {len(expected)} files in all")
    except tarfile.TarError as error:
        raise IntegrityError(f"{archive} is no backup, or a damaged one ({error}): use another copy") from None


def _manifest(tar: tarfile.TarFile) -> dict[str, tuple[str, int]]:
    """The digest and size of each file by its name; only names that a workspace has."""
    member = tar.next()
    reader = tar.extractfile(member) if member is not None and member.isreg() else None
    if member is None or reader is None or member.name != MANIFEST or member.size > _LARGEST_MANIFEST:
        raise tarfile.TarError("it does not begin with a manifest")
    try:
        said = json.loads(reader.read())
        version, files = said["format"], {name: (str(one[0]), int(one[1])) for name, one in said["files"].items()}
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise tarfile.TarError("its manifest can't be read") from None
    if version != 1:
        raise WorkspaceError(f"This backup has format {version}: this Gradatim reads format 1")
    for name in files:
        if name not in _FIXED and not _BY_DIGEST.fullmatch(name):
            raise IntegrityError(f"The backup names {name[:200]!r}, which no workspace has")
    return files


def _chunks(archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, digest: str, size: int) -> Iterator[bytes]:
    reader, state = tar.extractfile(member), hashlib.sha256()
    if reader is None or member.size != size:
        raise IntegrityError(f"{archive}: {member.name} has another size than its manifest says: use another copy")
    with reader:
        while chunk := _read(archive, reader):
            state.update(chunk)
            yield chunk
    if state.hexdigest() != digest:
        raise IntegrityError(f"{archive}: {member.name} does not match its digest: use another copy")


def _read(archive: Path, reader: IO[bytes]) -> bytes:
    try:
        return reader.read(_CHUNK)
    except tarfile.TarError as error:
        raise IntegrityError(f"{archive} was cut short ({error}): use another copy") from None
