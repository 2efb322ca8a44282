"""Edit strategies: named mixtures of study material, and the choice among them by what they achieved.

A strategy is a few makers in a row. After each step its gain on sealed questions is recorded; the next step takes the
one with the highest upper confidence bound (UCB1, Auer et al. 2002), starting from prior gains, counted as a few
observations each. So the vetted one is taken first, and left when it disappoints. Only the first prior is near a
measured gain; the other two are guesses that keep these strategies behind it until evidence says otherwise.
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


STRATEGIES: dict[str, tuple[Maker, ...]] = {
    "mixed": (own_questions, turned, keywords, cloze, restatements, implications),
    "interview": (own_questions, turned, keywords),
    "rewrite": (own_questions, restatements, implications, cloze),
}

PRIOR_GAIN = {"mixed": 0.70, "interview": 0.65, "rewrite": 0.40}
_PRIOR_WEIGHT = 4
_EXPLORATION = 0.25


def build(strategy: str, material: Material, seed: int) -> list[StudyExample]:
    """All examples of a strategy, shuffled."""
    if strategy not in STRATEGIES:
        raise InputError(f"No strategy is named {strategy}: choose one of {', '.join(STRATEGIES)}.")
    chance = random.Random(f"{strategy}:{seed}")
    examples = [example for maker in STRATEGIES[strategy] for example in maker(material, chance)]
    chance.shuffle(examples)
    return examples


def choose_strategy(outcomes: Iterable[tuple[str, float]]) -> str:
    """The strategy with the highest upper confidence bound on its gain."""
    gains: dict[str, list[float]] = defaultdict(list)
    for strategy, gain in outcomes:
        gains[strategy].append(gain)
    total = sum(len(gains[name]) + _PRIOR_WEIGHT for name in STRATEGIES)

    def bound(name: str) -> float:
        count = len(gains[name]) + _PRIOR_WEIGHT
        mean = (PRIOR_GAIN[name] * _PRIOR_WEIGHT + sum(gains[name])) / count
        return mean + _EXPLORATION * math.sqrt(2 * math.log(total) / count)

    return max(STRATEGIES, key=bound)


def _checks(
    material: Material, texts: Iterable[tuple[str, str]], kind: str, chance: random.Random
) -> list[StudyExample]:
    target = {passage.id: passage.text for passage in material.passages}
    return [
        StudyExample(chance.choice(_CHECKS).format(text.rstrip(". ")), target[passage], kind, passage)
        for passage, text in texts
    ]
