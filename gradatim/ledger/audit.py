"""Reads a ledger folder and holds every byte of it against the signed checkpoint.

`log.jsonl` holds the entries, `leaves` the leaf hash of each (one line of hexadecimal), `checkpoint` the signed root.
The root alone says that something changed; the recorded leaf hashes, themselves held against the root, say which
entry. Bytes after the last signed entry are not part of the ledger: the audit counts them, others decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gradatim.errors import IntegrityError
from gradatim.ledger.merkle import Frontier, leaf_hash, root_of
from gradatim.ledger.note import Checkpoint, read_note, read_public_line

LOG, LEAVES, CHECKPOINT = "log.jsonl", "leaves", "checkpoint"
PRIVATE_KEY, PUBLIC_KEY = "key.pem", "key.pub"
PUBLIC = (LOG, LEAVES, CHECKPOINT, PUBLIC_KEY)
LEAF_LINE = 65  # 64 hexadecimal digits and a newline


@dataclass(frozen=True, slots=True)
class Audit:
    """A ledger that was found good up to its checkpoint."""

    note: bytes  # the checkpoint as it stands on disk
    checkpoint: Checkpoint
    leaves: list[bytes]
    log_bytes: int  # length of the signed part of log.jsonl
    unsigned_log: bytes  # what stands behind it
    unsigned_leaves: int  # bytes


def leaf_line(leaf: bytes) -> bytes:
    return leaf.hex().encode() + b"\n"


def read_file(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        raise IntegrityError(f"ledger/{name} is missing: restore it from a copy of the workspace") from None


def read_public_key(folder: Path) -> Ed25519PublicKey:
    """The key that signs this ledger; IntegrityError when a byte of `key.pub` changed."""
    try:
        return read_public_line(read_file(folder, PUBLIC_KEY))
    except ValueError as error:
        raise _damaged(PUBLIC_KEY, str(error)) from None


def read_checkpoint(note: bytes, key: Ed25519PublicKey, name: str = f"ledger/{CHECKPOINT}") -> Checkpoint:
    """The checkpoint in a note that this key signed, or IntegrityError."""
    try:
        return read_note(note, key)
    except ValueError as error:
        raise IntegrityError(f"{name} {error}: restore it and ledger/{PUBLIC_KEY} from a copy") from None


def audit(folder: Path) -> Audit:
    """Check everything; IntegrityError names the entry or file that differs."""
    note = read_file(folder, CHECKPOINT)
    checkpoint = read_checkpoint(note, read_public_key(folder))
    log, recorded = read_file(folder, LOG), read_file(folder, LEAVES)
    lines, unsigned = _signed_lines(log, checkpoint.size)
    leaves = [leaf_hash(line) for line in lines]
    expected = b"".join(leaf_line(leaf) for leaf in leaves)
    signed_leaves = recorded[: checkpoint.size * LEAF_LINE]
    if len(leaves) != checkpoint.size or Frontier(leaves).root() != checkpoint.root:
        raise _log_problem(leaves, signed_leaves, checkpoint)
    if signed_leaves != expected:
        position = _first_difference(signed_leaves, expected) // LEAF_LINE
        raise _damaged(LEAVES, f"is wrong at entry {position}, whose line in {LOG} is as it was signed")
    extra = max(0, len(recorded) - len(expected))
    return Audit(note, checkpoint, leaves, len(log) - len(unsigned), unsigned, extra)


def _signed_lines(log: bytes, size: int) -> tuple[list[bytes], bytes]:
    """The first `size` whole lines, and whatever follows them."""
    parts = log.split(b"\n", size)
    return parts[:-1], parts[-1]


def _log_problem(leaves: list[bytes], recorded: bytes, checkpoint: Checkpoint) -> IntegrityError:
    """Say which entry differs: the recorded leaves are the witness, if the checkpoint vouches for them."""
    found = b"".join(leaf_line(leaf) for leaf in leaves)
    position = _first_difference(found, recorded) // LEAF_LINE
    if position >= checkpoint.size:
        return _damaged(LOG, f"and {LEAVES} were changed together: they agree, but their root is not the signed one")
    if not _vouched(recorded, checkpoint):
        return _damaged(LOG, f"differs from {LEAVES} at entry {position}, and neither is what was signed")
    if position >= len(leaves):
        return _damaged(LOG, f"entry {position} of {checkpoint.size} is missing or cut short")
    return _damaged(LOG, f"entry {position} differs from what was signed")


def _vouched(recorded: bytes, checkpoint: Checkpoint) -> bool:
    try:
        return root_of(bytes.fromhex(line) for line in recorded.decode().splitlines()) == checkpoint.root
    except ValueError:
        return False


def _first_difference(left: bytes, right: bytes) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(left), len(right)))


def _damaged(name: str, problem: str) -> IntegrityError:
    return IntegrityError(f"ledger/{name} {problem}: restore it from a copy of the workspace")
