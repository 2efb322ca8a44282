"""What a strategy has to work with, and what it must return."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gradatim.types import Passage, Question, StudyExample
from gradatim.writing.facts import Fact


@dataclass(frozen=True, slots=True)
class Material:
    """Everything the model wrote about the passages to be studied, already filtered."""

    passages: tuple[Passage, ...]
    facts: tuple[tuple[Fact, ...], ...]  # of each passage
    questions: tuple[Question, ...] = ()
    restatements: tuple[tuple[str, str], ...] = ()  # (passage id, text)
    implications: tuple[tuple[str, str], ...] = ()
    thesaurus: Mapping[str, Sequence[str]] = field(default_factory=dict)
    corrections: tuple[tuple[str, str], ...] = ()  # (passage id, question it answers)
    written: tuple[tuple[str, str], ...] = ()  # (passage id, prompt) by the workspace's own writer, if it has one

    def passage(self, identity: str) -> Passage:
        return next(passage for passage in self.passages if passage.id == identity)


class Maker(Protocol):
    """One kind of study example: from the material, examples that each know their passage."""

    def __call__(self, material: Material, chance: random.Random) -> list[StudyExample]: ...
