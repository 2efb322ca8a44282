"""What an edit would be worth that was never tried, from what others like it were worth.

    traits = [dialect.traits(one.edit) for one in tried]
    forecast(rewarded, [(edit, task), ...], dialect.traits)   # all of them, `shrunk` being what is expected

Where an edit is settings and not text, its parts come again from task to task: a rate that ruined one will ruin the
next. A Gaussian process (Rasmussen and Williams, 2006, chapter 2) over edits takes that up. Two edits are alike by the
square of the share of traits that they have in common, so it sees pairs of traits too; what a task has of its own is a
second process of the same likeness within the task, and the rest is the noise of training. The three variances are
those under which the rewards are likeliest. Rewards are taken as -log(1 - reward), for the difference between 40 and
80 nats below certainty is nothing beside that between 0 and 4.

Limits: rewards are log-probabilities and what is taken off them, so never above 0. The cube of the number of rewards
decides what it costs: a second for a thousand.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from gradatim.recipes.rewards import Edit, Rewarded

Array = NDArray[np.float64]

_STARTS = ((0.5, 0.2, 0.3), (0.2, 0.5, 0.3))
_LEAST, _MOST = 1e-3, 20.0
"""Bounds of the three variances, the rewards' own being 1."""


def forecast(
    rewarded: Sequence[Rewarded], untried: Sequence[tuple[Edit, int]], traits: Callable[[Edit], tuple[str, ...]]
) -> list[Rewarded]:
    """All edits, tried and untried ones, with what is expected of them as `shrunk`, in -log(1 - nats) about 0.

    All tell equally many traits, each in its place. Raises ValueError where nothing was tried, or a reward is above 0.
    """
    seen = [(one, reward) for one in rewarded for reward in one.rewards]
    if not seen:
        raise ValueError("nothing was tried, so nothing can be expected")
    if max(reward for _, reward in seen) > 0:
        raise ValueError("rewards are log-probabilities, never above 0")
    worth = np.array([-math.log1p(-reward) for _, reward in seen])
    tasks = np.array([one.task for one, _ in seen])
    middle = {task: statistics.mean(worth[tasks == task]) for task in set(tasks.tolist())}
    worth -= [middle[task] for task in tasks]
    scale = float(worth.std()) or 1.0
    asked = [*rewarded, *(Rewarded(edit, task, ()) for edit, task in untried)]
    alike = _alike([one.edit for one, _ in seen], [one.edit for one, _ in seen], traits)
    same = tasks[:, None] == tasks[None, :]
    shared, own, noise = _variances(worth / scale, alike, same)
    factor = cho_factor(alike * (shared + own * same) + noise * np.eye(len(seen)))
    of_asked = _alike([one.edit for one in asked], [one.edit for one, _ in seen], traits)
    here = np.array([one.task for one in asked])[:, None] == tasks[None, :]
    expected = of_asked * (shared + own * here) @ cho_solve(factor, worth)
    return [replace(one, shrunk=float(value)) for one, value in zip(asked, expected, strict=True)]


def _alike(edits: Sequence[Edit], others: Sequence[Edit], traits: Callable[[Edit], tuple[str, ...]]) -> Array:
    """The square of the share of common traits, [E, O]."""
    rows, columns = np.array([traits(one) for one in edits]), np.array([traits(one) for one in others])
    found: Array = np.mean(rows[:, None, :] == columns[None, :, :], axis=-1) ** 2
    return found


def _variances(worth: Array, alike: Array, same: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Of what all tasks share, of what each has of its own, and of noise: those that make `worth` likeliest."""

    def surprise(logs: Array) -> float:
        shared, own, noise = np.exp(logs)
        lower = np.linalg.cholesky(alike * (shared + own * same) + noise * np.eye(len(worth)))
        white = np.linalg.solve(lower, worth)
        return float(white @ white / 2 + np.log(np.diag(lower)).sum())

    bounds = [(math.log(_LEAST), math.log(_MOST))] * 3
    found = [minimize(surprise, np.log(start), method="L-BFGS-B", bounds=bounds) for start in _STARTS]
    shared, own, noise = np.exp(min(found, key=lambda one: float(one.fun)).x)
    return float(shared), float(own), float(noise)
