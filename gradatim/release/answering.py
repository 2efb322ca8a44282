"""Answer questions with the live release: the base, its adapters and their gates, every byte checked at load."""

from __future__ import annotations

from collections.abc import Sequence
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


def load_minds(bank: AdapterBank, adapters: Adapters, digests: Sequence[Digest]) -> Minds:
    """Put stored adapters into the bank under their digests, each with its gate, what it studied, and its asker.

    Raises IntegrityError for bytes that are not their digest's, ModelError for an adapter of another base.
    """
    gates: dict[str, Gate | None] = {}
    studied: dict[str, Studied] = {}
    for digest in digests:
        folder = adapters.path(digest)
        load_adapter(bank, adapters, digest)
        gates[digest] = Gate.load(folder) if (folder / GATE_FILE).is_file() else None
        if (folder / STUDIED_FILE).is_file():
            studied[digest] = Studied.load(folder)
            load_adapter(bank, adapters, studied[digest].asker)
    return Minds(bank, gates, studied)


def load_adapter(bank: AdapterBank, adapters: Adapters, digest: Digest | None) -> None:
    """Put a stored adapter into the bank under its digest, where it isn't there yet."""
    if digest is not None and digest not in bank.adapters:
        bank.add(digest, Adapter.load(adapters.path(digest), bank.module_shapes(), bank.base.device))


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
