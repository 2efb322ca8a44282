"""What a model may ask to study of a puzzle, in SEAL's words: which augmentations, which labels, how fast, how long.

    edit = GridEdit(basic=True, learning_rate=1e-3)
    edit.text()                              # JSON, as a model writes it; GridEdit.read(text) is the way back
    studied(puzzle, edit, random.Random(0))  # puzzles to train on before the real question is asked

The self-edit of SEAL's few-shot half (Zweiger et al., arXiv 2506.10943, section 4.2) chooses the settings of test-time
training (Akyürek et al., arXiv 2411.07279): each of a puzzle's examples becomes the question once, the others stay in
view. The same is done with every augmented version, and all of it once more with colours exchanged. Augmentations
change all grids of a puzzle alike: `basic` turns and flips them, `size` makes cells into blocks, `repeat` sets a grid
beside or above itself, and `chain` does one after another.

Limits: of the many puzzles that come of this, `MOST` are studied; grids may not grow beyond ARC's bounds.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from gradatim.worlds.grids import (
    COLOURS,
    GEOMETRY,
    LARGEST,
    Example,
    Puzzle,
    Rule,
    beside,
    enlarged,
    recoloured,
)

MOST = 48
"""Puzzles that are studied at most, drawn at random from all that augmentations give."""

RATES = (0.0003, 0.001, 0.003, 0.01, 0.03)
EPOCHS = (1, 2, 4, 8)
"""What a random edit chooses among. An edit may ask for other values."""


class _Data(BaseModel, strict=True):
    """As SEAL's few-shot half has it."""

    use_basic_augmentations: bool
    use_size_augmentations: bool
    use_chain_augmentations: bool
    use_repeat_augmentations: bool


class _Training(BaseModel, strict=True):
    strategy: Literal["train_using_output_tokens", "train_using_all_tokens"]
    learning_rate: float = Field(gt=0, le=1)
    num_train_epochs: int = Field(gt=0, le=100)


class _Written(BaseModel, strict=True):
    data_generation: _Data
    training: _Training


@dataclass(frozen=True, slots=True)
class GridEdit:
    """A self-edit: switches of augmentations, and how to train."""

    basic: bool = False
    size: bool = False
    chain: bool = False
    repeat: bool = False
    all_tokens: bool = False  # labels on everything instead of outputs only
    learning_rate: float = 1e-3
    epochs: int = 2

    def text(self) -> str:
        data = _Data(
            use_basic_augmentations=self.basic,
            use_size_augmentations=self.size,
            use_chain_augmentations=self.chain,
            use_repeat_augmentations=self.repeat,
        )
        training = _Training(
            strategy="train_using_all_tokens" if self.all_tokens else "train_using_output_tokens",
            learning_rate=self.learning_rate,
            num_train_epochs=self.epochs,
        )
        return json.dumps(_Written(data_generation=data, training=training).model_dump())

    @classmethod
    def read(cls, text: str) -> GridEdit | None:
        """The edit that a text is, or None where a setting is missing, unknown or out of bounds."""
        try:
            told = _Written.model_validate_json("".join(text.split()))  # a word-level model sets spaces everywhere
        except ValidationError:
            return None
        data, training = told.data_generation, told.training
        return cls(
            data.use_basic_augmentations,
            data.use_size_augmentations,
            data.use_chain_augmentations,
            data.use_repeat_augmentations,
            training.strategy == "train_using_all_tokens",
            training.learning_rate,
            training.num_train_epochs,
        )

    @classmethod
    def drawn(cls, chance: random.Random) -> GridEdit:
        """Any of them, all equally likely."""
        basic, size, chain, repeat, all_tokens = (chance.random() < 0.5 for _ in range(5))
        return cls(basic, size, chain, repeat, all_tokens, chance.choice(RATES), chance.choice(EPOCHS))


BASIC: tuple[Rule, ...] = tuple(GEOMETRY.values())
SIZE: tuple[Rule, ...] = tuple(
    lambda grid, rows=rows, columns=columns: enlarged(grid, rows, columns)  # type: ignore[misc]
    for rows, columns in ((1, 2), (2, 1), (2, 2))
)
REPEAT: tuple[Rule, ...] = (
    lambda grid: beside(grid, grid),
    lambda grid: (*grid, *grid),
    lambda grid: beside((*grid, *grid), (*grid, *grid)),
)
CHAINS = 8


def studied(puzzle: Puzzle, edit: GridEdit, chance: random.Random) -> list[Puzzle]:
    """Puzzles with one question each that an edit asks to study, in random order, at most `MOST`.

    Only the puzzle's examples are used, never what it asks. Raises ValueError where it shows fewer than two.
    """
    if len(puzzle.train) < 2:
        raise ValueError(f"puzzle {puzzle.name} shows {len(puzzle.train)} example: none can be asked about another")
    made = []
    for examples in _versions(puzzle.train, edit, chance):
        for number, asked in enumerate(examples):
            shown = [*examples[:number], *examples[number + 1 :]]
            for colours in ([*range(COLOURS)], [0, *chance.sample(range(1, COLOURS), COLOURS - 1)]):
                chance.shuffle(shown)
                every = [_changed(one, lambda grid, c=colours: recoloured(grid, c)) for one in (*shown, asked)]  # type: ignore[misc]
                made.append(Puzzle(puzzle.name, tuple(every[:-1]), tuple(every[-1:])))
    return chance.sample(made, min(MOST, len(made)))


def _versions(examples: tuple[Example, ...], edit: GridEdit, chance: random.Random) -> Iterator[tuple[Example, ...]]:
    single = [
        rule for on, rules in ((edit.basic, BASIC), (edit.size, SIZE), (edit.repeat, REPEAT)) if on for rule in rules
    ]
    chained = [chance.sample((*BASIC, *SIZE, *REPEAT), 2) for _ in range(CHAINS if edit.chain else 0)]
    yield examples
    for rules in itertools.chain(([rule] for rule in single), chained):
        made = examples
        for rule in rules:
            made = tuple(_changed(one, rule) for one in made)
        if all(max(len(grid), len(grid[0])) <= LARGEST for one in made for grid in (one.input, one.output)):
            yield made


def _changed(example: Example, rule: Rule) -> Example:
    return Example(rule(example.input), rule(example.output))
