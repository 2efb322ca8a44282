"""What an edit would be worth that was never tried, from what others like it were worth.

    forecast(tried, [(edit, task), ...], dialect.traits)   # all of them, `shrunk` being what is expected

Where an edit is settings and not text, its parts come again from task to task: a rate that ruined one will ruin the
next. A Gaussian process (Rasmussen and Williams, 2006, chapter 2) over edits takes that up. Two edits are alike by the
square of the share of traits that they have in common, so it sees pairs of traits too; what a task has of its own is a
second process of the same likeness within the task, and the rest is the noise of training. The three variances are
those under which the rewards are likeliest; how hard a task is may be anything. Rewards are taken as -log(1 - reward),
for the difference between 40 and 80 nats below certainty is nothing beside that between 0 and 4.

Limits: rewards are log-probabilities and what is taken off them, so never above 0. What a seed does to all edits of a
task alike counts as noise. The cost grows with the cube of the number of rewards: seconds for a thousand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from gradatim.recipes.rewards import Edit, Rewarded

Array = NDArray[np.float64]

_STARTS = ((0.5, 0.2, 0.3), (0.2, 0.5, 0.3))
_LEAST, _MOST = 1e-3, 20.0
"""Bounds of the three variances, the rewards' own being 1."""
_HARDNESS = 100.0
"""Variance of what is alike for all edits of a task: so wide that it is taken as it comes."""


def forecast(
    rewarded: Sequence[Rewarded], untried: Sequence[tuple[Edit, int]], traits: Callable[[Edit], tuple[str, ...]]
) -> list[Rewarded]:
    """All edits, tried and untried ones, with what is expected of them as `shrunk`: -log(1 - nats), beside their task.

    All tell equally many traits, each in its place. A training that broke counts as much as the worst other one.
    Raises ValueError where nothing was tried, or a reward is above 0.
    """
    seen = [(one, reward) for one in rewarded for reward in one.rewards]
    sound = [reward for _, reward in seen if math.isfinite(reward)]
    if not sound:
        raise ValueError("nothing was tried, so nothing can be expected")
    if max(sound) > 0:
        raise ValueError("rewards are log-probabilities, never above 0")
    worst = min(sound)
    worth = np.array([-math.log1p(-reward if math.isfinite(reward) else -worst) for _, reward in seen])
    worth -= worth.mean()
    scale = float(worth.std()) or 1.0
    tasks = np.array([one.task for one, _ in seen])
    asked = [*rewarded, *(Rewarded(edit, task, ()) for edit, task in untried)]
    alike = _alike([one.edit for one, _ in seen], [one.edit for one, _ in seen], traits)
    same = tasks[:, None] == tasks[None, :]
    shared, own, noise = _variances(worth / scale, alike, same)
    factor = cho_factor(_covariance(alike, same, shared, own, noise))
    of_asked = _alike([one.edit for one in asked], [one.edit for one, _ in seen], traits)
    here = np.array([one.task for one in asked])[:, None] == tasks[None, :]
    expected = of_asked * (shared + own * here) @ cho_solve(factor, worth)
    return [replace(one, shrunk=float(value)) for one, value in zip(asked, expected, strict=True)]


def _alike(edits: Sequence[Edit], others: Sequence[Edit], traits: Callable[[Edit], tuple[str, ...]]) -> Array:
    """The square of the share of common traits, [E, O]."""
    rows, columns = np.array([traits(one) for one in edits]), np.array([traits(one) for one in others])
    found: Array = np.mean(rows[:, None, :] == columns[None, :, :], axis=-1) ** 2
    return found


def _covariance(alike: Array, same: NDArray[np.bool_], shared: float, own: float, noise: float) -> Array:
    """Of the rewards of tried edits; beside the processes stands how hard each task is."""
    found: Array = alike * (shared + own * same) + _HARDNESS * same + noise * np.eye(len(alike))
    return found


def _variances(worth: Array, alike: Array, same: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Of what all tasks share, of what each has of its own, and of noise: those that make `worth` likeliest."""

    def surprise(logs: Array) -> float:
        shared, own, noise = np.exp(logs)
        lower = np.linalg.cholesky(_covariance(alike, same, shared, own, noise))
        white = solve_triangular(lower, worth, lower=True)
        return float(white @ white / 2 + np.log(np.diag(lower)).sum())

    bounds = [(math.log(_LEAST), math.log(_MOST))] * 3
    found = [minimize(surprise, np.log(start), method="L-BFGS-B", bounds=bounds) for start in _STARTS]
    shared, own, noise = np.exp(min(found, key=lambda one: float(one.fun)).x)
    return float(shared), float(own), float(noise)
