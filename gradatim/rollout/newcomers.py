"""How many subjects that nobody saw before the rollout one source may bring into the comparison.

A source can invent subjects, each with a vote. What it brought before the rollout began is its measure: it may bring as
many again, or `least`, whichever is more; further newcomers are served by their arm and counted nowhere. Whether a
subject is counted is settled at its first request, by its source and by how many came before, so it can't depend on the
arm, and the coin stays fair among those who are counted.

Where hardly anybody was seen before (a new server), there is no measure, and everybody counts. Limits: a source that
invents users patiently before the rollout, as many as honest ones have, isn't found here.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Newcomers:
    """Who was let in. `least` None: everybody is."""

    least: int | None = None
    before: dict[str, int] = field(default_factory=dict)  # subjects of each source before the rollout
    came: dict[str, int] = field(default_factory=dict)  # newcomers let in
    inside: set[str] = field(default_factory=set)  # their tokens
    left_out: int = 0  # observations of those who weren't

    @classmethod
    def held_to(cls, before: dict[str, int], least: int) -> Newcomers:
        """By how many subjects each source had; without limits where all together had fewer than `least`."""
        return cls(least, before) if sum(before.values()) >= least else cls()

    def admit(self, token: str, source: str) -> bool:
        """Whether a newcomer counts; the same answer each time."""
        if self.least is None or token in self.inside:
            return True
        if self.came.get(source, 0) >= max(self.least, self.before.get(source, 0)):
            self.left_out += 1
            return False
        self.came[source] = self.came.get(source, 0) + 1
        self.inside.add(token)
        return True
