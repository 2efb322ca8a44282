"""Long work in short turns: a generator pauses where others may go between, and returns its result at the end."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


def to_the_end(work: Generator[None, None, T]) -> T:
    """All of it at once, for whoever has nothing else to do."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result
