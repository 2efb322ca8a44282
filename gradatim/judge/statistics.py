"""Intervals for paired right–wrong comparisons.

A gain is (b − c) / n, where b questions were won and c lost by the candidate among n asked of both. Given that b + c
questions changed, b is binomial, so the exact (Clopper–Pearson) interval for b / (b + c) carries over to the gain:
the interval that belongs to McNemar's exact test. It is conservative for few changes, as a gate should be.
"""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import binomtest

Interval = tuple[float, float, float]
"""Estimate, lower and upper end."""


def paired_gain(before: Sequence[bool], after: Sequence[bool], confidence: float) -> Interval:
    """Gain in the share right, with its interval. Raises ValueError when the two are not of one length."""
    pairs = list(zip(before, after, strict=True))
    won = sum(new and not old for old, new in pairs)
    lost = sum(old and not new for old, new in pairs)
    if not pairs:
        return 0.0, -1.0, 1.0
    if won + lost == 0:
        return 0.0, *_unchanged(len(pairs), confidence)
    share = binomtest(won, won + lost).proportion_ci(confidence, method="exact")
    scale = (won + lost) / len(pairs)
    return (won - lost) / len(pairs), (2 * share.low - 1) * scale, (2 * share.high - 1) * scale


def share(hits: int, of: int, confidence: float) -> Interval:
    """A share with its Wilson interval; unknown when nothing was asked."""
    if of == 0:
        return 0.0, 0.0, 1.0
    interval = binomtest(hits, of).proportion_ci(confidence, method="wilson")
    return hits / of, float(interval.low), float(interval.high)


def _unchanged(asked: int, confidence: float) -> tuple[float, float]:
    """Nothing changed: the gain is at most what `asked` unchanged questions can't rule out, either way."""
    bound = float(binomtest(0, asked).proportion_ci(confidence, method="exact").high)
    return -bound, bound
