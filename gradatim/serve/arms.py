"""How each arm of a rollout was rated as time went on, with a band that holds at every moment together.

For people to look at; decisions rest on the difference (`rollout/rails.py`), whose arms a coin made alike. Here every
user counts once in an arm, with the first rating, from 0 for the worst value to 1 for the best, whenever it came. Who
was in an arm early may differ from who was there late, so that two arms of different ages are no fair comparison: the
canary and its baseline are of the same age, `live` is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from gradatim.rollout.sequences import Mean
from gradatim.store.rollouts import Rated

CONFIDENCE = 0.95
POINTS = 60
"""Moments that are told of each arm, at most."""


def arms_over_time(rated: Sequence[Rated], unit: Callable[[float], float]) -> list[dict[str, Any]]:
    """Each arm's mean at some moments; `unit` makes a value one from 0 to 1."""
    arms: dict[str, list[Rated]] = {}
    seen: set[tuple[str, str]] = set()
    for one in rated:
        if (one.arm, one.subject) not in seen:
            seen.add((one.arm, one.subject))
            arms.setdefault(one.arm, []).append(one)
    return [{"arm": arm, "points": _means(ratings, unit)} for arm, ratings in sorted(arms.items())]


def _means(ratings: Sequence[Rated], unit: Callable[[float], float]) -> list[dict[str, Any]]:
    mean, told = Mean(), []
    step = max(1, -(-len(ratings) // POINTS))
    for begin in range(0, len(ratings), step):
        part = ratings[begin : begin + step]
        mean.update([unit(one.value) for one in part])
        found = mean.interval((1 - CONFIDENCE) / 2)
        at = datetime.fromisoformat(part[-1].at).timestamp()
        told.append({"at": at, "users": mean.n, "mean": found.estimate, "low": found.low, "high": found.high})
    return told
