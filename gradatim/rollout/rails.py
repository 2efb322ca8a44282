"""One test for the goal and for each rail: what it counts, what it knows, and what follows.

A test counts each subject once in an epoch, with the first value it sees of it; later ones are dropped. So repeated
ratings by one person are never taken for independent ones, and nobody has more than one vote. What is estimated is
the mean over subjects, not over requests.

Who is a subject, is the word of a source. The goal and the floors under slices therefore know what each source
contributed, so that they can be asked what would be found without one: a finding that hangs on a single source is left
to a person.

Limits: a loss that only shows in later answers to the same person is not seen. A test keeps a 16-digit token of each
subject that it counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from gradatim.errors import InputError
from gradatim.rollout.sequences import Difference, Interval, Mean, Quantile, Share
from gradatim.rollout.settings import Goal, Rail

MOST_SOURCES = 64
"""Sources whose part is known; those that come later are never left out alone."""

Finding = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a decision rested on: one interval, and what it was held to."""

    name: str  # "goal" or the rail's
    metric: str
    against: str  # "baseline" or "bound"
    estimate: float
    low: float
    high: float
    limit: float
    canary: int  # subjects counted
    baseline: int
    alpha: float  # chance that either end ever errs, in this epoch
    finding: Finding


class Value(NamedTuple):
    """One value of one subject, on its way into a test."""

    subject: str  # its token
    on_canary: bool
    value: float
    source: str = ""


@dataclass(slots=True)
class AgainstBaseline:
    """A mean or share, canary less baseline."""

    low: float
    high: float
    difference: Difference
    seen: set[str] = field(default_factory=set)
    parts: dict[str, Difference] | None = None  # of each source, where it is asked whether one of them decides

    def add(self, values: Iterable[Value]) -> None:
        fresh = first(values, self.seen)
        scaled = _scaled([value.value for value in fresh], self.low, self.high)
        on_canary = np.array([value.on_canary for value in fresh], dtype=bool)
        z = self.difference.update(scaled, on_canary)
        if self.parts is None:
            return
        for source in {value.source for value in fresh}:
            if source in self.parts or len(self.parts) < MOST_SOURCES:
                own = np.array([value.source == source for value in fresh])
                part = self.parts.setdefault(source, Difference.by_coin(self.difference.chance))
                part.scored(z[own], on_canary[own])

    def without_each(self) -> Iterator[tuple[str, AgainstBaseline]]:
        """The same test without each source that gave at most half of the units."""
        for source, part in sorted((self.parts or {}).items()):
            if 2 * (part.canary + part.baseline) <= sum(self.units):
                yield source, AgainstBaseline(self.low, self.high, self.difference.without(part))

    def interval(self, alpha: float) -> Interval:
        width = self.high - self.low
        return Interval(*(width * end for end in self.difference.interval(alpha)))

    @property
    def units(self) -> tuple[int, int]:
        return self.difference.canary, self.difference.baseline


@dataclass(slots=True)
class AgainstBound:
    """A mean, share or quantile of the canary alone."""

    low: float
    high: float
    sequence: Mean | Share | Quantile
    counted: int = 0
    seen: set[str] = field(default_factory=set)

    def add(self, values: Iterable[Value]) -> None:
        fresh = first((value for value in values if value.on_canary), self.seen)
        plain = [value.value for value in fresh]
        self.counted += len(plain)
        self.sequence.update(_scaled(plain, self.low, self.high) if isinstance(self.sequence, Mean) else plain)

    def interval(self, alpha: float) -> Interval:
        found = self.sequence.interval(alpha)
        if not isinstance(self.sequence, Mean):
            return found
        return Interval(*(self.low + (self.high - self.low) * end for end in found))

    @property
    def units(self) -> tuple[int, int]:
        return self.counted, 0


@dataclass(slots=True)
class QuantileRatio:
    """A quantile of the canary over that of the baseline; each end of each is given half of the chance to err."""

    on_canary: Quantile
    on_baseline: Quantile
    seen: set[str] = field(default_factory=set)

    def add(self, values: Iterable[Value]) -> None:
        fresh = first(values, self.seen)
        self.on_canary.update([value.value for value in fresh if value.on_canary])
        self.on_baseline.update([value.value for value in fresh if not value.on_canary])

    def interval(self, alpha: float) -> Interval:
        if not all(self.units):
            return Interval(1.0, 0.0, math.inf)
        canary, baseline = self.on_canary.interval(alpha / 2), self.on_baseline.interval(alpha / 2)
        high = canary.high / baseline.low if baseline.low else math.inf
        return Interval(canary.estimate / baseline.estimate, canary.low / baseline.high, high)

    @property
    def units(self) -> tuple[int, int]:
        return self.on_canary.n, self.on_baseline.n


Test = AgainstBaseline | AgainstBound | QuantileRatio


def test_of(rail: Rail | Goal, chance: float) -> Test:
    """A test that has seen nothing; `chance` is that of the canary in this epoch's coin."""
    if isinstance(rail, Goal):
        return AgainstBaseline(rail.low, rail.high, Difference.by_coin(chance), parts={})
    if rail.against == "bound":
        return AgainstBound(rail.low, rail.high, _sequence(rail))
    if rail.statistic == "quantile":
        return QuantileRatio(Quantile(rail.quantile), Quantile(rail.quantile))
    # What a slice is rated, a single source may have said: errors, seconds and tokens are measured here.
    return AgainstBaseline(rail.low, rail.high, Difference.by_coin(chance), parts=None if rail.slice is None else {})


def check_rail(rail: Rail, test: Test, alpha: float) -> Evidence:
    """What the test says of the rail's limit: beyond it, inside it, or not known."""
    found = test.interval(alpha)
    beyond, inside = found.low > rail.limit, found.high <= rail.limit
    if rail.worse == "lower":
        beyond, inside = found.high < rail.limit, found.low >= rail.limit
    finding: Finding = "fail" if beyond else "pass" if inside else "inconclusive"
    return Evidence(rail.name, rail.metric, rail.against, *found, rail.limit, *test.units, alpha, finding)


def check_goal(goal: Goal, margin: float, final_margin: float, test: Test, alpha: float) -> Evidence:
    """Worse beyond chance is a failure, unless the loss is shown to be smaller than the final margin.

    To pass, losses of `margin` are excluded, and at the final margin the least gain is shown as well, where one is
    asked for.
    """
    found = test.interval(alpha)
    no_worse = found.low > -margin
    if margin == final_margin and goal.least_gain is not None:
        no_worse = no_worse and found.low > goal.least_gain
    worse = found.high < 0 and found.low <= -final_margin
    finding: Finding = "fail" if worse else "pass" if no_worse else "inconclusive"
    return Evidence("goal", goal.metric, "baseline", *found, -margin, *test.units, alpha, finding)


def told(found: Evidence) -> str:
    """One finding in a line: "goal: -0.112 in [-0.203, -0.004], limit -0.05, 420 and 433 subjects"."""
    subjects = f"{found.canary:,} and {found.baseline:,} subjects" if found.baseline else f"{found.canary:,} subjects"
    span = f"[{found.low:.4g}, {found.high:.4g}]"
    return f"{found.name}: {found.estimate:.4g} in {span}, limit {found.limit:.4g}, {subjects}"


def check_values(specs: Iterable[Rail | Goal], rows: Iterable[Mapping[str, float]]) -> None:
    """Raises InputError for a value that a test can't count."""
    rails = [spec for spec in specs if isinstance(spec, Rail)]
    shares = {rail.metric for rail in rails if rail.statistic == "share"}
    quantiles = {rail.metric for rail in rails if rail.statistic == "quantile"}
    for row in rows:
        for metric, value in row.items():
            if not _is_finite(value):
                raise InputError(f"The value of {metric} is not a finite number: leave it out of the row")
            if metric in shares and value not in (0, 1):
                raise InputError(f"{metric} = {value} must be 0 or 1: a rail counts it as a share")
            if metric in quantiles and value < 0:
                raise InputError(f"{metric} = {value} must be 0 or more: a rail takes a quantile of it")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except (OverflowError, TypeError):  # a whole number beyond all floats, or no number
        return False


def _sequence(rail: Rail) -> Mean | Share | Quantile:
    if rail.statistic == "quantile":
        return Quantile(rail.quantile)
    return Share() if rail.statistic == "share" else Mean()


def first(values: Iterable[Value], seen: set[str]) -> list[Value]:
    """Those of subjects that were not counted yet, the first of each."""
    fresh = []
    for value in values:
        if value.subject not in seen:
            seen.add(value.subject)
            fresh.append(value)
    return fresh


def _scaled(values: Sequence[float], low: float, high: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.clip((np.asarray(values, dtype=float) - low) / (high - low), 0.0, 1.0)
