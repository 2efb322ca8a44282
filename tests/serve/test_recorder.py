"""The recorder: whoever goes away while it writes stops nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import cast

from gradatim.serve.recorder import Recorder
from gradatim.store.traffic import Interaction, Traffic
from gradatim.types import Answer

ANSWER = Answer("chatcmpl-1", "Who?", "Vole.", "r" * 64, "2026-01-01T00:00:00Z")
SERVED = Interaction("chatcmpl-1", "k-1", "s" * 64, None, "live", "{}", "stop", 5, 2, 0.25, 0.5)


class Slow:
    """Traffic that is being written until it is let go."""

    def __init__(self) -> None:
        self.writing, self.go_on = threading.Event(), threading.Event()
        self.rows: list[str] = []

    def add(self, served: Iterable[tuple[Answer, Interaction]]) -> None:
        self.writing.set()
        assert self.go_on.wait(30)
        self.rows += [answer.id for answer, _ in served]


def test_what_is_being_written_cannot_be_called_off() -> None:
    """If it could be, then also just before its end is told, and the recorder's thread would end of that."""
    slow = Slow()
    recorder = Recorder(cast(Traffic, slow))
    first = recorder.submit(ANSWER, SERVED)
    assert slow.writing.wait(30)
    assert not first.cancel()
    waiting = recorder.submit(ANSWER, SERVED)
    assert waiting.cancel()  # nobody waits for it, and it is written all the same
    slow.go_on.set()
    assert first.result(30) is None
    recorder.close()
    assert len(slow.rows) == 2
