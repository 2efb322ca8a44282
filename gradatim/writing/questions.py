"""Questions about passages, written by the model with the passage and the wanted answer in view.

Two writers with different worked examples: `study` for what may be trained on, `exam` for what must stay sealed.
A question is kept when it points at its own passage: its words weigh more there (by inverse frequency over the
document) than in any other passage, it brings few words of its own, and it does not give the answer away.

Limits: pointing is lexical. A small model writes about three poor questions for each good one; the filter keeps the
share that can be told from the rest, so some passages may be left with few.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from gradatim.model.bank import AdapterBank
from gradatim.types import Passage, Question
from gradatim.writing import fewshot
from gradatim.writing.facts import Fact, standing
from gradatim.writing.words import is_number, normalised, stems, words

Style = Literal["study", "exam"]
_MOST_FOREIGN_WORDS = 2


def write_questions(
    bank: AdapterBank,
    passages: Sequence[Passage],
    facts: Sequence[Sequence[Fact]],
    *,
    each: int,
    style: Style,
    seed: int,
    temperature: float = 0.7,
    advance: Callable[[int], None] | None = None,
) -> list[Question]:
    """`each` attempts at a question for every fact; duplicates and empty ones dropped, nothing else filtered."""
    shots = fewshot.QUESTION if style == "study" else fewshot.EXAM_QUESTION
    jobs = [(index, fact) for index, found in enumerate(facts) for fact in found]
    prompts = [
        f"{shots}Title: {title_of(passages[index])}. Text: {standing(passages, index)}\nAnswer: {fact.text}\nQuestion:"
        for index, fact in jobs
        for _ in range(each)
    ]
    replies = fewshot.complete(
        bank, prompts, max_tokens=28, temperature=temperature, seed=seed, advance=advance
    )
    questions: dict[str, Question] = {}
    for number, reply in enumerate(replies):
        _, fact = jobs[number // each]
        text = reply.rstrip("?. ") + "?"
        if len(words(text)) >= 4:
            questions.setdefault(normalised(text), _question(text, fact))
    return list(questions.values())


def title_of(passage: Passage) -> str:
    """The document's title: the first part of the passage's context."""
    return passage.context.split(" > ")[0].strip()


def accepted_answers(fact: Fact) -> tuple[str, ...]:
    """What a right reply must contain: a number or name by itself, else the whole stretch."""
    parts = words(fact.text)
    if parts and is_number(parts[0]):
        return (fact.text, parts[0])
    capitals = [part for part in parts if part[0].isupper()]
    return (fact.text, capitals[-1]) if capitals else (fact.text,)


def pointing(
    questions: Sequence[Question], passages: Sequence[Passage], most: int
) -> tuple[list[Question], dict[str, int]]:
    """The questions that point at their own passage, the `most` best of each, and why the others were dropped."""
    index_of = {passage.id: index for index, passage in enumerate(passages)}
    title = frozenset().union(*(stems(title_of(passage)) for passage in passages)) if passages else frozenset()
    own = [stems(passage.text, title) for passage in passages]
    wide = [stems(standing(passages, index), title) for index in range(len(passages))]
    weight = _rarity(own)
    ranked: dict[int, list[tuple[float, Question]]] = {}
    dropped: Counter[str] = Counter()
    for question in questions:
        index = index_of[question.passage]
        asked = stems(question.text, title)
        here = weight(asked & wide[index])
        elsewhere = max((weight(asked & bag) for other, bag in enumerate(own) if other != index), default=0.0)
        foreign = len(asked - wide[index])
        reason = _objection(question, here, elsewhere, foreign)
        if reason:
            dropped[reason] += 1
        else:
            ranked.setdefault(index, []).append((foreign - here / 10, question))
    kept = []
    for index in sorted(ranked):
        best = sorted(ranked[index], key=lambda pair: pair[0])
        kept += [question for _, question in best[:most]]
        dropped["enough of this passage"] += max(len(best) - most, 0)
    return kept, {reason: count for reason, count in dropped.items() if count}


def _objection(question: Question, here: float, elsewhere: float, foreign: int) -> str | None:
    text = f" {normalised(question.text)} "
    if any(f" {normalised(answer)} " in text for answer in question.accepted):
        return "gives the answer away"
    if here <= 0 or foreign > _MOST_FOREIGN_WORDS:
        return "not grounded in its passage"
    if here < elsewhere:
        return "points at another passage"
    return None


def _rarity(bags: Sequence[frozenset[str]]) -> Callable[[frozenset[str]], float]:
    counts = Counter(stem for bag in bags for stem in bag)

    def weight(found: frozenset[str]) -> float:
        return sum(math.log1p(len(bags) / counts[stem]) for stem in found if counts[stem])

    return weight


def _question(text: str, fact: Fact) -> Question:
    identity = hashlib.sha256(f"{fact.passage}\0{text}".encode()).hexdigest()[:16]
    return Question(identity, text, accepted_answers(fact), fact.passage)
