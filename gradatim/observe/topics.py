"""Which claims speak of the same thing: content words in common, the rare ones counting more.

A word's weight is log((n + 1) / (df + 1/2)), the inverse document frequency over the claims that are compared with:
what every sentence of a handbook says, its subject above all, tells little about which of them is meant.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from gradatim.observe.claims import Claim


@dataclass(frozen=True, slots=True)
class Likeness:
    """When two claims speak of the same thing: so many words in common, and that share of the smaller claim.

    With fewer words in common, when both have the same words; or, if `brief`, when one has no others.
    """

    words: int
    coverage: float
    brief: bool


class Topics:
    """The weights of words over a body of claims."""

    def __init__(self, claims: Iterable[Claim]) -> None:
        bodies = [claim.words for claim in claims]
        frequency = Counter(word for words in bodies for word in words)
        self._unseen = math.log((len(bodies) + 1) / 0.5)
        self._weights = {word: math.log((len(bodies) + 1) / (count + 0.5)) for word, count in frequency.items()}

    def coverage(self, first: Claim, second: Claim) -> float:
        """The share, by weight, of the words of the smaller claim that the other has too; in [0, 1]."""
        smaller = min(self._weight(first.words), self._weight(second.words))
        return self._weight(first.words & second.words) / smaller if smaller > 0 else 0.0

    def alike(self, first: Claim, second: Claim, least: Likeness) -> bool:
        """Whether two claims are at least that much alike."""
        shared = first.words & second.words
        if len(shared) >= least.words:
            return self.coverage(first, second) >= least.coverage
        complete = first.words == second.words or (least.brief and shared in (first.words, second.words))
        return bool(shared) and complete

    def _weight(self, words: Iterable[str]) -> float:
        return sum(self._weights.get(word, self._unseen) for word in words)
