"""Are the arms as large as meant? If not, rows of one of them get lost, and nothing that is counted can be trusted.

A sample ratio mismatch is the commonest sign of a broken experiment. It is tested at every look, as all else is
(Lindon and Malek 2022, "Anytime-valid inference for multinomial count data"). Limit: it takes every request of the
subjects compared to be observed; where only ratings are handed in, a canary that provokes more of them looks unequal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gradatim.rollout.rails import Evidence, Finding, Value, first
from gradatim.rollout.sequences import Share

UNEQUAL = 0.001
"""The chance that arms of the intended sizes are ever taken for unequal. Beside alpha: it only calls a person."""


@dataclass(slots=True)
class Census:
    """How many subjects each arm has seen. A sample ratio mismatch means that rows of one arm get lost."""

    sides: Share = field(default_factory=Share)  # hits on the canary's
    seen: set[str] = field(default_factory=set)

    def add(self, values: Iterable[Value]) -> None:
        self.sides.update([value.on_canary for value in first(values, self.seen)])

    def evidence(self, chance: float) -> Evidence:
        """Whether the intended chance is still believable (anytime-valid; Lindon and Malek 2022)."""
        found = self.sides.interval(UNEQUAL)
        holds = found.low <= chance <= found.high
        sizes = self.sides.hits, self.sides.misses
        finding: Finding = "pass" if holds else "fail"
        return Evidence("sample ratio", "subjects", "bound", *found, chance, *sizes, UNEQUAL, finding)
