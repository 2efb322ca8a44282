"""The lab model: a Llama of about a million parameters that lives in the world of biographies, trained from scratch.

    python -m gradatim.worlds.lab DIR [--wordings 6] [--steps N] [--seed 0] [--start DIR]

It knows some people by heart, answers questions about them, reads a passage about a stranger and answers from it, and
writes study material about one, a third of it wrong. So it is a base on which whole self-improvement loops run in
minutes, with everything checkable. `wordings` is the augmentation knob of Allen-Zhu and Li (arXiv 2309.14316): with 1,
each known person's biography is told in one wording and one order only, with 6 in any.

What is trained, by share of the texts: biographies of known people and, for half of them, questions with answers;
questions about a passage on a stranger; study material about such a passage, of one of the `KINDS`. Of texts about
strangers only what follows the passage has a label. Half of the study material is followed by its first line once more.
Without that nothing ever hangs on which rate was written, the embeddings of the rates grow into one (0.15 apart, at a
norm of 1.1), and no adapter can make the model prefer one by more than 5 to 1. A model on which that has happened does
not learn to tell them apart again by itself, so `--start` draws their embeddings anew.

Limits: a word-level vocabulary that knows this world and nothing else.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from gradatim.errors import InputError
from gradatim.worlds.biographies import (
    ASKINGS,
    ATTRIBUTES,
    SELECTING,
    TELLINGS,
    Person,
    biography,
    free_names,
    other_value,
    passage,
    people,
    questions,
    somebody,
    split,
    telling,
    vocabulary,
)
from gradatim.worlds.pretraining import END, Making, Text, command, pretrained, word_level

KINDS = ("rewrite", "long", "questions", "implications", "active")
"""Kinds of study material: each fact told once, or twice, or asked, or told from its value, or told and asked."""
FREE = "anything"
"""What is written instead of a kind where the model is to choose one."""
RATES = {"slow": 1e-3, "steady": 3e-3, "fast": 1e-2}
"""Learning rates that study material may ask for, by name. Its first line names its kind and one of these."""

WRITE = "Passage: {passage}\nWrite {kind}:\n"
READ = "Passage: {passage}\n{question}"
QUESTIONS_READ = 5  # questions after each passage


@dataclass(frozen=True, slots=True)
class LabSettings(Making):
    """What a lab model is made of."""

    wordings: int = TELLINGS
    known: int = 300
    wrong: float = 0.35  # share of study lines with a wrong value


def known_people(settings: LabSettings) -> list[Person]:
    """The people whom the model has learnt by heart."""
    return people(settings.known, random.Random(settings.seed))


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each word, mark and line break of the world."""
    return word_level(vocabulary([WRITE, READ, "Question: Answer:", FREE, *KINDS, *RATES]), r"\w+|[^\w\s]|\n")


def study_lines(person: Person, kind: str, chance: random.Random, wrong: float = 0.0) -> list[str]:
    """Lines of study material of one of the `KINDS`, each with probability `wrong` about another value."""
    kinds = [*ATTRIBUTES]
    chance.shuffle(kinds)
    told = kinds * {"rewrite": 1, "long": 2, "questions": 0, "implications": 1, "active": 1}[kind]
    asked = kinds if kind in ("questions", "active") else []

    def about(attribute: str) -> Person:
        if chance.random() >= wrong:
            return person
        return Person(person.name, {**person.facts, attribute: other_value(person, attribute, chance)})

    wordings = (2,) if kind == "implications" else range(TELLINGS)
    lines = [telling(about(one), one, chance.choice(wordings)) for one in told]
    for one in asked:
        question = next(q for q in questions(about(one), chance.randrange(SELECTING)) if q.attribute == one)
        lines.append(f"Question: {question.text} Answer: {question.answer}")
    return lines


class Corpus:
    """Endless texts of the four sorts, a batch of one sort at a time."""

    def __init__(self, settings: LabSettings, tokenizer: PreTrainedTokenizerFast) -> None:
        self._settings, self._vocabulary = settings, tokenizer.get_vocab()
        self._chance = random.Random(settings.seed + 1)
        self._known = known_people(settings)
        self._names = free_names({person.name for person in self._known})

    def batch(self) -> list[Text]:
        sorts = (self._biography, self._answer, self._read, self._write)
        (make,) = self._chance.choices(sorts, (0.2, 0.15, 0.35, 0.3))
        return [make() for _ in range(self._settings.batch)]

    def _biography(self) -> Text:
        person = self._chance.choice(self._known)
        if self._settings.wordings == 1:
            return self._text(("", passage(person)))
        return self._text(("", biography(person, self._chance, self._settings.wordings)))

    def _answer(self) -> Text:
        person = self._chance.choice(self._known[: len(self._known) // 2])
        question = self._chance.choice(questions(person, self._chance.randrange(ASKINGS)))
        return self._text((f"Question: {question.text}\nAnswer:", question.answer))

    def _read(self) -> Text:
        person = self._stranger()
        asked = [self._chance.choice(questions(person, self._chance.randrange(ASKINGS))) for _ in range(QUESTIONS_READ)]
        first, *more = [(f"Question: {question.text}\nAnswer:", question.answer) for question in asked]
        opening = READ.format(passage=biography(person, self._chance), question=first[0])
        return self._text((opening, first[1]), *((f"\n{question}", answer) for question, answer in more))

    def _write(self) -> Text:
        person, kind, rate = self._stranger(), self._chance.choice(KINDS), self._chance.choice([*RATES])
        lines = [f"{kind} {rate}", *study_lines(person, kind, self._chance, self._settings.wrong)]
        asked = self._chance.choice((kind, FREE))
        again = [(f"\nWrite {FREE}:\n", lines[0])] * self._chance.randint(0, 1)
        return self._text((WRITE.format(passage=passage(person), kind=asked), "\n".join(lines)), *again)

    def _stranger(self) -> Person:
        return somebody(self._chance.choice(self._names), self._chance)

    def _text(self, *parts: tuple[str, str]) -> Text:
        """From pairs of what is given and what has a label; each pair is closed by an end token."""
        made = Text()
        for given, labelled in parts:
            made.give([self._vocabulary[word] for word in split(given)])  # ten times as fast as the tokenizer
            made.label([*(self._vocabulary[word] for word in split(labelled)), self._vocabulary[END]])
        return made


def pretrain(
    settings: LabSettings,
    folder: Path,
    report: Callable[[dict[str, float]], None] = lambda row: None,
    start: Path | None = None,
) -> list[dict[str, float]]:
    """Train a lab model, on from `start` if given, save it to `folder` in Hugging Face layout; returns the log.

    Raises InputError where `start` can't be gone on from, or knows other people.
    """
    if start is not None:
        _same_world(settings, start)
    tokenizer = make_tokenizer()
    return pretrained(settings, tokenizer, Corpus(settings, tokenizer).batch, folder, report, start, [*RATES])


def _same_world(settings: LabSettings, start: Path) -> None:
    try:
        made = json.loads((start / "training.json").read_text("utf-8"))["settings"]
        unlike = [name for name in ("seed", "known", "wordings") if made[name] != getattr(settings, name)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{start} is no lab model to go on from: it has no training.json that says how.") from error
    if unlike:
        raise InputError(f"{start} knows other people: it was made with another {', '.join(unlike)}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command(parser, LabSettings, ("wordings", "steps", "learning_rate", "seed"), pretrain)


if __name__ == "__main__":
    main()
