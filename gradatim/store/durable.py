"""Writing so that a kill, a power cut or a full disk leaves the old bytes or the new ones, never half of either.

The order is always: temporary name in the same file system, write, fsync, rename, fsync the folder. A failed write
removes its temporary file; a killed one leaves it under a name that starts with `TEMPORARY`, which every reader
ignores and `sweep` removes a day later (as git does with its temporary objects). An OSError (disk full) propagates.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradatim.types import Digest

TEMPORARY = ".tmp-"
_CHUNK = 1 << 20
_STALE_SECONDS = 24 * 3600


def temporary_path(folder: Path) -> Path:
    return folder / f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(6)}"


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte (`os.write` may write fewer)."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_new(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file that must not exist yet, and fsync it; nothing is left when that fails."""
    with _creating(path, mode) as descriptor:
        write_all(descriptor, data)


def replace(path: Path, data: bytes) -> None:
    """Make `path` hold `data`, atomically and durably."""
    temporary = temporary_path(path.parent)
    write_new(temporary, data)
    try:
        temporary.replace(path)
    except OSError:
        temporary.unlink()
        raise
    fsync_folder(path.parent)


def copy_new(source: Path, target: Path) -> Digest:
    """Copy to a file that must not exist yet, fsync it, and return the digest of what was written."""
    state = hashlib.sha256()
    with source.open("rb") as reader, _creating(target, 0o644) as descriptor:
        while chunk := reader.read(_CHUNK):
            state.update(chunk)
            write_all(descriptor, chunk)
    return state.hexdigest()


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent` to build in; whatever has not been renamed away by the end is removed."""
    folder = temporary_path(parent)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove temporary files and folders that a killed process left more than a day ago."""
    oldest = time.time() - _STALE_SECONDS
    for path in folder.glob(f"{TEMPORARY}*"):
        if path.lstat().st_mtime < oldest:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def _creating(path: Path, mode: int) -> Iterator[int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        yield descriptor
        os.fsync(descriptor)
    except BaseException:
        path.unlink()
        raise
    finally:
        os.close(descriptor)
