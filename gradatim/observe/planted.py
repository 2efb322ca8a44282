"""Words that keep coming back where they don't belong: copies of one correction, and phrases planted in many.

People who correct different things use different words. A phrase (three words in a row, two of them of some content)
that the corrections of several questions about different things share is doubted in all of them, unless a trusted
passage says it, or the question itself brings it up. What was believed in earlier steps counts as well, so that a
phrase that drips in slowly is found when it comes back often enough. A correction repeated whole is the plainest case.

Two questions are about different things when they share no word of content; what most questions name, the subject
above all, tells nothing. Limits: lexical. A phrase in other words each time, a single planted name, and one that is
planted in the answers to one question only are not seen here; the votes and a person's eye are left for those.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence

from gradatim.observe.values import tokens
from gradatim.observe.vocabulary import STOP_WORDS, stem
from gradatim.types import Feedback

LENGTH, CONTENT = 3, 2
"""Words of a phrase, and how many of them must be of content."""

COMMON, MANY = 0.3, 6
"""A word in that share of at least so many different questions tells nothing of what one of them is about."""

Phrase = tuple[str, ...]


def planted(new: Sequence[Feedback], earlier: Sequence[Feedback], trusted: Iterable[str], least: int) -> dict[str, str]:
    """The reason against each new correction that shares a phrase with those of `least` different things, by its id."""
    said = [item for item in (*earlier, *new) if item.correction]
    common, about = _subjects({item.question for item in said})
    known = {phrase for text in trusted for phrase in _phrases(text, frozenset())}
    homes: dict[Phrase, list[Feedback]] = defaultdict(list)
    for item in said:
        for phrase in dict.fromkeys(_phrases(item.correction or "", common | _words(item.question))):
            if phrase not in known:
                homes[phrase].append(item)
    fresh, reasons = {item.id for item in new}, {}
    for phrase, items in sorted(homes.items(), key=lambda found: -len(found[1])):
        waiting = [item for item in items if item.id in fresh and item.id not in reasons]
        if len(items) >= least and waiting and (things := _different(about[item.question] for item in items)) >= least:
            for item in waiting:
                reasons[item.id] = f'says "{" ".join(phrase)}", as corrections of {things} unlike questions do'
    return reasons


def _phrases(text: str, own: frozenset[str]) -> Iterator[Phrase]:
    """Every phrase of a text that has content beyond the words `own`."""
    words = [token.small for token in tokens(text) if token.kind in ("word", "number")]
    heavy = [word not in STOP_WORDS and stem(word) not in own for word in words]
    for at in range(len(words) - LENGTH + 1):
        if sum(heavy[at : at + LENGTH]) >= CONTENT:
            yield tuple(words[at : at + LENGTH])


def _words(text: str) -> frozenset[str]:
    found = (token.small for token in tokens(text) if token.kind in ("word", "number"))
    return frozenset(stem(word) for word in found if word not in STOP_WORDS)


def _subjects(questions: Collection[str]) -> tuple[frozenset[str], dict[str, frozenset[str]]]:
    """The words that most questions have, and what each is about: its other words of content."""
    bags = {question: _words(question) for question in questions}
    frequency = Counter(word for bag in bags.values() for word in bag)
    most = COMMON * len(bags) if len(bags) >= MANY else math.inf
    common = frozenset(word for word, count in frequency.items() if count > most)
    return common, {question: bag - common for question, bag in bags.items()}


def _different(subjects: Iterable[frozenset[str]]) -> int:
    """How many of these share no word with one another, chosen greedily, those of few words first."""
    taken: set[str] = set()
    count = 0
    for subject in sorted(set(subjects), key=len):
        if subject and not subject & taken:
            taken |= subject
            count += 1
    return count
