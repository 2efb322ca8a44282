"""Edit strategies: named mixtures of study material, and the choice among them by what they achieved.

A strategy is a few makers in a row. After each step its gain on sealed questions is recorded; the next step takes the
one with the highest upper confidence bound (UCB1, Auer et al. 2002), starting from prior gains, counted as a few
observations each. So the vetted one is taken first, and left when it disappoints. Only the prior of `mixed` is near a
measured gain; those below it are guesses that keep these strategies behind it until evidence says otherwise. A writer
that was found good adds to the vetted mixture, so with one that strategy comes first.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable

from gradatim.errors import InputError
from gradatim.propose.base import Maker, Material
from gradatim.propose.rewording import cloze, keywords, reword, turned
from gradatim.types import StudyExample

_CHECKS = ("Is it true that {}?", "{}. Is that right?", "{}.", "I heard this: {}.")


def own_questions(material: Material, chance: random.Random) -> list[StudyExample]:
    """The questions the model wrote, as written and reworded, each answered by its passage."""
    target = {passage.id: passage.text for passage in material.passages}
    asked = [(q.passage, q.text) for q in material.questions] + [*material.corrections, *material.corrections]
    examples = []
    for passage, text in asked:
        kind = "correction" if (passage, text) in material.corrections else "qa"
        for prompt in (text, text, reword(text, material.thesaurus, chance)):
            examples.append(StudyExample(prompt, target[passage], kind, passage))
    return examples


def restatements(material: Material, chance: random.Random) -> list[StudyExample]:
    """Restatements put up for confirmation; the passage confirms or corrects them."""
    return _checks(material, material.restatements, "restatement", chance)


def implications(material: Material, chance: random.Random) -> list[StudyExample]:
    """Implications put up for confirmation."""
    return _checks(material, material.implications, "implication", chance)


def by_writer(material: Material, chance: random.Random) -> list[StudyExample]:
    """What the workspace's trained writer wrote, as written."""
    target = {passage.id: passage.text for passage in material.passages}
    return [StudyExample(prompt, target[passage], "self-edit", passage) for passage, prompt in material.written]


WRITTEN = "written"
"""The strategy that needs a writer."""

STRATEGIES: dict[str, tuple[Maker, ...]] = {
    WRITTEN: (by_writer, own_questions, turned, keywords, cloze, restatements, implications),
    "mixed": (own_questions, turned, keywords, cloze, restatements, implications),
    "interview": (own_questions, turned, keywords),
    "rewrite": (own_questions, restatements, implications, cloze),
}

PRIOR_GAIN = {WRITTEN: 0.70, "mixed": 0.70, "interview": 0.65, "rewrite": 0.40}
_PRIOR_WEIGHT = 4
_EXPLORATION = 0.25


def build(strategy: str, material: Material, seed: int) -> list[StudyExample]:
    """All examples of a strategy, shuffled."""
    if strategy not in STRATEGIES:
        raise InputError(f"No strategy is named {strategy}: choose one of {', '.join(STRATEGIES)}.")
    if strategy == WRITTEN and not material.written:
        raise InputError("This workspace has no writer that was found good: train one with `gradatim seal` first.")
    chance = random.Random(f"{strategy}:{seed}")
    examples = [example for maker in STRATEGIES[strategy] for example in maker(material, chance)]
    chance.shuffle(examples)
    return examples


def choose_strategy(outcomes: Iterable[tuple[str, float]], *, writer: bool = False) -> str:
    """The strategy with the highest upper confidence bound on its gain; `writer`: whether the workspace has one."""
    gains: dict[str, list[float]] = defaultdict(list)
    for strategy, gain in outcomes:
        gains[strategy].append(gain)
    open_ = [name for name in STRATEGIES if writer or name != WRITTEN]
    total = sum(len(gains[name]) + _PRIOR_WEIGHT for name in open_)

    def bound(name: str) -> float:
        count = len(gains[name]) + _PRIOR_WEIGHT
        mean = (PRIOR_GAIN[name] * _PRIOR_WEIGHT + sum(gains[name])) / count
        return mean + _EXPLORATION * math.sqrt(2 * math.log(total) / count)

    return max(open_, key=bound)


def _checks(
    material: Material, texts: Iterable[tuple[str, str]], kind: str, chance: random.Random
) -> list[StudyExample]:
    target = {passage.id: passage.text for passage in material.passages}
    return [
        StudyExample(chance.choice(_CHECKS).format(text.rstrip(". ")), target[passage], kind, passage)
        for passage, text in texts
    ]
