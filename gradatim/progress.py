"""How long work tells what it is doing: a protocol the rooms call, a display that shows it, and silence."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told by the corridor and the rooms; shown by whoever started the step."""

    def phase(self, name: str, total: float | None = None) -> None:
        """A phase begins; `total` is how much `advance` will add up to, None when unknown."""

    def advance(self, amount: float = 1.0) -> None:
        """That much of the present phase is done."""

    def say(self, text: str) -> None:
        """One line worth reading."""


class Silent:
    """Shows nothing."""

    def phase(self, name: str, total: float | None = None) -> None:
        return

    def advance(self, amount: float = 1.0) -> None:
        return

    def say(self, text: str) -> None:
        return


SILENT = Silent()
