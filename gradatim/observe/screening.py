"""Whom do we believe? What a person would not believe goes to quarantine, with the reason.

A document is put there as a whole when a line of it gives the model orders, or when a sentence of it restates what a
trusted passage says with another value (another number, time, day or name). A correction is put there when it is
abuse, gibberish or empty; when it gives orders; when it repeats what the same person said; when it contradicts a
trusted passage in the same way; when it shares a planted phrase with others (`planted.py`); or when people disagree on
the question: the answer that most different people gave stands, and a tie stands for nobody (`votes.py`).

Documents come in order, and one that was accepted is trusted by those after it and by the corrections. Quarantine is
not a verdict: it is where a person looks. A new edition of a handbook ends there too, and rightly so. What a person
released from it is believed here without a look.

Limits: lexical, not semantic. A false sentence about something the trusted passages do not mention is believed; so is
one that differs by "not", in words that share too little with the trusted ones, or in two values at once (that reads as
another subject: "room B seats 12" beside "room A seats 10"). Falsehoods close to the trusted wording are nearly all
seen; of short wrong answers to freely worded questions only a small part is. Two true sentences that differ in one
value may be taken for a contradiction when they say little else. Who speaks is taken from `by` on trust, so of each
client key or file only a few people have a vote.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from gradatim.charter import Trust
from gradatim.observe.claims import (
    Claim,
    claim,
    differences,
    in_units_of,
    name_words,
    names_in,
    supports,
    without_names,
)
from gradatim.observe.noise import noise_in, order_in
from gradatim.observe.planted import planted
from gradatim.observe.topics import Likeness, Topics
from gradatim.observe.votes import Vote, outvoted
from gradatim.types import Feedback, Passage, Quarantined

RESTATES = Likeness(words=3, coverage=0.75, brief=False)
"""A sentence of a document, against a trusted one."""

ANSWERS = Likeness(words=2, coverage=0.4, brief=True)
"""A question with its correction, against a trusted sentence: they are shorter, and in a person's own words."""

VOTES = Likeness(words=2, coverage=0.6, brief=True)
"""Two questions, each with its correction."""


@dataclass(frozen=True, slots=True)
class Screened:
    """What is believed, and what is not: passages of whole documents, feedback in its order, and the rest."""

    passages: tuple[Passage, ...]
    feedback: tuple[Feedback, ...]
    quarantined: tuple[Quarantined, ...]


def screen(
    passages: Sequence[Passage],
    trusted: Sequence[Passage],
    feedback: Sequence[Feedback],
    *,
    earlier: Sequence[Feedback] = (),
    released: Collection[str] = (),
    trust: Trust = Trust(),  # noqa: B008 - frozen
) -> Screened:
    """Parts what is believed of new documents (given as their passages) and of feedback from what is not.

    `earlier` are corrections that earlier steps believed; `released` are the ids of what a person released.
    """
    believed = list(trusted)
    accepted: list[Passage] = []
    quarantined: list[Quarantined] = []
    for document, of_document in _by_document(passages).items():
        reason = None if document in released else _doubt_document(of_document, _Trusted(believed))
        if reason:
            quarantined.append(Quarantined(document, reason))
        else:
            accepted += of_document
            believed += of_document
    doubts = _doubt_feedback(feedback, _Trusted(believed), earlier, released, trust)
    quarantined += [Quarantined(record, reason) for record, reason in doubts.items()]
    kept = {item.id: item for item in feedback if item.id not in doubts}
    return Screened(tuple(accepted), tuple(kept.values()), tuple(quarantined))


def _by_document(passages: Iterable[Passage]) -> dict[str, list[Passage]]:
    documents: dict[str, list[Passage]] = defaultdict(list)
    for passage in passages:
        documents[passage.document].append(passage)
    return documents


class _Trusted:
    """The trusted passages, ready to be compared with."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.claims = [claim(passage.text) for passage in passages]
        self.passages = passages
        self.contexts = [name_words(passage.context) for passage in passages]
        self.known = [
            name_words(passage.text) | context for passage, context in zip(passages, self.contexts, strict=True)
        ]
        self.topics = Topics(self.claims)

    def contradiction(self, new: Claim, about: str, least: Likeness) -> str | None:
        """How the new claim contradicts the passage that speaks most of the same thing, if it does.

        `about` is the question that it answers; a passage that lacks a name of it speaks of something else.
        """
        named = names_in(claim(about))
        alike = [
            index
            for index, old in enumerate(self.claims)
            if named <= self.known[index] and self.topics.alike(new, old, least)
        ]
        # A short answer is backed by any passage that gives it, a whole sentence by one of its kind.
        backing = range(len(self.claims)) if about else alike
        if not alike or any(supports(self.claims[index], new) for index in backing):
            return None
        index = max(alike, key=lambda index: self.topics.coverage(new, self.claims[index]))
        # What a question or the title names is spoken of, and no answer.
        old = without_names(self.claims[index], named | self.contexts[index]) if about else self.claims[index]
        found = differences(in_units_of(new, old), old)
        if len(found) != 1:
            return None
        return f'says "{found[0].new}" where passage {self.passages[index].id} says "{found[0].old}"'


def _doubt_document(passages: Sequence[Passage], trusted: _Trusted) -> str | None:
    for passage in passages:
        if order := order_in(f"{passage.context} {passage.text}"):
            return f'gives the model orders: "{order}"'
    for passage in passages:
        if contradiction := trusted.contradiction(claim(passage.text), "", RESTATES):
            return contradiction
    return None


def _doubt_feedback(
    feedback: Sequence[Feedback],
    trusted: _Trusted,
    earlier: Sequence[Feedback],
    released: Collection[str],
    trust: Trust,
) -> dict[str, str]:
    """The reason against each record that is not believed, by its id."""
    doubts: dict[str, str] = {}
    said: set[tuple[str, ...]] = set()
    standing: list[Feedback] = []
    for item in {item.id: item for item in feedback}.values():
        if item.correction is None:
            continue
        key = (item.by, _folded(item.question), _folded(item.correction))
        reason = _doubt_alone(item.correction) or ("repeats what the same person said" if key in said else None)
        reason = reason or _doubt_against(item, trusted)
        said.add(key)
        if reason and item.id not in released:
            doubts[item.id] = reason
        else:
            standing.append(item)
    doubts |= planted(standing, earlier, (passage.text for passage in trusted.passages), trust.planted_questions)
    standing = [item for item in standing if item.id not in doubts]
    votes = [Vote(item.by, source_of(item), names_in(claim(item.question)), _answer(item)) for item in standing]
    doubts |= {standing[place].id: reason for place, reason in outvoted(votes, VOTES, trust.source_votes).items()}
    return {record: reason for record, reason in doubts.items() if record not in released}


def source_of(feedback: Feedback) -> str:
    """Who vouches that the person exists: the client key it came under, or the file."""
    source = feedback.provenance.source
    return f"{source} {feedback.by.partition('/')[0]}" if "://" in source else source


def _folded(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _doubt_alone(correction: str) -> str | None:
    if order := order_in(correction):
        return f'gives the model orders: "{order}"'
    return noise_in(correction)


def _doubt_against(item: Feedback, trusted: _Trusted) -> str | None:
    return trusted.contradiction(_answer(item), item.question, ANSWERS)


def _answer(item: Feedback) -> Claim:
    """What a correction claims: about the words of its question too, with values that the question did not name."""
    correction = item.correction or ""
    # A short answer in capitals is a name, though it opens its sentence.
    bare = len(correction.split()) <= 3 and correction.istitle()
    answer = without_names(claim(f"it is {correction}" if bare else correction), name_words(item.question))
    return Claim(claim(item.question).words | answer.words, answer.values)
