"""Entries of a ledger taken out, with all that is needed to check them elsewhere: one zip file.

    entries.jsonl       the entries, each a line exactly as it was signed
    proofs.json         for each line: its index, and RFC 6962's path to the root
    checkpoint key.pub  the signed root, and the key that signed it
    blobs/DIGEST        what the entries name, by digest
    README.txt          what was done to check it, for whoever has other tools

`check` holds every line against its proof, the proofs against the checkpoint, the checkpoint against the key, and every
blob against its name. The key in a bundle proves nothing about whose it is: compare it with one that you know, or give
a checkpoint of the same ledger that you kept. Limit: a bundle shows that its entries are in the ledger, not that no
others are.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gradatim.errors import InputError, IntegrityError
from gradatim.ledger import audit as files
from gradatim.ledger.audit import read_checkpoint, read_file
from gradatim.ledger.entry import Entry, decode, encode
from gradatim.ledger.log import Ledger
from gradatim.ledger.merkle import inclusion_proof, leaf_hash, verify_inclusion
from gradatim.ledger.note import read_note, read_public_line
from gradatim.types import Digest

ENTRIES, PROOFS, BLOBS, README = "entries.jsonl", "proofs.json", "blobs/", "README.txt"
MOST_BYTES = 200_000_000
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of every file, so that the same content is the same bytes
_README = """Entries of a Gradatim ledger, as they were signed.

Check it:  gradatim verify --bundle THIS.zip [--trusted CHECKPOINT]

Or by hand, with RFC 6962 (section 2.1.1) and any Ed25519 library: SHA-256 of a zero byte and a line of entries.jsonl
(without its newline) is a leaf; its path in proofs.json leads to the root in checkpoint, base64 in the third line; the
last line of checkpoint is an Ed25519 signature of the first three, by key.pub. Each file in blobs/ has its SHA-256 as
its name. Compare key.pub with the ledger/key.pub that you know.
"""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was found good: its entries, and the name of the log that they are of."""

    entries: tuple[Entry, ...]
    origin: str
    size: int  # of the ledger when it was signed
    blobs: tuple[Digest, ...]


def pack(ledger: Ledger, indexes: Iterable[int], blobs: Mapping[Digest, bytes]) -> bytes:
    """The zip file; InputError for an index that no entry has."""
    entries = list(ledger.entries())
    chosen = sorted(set(indexes))
    if not chosen or chosen[-1] >= len(entries):
        raise InputError(f"No entry {chosen[-1] if chosen else ''}: the ledger has {len(entries)}")
    note, public = ledger.checkpoint, read_file(ledger.folder, files.PUBLIC_KEY)
    size = read_checkpoint(note, read_public_line(public)).size
    leaves = [leaf_hash(encode(entry)) for entry in ledger.entries()][:size]
    proofs = [{"index": at, "path": [node.hex() for node in inclusion_proof(leaves, at)]} for at in chosen]
    parts = {
        README: _README.encode(),
        ENTRIES: b"".join(encode(entries[at]) + b"\n" for at in chosen),
        PROOFS: json.dumps(proofs, indent=1).encode(),
        files.CHECKPOINT: note,
        files.PUBLIC_KEY: public,
        **{f"{BLOBS}{digest}": data for digest, data in sorted(blobs.items())},
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def check(path: Path, trusted: Path | None = None) -> Bundle:
    """The bundle, when every byte of it holds; IntegrityError says what doesn't."""
    parts = _parts(path)
    try:
        key = read_public_line(parts[files.PUBLIC_KEY])
        signed = read_note(parts[files.CHECKPOINT], key)
        lines = parts[ENTRIES].split(b"\n")[:-1]
        proofs = [(int(proof["index"]), list(map(bytes.fromhex, proof["path"]))) for proof in json.loads(parts[PROOFS])]
        entries = tuple(decode(line) for line in lines)
    except KeyError as error:
        raise IntegrityError(f"{path}: {error.args[0]} is missing: ask for the bundle again") from None
    except (ValueError, TypeError) as error:
        raise IntegrityError(f"{path}: is damaged ({error}): ask for the bundle again") from None
    if len(proofs) != len(lines):
        raise IntegrityError(f"{path}: has {len(lines)} entries and {len(proofs)} proofs: ask for the bundle again")
    for line, entry, (index, way) in zip(lines, entries, proofs, strict=True):
        if entry.index != index or not verify_inclusion(leaf_hash(line), index, signed.size, way, signed.root):
            raise IntegrityError(f"{path}: entry {entry.index} is not what was signed")
    digests = tuple(name.removeprefix(BLOBS) for name in parts if name.startswith(BLOBS))
    for digest in digests:
        if hashlib.sha256(parts[f"{BLOBS}{digest}"]).hexdigest() != digest:
            raise IntegrityError(f"{path}: blobs/{digest} is not what its name says")
    if trusted is not None:
        _check_origin(path, trusted, signed.origin, parts[files.PUBLIC_KEY])
    return Bundle(entries, signed.origin, signed.size, digests)


def _check_origin(path: Path, trusted: Path, origin: str, public: bytes) -> None:
    if not trusted.is_file():
        raise IntegrityError(f"No checkpoint at {trusted}: name a copy of ledger/{files.CHECKPOINT}")
    try:
        read_note(trusted.read_bytes(), read_public_line(public))
    except ValueError as error:
        raise IntegrityError(f"{path} is signed by {origin}, which did not sign {trusted} ({error})") from None


def _parts(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(part.file_size for part in archive.infolist()) > MOST_BYTES:
                raise IntegrityError(f"{path}: is larger than any bundle; it is none of ours")
            return {part.filename: archive.read(part) for part in archive.infolist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise IntegrityError(f"{path}: can't be read as a zip file ({error}): name an exported incident") from None
