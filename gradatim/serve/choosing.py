"""Which release a request gets, and in which role: the one place where that is decided.

The live one, here. `rollouts.py` gives a share of the subjects another release while one is rolled out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gradatim.serve.base import Asked
from gradatim.types import Digest

LIVE = "live"
FALLBACK = "fallback"
"""What a release is to a request whose own release could not be loaded."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A release, and what it is to this request: live, canary or baseline."""

    release: Digest
    arm: str = LIVE
    rollout: str | None = None  # the one that chose it, and its wave at the moment
    wave: int | None = None
    mirror: Callable[[Asked, str, str, tuple[str, ...]], None] | None = None
    """Told of each request that was answered: what was asked, key, subject and slices."""
    sealed: bool = False  # it stands in for an arm that is compared


class Chooser(Protocol):
    """Decides by the subject, so that whoever asks twice is answered by the same release."""

    def choose(self, subject: str) -> Choice:
        """Called for each request, in the event loop: quick."""

    def live(self) -> Digest:
        """The live release, which is kept loaded whoever asks."""

    def others(self) -> tuple[Digest, ...]:
        """Releases that are kept loaded beside it."""


class LiveOnly:
    """Everybody gets the live release, as the file `live` of the workspace says at this moment.

    A promotion or rollback by another process therefore counts from the very next request on. The file is 65 bytes,
    and is replaced whole.
    """

    def __init__(self, pointer: Path) -> None:
        self._pointer = pointer

    def choose(self, subject: str) -> Choice:
        return Choice(self.live())

    def live(self) -> Digest:
        return self._pointer.read_text(encoding="ascii").strip()

    def others(self) -> tuple[Digest, ...]:
        return ()
