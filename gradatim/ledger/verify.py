"""Offline verification of a workspace: is every stored byte still what was signed?

    python -m gradatim.ledger.verify DIR [--trusted CHECKPOINT]

Held against the signed checkpoint: every ledger entry, every blob and adapter (whether or not the ledger names it),
everything that the ledger does name (releases and their adapters, results of phases, what incidents rest on),
`workspace.json`, and the live pointer. Not covered, because they change in ordinary use: `charter.toml`,
`records.sqlite`, scratch folders.

Limits, honestly: whoever holds `ledger/key.pem` can rewrite the whole history and sign it anew, and whoever can write
the folder can put an older, complete copy of it back. Neither is visible from inside. Copy `ledger/checkpoint`
elsewhere from time to time, and pass it as `trusted`: then it shows whether the log was only appended to since.
A workspace that a crash left unfinished is reported too; opening it repairs it.

Imports neither torch, numpy, SQLAlchemy nor pydantic, so that it runs anywhere.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gradatim.errors import IntegrityError
from gradatim.ledger import audit as files
from gradatim.ledger.audit import audit, read_checkpoint, read_file, read_public_key
from gradatim.ledger.entry import MOVES, Entry, decode
from gradatim.ledger.merkle import root_of
from gradatim.ledger.note import read_private_pem
from gradatim.store.adapters import Adapters
from gradatim.store.blobs import Blobs
from gradatim.store.canonical import digest_of, is_digest


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found: `problem` is one line about the first thing that is wrong."""

    ok: bool
    entries: int
    head: str  # Merkle root in hexadecimal, "" when the ledger itself is damaged
    problem: str | None = None


def verify_workspace(folder: Path, trusted: Path | None = None) -> Verification:
    """Verify a workspace folder without opening or changing it. Never raises for damage, only reports it."""
    size, head = 0, ""
    try:
        with _steady(folder / "ledger"):
            audited = audit(folder / "ledger")
            entries = _entries(folder / "ledger", audited.log_bytes)
            live = (folder / "live").read_bytes() if (folder / "live").exists() else b""
        size, head = audited.checkpoint.size, audited.checkpoint.root.hex()
        _verify_nothing_unsigned(audited)
        _verify_private_key(folder / "ledger")
        if trusted is not None:
            _verify_trusted(folder / "ledger", trusted, audited.leaves)
        _verify_settings(folder, entries)
        _verify_stores(folder)
        _verify_named(folder, entries)
        _verify_live(live, entries)
    except IntegrityError as error:
        return Verification(False, size, head, str(error))
    return Verification(True, size, head)


def _verify_nothing_unsigned(audited: files.Audit) -> None:
    size = audited.checkpoint.size
    if audited.unsigned_log or audited.unsigned_leaves:
        name = files.LOG if audited.unsigned_log else files.LEAVES
        raise IntegrityError(
            f"ledger/{name} goes on after its {size} signed entries: an append was cut short (opening repairs it), "
            "or something was added"
        )


def _verify_private_key(ledger: Path) -> None:
    """The private key may be kept elsewhere; if it is here, it must be the right one."""
    if not (ledger / files.PRIVATE_KEY).exists():
        return
    try:
        matches = read_private_pem(read_file(ledger, files.PRIVATE_KEY)).public_key() == read_public_key(ledger)
    except ValueError:
        matches = False
    if not matches:
        raise IntegrityError(f"ledger/{files.PRIVATE_KEY} is not the key of this ledger: restore it from a copy")


def _verify_trusted(ledger: Path, trusted: Path, leaves: list[bytes]) -> None:
    if not trusted.is_file():
        raise IntegrityError(f"No checkpoint at {trusted}: name a copy of ledger/{files.CHECKPOINT}")
    kept = read_checkpoint(trusted.read_bytes(), read_public_key(ledger), str(trusted))
    if kept.size > len(leaves):
        raise IntegrityError(f"The ledger was cut: it has {len(leaves)} entries, {trusted} vouches for {kept.size}")
    if root_of(leaves[: kept.size]) != kept.root:
        raise IntegrityError(f"The ledger was rewritten: its first {kept.size} entries are not those of {trusted}")


def _verify_settings(folder: Path, entries: list[Entry]) -> None:
    for entry in entries:
        if entry.kind == "init" and "workspace" in entry.body:
            path = folder / "workspace.json"
            if not path.is_file() or digest_of(path.read_bytes()) != entry.body["workspace"]:
                raise IntegrityError(f"workspace.json is not the one that ledger entry {entry.index} names: restore it")


def _verify_stores(folder: Path) -> None:
    for name in ("blobs", "adapters"):
        if not (folder / name).is_dir():
            raise IntegrityError(f"{name}/ is missing: restore it from a copy of the workspace")
    for store in (Blobs(folder / "blobs"), Adapters(folder / "adapters")):
        for name in store.names():
            if not is_digest(name):
                raise IntegrityError(f"{store.folder.name}/{name} is not named by a digest: it does not belong there")
            _raise(store.verify(name))


def _verify_named(folder: Path, entries: list[Entry]) -> None:
    """Everything the ledger names is there: what is there has been verified, so looking is enough."""
    needed = [folder / "blobs" / entry.body["result"] for entry in entries if entry.kind in ("phase", "step-finished")]
    blobs, adapters = Blobs(folder / "blobs"), Adapters(folder / "adapters")
    for entry in entries:
        if entry.kind == "writer":
            needed += [adapters.folder / entry.body["adapter"], folder / "blobs" / entry.body["report"]]
        if entry.kind == "incident" and entry.body["event"] == "opened":
            needed += [folder / "blobs" / entry.body[name] for name in ("evidence", "settings")]
        if entry.kind == "release":
            release = json.loads(blobs.get(entry.body["release"]))
            for digest in release["adapters"]:
                needed += [adapters.folder / name for name in (digest, *adapters.companions(digest))]
            needed += [folder / "blobs" / digest for digest in [release["verdict"]] if digest]
    for path in needed:
        if not path.exists():
            raise IntegrityError(f"{path.relative_to(folder)} is missing: restore it from a copy of the workspace")


def _verify_live(live: bytes, entries: list[Entry]) -> None:
    moves = [entry.body["release"] for entry in entries if entry.kind in MOVES]
    if live != (f"{moves[-1]}\n".encode() if moves else b""):
        raise IntegrityError("live does not name the release that the ledger says is live: opening repairs it")


def _entries(ledger: Path, log_bytes: int) -> list[Entry]:
    log = read_file(ledger, files.LOG)[:log_bytes]
    return [decode(line) for line in log.split(b"\n")[:-1]]


def _raise(problem: str | None) -> None:
    if problem is not None:
        raise IntegrityError(problem)


@contextmanager
def _steady(ledger: Path) -> Iterator[None]:
    """Keep writers out while the ledger is read."""
    if not ledger.is_dir():
        raise IntegrityError(f"No ledger in {ledger.parent}: it is not a workspace, or its ledger was removed")
    if not (ledger / files.LOG).is_file():
        raise IntegrityError(f"ledger/{files.LOG} is missing: restore it from a copy of the workspace")
    with (ledger / files.LOG).open("rb") as log:
        fcntl.flock(log, fcntl.LOCK_SH)
        yield


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gradatim.ledger.verify", description="Verify a workspace offline.")
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--trusted", type=Path, metavar="CHECKPOINT", help="a copy of ledger/checkpoint kept elsewhere")
    arguments = parser.parse_args()
    result = verify_workspace(arguments.folder, arguments.trusted)
    line = f"ok: {result.entries} entries, head {result.head}" if result.ok else f"PROBLEM: {result.problem}"
    sys.stdout.write(f"{line}\n")
    return 0 if result.ok else IntegrityError.exit_code


if __name__ == "__main__":
    sys.exit(main())
