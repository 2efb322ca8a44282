"""Edits, what their trainings were worth, and which of them are better beyond noise.

    moved, reliability = shrunk(rewarded)
    best(moved, task=0, most=2)

Limits: noise is that of the trainings' seeds; which questions are asked is taken as given.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from gradatim.model.packing import Pair


@dataclass(frozen=True, slots=True)
class Edit:
    """What the model wrote: the whole text, and what is studied of it and how fast."""

    text: str
    kind: str
    pairs: tuple[Pair, ...]
    learning_rate: float
    positions: int | None = None  # to study; as many as the plan says where the edit doesn't
    heading: str = ""  # how the text begins, where that is settings and what follows is material


@dataclass(frozen=True, slots=True)
class Rewarded:
    """An edit with the reward of each of its trainings, and what it is taken to be worth beside others of its task.

    That is its mean shrunk towards theirs, in nats, or what `recipes/forecast.py` expects, in -log(1 - nats).
    """

    edit: Edit
    task: int
    rewards: tuple[float, ...]  # none where it was not tried
    shrunk: float = 0.0


def best(rewarded: Sequence[Rewarded], task: int, most: int) -> list[Rewarded]:
    """The task's edits with the highest shrunken means; the plain means decide where these are equal."""
    own = [one for one in rewarded if one.task == task]
    return sorted(own, key=lambda one: (-one.shrunk, -statistics.mean(one.rewards or (-math.inf,))))[:most]


def shrunk(rewarded: Sequence[Rewarded]) -> tuple[list[Rewarded], float]:
    """Each mean moved towards its task's by 1 − reliability, and the reliability of these means.

    With one training of each edit nothing is known of noise: the means are taken as they are, and 1 is told.

    Two-way analysis of variance within tasks, edits by seeds: the variance between edits' means, less what the noise of
    their trainings would make of equal edits, over itself. What a seed does to all edits of a task alike is no noise,
    for it moves none of them past another. All edits of a task have rewards of the same seeds.
    """
    tasks = {one.task for one in rewarded}
    centre, spread, noise, freedom = dict[int, float](), 0.0, 0.0, 0
    for task in tasks:
        rewards = [one.rewards for one in rewarded if one.task == task]
        means, seeds = (
            [statistics.mean(row) for row in rewards],
            [statistics.mean(column) for column in zip(*rewards, strict=True)],
        )
        whole = centre[task] = statistics.mean(means)
        spread += sum((mean - whole) ** 2 for mean in means)
        left = [
            value - mean - seed + whole
            for row, mean in zip(rewards, means, strict=True)
            for value, seed in zip(row, seeds, strict=True)
        ]
        noise += sum(value**2 for value in left) / len(seeds)
        freedom += (len(rewards) - 1) * (len(seeds) - 1)
    observed = spread / max(1, len(rewarded) - len(tasks))
    reliability = max(0.0, 1 - noise / max(1, freedom) / observed) if observed else 0.0
    moved = []
    for one in rewarded:
        mean = centre[one.task] + reliability * (statistics.mean(one.rewards) - centre[one.task])
        moved.append(Rewarded(one.edit, one.task, one.rewards, mean))
    return moved, reliability


def bundles(entered: Sequence[tuple[int, str | None]], turn: int = 0) -> list[list[tuple[int, bool]]]:
    """Which edits are studied together, by their numbers: one of each task of a book, or one alone without a book.

    `entered` holds the task and the book of each edit. Every edit counts exactly once; where a task has fewer than
    others of its book, its own come again and don't count. `turn` chooses the company.
    """
    books: dict[object, dict[int, list[int]]] = {}
    for i, (task, book) in enumerate(entered):
        books.setdefault(("alone", task) if book is None else book, {}).setdefault(task, []).append(i)
    made = []
    for of_task in books.values():
        for row in range(max(map(len, of_task.values()))):
            places = (
                (row + turn * place if row < len(own) else row, own) for place, own in enumerate(of_task.values())
            )
            made.append([(own[at % len(own)], row < len(own)) for at, own in places])
    return made
