"""Locks on files, which end with the process that holds them, and say which that is.

A file that nobody holds may be locked for an instant by `holder`, so whoever wants it tries for a moment.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gradatim.errors import WorkspaceError

_TRIES = 20
_PAUSE = 0.01  # seconds


@contextmanager
def held(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock; WorkspaceError with the line `busy`, where {holder} is the process that has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _taken(descriptor):
            raise WorkspaceError(busy.format(holder=_said(descriptor) or "unknown"))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def holder(path: Path) -> str | None:
    """The process that holds the lock, or None."""
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            said = _said(descriptor)
            if not said:
                return None
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return said
        finally:
            os.close(descriptor)
    return None


def _taken(descriptor: int) -> bool:
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        else:
            return True
    return False


def _said(descriptor: int) -> str:
    return os.pread(descriptor, 32, 0).decode(errors="replace").strip()
