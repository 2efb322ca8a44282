"""Immutable releases, which one is live, and the way back.

A release's id is the digest of its own blob: the canonical JSON of everything but the id. The ledger says which
release is live; the file `live` repeats it for whoever only wants to look, and is rewritten from the ledger when
they disagree (a kill between the two). Nothing is promoted, rolled back to or handed out whose bytes, adapters
included, do not match their digests.

Creating or promoting again what already is changes nothing, so that a phase that was killed may run again. Rolling
back without naming a release is not of that kind: a durable step should name it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gradatim.errors import InputError, WorkspaceError
from gradatim.ledger.entry import MOVES
from gradatim.ledger.log import Ledger
from gradatim.store import durable
from gradatim.store.adapters import Adapters
from gradatim.store.blobs import Blobs
from gradatim.store.clock import now
from gradatim.types import Digest, Release

SHORTEST_PREFIX = 6


@dataclass(frozen=True, slots=True)
class Move:
    """A promotion or a rollback: from `at` on, `release` was live."""

    kind: str  # one of MOVES
    release: Digest
    reason: str
    by: str
    at: str


@dataclass(frozen=True, slots=True)
class _Unnamed:
    """A release without its id: what the blob holds."""

    parent: Digest | None
    base: Digest
    adapters: tuple[Digest, ...]
    step: str | None
    verdict: Digest | None
    created_at: str


class Registry:
    """The releases of a workspace folder."""

    def __init__(self, folder: Path, ledger: Ledger, blobs: Blobs, adapters: Adapters) -> None:
        self._pointer = folder / "live"
        self._ledger, self._blobs, self._adapters = ledger, blobs, adapters
        self._repair_pointer()

    def create(
        self,
        *,
        base: Digest,
        adapters: tuple[Digest, ...] = (),
        parent: Digest | None = None,
        step: str | None = None,
        verdict: Digest | None = None,
    ) -> Release:
        """Make a release, or find the one that has the same fields; IntegrityError when an adapter is damaged."""
        fields = _Unnamed(parent, base, adapters, step, verdict, now())
        for digest in self._ids(step):
            if replace(self._read(digest), created_at=fields.created_at) == fields:
                return self._release(digest)
        self._check(adapters)
        digest = self._blobs.put_json(fields)
        self._ledger.append("release", {"release": digest, "step": step})
        return self._release(digest)

    def promote(self, release_id: str, reason: str, by: str) -> Release:
        """Make a release live; IntegrityError, and nothing changed, when its bytes do not match their digests."""
        return self._move("promote", self.get(release_id), reason, by)

    def rollback(self, release_id: str | None = None, reason: str = "", by: str = "") -> Release:
        """Go back to a release, by default the one that was live before the present one.

        Going back twice goes back two releases: what was rolled back is not returned to unless it is named.
        """
        if release_id is not None:
            return self._move("rollback", self.get(release_id), reason, by)
        earlier = _stack(self.history())[:-1]
        if not earlier:
            raise InputError("No release was live before this one: there is nothing to roll back to")
        return self._move("rollback", self._release(earlier[-1]), reason, by)

    def live(self) -> Release:
        """The live release, every byte of it checked: IntegrityError instead of serving what is damaged."""
        return self._verified(self._release(self.live_id()))

    def live_id(self) -> Digest:
        """Which release is live, as the ledger says; nothing else is checked."""
        moves = self.history()
        if not moves:
            raise WorkspaceError("No release is live yet: promote one")
        return moves[-1].release

    def history(self) -> list[Move]:
        """Promotions and rollbacks, oldest first."""
        entries = (entry for entry in self._ledger.entries() if entry.kind in MOVES)
        return [Move(e.kind, e.body["release"], e.body["reason"], e.body["by"], e.at) for e in entries]

    def releases(self) -> list[Release]:
        """All releases, oldest first."""
        return [self._release(digest) for digest in self._ids()]

    def get(self, prefix: str) -> Release:
        """The release whose id begins with `prefix` (six characters or more); InputError when it is not one."""
        if len(prefix) < SHORTEST_PREFIX:
            raise InputError(f"'{prefix}' is too short: give {SHORTEST_PREFIX} or more characters of a release's id")
        found = [digest for digest in self._ids() if digest.startswith(prefix)]
        if not found:
            raise InputError(f"No release begins with {prefix}: look for it in the list of releases")
        if len(found) > 1:
            raise InputError(f"{prefix} could be any of {len(found)} releases: give more characters")
        return self._release(found[0])

    def _move(self, kind: str, release: Release, reason: str, by: str) -> Release:
        self._verified(release)
        moves = self.history()
        if not moves or moves[-1].release != release.id:
            self._ledger.append(kind, {"release": release.id, "reason": reason, "by": by})
        self._repair_pointer()
        return release

    def _repair_pointer(self) -> None:
        """Make `live` say what the ledger says."""
        moves = self.history()
        expected = f"{moves[-1].release}\n".encode() if moves else b""
        found = self._pointer.read_bytes() if self._pointer.exists() else b""
        if found != expected:
            durable.replace(self._pointer, expected)

    def _verified(self, release: Release) -> Release:
        self._check(release.adapters)
        return release

    def _check(self, adapters: Iterable[Digest]) -> None:
        """Every byte of these adapters and of what they can't answer without."""
        for adapter in adapters:
            for digest in (adapter, *self._adapters.companions(adapter)):
                self._adapters.path(digest)

    def _ids(self, step: str | None = None) -> Iterator[Digest]:
        for entry in self._ledger.entries("release"):
            if step is None or entry.body["step"] == step:
                yield entry.body["release"]

    def _read(self, digest: Digest) -> _Unnamed:
        return self._blobs.get_json(digest, _Unnamed)

    def _release(self, digest: Digest) -> Release:
        return Release(id=digest, **asdict(self._read(digest)))


def _stack(moves: list[Move]) -> list[Digest]:
    """The releases under the live one (the last), as promotions piled them up and rollbacks took them off."""
    stack: list[Digest] = []
    for move in moves:
        if move.kind == "rollback" and move.release in stack:
            while stack[-1] != move.release:
                stack.pop()
        else:
            stack.append(move.release)
    return stack
