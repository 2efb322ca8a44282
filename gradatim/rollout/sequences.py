"""Confidence sequences: intervals that hold at every look together, so that looking early is legal.

    Difference   two arms' means of a value in [0, 1], arms by coin    betting, design-based
    Mean         one arm's mean of a value in [0, 1]                   betting
    Share        one arm's share of hits                               beta-binomial mixture
    Quantile     one arm's quantile of a positive value                beta-binomial mixture on counts

`interval(alpha)` gives the estimate and two ends, each of which is on the wrong side of the truth at any time, ever,
with chance at most `alpha`. All are exact at every sample size, none is asymptotic. State is of fixed size; an update
takes a batch, and how the data is cut into batches changes nothing beyond rounding.

Repeated values of one subject are dependent and must not be handed in as if they weren't: whoever calls hands in at
most one per subject (`rails.py` does).

Limits: Share and Quantile take their observations as independent with one distribution; Mean and Difference don't, and
speak of the average, over the units so far, of what each was expected to be. That truth may drift, and an earlier
interval says nothing of the present average, so intervals at successive looks are not intersected.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln

from gradatim.rollout.betting import Bets, Floats


class Interval(NamedTuple):
    """Estimate, lower and upper end. Without data the ends are those of what is possible."""

    estimate: float
    low: float
    high: float


@dataclass(slots=True)
class Difference:
    """Mean of the canary less mean of the baseline, of values in [0, 1], where a coin chose each unit's arm.

    A unit with value y scores Z = (y − ŷ)(1[canary]/p − 1[baseline]/(1 − p)), where p is the coin's chance of the
    canary and ŷ a mean of earlier values, whichever arm they came from. Given the past, E[Z] is the difference that the
    canary makes to this unit, whatever the units are and however they drift (Horvitz and Thompson 1952; Ham,
    Bojinov, Lindon and Tingley 2022, "Design-based confidence sequences"). The estimate is the mean of Z; the ends
    are those of its bets (`betting.py`), |Z| ≤ 1 / min(p, 1 − p).
    """

    chance: float  # p
    bets: Bets
    canary: int = 0  # units
    baseline: int = 0
    total: float = 0.0  # Σ y
    score: float = 0.0  # Σ Z

    @classmethod
    def by_coin(cls, chance: float = 0.5) -> Difference:
        """Nothing seen yet; `chance` is that of the canary."""
        return cls(chance, Bets(1 / min(chance, 1 - chance)))

    def update(self, values: ArrayLike, on_canary: ArrayLike) -> Floats:
        """Add units: their values, and whether each was on the canary. Gives their scores Z, which `without` takes.

        Raises ValueError for values outside [0, 1].
        """
        y, canary = _unit_values(values), np.atleast_1d(np.asarray(on_canary, dtype=bool))
        if y.shape != canary.shape:
            raise ValueError(f"{y.size} values for {canary.size} arms")
        expected = _earlier_means(y, self.total, self.canary + self.baseline)
        z = (y - expected) * np.where(canary, 1 / self.chance, -1 / (1 - self.chance))
        self.bets.add(z)
        self.canary += int(canary.sum())
        self.baseline += int((~canary).sum())
        self.total += float(y.sum())
        self.score += float(z.sum())
        return z

    def without(self, part: Difference) -> Difference:
        """As if the units of a part had never come; what was expected of the others is as it was.

        A part is made by `scored`. Which units belong to it must have been settled before their coins.
        """
        bets = Bets(
            self.bets.bound,
            [all_of - own for all_of, own in zip(self.bets.above, part.bets.above, strict=True)],
            [all_of - own for all_of, own in zip(self.bets.below, part.bets.below, strict=True)],
        )
        canary, baseline = self.canary - part.canary, self.baseline - part.baseline
        return Difference(self.chance, bets, canary, baseline, self.total - part.total, self.score - part.score)

    def scored(self, z: Floats, on_canary: NDArray[np.bool_]) -> None:
        """Add units of a part, with the scores that the whole gave them."""
        self.bets.add(z)
        self.canary += int(on_canary.sum())
        self.baseline += int((~on_canary).sum())
        self.score += float(z.sum())

    def interval(self, alpha: float) -> Interval:
        n = self.canary + self.baseline
        if n == 0:
            return Interval(0.0, -1.0, 1.0)
        return _clipped(self.score / n, self.bets.least(alpha) / n, self.bets.most(alpha) / n, -1.0, 1.0)


@dataclass(slots=True)
class Mean:
    """Mean of values in [0, 1]: bets on y − ŷ, ŷ the mean of earlier values, which are bets on y against Σ ŷ."""

    bets: Bets = field(default_factory=lambda: Bets(1.0))
    n: int = 0
    total: float = 0.0  # Σ y
    expected: float = 0.0  # Σ ŷ

    def update(self, values: ArrayLike) -> None:
        """Add units. Raises ValueError for values outside [0, 1]."""
        y = _unit_values(values)
        expected = _earlier_means(y, self.total, self.n)
        self.bets.add(y - expected)
        self.n += y.size
        self.total += float(y.sum())
        self.expected += float(expected.sum())

    def interval(self, alpha: float) -> Interval:
        if self.n == 0:
            return Interval(0.5, 0.0, 1.0)
        low = (self.expected + self.bets.least(alpha)) / self.n
        high = (self.expected + self.bets.most(alpha)) / self.n
        return _clipped(self.total / self.n, low, high, 0.0, 1.0)


@dataclass(slots=True)
class Share:
    """Share of hits: every p in which the mixture of other shares does not make the data 1/α times likelier.

        R(p) = B(½ + hits, ½ + misses) / B(½, ½) / (p^hits (1 − p)^misses) < 1/α

    (Robbins 1970; Howard et al. 2021, proposition 7, with a Beta(½, ½) mixture.)
    """

    hits: int = 0
    misses: int = 0

    def update(self, values: ArrayLike) -> None:
        """Add units, each 0 or 1. Raises ValueError for others."""
        y = _unit_values(values)
        hits = int(y.sum())
        if np.any((y != 0) & (y != 1)):
            raise ValueError("a share is of values that are 0 or 1")
        self.hits += hits
        self.misses += y.size - hits

    def interval(self, alpha: float) -> Interval:
        n = self.hits + self.misses
        if n == 0:
            return Interval(0.5, 0.0, 1.0)
        target = float(_log_evidence(self.hits, n)) + math.log(alpha)

        def excluded(p: float) -> bool:
            return target - _log_likelihood(p, self.hits, self.misses) >= 0

        estimate = self.hits / n
        return Interval(estimate, _edge(estimate, 0.0, excluded), _edge(estimate, 1.0, excluded))


LOWEST, HIGHEST, BIN = 1e-3, 1e4, 1.02
"""The edges of a Quantile's bins: from a thousandth to ten thousand of the unit, 2 % apart."""

_EDGES = LOWEST * BIN ** np.arange(math.ceil(math.log(HIGHEST / LOWEST) / math.log(BIN)) + 1)


@dataclass(slots=True)
class Quantile:
    """A quantile of positive values, such as the latency that 95 of 100 requests keep below.

    Whether a value lies below the true quantile is a coin of chance `level`; every x whose count of values below is
    too far from that, by the test of `Share`, is excluded (Howard and Ramdas 2022, "Sequential estimation of
    quantiles"). Values are kept as counts in bins 2 % wide, and the ends are edges of bins, outwards: 0 and infinity
    where the data can't tell.
    """

    level: float = 0.95
    counts: list[int] = field(default_factory=lambda: [0] * (len(_EDGES) + 1))

    @property
    def n(self) -> int:
        return sum(self.counts)

    def update(self, values: ArrayLike) -> None:
        """Add units. Raises ValueError for values that are negative or not finite."""
        y = np.atleast_1d(np.asarray(values, dtype=float))
        if not np.all(np.isfinite(y) & (y >= 0)):
            raise ValueError("a quantile is of finite values, 0 or more")
        for index in np.searchsorted(_EDGES, y).tolist():
            self.counts[index] += 1

    def interval(self, alpha: float) -> Interval:
        upto = np.cumsum(self.counts)  # of values up to each bin's right edge; the last bin has none
        n = int(upto[-1])
        if n == 0:
            return Interval(0.0, 0.0, math.inf)
        before = np.concatenate(([0], upto[:-1]))
        right = np.append(_EDGES, math.inf)
        left = np.concatenate(([0.0], _EDGES))
        too_low = (upto < n * self.level) & self._excluded(upto, n, alpha)
        too_high = (before > n * self.level) & self._excluded(before, n, alpha)
        at = int(np.argmax(upto >= n * self.level))
        kept = np.flatnonzero(~(too_low | too_high))
        estimate = min(float(right[at]), float(_EDGES[-1]))
        return Interval(estimate, float(left[kept[0]]), float(right[kept[-1]]))

    def _excluded(self, hits: NDArray[np.int_], n: int, alpha: float) -> NDArray[np.bool_]:
        likelihood = hits * math.log(self.level) + (n - hits) * math.log1p(-self.level)
        return np.asarray(_log_evidence(hits, n) - likelihood >= -math.log(alpha))


_BISECTIONS = 40


def _unit_values(values: ArrayLike) -> Floats:
    y = np.atleast_1d(np.asarray(values, dtype=float))
    if not np.all((y >= 0) & (y <= 1)):
        raise ValueError("values must lie in [0, 1]")
    return y


def _earlier_means(y: Floats, total: float, n: int) -> Floats:
    """Before each value the mean of all earlier ones and of one imagined at ½."""
    earlier = total + np.cumsum(y) - y
    means: Floats = (0.5 + earlier) / (1 + n + np.arange(y.size))
    return np.clip(means, 0, 1)  # rounding


def _clipped(estimate: float, low: float, high: float, least: float, most: float) -> Interval:
    estimate = min(max(estimate, least), most)
    return Interval(estimate, max(min(low, estimate), least), min(max(high, estimate), most))


def _log_evidence(hits: ArrayLike, n: int) -> Floats:
    evidence: Floats = betaln(0.5 + np.asarray(hits), 0.5 + n - np.asarray(hits)) - betaln(0.5, 0.5)
    return evidence


def _log_likelihood(p: float, hits: int, misses: int) -> float:
    if (p == 0 and hits) or (p == 1 and misses):
        return -math.inf
    return (hits * math.log(p) if hits else 0.0) + (misses * math.log1p(-p) if misses else 0.0)


def _edge(inside: float, outside: float, excluded: Callable[[float], bool]) -> float:
    """Where `excluded` begins on the way from `inside` to `outside`, by bisection, rounded outwards."""
    if not excluded(outside):
        return outside
    for _ in range(_BISECTIONS):
        middle = (inside + outside) / 2
        if excluded(middle):
            outside = middle
        else:
            inside = middle
    return outside
