"""The ledger: an append-only log whose every entry is vouched for by a signed Merkle root.

An entry is acknowledged (`append` returns) only after its line, its leaf hash and the new checkpoint are on disk, in
that order. A crash before the checkpoint leaves at most one line, whole or torn, that nobody was told of. `open` and
the next `append` drop it even when it is whole: signing what is found on disk would let anyone who can write the
file add to the ledger. More than one line beyond the checkpoint is no crash but an old checkpoint, and is refused.

Several processes may hold the same ledger open: writers take turns by a lock on the log, and every reader looks at
the checkpoint first. Limits: an old checkpoint put back by hand loses one entry unnoticed, and whoever holds
`key.pem` can rewrite everything; checkpoints kept elsewhere are the remedy (see `verify`).
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gradatim.errors import InputError, IntegrityError, WorkspaceError
from gradatim.ledger import audit as files
from gradatim.ledger.audit import Audit, audit, leaf_line, read_file, read_public_key
from gradatim.ledger.entry import Entry, decode, encode
from gradatim.ledger.merkle import EMPTY_ROOT, Frontier, inclusion_proof, leaf_hash
from gradatim.ledger.note import Checkpoint, origin_of, private_pem, public_line, read_private_pem, sign
from gradatim.store import durable
from gradatim.store.canonical import canonical
from gradatim.store.clock import now

_NEXT_CHECKPOINT = f"{durable.TEMPORARY}checkpoint"  # one name is enough: writers take turns


@dataclass(frozen=True, slots=True)
class _State:
    """How far the ledger is known, replaced whole at each append."""

    note: bytes
    frontier: Frontier
    leaves: list[bytes]  # shared by successive states: the first `frontier.size` are of this one
    log_bytes: int


@dataclass(frozen=True, slots=True)
class Proof:
    """RFC 6962's inclusion proof of one entry, and the checkpoint with the root that it leads to."""

    index: int
    leaf: bytes
    path: list[bytes]
    note: bytes


class Ledger:
    """An open ledger. Make one with `Ledger.create` or `Ledger.open`."""

    def __init__(self, folder: Path, audited: Audit) -> None:
        self.folder = folder
        self._mutex = threading.RLock()
        self._origin = audited.checkpoint.origin
        self._state = _state(audited)

    @classmethod
    def create(cls, folder: Path) -> Ledger:
        """Make an empty ledger with a new key; WorkspaceError when the folder already holds something."""
        key = Ed25519PrivateKey.generate()
        empty = Checkpoint(origin_of(key.public_key()), 0, EMPTY_ROOT)
        with durable.temporary_folder(folder.parent) as building:
            durable.write_new(building / files.PRIVATE_KEY, private_pem(key), mode=0o600)
            durable.write_new(building / files.PUBLIC_KEY, public_line(key.public_key()))
            durable.write_new(building / files.LOG, b"")
            durable.write_new(building / files.LEAVES, b"")
            durable.write_new(building / files.CHECKPOINT, sign(empty, key))
            durable.fsync_folder(building)
            if folder.exists() and any(folder.iterdir()):
                raise WorkspaceError(f"{folder} is not empty: a ledger needs a folder of its own")
            building.rename(folder)
        durable.fsync_folder(folder.parent)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Ledger:
        """Check the whole ledger and drop what a crash left; IntegrityError names the entry that differs."""
        with _locked(folder) as log:
            audited = audit(folder)
            _drop_unsigned(folder, log, audited)
        return cls(folder, audited)

    @property
    def origin(self) -> str:
        """The ledger's name, which its public key gives it."""
        return self._origin

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._refresh().frontier.size

    @property
    def head(self) -> str:
        """The Merkle root, in hexadecimal."""
        return self._refresh().frontier.root().hex()

    @property
    def checkpoint(self) -> bytes:
        """The signed note that vouches for every entry."""
        return self._refresh().note

    def proof(self, index: int) -> Proof:
        """That an entry is in the ledger as its checkpoint signs it; InputError when there is none."""
        state = self._refresh()
        leaves = state.leaves[: state.frontier.size]
        if not 0 <= index < len(leaves):
            raise InputError(f"No entry {index}: the ledger has {len(leaves)}")
        return Proof(index, leaves[index], inclusion_proof(leaves, index), state.note)

    def append(self, kind: str, body: dict[str, Any]) -> Entry:
        """Add an entry durably and return it as it will be read back."""
        key = self._private_key()
        with self._mutex, _locked(self.folder) as log:
            before = self._refresh()
            entry = Entry(before.frontier.size, kind, now(), json.loads(canonical(body)))
            try:
                self._write(log, encode(entry), before, key)
            except BaseException:
                self._take_back(log, before)
                raise
            durable.fsync_folder(self.folder)
        return entry

    @contextmanager
    def still(self) -> Iterator[dict[str, bytes]]:
        """Nobody appends within it. Gives the public files as they are, by name."""
        with self._mutex, _locked(self.folder):
            yield {name: read_file(self.folder, name) for name in files.PUBLIC}

    def entries(self, kind: str | None = None) -> Iterator[Entry]:
        """The entries in order, of one kind or of all; every line is held against its leaf hash as it is read."""
        state = self._refresh()
        wanted = b"" if kind is None else canonical({"kind": kind})[1:-1]  # most are not even parsed
        with (self.folder / files.LOG).open("rb") as log:
            for index, leaf in enumerate(state.leaves[: state.frontier.size]):
                line = log.readline().removesuffix(b"\n")
                if leaf_hash(line) != leaf:
                    raise IntegrityError(f"ledger/{files.LOG} entry {index} changed while the ledger was open")
                if wanted not in line:
                    continue
                entry = decode(line)
                if kind is None or entry.kind == kind:
                    yield entry

    def _write(self, log: int, line: bytes, before: _State, key: Ed25519PrivateKey) -> None:
        size, leaf = before.frontier.size, leaf_hash(line)
        frontier = before.frontier.copy()
        frontier.append(leaf)
        _write_at(log, before.log_bytes, line + b"\n")
        _write_at_path(self.folder / files.LEAVES, size * files.LEAF_LINE, leaf_line(leaf))
        note = sign(Checkpoint(self._origin, frontier.size, frontier.root()), key)
        before.leaves[size:] = [leaf]
        following = self.folder / _NEXT_CHECKPOINT
        following.unlink(missing_ok=True)  # of a writer that was killed
        durable.write_new(following, note)
        following.replace(self.folder / files.CHECKPOINT)
        self._state = _State(note, frontier, before.leaves, before.log_bytes + len(line) + 1)

    def _take_back(self, log: int, before: _State) -> None:
        """Remove what a failed append wrote, unless it got as far as the checkpoint."""
        with suppress(OSError, IntegrityError):
            (self.folder / _NEXT_CHECKPOINT).unlink(missing_ok=True)
            if read_file(self.folder, files.CHECKPOINT) == before.note:
                os.ftruncate(log, before.log_bytes)
                os.truncate(self.folder / files.LEAVES, before.frontier.size * files.LEAF_LINE)

    def _refresh(self) -> _State:
        """Catch up with what another process appended; IntegrityError when it did more than append."""
        with self._mutex:
            known = self._state
            if read_file(self.folder, files.CHECKPOINT) != known.note:
                found = _state(audit(self.folder))
                if found.leaves[: known.frontier.size] != known.leaves[: known.frontier.size]:
                    raise IntegrityError("The ledger was rewritten while it was open: restore it from a copy")
                self._state = found
            return self._state

    def _private_key(self) -> Ed25519PrivateKey:
        try:
            key = read_private_pem(read_file(self.folder, files.PRIVATE_KEY))
        except ValueError as error:
            raise IntegrityError(f"ledger/{files.PRIVATE_KEY} {error}: restore it from a copy") from None
        if key.public_key() != read_public_key(self.folder):
            raise IntegrityError(f"ledger/{files.PRIVATE_KEY} is not the key of this ledger: restore it from a copy")
        return key


def _write_at(descriptor: int, position: int, data: bytes) -> None:
    """Make the file end with `data` at `position`, whatever stood there, and fsync it."""
    os.ftruncate(descriptor, position)
    os.lseek(descriptor, position, os.SEEK_SET)
    durable.write_all(descriptor, data)
    os.fsync(descriptor)


def _write_at_path(path: Path, position: int, data: bytes) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        _write_at(descriptor, position, data)
    finally:
        os.close(descriptor)


def _state(audited: Audit) -> _State:
    return _State(audited.note, Frontier(audited.leaves), audited.leaves, audited.log_bytes)


def _drop_unsigned(folder: Path, log: int, audited: Audit) -> None:
    size = audited.checkpoint.size
    if audited.unsigned_log.count(b"\n", 0, -1):
        raise IntegrityError(f"ledger/{files.LOG} has more than one entry from {size} on that ledger/checkpoint lacks")
    if audited.unsigned_log:
        os.ftruncate(log, audited.log_bytes)
        os.fsync(log)
    if audited.unsigned_leaves:
        os.truncate(folder / files.LEAVES, size * files.LEAF_LINE)
    (folder / _NEXT_CHECKPOINT).unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """The log opened for writing, with every other writer kept out."""
    try:
        log = os.open(folder / files.LOG, os.O_RDWR)
    except FileNotFoundError:
        raise IntegrityError(f"ledger/{files.LOG} is missing: restore it from a copy of the workspace") from None
    try:
        fcntl.flock(log, fcntl.LOCK_EX)
        yield log
    finally:
        os.close(log)
