"""How far a sum of bounded, mean-zero steps may stray, at any time, with a given chance: the width of a sequence.

Let S_t be a sum of martingale differences, each at least −c, and V_t the sum of their squares. Then for every λ in
[0, 1/c) the product exp(λ S_t − ψ(λ) V_t), with ψ(λ) = (−log(1 − cλ) − cλ) / c², is a supermartingale (Fan, Grama and
Liu 2015; Howard, Ramdas, McAuliffe and Sekhon 2021, theorem 4 and its proof), and so is its mean over λ under any
weights. With a gamma density for 1/c − λ, truncated to λ ≥ 0, that mean is closed (the same, proposition 9,
"gamma-exponential mixture"): with k = ρ/c², a = (v + ρ)/c² and x = a + s/c,

    log m(s, v) = k log k − log Γ(k) − log P(k, k) + log Γ(a) + log P(a, x) − a log x + (cs + v)/c²

where P is the regularised lower incomplete gamma function. By Ville's inequality the chance that S_t ever reaches
u(V_t), the s at which m(s, V_t) = 1/α, is at most α: over all t at once, so that looking early and stopping are free.

ρ says at which V the boundary is tightest; any ρ is valid. `Boundary` inverts m once on a fine grid of v and takes the
next node above, which errs on the wide side by less than 0.3 %.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammainc, gammaln, lambertw

Floats = NDArray[np.float64]

_STEP = 1.005  # from one node of the grid to the next
_BISECTIONS = 60


def log_mixture(s: ArrayLike, v: ArrayLike, rho: float, scale: float) -> Floats:
    """log m(s, v) for s ≥ 0, v ≥ 0, element by element; `scale` is c."""
    s, v = np.asarray(s, dtype=float), np.asarray(v, dtype=float)
    k, a = rho / scale**2, (v + rho) / scale**2
    x = a + s / scale
    prior = k * np.log(k) - gammaln(k) - np.log(gammainc(k, k))
    mixed = prior + gammaln(a) + np.log(gammainc(a, x)) - a * np.log(x) + (scale * s + v) / scale**2
    return np.asarray(mixed)


def tuned(v: float, alpha: float) -> float:
    """The ρ whose boundary is about the tightest at V = `v` (Howard et al. 2021, proposition 3, one-sided)."""
    return v / float(-lambertw(-((2 * alpha) ** 2) / np.e, -1).real - 1)


def invert(v: ArrayLike, alpha: float, rho: float, scale: float) -> Floats:
    """u(v), the s at which m(s, v) = 1/α, by bisection, rounded upwards."""
    v = np.asarray(v, dtype=float)
    target = -np.log(alpha)
    reach = target + 0.5 * np.log1p(v / rho) + 10
    low, high = np.zeros_like(v), 2 * (np.sqrt(2 * v * reach) + scale * reach)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        over = log_mixture(middle, v, rho, scale) >= target
        low, high = np.where(over, low, middle), np.where(over, middle, high)
    return high


@dataclass(frozen=True, slots=True)
class Boundary:
    """u(v) for one α, scale and tuning, from a grid. Make one with `boundary`, which keeps it."""

    alpha: float
    rho: float
    scale: float
    nodes: Floats = field(repr=False)
    values: Floats = field(repr=False)

    def __call__(self, v: ArrayLike) -> Floats:
        """How far the sum may stray at V = v; exact beyond the grid."""
        v = np.asarray(v, dtype=float)
        found = self.values[np.minimum(np.searchsorted(self.nodes, v), len(self.nodes) - 1)]
        beyond = v > self.nodes[-1]
        if not beyond.any():
            return found
        return np.where(beyond, invert(v, self.alpha, self.rho, self.scale), found)


@lru_cache(maxsize=256)
def boundary(alpha: float, scale: float, tuned_at: float) -> Boundary:
    """The boundary of chance `alpha` in (0, 0.5) for steps ≥ −`scale`, tightest at V = `tuned_at`."""
    rho = tuned(tuned_at, alpha)
    nodes = np.concatenate(([0.0], tuned_at * _STEP ** np.arange(-1600, 2401)))
    return Boundary(alpha, rho, scale, nodes, invert(nodes, alpha, rho, scale))
