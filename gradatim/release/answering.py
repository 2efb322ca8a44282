"""Answer questions with the live release: the base, its adapters and their gates, every byte checked at load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gradatim.errors import IntegrityError
from gradatim.model.adapter import Adapter
from gradatim.model.bank import AdapterBank
from gradatim.model.base import Base, load_base
from gradatim.model.routing import GATE_FILE, Gate
from gradatim.progress import SILENT, Progress
from gradatim.recall import STUDIED_FILE, Minds, Studied
from gradatim.release.registry import Registry
from gradatim.store.adapters import Adapters
from gradatim.types import Digest, Release


@dataclass(frozen=True, slots=True)
class Lessons:
    """What was read of stored adapters: those the bank lacked, the gate of each, and what it studied."""

    adapters: dict[Digest, Adapter]
    gates: dict[str, Gate | None]
    studied: dict[str, Studied]

    def put_into(self, bank: AdapterBank) -> Minds:
        """The minds of these lessons. Quick: everything slow was done when they were read."""
        for digest, adapter in self.adapters.items():
            if digest not in bank.adapters:
                bank.add(digest, adapter)
        return Minds(bank, self.gates, self.studied)


def read_lessons(bank: AdapterBank, adapters: Adapters, digests: Sequence[Digest]) -> Lessons:
    """Read stored adapters, each with its gate, what it studied, and its asker; the bank is looked at, not changed.

    Raises IntegrityError for bytes that are not their digest's, ModelError for an adapter of another base.
    """
    lessons = Lessons({}, {}, {})
    for digest in digests:
        folder = adapters.path(digest)
        wanted: list[Digest | None] = [digest]
        lessons.gates[digest] = Gate.load(folder) if (folder / GATE_FILE).is_file() else None
        if (folder / STUDIED_FILE).is_file():
            lessons.studied[digest] = Studied.load(folder)
            wanted.append(lessons.studied[digest].asker)
        for one in wanted:
            if one is not None and one not in bank.adapters:
                lessons.adapters[one] = _read_adapter(bank, adapters, one)
    return lessons


def load_minds(bank: AdapterBank, adapters: Adapters, digests: Sequence[Digest]) -> Minds:
    """Put stored adapters into the bank under their digests; raises what `read_lessons` does."""
    return read_lessons(bank, adapters, digests).put_into(bank)


def load_adapter(bank: AdapterBank, adapters: Adapters, digest: Digest | None) -> None:
    """Put a stored adapter into the bank under its digest, where it isn't there yet."""
    if digest is not None and digest not in bank.adapters:
        bank.add(digest, _read_adapter(bank, adapters, digest))


def _read_adapter(bank: AdapterBank, adapters: Adapters, digest: Digest) -> Adapter:
    return Adapter.load(adapters.path(digest), bank.module_shapes(), bank.base.device)


def check_base(base: Base, expected: Digest) -> None:
    """Raises IntegrityError when the model at hand is not the one the release was made on."""
    if base.digest != expected:
        raise IntegrityError(
            f"The model at {base.source} is not the one this workspace was made with (digest {base.digest[:12]} "
            f"instead of {expected[:12]}): put the former one back, or run `gradatim init` in a new folder."
        )


class Served(Protocol):
    """What of a workspace is needed to answer from it."""

    base: dict[str, Any]
    adapters: Adapters
    registry: Registry


class Answerer:
    """One loaded release. A promotion or rollback elsewhere shows at the next `refresh`."""

    def __init__(self, base: Base, adapters: Adapters, release: Release) -> None:
        check_base(base, release.base)
        self._adapters = adapters
        self.bank = AdapterBank(base)
        self.release = release
        self._minds = load_minds(self.bank, adapters, release.adapters)

    @classmethod
    def open(cls, workspace: Served) -> Answerer:
        """Load the live release of a workspace."""
        release = workspace.registry.live()
        return cls(load_base(workspace.base["source"]), workspace.adapters, release)

    def refresh(self, release: Release) -> None:
        """Serve another release on the loaded base; adapters already in the bank stay warm."""
        self._minds = load_minds(self.bank, self._adapters, release.adapters)
        self.release = release

    def ask(self, questions: Sequence[str], progress: Progress = SILENT) -> list[str]:
        """A greedy answer to each question."""
        progress.phase("ask", len(questions))
        return self._minds.ask(questions, progress.advance)
