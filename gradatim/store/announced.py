"""How far a step is, for other processes to see: a small file beside its scratch folders, told again every second.

    announced = Announced(progress, path)      passes everything on to `progress`, and writes it down
    read_announced(path)                       what was written last; None when nothing is

The file is a picture, not a record: it is replaced whole but never synced, a failure to write it is nobody's failure,
and it goes with the step's scratch folders.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from gradatim.progress import Progress
from gradatim.store.clock import now
from gradatim.store.durable import TEMPORARY

SECONDS = 1.0
"""How often the file is written while a phase goes on."""


class Announced:
    """A `Progress` that others can read."""

    def __init__(self, shown: Progress, path: Path) -> None:
        self._shown, self._path = shown, path
        self._name, self._since, self._done = "", "", 0.0
        self._total: float | None = None
        self._written = 0.0

    def phase(self, name: str, total: float | None = None) -> None:
        self._shown.phase(name, total)
        self._name, self._since, self._total, self._done = name, now(), total, 0.0
        self._write()

    def advance(self, amount: float = 1.0) -> None:
        self._shown.advance(amount)
        self._done += amount
        if time.monotonic() - self._written >= SECONDS:
            self._write()

    def say(self, text: str) -> None:
        self._shown.say(text)

    def _write(self) -> None:
        self._written = time.monotonic()
        told = {"phase": self._name, "done": self._done, "total": self._total, "since": self._since, "at": now()}
        following = self._path.with_name(f"{TEMPORARY}{self._path.name}")
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            following.write_text(json.dumps(told), "utf-8")
            following.replace(self._path)


def read_announced(path: Path) -> dict[str, Any] | None:
    """What is under way: phase, done, total (None: unknown), since when, and when this was written."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None
