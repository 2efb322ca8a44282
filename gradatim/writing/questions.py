"""Questions about passages, written by the model with the passage and the wanted answer in view.

A question is kept when it points at its own passage: the asker expects it there more than after any passage that
shares words with it, and more than after none, and it does not give the answer away.

Limits: a small model writes about as many poor questions as good ones, and cannot tell all of them apart.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from gradatim.types import Passage, Question
from gradatim.writing.asker import Asker, View
from gradatim.writing.facts import Fact, standing
from gradatim.writing.words import is_number, normalised, stems, words

Weight = Callable[[frozenset[str]], float]

LEAST_BOOST = 2.5  # nats that a passage must add to the log-probability of a question about it


def write_questions(
    asker: Asker,
    passages: Sequence[Passage],
    facts: Sequence[Sequence[Fact]],
    *,
    each: int,
    seed: int,
    temperature: float,
    advance: Callable[[int], None] | None = None,
) -> list[Question]:
    """`each` attempts at a question for every fact; duplicates and empty ones dropped, nothing else filtered."""
    jobs = [
        (View(title_of(passages[index]), standing(passages, index), fact.text), fact)
        for index, found in enumerate(facts)
        for fact in found
        for _ in range(each)
    ]
    replies = asker.write([view for view, _ in jobs], temperature=temperature, seed=seed, advance=advance)
    questions: dict[str, Question] = {}
    for (_, fact), reply in zip(jobs, replies, strict=True):
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
    asker: Asker,
    passages: Sequence[Passage],
    facts: Sequence[Sequence[Fact]],
    questions: Sequence[Question],
    rivals: int = 3,
) -> tuple[list[Question], dict[str, int]]:
    """The questions that point at their own passage, and why others were dropped.

    A passage explains a question as far as the asker expects it there, the subject and a fact of the passage as the
    answer before it. It is held against the `rivals` passages that share most words with the question. It must also
    expect the question more than it would with only the subject in view: what a person asks gains 3 to 20 nats from
    its passage, "What can they eat?" none.
    """
    index_of = {passage.id: index for index, passage in enumerate(passages)}
    bags = [stems(passage.text) for passage in passages]
    weight = _rarity(bags)
    views = [_views(question, facts, bags, weight, index_of[question.passage], rivals) for question in questions]
    likelihood = _likelihoods(asker, passages, facts, questions, views)
    title = {passage.id: title_of(passage) for passage in passages}
    unseen = asker.log_likelihood([(View(title[question.passage]), question.text) for question in questions])
    kept: list[Question] = []
    dropped: Counter[str] = Counter()
    for question, scores, alone in zip(questions, likelihood, unseen, strict=True):
        home, own = max(scores, key=lambda index: scores[index]), index_of[question.passage]
        text = f" {normalised(question.text)} "
        if any(f" {normalised(answer)} " in text for answer in question.accepted):
            dropped["gives the answer away"] += 1
        elif home != own:
            dropped["points at another passage"] += 1
        elif scores[own] - alone < LEAST_BOOST:
            dropped["could be asked without the passage"] += 1
        else:
            kept.append(question)
    return kept, dict(dropped)


def _views(
    question: Question,
    facts: Sequence[Sequence[Fact]],
    bags: Sequence[frozenset[str]],
    weight: Weight,
    own: int,
    rivals: int,
) -> set[tuple[int, int]]:
    """(passage, number of one of its facts): the question's own, and those that share most of its words."""
    asked = stems(question.text)
    others = sorted((i for i in range(len(bags)) if i != own), key=lambda i: -weight(asked & bags[i]))
    wanted = [number for number, fact in enumerate(facts[own]) if fact.text in question.accepted]
    return {(own, 0), *((own, number) for number in wanted[:1]), *((other, 0) for other in others[:rivals])}


def _likelihoods(
    asker: Asker,
    passages: Sequence[Passage],
    facts: Sequence[Sequence[Fact]],
    questions: Sequence[Question],
    views: Sequence[set[tuple[int, int]]],
) -> list[dict[int, float]]:
    """For each question, log p(question | passage, fact) in nats, the best of its views of each passage."""
    askers: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for number, wanted in enumerate(views):
        for view in wanted:
            askers[view].append(number)
    found: list[dict[int, float]] = [{} for _ in questions]
    for (index, fact), chosen in sorted(askers.items()):
        answer = facts[index][fact].text if facts[index] else ""
        shown = View(title_of(passages[index]), passages[index].text, answer)
        values = asker.log_likelihood([(shown, questions[number].text) for number in chosen])
        for number, value in zip(chosen, values, strict=True):
            found[number][index] = max(value, found[number].get(index, value))
    return found


def _rarity(bags: Sequence[frozenset[str]]) -> Weight:
    counts = Counter(stem for bag in bags for stem in bag)

    def weight(found: frozenset[str]) -> float:
        return sum(math.log1p(len(bags) / counts[stem]) for stem in found if counts[stem])

    return weight


def _question(text: str, fact: Fact) -> Question:
    identity = hashlib.sha256(f"{fact.passage}\0{text}".encode()).hexdigest()[:16]
    return Question(identity, text, accepted_answers(fact), fact.passage)
