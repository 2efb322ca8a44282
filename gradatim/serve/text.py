"""Tokens become text as they come: whole letters only, and nothing that a stop sequence might still take back.

A letter may be made of several tokens, so text is held back while it ends in half of one; what could be the beginning
of a stop sequence is held back until it is clear; white space at both ends of a reply is dropped where the caller
wants what `ChatFormat.text` would give. Pieces put together are the whole, whatever the tokens were cut into.

Only the last few tokens are decoded anew at each, so a long reply costs no more a token than a short one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

_HALF = "\ufffd"  # what half a letter is decoded to; only the last one can still become a letter
_WINDOW = 8  # tokens


class Spelling:
    """The text of a growing list of tokens."""

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._told = 0  # letters that the tokens kept here have given so far

    def add(self, token: int) -> str:
        """What the token adds, but for a letter that is not whole yet."""
        self._ids.append(token)
        text = self._decode(self._ids)
        whole = not text.endswith(_HALF)
        new = text[self._told :] if whole else text[self._told : -1]
        self._told += len(new)
        if whole and len(self._ids) >= _WINDOW:  # the last one stays, for the space that may stand before the next
            self._ids = self._ids[-1:]
            self._told = len(self._decode(self._ids))
        return new

    def rest(self) -> str:
        """What was held back."""
        new = self._decode(self._ids)[self._told :]
        self._told += len(new)
        return new


class Stops:
    """Cuts a text that comes in pieces at the first of some sequences."""

    def __init__(self, sequences: Sequence[str], *, trim: bool) -> None:
        self._sequences, self._trim = tuple(sequences), trim
        self._held, self._begun = "", False
        self.stopped = False

    def add(self, text: str) -> str:
        """What of the text so far is sure to stay."""
        if self.stopped:
            return ""
        self._held += text
        found = [at for at in (self._held.find(one) for one in self._sequences) if at >= 0]
        if found:
            self.stopped, self._held = True, self._held[: min(found)]
            return self._let_go(len(self._held))
        return self._let_go(len(self._held) - self._in_doubt())

    def rest(self) -> str:
        """What was in doubt, now that nothing follows."""
        if self.stopped:
            return ""
        return self._let_go(len(self._held))

    def _let_go(self, count: int) -> str:
        sure, self._held = self._held[:count], self._held[count:]
        if self._trim:
            sure = sure if self._begun else sure.lstrip()
            kept = sure.rstrip()
            self._held = sure[len(kept) :] + self._held  # until something follows it
            sure = kept
        self._begun = self._begun or bool(sure)
        return sure

    def _in_doubt(self) -> int:
        """How many of the last letters could begin a stop sequence."""
        most = min(len(self._held), max((len(one) for one in self._sequences), default=1) - 1)
        return next(
            (n for n in range(most, 0, -1) if any(one.startswith(self._held[-n:]) for one in self._sequences)), 0
        )
