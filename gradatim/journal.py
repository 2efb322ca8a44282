"""Durable phases: kill a step at any moment, and the next start finishes it and repeats nothing that was finished.

The ledger is the journal. A step is an entry "step-begun" with its inputs, a "phase" entry for each phase that
finished (its result is a blob), and "step-finished". A phase that is found there is not run again: its result is
read back. A phase that was killed before its entry was acknowledged runs again from its start, so a phase must be
idempotent; it may keep partial progress in its scratch folder. Phases are told apart by name within a step.

One step at a time: hold `Workspace.lock()` around all of this.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from gradatim.ledger.entry import Entry
from gradatim.ledger.log import Ledger
from gradatim.store.blobs import Blobs
from gradatim.types import Digest

T = TypeVar("T")

SCRATCH = "partial"


def announcement(workspace: Path, step: str) -> Path:
    """Where a step of the workspace tells how far it is, while it runs."""
    return workspace / SCRATCH / step / "announced.json"


class Journal:
    """The journal of one step. `inputs` are as they were recorded when it began."""

    def __init__(self, ledger: Ledger, blobs: Blobs, begun: Entry, resumed: bool) -> None:
        self.step: str = begun.body["step"]
        self.inputs: dict[str, Any] = begun.body["inputs"]
        self.resumed = resumed
        self._ledger, self._blobs = ledger, blobs
        self._scratch = ledger.folder.parent / SCRATCH

    @classmethod
    def begin_or_resume(cls, ledger: Ledger, blobs: Blobs, inputs: dict[str, Any]) -> Journal:
        """Take up the step that was left unfinished, with the inputs it began with, or begin a new one."""
        begun = list(ledger.entries("step-begun"))
        finished = {entry.body["step"] for entry in ledger.entries("step-finished")}
        if begun and begun[-1].body["step"] not in finished:
            return cls(ledger, blobs, begun[-1], resumed=True)
        step = f"step-{len(begun) + 1:04d}"
        entry = ledger.append("step-begun", {"step": step, "inputs": inputs})
        journal = cls(ledger, blobs, entry, resumed=False)
        journal._remove_scratch()
        return journal

    def phase(self, name: str, result_type: type[T], work: Callable[[], T]) -> T:
        """The result of a phase: read back when it finished before, else worked out and recorded.

        The result must survive canonical JSON; what is returned has, the first time too, so that a resumed step
        computes with exactly what an undisturbed one does.
        """
        digest = self._result(name)
        if digest is None:
            started = time.monotonic()
            digest = self._blobs.put_json(work())
            seconds = round(time.monotonic() - started, 3)
            result = self._blobs.get_json(digest, result_type)
            self._ledger.append("phase", {"step": self.step, "phase": name, "result": digest, "seconds": seconds})
            return result
        return self._blobs.get_json(digest, result_type)

    def partial(self, name: str) -> Path:
        """A scratch folder of this step's phase, which survives a kill and goes when the step finishes.

        Nothing in it is verified, or written durably, for you.
        """
        if not name or name.startswith(".") or "/" in name:
            raise ValueError(f"{name!r} can't name a folder")
        folder = self._scratch / self.step / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def announcement(self) -> Path:
        """Where this step tells how far it is."""
        return announcement(self._scratch.parent, self.step)

    def finish(self, outcome: str, result: Digest) -> None:
        """End the step. Finishing it again changes nothing."""
        if not any(entry.body["step"] == self.step for entry in self._ledger.entries("step-finished")):
            self._ledger.append("step-finished", {"step": self.step, "outcome": outcome, "result": result})
        self._remove_scratch()

    def _result(self, name: str) -> Digest | None:
        for entry in self._ledger.entries("phase"):
            if entry.body["step"] == self.step and entry.body["phase"] == name:
                return str(entry.body["result"])
        return None

    def _remove_scratch(self) -> None:
        """Of every step: no other is unfinished."""
        shutil.rmtree(self._scratch, ignore_errors=True)
