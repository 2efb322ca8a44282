"""Questions about passages, written by the model with the passage and the wanted answer in view.

Two writers with different worked examples: `study` for what may be trained on, `exam` for what must stay sealed.
A question is kept when it points at its own passage: the base expects it there more than after any passage that
shares words with it, and it does not give the answer away.

Limits: a small model writes about as many poor questions as good ones, and cannot tell all of them apart.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from gradatim.model.bank import AdapterBank
from gradatim.model.packing import Pair
from gradatim.model.scoring import score
from gradatim.types import Passage, Question
from gradatim.writing import fewshot
from gradatim.writing.facts import Fact, standing
from gradatim.writing.words import is_number, normalised, stems, words

Style = Literal["study", "exam"]
Weight = Callable[[frozenset[str]], float]
_LEAST_MARGIN = 0.0


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
    replies = fewshot.complete(bank, prompts, max_tokens=28, temperature=temperature, seed=seed, advance=advance)
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


def attribute(
    bank: AdapterBank, passages: Sequence[Passage], questions: Sequence[Question], rivals: int = 3
) -> tuple[list[Question], dict[str, int]]:
    """The questions that point at a passage, each moved to the one that explains it best; and why others were dropped.

    A passage explains a question as far as the base expects it there: log p(question | passage), the query likelihood
    of Ponte and Croft (1998), against the `rivals` passages that share most words with it. Over all single sentences
    of a handbook that found the right one for 14 of 17 of a person's questions on one handbook, and for 5 of 17 on one
    whose sentences lean on each other.
    """
    index_of = {passage.id: index for index, passage in enumerate(passages)}
    bags = [stems(passage.text) for passage in passages]
    weight = _rarity(bags)
    candidates = [_candidates(question, bags, weight, index_of[question.passage], rivals) for question in questions]
    likelihood = _query_likelihoods(bank, passages, questions, candidates)
    kept: list[Question] = []
    dropped: Counter[str] = Counter()
    for question, scores in zip(questions, likelihood, strict=True):
        ranked = sorted(scores, key=lambda index: scores[index], reverse=True)
        home, own = ranked[0], index_of[question.passage]
        text = f" {normalised(question.text)} "
        if any(f" {normalised(answer)} " in text for answer in question.accepted):
            dropped["gives the answer away"] += 1
        elif home != own or (len(ranked) > 1 and scores[home] - scores[ranked[1]] < _LEAST_MARGIN):
            dropped["points at another passage"] += 1
        else:
            kept.append(question)
    return kept, dict(dropped)


def _candidates(question: Question, bags: Sequence[frozenset[str]], weight: Weight, own: int, rivals: int) -> list[int]:
    """The question's own passage and those that share most of its words."""
    asked = stems(question.text)
    others = sorted((i for i in range(len(bags)) if i != own), key=lambda i: -weight(asked & bags[i]))
    return [own, *others[:rivals]]


def _query_likelihoods(
    bank: AdapterBank, passages: Sequence[Passage], questions: Sequence[Question], candidates: Sequence[Sequence[int]]
) -> list[dict[int, float]]:
    """log p(question | passage), in nats, for each question's candidate passages."""
    chat = bank.base.chat
    found: list[dict[int, float]] = [{} for _ in questions]
    for index, passage in enumerate(passages):
        chosen = [number for number, wanted in enumerate(candidates) if index in wanted]
        if not chosen:
            continue
        text = f"Title: {title_of(passage)}. Text: {standing(passages, index)}\nQuestion:"
        prompt = tuple(chat.raw(text))
        pairs = [Pair(prompt, tuple(chat.raw(" " + questions[number].text))) for number in chosen]
        for number, value in zip(chosen, score(bank, pairs, None).tolist(), strict=True):
            found[number][index] = value
    return found


def _rarity(bags: Sequence[frozenset[str]]) -> Weight:
    counts = Counter(stem for bag in bags for stem in bag)

    def weight(found: frozenset[str]) -> float:
        return sum(math.log1p(len(bags) / counts[stem]) for stem in found if counts[stem])

    return weight


def _question(text: str, fact: Fact) -> Question:
    identity = hashlib.sha256(f"{fact.passage}\0{text}".encode()).hexdigest()[:16]
    return Question(identity, text, accepted_answers(fact), fact.passage)
