"""The lab model of the grids: a small Llama, trained from scratch, that sees rules in examples and writes self-edits.

    python -m gradatim.worlds.grids_lab DIR [--steps N] [--seed 0] [--start DIR]

It has seen puzzles of the `KNOWN` families only, so those of the `NOVEL` ones are for test-time training to solve. It
also writes, for any puzzle, a self-edit drawn at random: whoever wants better ones has to teach it which are.

What is trained: puzzles with 2 to `SHOWN` examples in view and a question, where every output but the first has a
label, and, for a seventh of the texts, a self-edit after a puzzle; half of these are told a second time, word for word.
Without that nothing ever hangs on which of two settings was written, their embeddings grow into one (0.1 apart, at a
norm of 1.2), and no adapter can make the model prefer one: the most it can reach is 3 to 1. A model on which that has
happened does not learn to tell them apart again by itself, so `--start` draws their embeddings anew.

Limits: one token for each cell and no sense of rows and columns but what it learns; a vocabulary of grids and settings.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from gradatim.worlds.grid_edits import RATES, GridEdit
from gradatim.worlds.grids import COLOURS, KNOWN, SHOWN, Example, asking, invented, written
from gradatim.worlds.pretraining import END, Making, Text, command, pretrained, word_level

EDIT = "edit\n"
"""After a puzzle's examples: a self-edit is to follow."""

CHOICES = (*map(str, RATES), "true", "false", "train_using_output_tokens", "train_using_all_tokens")
"""Words of a self-edit that are a choice, and digits aside, mean nothing elsewhere."""

_TOKEN = r"\d+\.\d+|\d|\w+|[^\w\s]|\n"


@dataclass(frozen=True, slots=True)
class GridLabSettings(Making):
    """What a lab model of the grids is made of."""

    steps: int = 4000
    edits: float = 1 / 7  # share of texts that end in a self-edit


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each digit, mark, line break, setting and name of a setting."""
    texts = [asking(((0,),)), EDIT, " ".join(map(str, range(COLOURS)))]
    texts += [
        GridEdit(switch, all_tokens=switch, learning_rate=rate).text() for rate in RATES for switch in (False, True)
    ]
    return word_level(sorted({word for text in texts for word in re.findall(_TOKEN, text)}), _TOKEN)


_POOL = 8
"""Batches that are made at a time, so that texts of like length come together and little is padded."""


class GridCorpus:
    """Endless texts, a batch of like lengths at a time."""

    def __init__(self, settings: GridLabSettings, tokenizer: PreTrainedTokenizerFast) -> None:
        self._settings, self._vocabulary = settings, tokenizer.get_vocab()
        self._chance = random.Random(settings.seed + 1)
        self._waiting: list[list[Text]] = []

    def batch(self) -> list[Text]:
        if not self._waiting:
            size = self._settings.batch
            pool = sorted((self._text() for _ in range(_POOL * size)), key=lambda text: len(text.ids))
            self._waiting = [pool[start : start + size] for start in range(0, len(pool), size)]
            self._chance.shuffle(self._waiting)
        return self._waiting.pop()

    def _text(self) -> Text:
        chance, made = self._chance, Text()
        puzzle = invented(chance, KNOWN, chance.randint(2, SHOWN))
        if chance.random() < self._settings.edits:
            made.give(self._examples(puzzle.train))
            told = [*self._ids(GridEdit.drawn(chance).text()), self._vocabulary[END]]
            for _ in range(chance.randint(1, 2)):
                made.give(self._ids(EDIT))
                made.label(told)
            return made
        made.give(self._examples(puzzle.train[:1]))
        for one in (*puzzle.train[1:], *puzzle.test):
            made.give(self._ids(asking(one.input)))
            made.label([*self._ids(written(one.output)), self._vocabulary[END]])
        return made

    def _examples(self, examples: Sequence[Example]) -> list[int]:
        end = self._vocabulary[END]
        return [id for one in examples for id in (*self._ids(asking(one.input)), *self._ids(written(one.output)), end)]

    def _ids(self, text: str) -> list[int]:
        return [self._vocabulary[word] for word in re.findall(_TOKEN, text)]  # faster than the tokenizer


def pretrain(
    settings: GridLabSettings,
    folder: Path,
    report: Callable[[dict[str, float]], None] = lambda row: None,
    start: Path | None = None,
) -> list[dict[str, float]]:
    """Train a lab model, on from `start` if given, save it to `folder` in Hugging Face layout; returns the log."""
    tokenizer = make_tokenizer()
    return pretrained(settings, tokenizer, GridCorpus(settings, tokenizer).batch, folder, report, start, CHOICES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command(
        parser,
        GridLabSettings,
        ("width", "layers", "heads", "inner", "steps", "batch", "learning_rate", "seed", "edits"),
        pretrain,
    )


if __name__ == "__main__":
    main()
