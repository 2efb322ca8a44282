"""SEAL's few-shot half: a model chooses how it is to be trained on a puzzle's examples before it is asked.

    dialect = GridDialect(bank.base.chat)
    outer = SelfEdits(bank, dialect, SETTINGS)
    outer.round([dialect.task(puzzle) for puzzle in puzzles], 0)

The outer loop is that of `recipes/seal.py`. An edit is a `GridEdit`: switches of augmentations and settings of
training, as JSON. What is studied are the puzzle's examples, each asked in turn with the others in view, and what
augmentations make of them; the question itself is never seen. The reward is the log-probability of the right output,
and a puzzle is solved when greedy decoding says exactly that. The published protocol (Zweiger et al., arXiv
2506.10943, section 4.2) keeps every edit that solved its task; here the best of each task is kept.

Limits: how long to train is part of an edit, so trials differ in effort, up to `MOST_POSITIONS` each. Puzzles whose
examples don't fit into `LONGEST` tokens are studied as far as they do.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import astuple
from functools import lru_cache

from gradatim.learn.inner import InnerPlan
from gradatim.model.chat import ChatFormat
from gradatim.model.packing import Pair
from gradatim.recipes.rewards import Edit
from gradatim.recipes.seal import Settings, Task
from gradatim.worlds.grid_edits import GridEdit, studied
from gradatim.worlds.grids import Example, Puzzle, asking, written
from gradatim.worlds.grids_lab import EDIT

KIND = "settings"
MOST_POSITIONS = 20_000
LONGEST = 512

SETTINGS = Settings(
    kinds=(KIND,),
    drafts=64,
    tried=8,
    seeds=1,
    finalists=2,
    final_seeds=2,
    foreseen=True,
    max_tokens=70,
    inner=InnerPlan(rank=16, alpha=32.0, step_positions=280, at_once=48),
)
"""For the lab model of the grids."""


class GridDialect:
    """Puzzles and self-edits as the lab model of `worlds/grids_lab.py` reads and writes them."""

    stop: tuple[int, ...] = ()
    between = "\n"

    def __init__(self, chat: ChatFormat) -> None:
        self._end = min(chat.end_tokens)
        self._raw = lru_cache(maxsize=100_000)(lambda text: tuple(chat.raw(text)))

    def prompt(self, passage: Puzzle, kind: str = KIND) -> list[int]:
        return [*self._examples(passage.train), *self._raw(EDIT)]

    def traits(self, edit: Edit) -> tuple[str, ...]:
        """Every setting."""
        told = GridEdit.read(edit.text)
        if told is None:
            raise ValueError(f"no settings: {edit.text}")
        return tuple(map(str, astuple(told)))

    def read(self, passage: Puzzle, text: str, kind: str = KIND) -> Edit | None:
        edit = GridEdit.read(text)
        return None if edit is None else self.edit(passage, edit)

    def edit(self, passage: Puzzle, edit: GridEdit) -> Edit | None:
        """What an edit comes to for a puzzle; None where too little is shown, or all of it is too long.

        The same edit of the same puzzle gives the same material, in the same order.
        """
        if len(passage.train) < 2:
            return None
        chance = random.Random(f"{passage.train} {edit.text()}")
        pairs = [self.question(one, all_tokens=edit.all_tokens) for one in studied(passage, edit, chance)]
        pairs = [pair for pair in pairs if len(pair) <= LONGEST]
        if not pairs:
            return None
        positions = min(MOST_POSITIONS, edit.epochs * sum(map(len, pairs)))
        return Edit(edit.text(), KIND, tuple(pairs), edit.learning_rate, positions)

    def ranked(self, passage: Puzzle, lines: Sequence[str]) -> list[str]:
        """As they come; settings of several drafts are not put together."""
        return [*lines]

    def plain(self, passage: Puzzle) -> Edit:
        """The examples themselves, at the middle rate; ValueError where there are too few or they are too long."""
        edit = self.edit(passage, GridEdit())
        if edit is None:
            raise ValueError(f"puzzle {passage.name} has no two examples in {LONGEST} tokens or fewer")
        return edit

    def question(self, puzzle: Puzzle, number: int = 0, *, all_tokens: bool = False) -> Pair:
        """Question `number` after all examples; with `all_tokens`, everything but the first token is the target."""
        asked = puzzle.test[number]
        before = (*self._examples(puzzle.train), *self._raw(asking(asked.input)))
        answer = (*self._raw(written(asked.output)), self._end)
        return Pair(before[:1], (*before[1:], *answer)) if all_tokens else Pair(before, answer)

    def task(self, puzzle: Puzzle) -> Task[Puzzle]:
        """The puzzle's questions both choose and judge: no puzzle may be in both of a search and its judgement."""
        pairs = tuple(self.question(puzzle, number) for number in range(len(puzzle.test)))
        return Task(puzzle, pairs, pairs)

    def _examples(self, examples: tuple[Example, ...]) -> list[int]:
        return [
            token
            for one in examples
            for token in (*self._raw(asking(one.input)), *self._raw(written(one.output)), self._end)
        ]
