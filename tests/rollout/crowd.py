"""Simulated users of a rollout, an hour at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from gradatim.rollout.events import Event, Row
from gradatim.rollout.rollout import Rollout
from gradatim.rollout.settings import Settings, Step

KEY = b"a key that nobody knows"
HOUR = 3600.0

QUICK = Settings(
    steps=(Step(0.1, margin=0.3, units=20), Step(0.3, margin=0.2, units=20), Step(0.5, margin=0.15, units=20)),
    rails=(),
    deadline=100 * HOUR,
    watch=5 * HOUR,
    holdback=0.2,
    warm=10 * HOUR,
)
"""Steps that few users decide."""

Measure = Callable[[np.random.Generator, bool], Mapping[str, float]]
"""What is measured of one answer, of the canary's or the baseline's."""


def started(settings: Settings = QUICK) -> Rollout:
    return Rollout.start(settings, "old", "new", KEY, 0.0)[0]


def thumbs(canary: float, baseline: float = 0.7) -> Measure:
    """Ratings, up or down."""
    return lambda random, on_canary: {"rating": float(random.random() < (canary if on_canary else baseline))}


class Crowd:
    """So many answers an hour, each to somebody new."""

    def __init__(self, rollout: Rollout, measure: Measure, an_hour: int = 300, seed: int = 0) -> None:
        self.rollout, self.measure, self.an_hour = rollout, measure, an_hour
        self.random = np.random.default_rng(seed)
        self.hour = 0
        self.met = 0

    def rows(self, settled: str = "user") -> list[Row]:
        rows = []
        for _ in range(self.an_hour):
            self.met += 1
            subject = f"{settled} {self.met}"
            on_canary = self.rollout.arm(subject) == "canary" or self.rollout.mirrors(subject)
            rows.append(Row(subject, self.rollout.wave, self.measure(self.random, on_canary)))
        return rows

    def live(self, hours: int) -> list[Event]:
        """Hours of use with a look after each; ends early when the rollout does, or waits for a person."""
        events = []
        for _ in range(hours):
            self.hour += 1
            self.rollout.observe(self.rows(), self.hour * HOUR)
            events += self.rollout.decide(self.hour * HOUR)
            if not self.rollout.open or self.rollout.paused:
                break
        return events
