"""Feedback that comes too fast, too often, or in copies: it is taken, and waits in quarantine for a person.

A burst is what one client key gives within some minutes beyond a fixed limit, or beyond several times its own habit of
the last seven days. A loud user is one with more corrections a day than a person is believed. Copies are comments in
the same words by several users of a key. Limits and windows are the charter's `[trust]`.

Nothing here looks at which release a reply came from, nor at what a rating says, so an even comparison stays even.
Limits: a client key is the only source that is known. Behind it may stand an application with all its users, so a
network address would tell nothing more; who speaks to applications' users guards their door. A drip below the limits
is not seen here (`observe/planted.py` looks at what it says).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

from gradatim.charter import Trust
from gradatim.store.canonical import digest_of
from gradatim.store.clock import written
from gradatim.store.traffic import Traffic

COPIED_WORDS = 4
"""Shorter comments ("not helpful", "thanks a lot") are said by many."""

HABIT_DAYS = 7


@dataclass(frozen=True)
class Doubts:
    """The doubts against what comes at one moment. `source` is what corrections over HTTP are marked with."""

    traffic: Traffic
    trust: Trust
    source: str

    @cached_property
    def _at(self) -> datetime:
        return datetime.now(UTC)

    def of_rating(self, key: str, said: str | None) -> str | None:
        """Why a rating is held, if it is: the key that gives it, and what `said` makes of its comment."""
        most = self.trust.burst_ratings
        if reason := self._burst("ratings", most, lambda since: self.traffic.ratings_of(key, since)):
            return reason
        if said is not None:
            # The one at hand is not stored yet. Who says it twice is one person.
            people = self.traffic.sayers(said, key, self._since(days=1))
            if people >= self.trust.copies:
                return f"copies a comment of {people} users of this key within a day"
        return None

    def of_correction(self, key: str, by: str) -> str | None:
        """Why a correction of a person under a key is held, if it is."""
        most = self.trust.person_corrections
        if self.traffic.corrections_of(self.source, by, self._since(days=1)) >= most:
            return f"is beyond the {most} corrections that one person is believed a day"
        limit = self.trust.burst_corrections
        return self._burst("corrections", limit, lambda at: self.traffic.corrections_of(self.source, f"{key}/", at))

    def _burst(self, what: str, least: int, count: Callable[[str], int]) -> str | None:
        minutes = self.trust.burst_minutes
        came = count(self._since(minutes=minutes))
        if came < least:
            return None
        habit = count(self._since(days=HABIT_DAYS)) - came
        usual = habit * minutes / (HABIT_DAYS * 24 * 60 - minutes)
        most = max(least, int(self.trust.burst_factor * usual))
        return f"is beyond the {most} {what} of one key in {minutes:g} minutes" if came >= most else None

    def _since(self, **past: float) -> str:
        return written(self._at - timedelta(**past))


def said_in(comment: str | None) -> str | None:
    """What tells a comment's copies: a digest of its words, where there are enough of them."""
    words = re.findall(r"\w+", (comment or "").lower())
    return digest_of(" ".join(words).encode())[:32] if len(words) >= COPIED_WORDS else None
