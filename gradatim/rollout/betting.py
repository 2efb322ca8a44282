"""How surely a sum of bounded terms is above or below nothing, at any time: bets that nobody can expect to win.

Let Z_1, Z_2, … lie in [−c, c] and μ_t be the expectation of Z_t given the past. For a fixed λ with |λ| < 1/c

    K_t(λ) = Π (1 + λ Z_i) · exp(−λ μ_i)

is a supermartingale from 1, because E[1 + λ Z] = 1 + λμ ≤ exp(λμ): the wealth of somebody who always bets the fraction
λ on Z being large, in a game that is fair or worse. So is a mean of K over several λ under fixed weights w, and by
Ville's inequality the chance that it ever reaches 1/α is at most α. Turned round: with L_j = Σ log(1 + λ_j Z_i), the
sum M_t = μ_1 + … + μ_t is at every time, with chance 1 − α for all times together, at least the root of

    log Σ_j w_j exp(L_j − λ_j M) = log 1/α

and, from bets on −Z, at most the mirrored root. Nothing is assumed of the μ_i: they may drift. (Betting: Waudby-Smith
and Ramdas 2024, "Estimating means of bounded random variables by betting"; sums of drifting means and weighted
outcomes: Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro 2022, "Anytime-valid off-policy inference for contextual
bandits". There λ follows the data; the mixture of fixed ones here needs no tuning and no order of the data.)

The fractions are FRACTIONS / c. Their weights are a Cauchy curve over log λ around CENTRE, the fraction that is best
for some thousand ratings: at other sample sizes the interval is wider by a few percent, at none is it invalid. The
root is approached from outside, so that stopping early errs on the wide side.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FRACTIONS: Floats = 0.9 * 1.25 ** -np.arange(30.0)
CENTRE, WIDTH = 0.15, 0.5

_curve = 1 / (1 + (np.log(FRACTIONS / CENTRE) / WIDTH) ** 2)
LOG_WEIGHTS: Floats = np.log(_curve / _curve.sum())

_NEWTON_STEPS = 4


def _nothing() -> list[float]:
    return [0.0] * len(FRACTIONS)


@dataclass(slots=True)
class Bets:
    """The log wealth of every bet, for and against; `bound` is c."""

    bound: float
    above: list[float] = field(default_factory=_nothing)  # Σ log(1 + λ Z)
    below: list[float] = field(default_factory=_nothing)  # Σ log(1 − λ Z)

    def add(self, z: Floats) -> None:
        """Bet on each of these, in any order."""
        stakes = np.outer(z, FRACTIONS / self.bound)
        self.above = (np.asarray(self.above) + np.log1p(stakes).sum(axis=0)).tolist()
        self.below = (np.asarray(self.below) + np.log1p(-stakes).sum(axis=0)).tolist()

    def least(self, alpha: float) -> float:
        """A number that the sum of the expectations is ever below with chance at most `alpha`."""
        return _root(np.asarray(self.above), FRACTIONS / self.bound, alpha)

    def most(self, alpha: float) -> float:
        """A number that the sum of the expectations is ever above with chance at most `alpha`."""
        return -_root(np.asarray(self.below), FRACTIONS / self.bound, alpha)


def _root(log_wealth: Floats, fractions: Floats, alpha: float) -> float:
    """Where the mixture is worth 1/alpha. Convex and falling in M, so Newton's steps from the left never pass it."""
    target = -np.log(alpha)
    worth = log_wealth + LOG_WEIGHTS
    at = float(np.max((worth - target) / fractions))
    for _ in range(_NEWTON_STEPS):
        terms = worth - fractions * at
        top = terms.max()
        weights = np.exp(terms - top)
        total = weights.sum()
        at += float((top + np.log(total) - target) * total / (weights @ fractions))
    return at
