"""How the models at hand are asked for study material, and how what they wrote is read.

`LabDialect` is the lab model's: one line names the kind and the rate, each further line is a sentence or a question
with its answer. A sentence is studied as it stands, a question as a question.

Limits: what can't be read is dropped line by line; nothing is repaired.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gradatim.model.chat import ChatFormat
from gradatim.model.packing import Pair
from gradatim.recipes.rewards import Edit
from gradatim.worlds.lab import FREE, KINDS, RATES, WRITE

_QUESTION = re.compile(r"Question\s*:\s*(?P<question>.+\?)\s*Answer\s*:\s*(?P<answer>.+)")
_SPACED = re.compile(r"\s+([.?:,])")


class LabDialect:
    """Study material as the lab model of `worlds/lab.py` writes it."""

    def __init__(self, chat: ChatFormat, plain_rate: str = "steady") -> None:
        self._chat, self._end, self._plain_rate = chat, min(chat.end_tokens), plain_rate

    stop: tuple[int, ...] = ()
    between = "\n"

    def prompt(self, passage: str, kind: str) -> list[int]:
        """Raises ValueError for a kind that the model has never heard of."""
        if kind not in (FREE, *KINDS):
            raise ValueError(f"the lab model writes {', '.join((FREE, *KINDS))}, not {kind}.")
        return self._chat.raw(WRITE.format(passage=passage, kind=kind))

    def traits(self, edit: Edit) -> tuple[str, ...]:
        """The kind and the rate."""
        return (edit.kind, f"{edit.learning_rate:g}")

    def read(self, passage: str, text: str, kind: str) -> Edit | None:
        heading, *lines = [_SPACED.sub(r"\1", line).strip() for line in text.splitlines() if line.strip()] or [""]
        kind, _, rate = heading.partition(" ")
        pairs = tuple(pair for line in lines for pair in self._studied(line))
        if kind not in KINDS or rate not in RATES or not pairs:
            return None
        return Edit("\n".join((heading, *lines)), kind, pairs, RATES[rate], heading=heading)

    def ranked(self, passage: str, lines: Sequence[str]) -> list[str]:
        """As they come."""
        return [*lines]

    def plain(self, passage: str) -> Edit:
        return Edit(passage, "passage", tuple(self._studied(passage)), RATES[self._plain_rate])

    def _studied(self, line: str) -> list[Pair]:
        found = _QUESTION.fullmatch(line)
        if found:
            question, answer = found["question"], found["answer"]
            return [Pair(tuple(self._chat.prompt(question)), tuple(self._chat.target(question, answer)))]
        ids = [*self._chat.raw(line), self._end]
        return [Pair((ids[0],), tuple(ids[1:]))] if len(ids) > 2 else []
