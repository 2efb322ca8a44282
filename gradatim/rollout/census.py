"""Are the arms as large as meant? If not, rows of one of them get lost, and nothing that is counted can be trusted.

A sample ratio mismatch is the commonest sign of a broken experiment. It is tested at every look, as all else is
(Lindon and Malek 2022, "Anytime-valid inference for multinomial count data"). Limit: it takes every request of the
subjects compared to be observed; where only ratings are handed in, a canary that provokes more of them looks unequal.

Those whose value the goal has counted are tested likewise. The coin is fair among everybody who asks, and among those
who rate only if both arms are rated as often: where unhappy users of one arm say nothing, it looks better than it is.
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
    rated: Share = field(default_factory=Share)  # likewise, of the subjects that the goal has counted
    seen: set[str] = field(default_factory=set)

    def add(self, values: Iterable[Value]) -> None:
        self.sides.update([value.on_canary for value in first(values, self.seen)])

    def count_rated(self, canary: int, baseline: int) -> None:
        """So many more subjects of each side were counted by the goal."""
        self.rated.hits += canary
        self.rated.misses += baseline

    def evidence(self, chance: float, goal: str) -> tuple[Evidence, Evidence]:
        """Whether the intended chance is still believable (anytime-valid; Lindon and Malek 2022): of all, of raters."""
        return _ratio("sample ratio", "subjects", self.sides, chance), _ratio("goal ratio", goal, self.rated, chance)


def _ratio(name: str, metric: str, counted: Share, chance: float) -> Evidence:
    found = counted.interval(UNEQUAL)
    finding: Finding = "pass" if found.low <= chance <= found.high else "fail"
    return Evidence(name, metric, "bound", *found, chance, counted.hits, counted.misses, UNEQUAL, finding)
