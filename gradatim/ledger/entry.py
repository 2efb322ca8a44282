"""One entry of the ledger, and its line in `log.jsonl`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from gradatim.store.canonical import canonical

MOVES = ("promote", "rollback")
"""Kinds of entry that change which release is live: it is body["release"] of the last one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened. `body` is plain JSON."""

    index: int
    kind: str
    at: str  # ISO 8601, UTC
    body: dict[str, Any]


def encode(entry: Entry) -> bytes:
    """The entry's canonical JSON, without a newline: what its leaf hash is taken over."""
    return canonical(entry)


def decode(line: bytes) -> Entry:
    fields = json.loads(line)
    return Entry(fields["index"], fields["kind"], fields["at"], fields["body"])
