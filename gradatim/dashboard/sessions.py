"""Who is signed in: sessions in the server's memory, found by a random cookie of which only a digest is kept.

A session ends when its time is over, when the person signs out, when its key is revoked, and with the server. Forms
carry the session's own token, which another site can't know. Guessing keys is slowed down for each address; a key has
256 bits, so this is against noise more than against luck.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gradatim.serve.access import Caller

HOURS = 12.0
MOST_SESSIONS = 1000
GUESSES, GUESS_SECONDS = 10, 60.0
"""Wrong keys that an address may try in so many seconds."""

Clock = Callable[[], float]


@dataclass(slots=True)
class Session:
    """One person at one browser."""

    caller: Caller
    name: str  # as the person gave it
    expires: float
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)  # of this session's forms
    notice: dict[str, Any] | None = None  # shown once, on the next page

    def genuine(self, token: str) -> bool:
        """Whether a form came from a page of this session."""
        return hmac.compare_digest(self.token.encode(), token.encode())

    def take_notice(self) -> dict[str, Any] | None:
        notice, self.notice = self.notice, None
        return notice


class Sessions:
    """The sessions of one server."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[str, Session] = {}

    def begin(self, caller: Caller, name: str) -> str:
        """A new session: the cookie that finds it. The oldest goes where there are too many."""
        now = self._clock()
        self._open = {mark: one for mark, one in self._open.items() if one.expires > now}
        while len(self._open) >= MOST_SESSIONS:
            del self._open[next(iter(self._open))]
        cookie = secrets.token_urlsafe(32)
        self._open[_mark(cookie)] = Session(caller, name, now + HOURS * 3600)
        return cookie

    def find(self, cookie: str | None) -> Session | None:
        """The session of a cookie, unless it has ended."""
        session = self._open.get(_mark(cookie)) if cookie else None
        return session if session and session.expires > self._clock() else None

    def end(self, cookie: str | None) -> None:
        if cookie:
            self._open.pop(_mark(cookie), None)


class Guesses:
    """Counts wrong keys by address."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._wrong: dict[str, list[float]] = {}

    def wait(self, address: str) -> int:
        """Seconds until this address may try again; 0: now."""
        now = self._clock()
        self._wrong = {who: late for who, at in self._wrong.items() if (late := _since(at, now))}
        at = self._wrong.get(address, [])
        return int(at[0] + GUESS_SECONDS - now) + 1 if len(at) >= GUESSES else 0

    def wrong(self, address: str) -> None:
        self._wrong.setdefault(address, []).append(self._clock())


def _since(times: list[float], now: float) -> list[float]:
    return [at for at in times if at > now - GUESS_SECONDS]


def _mark(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
