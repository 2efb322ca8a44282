"""Intervals for paired right–wrong comparisons.

A gain is (b − c) / n, where b questions were won and c lost by the candidate among n asked of both. Its interval is the
outer of two: the exact (Clopper–Pearson) one for b given that b + c questions changed, which belongs to McNemar's exact
test, and that of Bonett and Price (2012), which lets the number of changed questions be chance as well. The first alone
ends at the estimate when nothing was lost. Conservative for few changes, as a gate should be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.stats import binomtest, norm

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
    low, high = _unconditional(won, lost, len(pairs), confidence)
    exact_low, exact_high = (2 * share.low - 1) * scale, (2 * share.high - 1) * scale
    return (won - lost) / len(pairs), max(-1.0, min(low, exact_low)), min(1.0, max(high, exact_high))


def share(hits: int, of: int, confidence: float) -> Interval:
    """A share with its Wilson interval; unknown when nothing was asked."""
    if of == 0:
        return 0.0, 0.0, 1.0
    interval = binomtest(hits, of).proportion_ci(confidence, method="wilson")
    return hits / of, float(interval.low), float(interval.high)


def _unconditional(won: int, lost: int, asked: int, confidence: float) -> tuple[float, float]:
    """Bonett and Price (2012): the number of changed questions is chance as well, and with no losses most of it."""
    up, down = (won + 1) / (asked + 2), (lost + 1) / (asked + 2)
    spread = math.sqrt((up + down - (up - down) ** 2) / (asked + 2))
    reach = float(norm.ppf((1 + confidence) / 2)) * spread
    return up - down - reach, up - down + reach


def _unchanged(asked: int, confidence: float) -> tuple[float, float]:
    """Nothing changed: the gain is at most what `asked` unchanged questions can't rule out, either way."""
    bound = float(binomtest(0, asked).proportion_ci(confidence, method="exact").high)
    return -bound, bound
