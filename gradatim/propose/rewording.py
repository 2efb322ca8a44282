"""Prompts made by rule from a passage and its facts, reworded with the model's own thesaurus.

A small model writes few good questions, but anything a person might ask shares words with the sentence that answers
it, or words near them. So the passage's words are asked for in many shapes: blanks, bare keywords behind a question
word that fits the fact, the sentence itself turned towards the fact. The target is always the whole passage: it
grounds the answer in the source by construction, and learning to tell passages apart is all that is left.

Limits: question words are chosen by English rules; the shapes are crude on purpose, variety counts, not grammar.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

from gradatim.propose.base import Material
from gradatim.types import StudyExample
from gradatim.writing.facts import Fact
from gradatim.writing.questions import title_of
from gradatim.writing.words import content_words, leans, words

_OPENERS = ("What about", "Tell me about", "What is said about", "What do you know about")


def cloze(material: Material, chance: random.Random, each: int = 3) -> list[StudyExample]:
    """The passage with a fact or a word blanked out."""
    examples = []
    for passage, facts in zip(material.passages, material.facts, strict=True):
        for _ in range(each):
            pool = [fact.text for fact in facts] if facts and chance.random() < 0.7 else content_words(passage.text)
            if pool:
                blanked = passage.text.replace(chance.choice(pool), "____", 1)
                opener = chance.choice(("Fill in the blank: ", "Complete: ", ""))
                examples.append(StudyExample(opener + blanked, passage.text, "cloze", passage.id))
    return examples


def keywords(material: Material, chance: random.Random, each: int = 6) -> list[StudyExample]:
    """A question word that fits a fact, and some of the passage's words."""
    examples = []
    for index, (passage, facts) in enumerate(zip(material.passages, material.facts, strict=True)):
        before = material.passages[index - 1].text if index and leans(passage.text) else ""
        for _ in range(each):
            fact = chance.choice(facts) if facts else None
            asked = _some_words(passage.text, before, title_of(passage), fact, chance)
            opener = question_word(fact, chance) if fact and chance.random() < 0.75 else chance.choice(_OPENERS)
            prompt = reword(f"{opener} {asked}?", material.thesaurus, chance)
            examples.append(StudyExample(prompt, passage.text, "qa", passage.id))
    return examples


def turned(material: Material, chance: random.Random, each: int = 6) -> list[StudyExample]:
    """The clause that holds a fact, turned into a question for it: in place, or with the question word in front."""
    examples = []
    for passage, facts in zip(material.passages, material.facts, strict=True):
        for _ in range(each if facts else 0):
            fact = chance.choice(facts)
            clause, asker = _clause(passage.text, fact.text), question_word(fact, chance)
            rest = re.sub(r"\s+", " ", clause.replace(fact.text, "", 1)).strip()
            front = f"{asker} {rest[:1].lower()}{rest[1:]}?"
            prompt = front if chance.random() < 0.5 else clause.replace(fact.text, asker.lower(), 1) + "?"
            examples.append(StudyExample(reword(prompt, material.thesaurus, chance), passage.text, "qa", passage.id))
    return examples


def question_word(fact: Fact, chance: random.Random) -> str:
    """What to ask a fact with, from its kind."""
    parts = words(fact.text)
    of_what = f" {parts[1]}" if len(parts) > 1 else ""
    askers = {
        "time": ("What time", "When", "At what time"),
        "money": ("How much", "What does it cost:", "How much money"),
        "count": (f"How many{of_what}", "How many", f"What number of{of_what}"),
        "place": ("Where", "In which place", "What place"),
        "name": ("Who", "What is the name of", "Which person", "What is called"),
        "thing": ("What", "Which", "What kind of"),
    }
    return chance.choice(askers[fact.kind])


def reword(prompt: str, thesaurus: Mapping[str, Sequence[str]], chance: random.Random, share: float = 0.35) -> str:
    """The prompt with about a `share` of its words exchanged for other words the model has for them."""

    def exchange(match: re.Match[str]) -> str:
        others = thesaurus.get(match.group().lower())
        return chance.choice(list(others)) if others and chance.random() < share else match.group()

    return re.sub(r"[^\W\d_]+", exchange, prompt)


def _some_words(text: str, before: str, title: str, fact: Fact | None, chance: random.Random) -> str:
    pool = [word for word in content_words(text) if fact is None or word not in fact.text]
    chosen = chance.sample(range(len(pool)), min(len(pool), chance.choice((1, 2, 2, 3, 3, 4))))
    asked = [pool[i] for i in sorted(chosen)]
    earlier = content_words(before)
    if earlier and chance.random() < 0.6:
        asked = chance.sample(earlier, min(len(earlier), chance.choice((1, 2)))) + asked
    if chance.random() < 0.35:
        asked = [*asked, "at", title] if chance.random() < 0.5 else [title, *asked]
    return " ".join(asked)


def _clause(text: str, fact: str) -> str:
    parts = re.split(r",| and then | because | so that | since ", text)
    return next((part.strip(" .") for part in parts if fact in part and len(part.split()) >= 3), text.strip(" ."))
