"""Sequences against simulated truth at every look, against scipy's distributions, and against each other."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom, binom

from gradatim.rollout.sequences import Difference, Interval, Mean, Quantile, Share

ALPHA = 0.1
RUNS = 300
ALLOWED = ALPHA * RUNS + 3 * math.sqrt(RUNS * ALPHA * (1 - ALPHA))
"""Failures of one end that chance explains when each run fails with chance ALPHA."""


def failures(run: Callable[[np.random.Generator], list[tuple[Interval, float]]]) -> tuple[int, int]:
    """In how many runs the lower, and the upper, end was on the wrong side of the truth at any look."""
    low = high = 0
    for seed in range(RUNS):
        looks = run(np.random.default_rng(seed))
        low += any(found.low > truth + 1e-9 for found, truth in looks)
        high += any(found.high < truth - 1e-9 for found, truth in looks)
    return low, high


# ------------------------------------------------------------------ coverage at every look


@pytest.mark.parametrize(
    ("chance", "baseline", "effect"), [(0.5, 0.7, 0.0), (0.5, 0.7, -0.1), (0.5, 0.02, 0.0), (0.9, 0.6, 0.05)]
)
def test_a_difference_covers_at_every_look(chance: float, baseline: float, effect: float) -> None:
    def run(random: np.random.Generator) -> list[tuple[Interval, float]]:
        difference, looks = Difference.by_coin(chance), []
        for _ in range(20):
            canary = random.random(25) < chance
            difference.update(random.random(25) < baseline + effect * canary, canary)
            looks.append((difference.interval(ALPHA), effect))
        return looks

    assert max(failures(run)) <= ALLOWED


def test_a_difference_covers_the_average_of_effects_that_drift() -> None:
    """Everybody rates better by the day, and the canary's effect turns: the same for both arms is no effect."""

    def run(random: np.random.Generator) -> list[tuple[Interval, float]]:
        difference, looks, effects = Difference.by_coin(), [], 0.0
        for look in range(20):
            level, effect = 0.3 + 0.5 * look / 20, 0.2 * math.cos(look / 3)
            canary = random.random(25) < 0.5
            difference.update(random.random(25) < level + effect / 2 * np.where(canary, 1, -1), canary)
            effects += 25 * effect
            looks.append((difference.interval(ALPHA), effects / (25 * (look + 1))))
        return looks

    assert max(failures(run)) <= ALLOWED


@pytest.mark.parametrize(("a", "b"), [(0.1, 0.9), (8.0, 2.0), (200.0, 200.0)])
def test_a_mean_covers_at_every_look(a: float, b: float) -> None:
    def run(random: np.random.Generator) -> list[tuple[Interval, float]]:
        mean, looks = Mean(), []
        for _ in range(20):
            mean.update(random.beta(a, b, 20))
            looks.append((mean.interval(ALPHA), a / (a + b)))
        return looks

    assert max(failures(run)) <= ALLOWED


@pytest.mark.parametrize("share", [0.01, 0.3, 0.97])
def test_a_share_covers_at_every_look(share: float) -> None:
    def run(random: np.random.Generator) -> list[tuple[Interval, float]]:
        sequence, looks = Share(), []
        for _ in range(100):
            sequence.update(random.random(5) < share)
            looks.append((sequence.interval(ALPHA), share))
        return looks

    assert max(failures(run)) <= ALLOWED


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_a_quantile_covers_at_every_look(level: float) -> None:
    truth = -math.log(1 - level)  # of the exponential distribution

    def run(random: np.random.Generator) -> list[tuple[Interval, float]]:
        quantile, looks = Quantile(level), []
        for _ in range(20):
            quantile.update(random.exponential(1.0, 20))
            looks.append((quantile.interval(ALPHA), truth))
        return looks

    assert max(failures(run)) <= ALLOWED


# ------------------------------------------------------------------ against scipy


@given(st.integers(0, 400), st.integers(0, 400), st.sampled_from([0.001, 0.05, 0.2]))
def test_the_ends_of_a_share_are_where_the_mixture_is_likelier_by_one_over_alpha(
    hits: int, misses: int, alpha: float
) -> None:
    n = hits + misses
    found = Share(hits, misses).interval(alpha)
    if n == 0:
        assert found == (0.5, 0.0, 1.0)
        return
    assert found.low <= found.estimate == hits / n <= found.high
    mixture = betabinom.logpmf(hits, n, 0.5, 0.5)
    for end in (found.low, found.high):
        if 0 < end < 1:
            assert mixture - binom.logpmf(hits, n, end) == pytest.approx(-math.log(alpha), abs=1e-3)


def test_over_all_courses_of_a_coin_a_share_fails_no_oftener_than_it_says() -> None:
    """Exactly, for sixty tosses: the chance of every count of hits that has never failed before."""
    for p in (0.05, 0.4):
        alive = {0: 1.0}
        for toss in range(1, 61):
            following: dict[int, float] = {}
            for hits, chance in alive.items():
                following[hits + 1] = following.get(hits + 1, 0.0) + chance * p
                following[hits] = following.get(hits, 0.0) + chance * (1 - p)
            alive = {
                hits: chance
                for hits, chance in following.items()
                if Share(hits, toss - hits).interval(ALPHA).low <= p <= Share(hits, toss - hits).interval(ALPHA).high
            }
        assert 1 - sum(alive.values()) <= ALPHA


def test_the_ends_of_a_quantile_are_values_whose_rank_is_just_possible() -> None:
    values = np.sort(np.random.default_rng(5).lognormal(0, 1, 500))
    quantile = Quantile(0.9)
    quantile.update(values)
    found = quantile.interval(0.01)
    ranks = np.arange(501)
    ratio = betabinom.logpmf(ranks, 500, 0.5, 0.5) - binom.logpmf(ranks, 500, 0.9)
    possible = ranks[ratio < -math.log(0.01)]
    assert found.low <= values[possible[0] - 1] <= found.low * 1.05
    assert found.high / 1.05 <= values[possible[-1]] <= found.high
    assert found.estimate == pytest.approx(values[449], rel=0.03)


def test_a_quantile_that_the_data_cannot_tell() -> None:
    assert Quantile(0.95).interval(0.01) == (0.0, 0.0, math.inf)
    few = Quantile(0.95)
    few.update([1.0, 2.0, 3.0])
    assert few.interval(0.01).high == math.inf
    beyond = Quantile(0.5)
    beyond.update([0.0] * 50 + [1e9] * 50)
    assert beyond.interval(0.01).low == 0.0


# ------------------------------------------------------------------ shape


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40),
    st.integers(0, 40),
    st.sampled_from([0.5, 0.9]),
)
def test_how_data_is_cut_into_batches_changes_nothing(units: list[tuple[float, bool]], cut: int, chance: float) -> None:
    values, canary = [value for value, _ in units], [arm for _, arm in units]
    whole, parts, single = (Difference.by_coin(chance) for _ in range(3))
    whole.update(values, canary)
    parts.update(values[:cut], canary[:cut])
    parts.update(values[cut:], canary[cut:])
    for value, arm in units:
        single.update(value, arm)
    expected = whole.interval(0.05)
    assert parts.interval(0.05) == pytest.approx(expected)
    assert single.interval(0.05) == pytest.approx(expected)
    mean, means = Mean(), Mean()
    mean.update(values)
    for value in values:
        means.update(value)
    assert means.interval(0.05) == pytest.approx(mean.interval(0.05))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_a_difference_turns_with_the_arms(units: list[tuple[float, bool]]) -> None:
    values, canary = np.array([value for value, _ in units]), np.array([arm for _, arm in units])
    forth, back = Difference.by_coin(), Difference.by_coin()
    forth.update(values, canary)
    back.update(values, ~canary)
    found, turned = forth.interval(0.05), back.interval(0.05)
    assert -1 <= found.low <= found.estimate <= found.high <= 1
    assert turned == pytest.approx((-found.estimate, -found.high, -found.low))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0.001, 0.2))
def test_a_smaller_chance_to_err_is_a_wider_interval(values: list[float], alpha: float) -> None:
    mean, share, quantile = Mean(), Share(), Quantile(0.8)
    mean.update(values)
    share.update([value > 0.5 for value in values])
    quantile.update(values)
    for sequence in (mean, share, quantile):
        wide, narrow = sequence.interval(alpha / 2), sequence.interval(alpha)
        assert wide.low <= narrow.low + 1e-9
        assert wide.high >= narrow.high - 1e-9


def mean_widths(make: Callable[[np.random.Generator, int], Interval], sizes: list[int]) -> list[float]:
    widths = []
    for size in sizes:
        found = [make(np.random.default_rng(seed), size) for seed in range(30)]
        widths.append(float(np.mean([interval.high - interval.low for interval in found])))
    return widths


def test_intervals_shrink_as_data_comes_nearly_as_its_square_root() -> None:
    def difference(random: np.random.Generator, size: int) -> Interval:
        sequence = Difference.by_coin()
        sequence.update(random.random(size) < 0.7, random.random(size) < 0.5)
        return sequence.interval(0.01)

    def share(random: np.random.Generator, size: int) -> Interval:
        sequence = Share()
        sequence.update(random.random(size) < 0.3)
        return sequence.interval(0.01)

    for make in (difference, share):
        widths = mean_widths(make, [250, 1000, 4000])
        assert widths[0] > 1.7 * widths[1] > 1.7**2 * widths[2]


def test_looking_always_costs_less_than_twice_the_width_of_looking_once() -> None:
    """2,000 ratings of 70 % thumbs up, both ends at 1 %: beside the normal interval for one look."""
    random = np.random.default_rng(1)
    sequence = Difference.by_coin()
    sequence.update(random.random(2000) < 0.7, random.random(2000) < 0.5)
    found = sequence.interval(0.01)
    once = 2 * 2.326348 * 2 * math.sqrt(0.21 / 2000)
    assert once < found.high - found.low < 1.7 * once


# ------------------------------------------------------------------ what can't be counted


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf])
def test_values_outside_the_range_are_refused_and_change_nothing(value: float) -> None:
    mean, difference = Mean(), Difference.by_coin()
    for sequence, arguments in ((mean, ([0.5, value],)), (difference, ([0.5, value], [True, False]))):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
            sequence.update(*arguments)
    assert mean == Mean()
    assert difference == Difference.by_coin()


def test_other_values_that_are_refused() -> None:
    with pytest.raises(ValueError, match="0 or 1"):
        Share().update([0.5])
    for value in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="finite values"):
            Quantile().update([value])
    with pytest.raises(ValueError, match="2 values for 1 arms"):
        Difference.by_coin().update([0.1, 0.2], [True])


def test_nothing_seen() -> None:
    assert Difference.by_coin().interval(0.05) == (0.0, -1.0, 1.0)
    assert Mean().interval(0.05) == (0.5, 0.0, 1.0)
    empty = Difference.by_coin()
    empty.update([], [])
    assert empty == Difference.by_coin()
