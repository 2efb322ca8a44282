"""Restatements and implications of passages, and a thesaurus of their words: the model's own rewording.

Each is short, sampled several times, and kept only when it stays with its source: no number or name that the
source does not have, at least half of its meaning-bearing words from there, and not a copy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from gradatim.model.bank import AdapterBank
from gradatim.types import Passage
from gradatim.writing import fewshot
from gradatim.writing.facts import standing
from gradatim.writing.words import is_content, is_number, normalised, stems, words

_PLAIN = re.compile(r"[a-z][a-z' -]{2,24}")


def write_restatements(
    bank: AdapterBank,
    passages: Sequence[Passage],
    *,
    each: int,
    seed: int,
    advance: Callable[[int], None] | None = None,
) -> list[tuple[str, str]]:
    """(passage id, restatement) pairs that passed `faithful`."""
    return _write(bank, passages, fewshot.RESTATEMENT, "Other words:", each, seed, advance)


def write_implications(
    bank: AdapterBank,
    passages: Sequence[Passage],
    *,
    each: int,
    seed: int,
    advance: Callable[[int], None] | None = None,
) -> list[tuple[str, str]]:
    """(passage id, implication) pairs that passed `faithful`."""
    return _write(bank, passages, fewshot.IMPLICATION, "So:", each, seed, advance)


def write_thesaurus(
    bank: AdapterBank, passages: Sequence[Passage], *, seed: int, advance: Callable[[int], None] | None = None
) -> dict[str, list[str]]:
    """Other words the model has for the common words of the passages."""
    common = sorted(
        {
            word
            for passage in passages
            for word in words(passage.text)
            if word.islower() and len(word) > 3 and is_content(word)
        }
        - {word for passage in passages for word in words(passage.text) if is_number(word)}
    )
    prompts = [f"{fewshot.OTHER_WORDS}word: {word} ->" for word in common]
    lines = fewshot.complete(bank, prompts, max_tokens=14, temperature=0.5, seed=seed, advance=advance)
    found = {}
    for word, line in zip(common, lines, strict=True):
        others = {part.strip().lower() for part in line.split(",")[:3]}
        kept = sorted(o for o in others if _PLAIN.fullmatch(o) and len(o.split()) < 3 and word not in o.split())
        if kept:
            found[word] = kept
    return found


def faithful(text: str, source: str, title: str) -> bool:
    """Whether a rewording stays with its source."""
    known = stems(f"{title} {source}")
    said = stems(text)
    anchors = [word for word in words(text)[1:] if is_number(word) or word[0].isupper()]
    return (
        len(words(text)) >= 4
        and normalised(text) != normalised(source)
        and len(said & known) >= max(2, len(said) / 2)
        and all(stems(word) <= known for word in anchors)
    )


def _write(
    bank: AdapterBank,
    passages: Sequence[Passage],
    shots: str,
    cue: str,
    each: int,
    seed: int,
    advance: Callable[[int], None] | None,
) -> list[tuple[str, str]]:
    prompts = [
        f"{shots}Sentence: {standing(passages, index)}\n{cue}" for index in range(len(passages)) for _ in range(each)
    ]
    lines = fewshot.complete(bank, prompts, max_tokens=36, temperature=0.6, seed=seed, advance=advance)
    kept: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(lines):
        index = number // each
        text = line.rstrip(". ") + "."
        if faithful(text, standing(passages, index), passages[index].context):
            kept.setdefault(normalised(text), (passages[index].id, text))
    return list(kept.values())
