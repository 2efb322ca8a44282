"""Bets against plain loops, and against every course that a few coins can take."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from gradatim.rollout.betting import FRACTIONS, LOG_WEIGHTS, Bets

WEIGHTS = np.exp(LOG_WEIGHTS)


def wealth(zs: list[float], expectations: float, bound: float) -> float:
    """The mixture's wealth from first principles: bet after bet, fraction after fraction."""
    total = 0.0
    for fraction, weight in zip(FRACTIONS, WEIGHTS, strict=True):
        stake, money = fraction / bound, 1.0
        for z in zs:
            money *= 1 + stake * z
        total += weight * money * math.exp(-stake * expectations)
    return total


def placed(zs: list[float], bound: float) -> Bets:
    bets = Bets(bound)
    bets.add(np.array(zs))
    return bets


def test_the_fractions_are_bets_that_can_be_paid() -> None:
    assert WEIGHTS.sum() == pytest.approx(1)
    assert np.all((FRACTIONS > 0) & (FRACTIONS < 1))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=1, max_size=30), st.sampled_from([0.001, 0.01, 0.1]))
def test_the_root_is_that_of_a_plain_loop_or_just_outside(zs: list[float], alpha: float) -> None:
    for sign, found in ((1, placed(zs, 2).least(alpha)), (-1, -placed(zs, 2).most(alpha))):
        turned = [sign * z for z in zs]
        exact = brentq(lambda m, turned=turned: math.log(wealth(turned, m, 2) * alpha), -300, 300, xtol=1e-9)
        assert found <= exact + 1e-6
        assert found >= exact - 1e-3 * (1 + abs(exact))


@pytest.mark.parametrize("chance", [0.5, 0.1, 0.9])
def test_nobody_can_expect_to_win(chance: float) -> None:
    """The expected wealth over all courses of eight coins is at most what one came with."""
    up, down = 2 * (1 - chance), -2 * chance  # of expectation zero
    expected = 0.0
    for course in product([up, down], repeat=8):
        likelihood = math.prod(chance if z == up else 1 - chance for z in course)
        expected += likelihood * wealth(list(course), 0.0, 2)
    assert expected == pytest.approx(1)


@pytest.mark.parametrize("alpha", [0.05, 0.3])
@pytest.mark.parametrize("drift", [0.0, 0.3])
def test_over_all_courses_the_bounds_fail_no_oftener_than_they_say(alpha: float, drift: float) -> None:
    """Ten coins, a look after each, an expectation that swings: every course is gone through."""
    expectations = [drift * math.sin(step) for step in range(10)]
    above = below = 0.0

    def walk(step: int, bets: Bets, total: float, likelihood: float, failed: tuple[bool, bool]) -> None:
        nonlocal above, below
        if step == len(expectations) or all(failed):
            above += likelihood * failed[0]
            below += likelihood * failed[1]
            return
        total += expectations[step]
        for z, chance in ((1.0, (1 + expectations[step]) / 2), (-1.0, (1 - expectations[step]) / 2)):
            after = Bets(1.0, list(bets.above), list(bets.below))
            after.add(np.array([z]))
            now = failed[0] or after.least(alpha) > total, failed[1] or after.most(alpha) < total
            walk(step + 1, after, total, likelihood * chance, now)

    walk(0, placed([], 1.0), 0.0, 1.0, (False, False))
    assert 0 <= above <= alpha
    assert 0 <= below <= alpha


def test_the_order_of_bets_does_not_matter() -> None:
    zs = list(np.random.default_rng(0).uniform(-1, 1, 50))
    forth, back = placed(zs, 1), placed(zs[::-1], 1)
    assert forth.least(0.01) == pytest.approx(back.least(0.01))
    assert forth.most(0.01) == pytest.approx(back.most(0.01))


def test_a_sum_that_is_sure_is_seen_soon() -> None:
    """With λ = 0.9 a win multiplies by 1.9, and weights can cost no more than the smallest of them."""
    won = placed([1.0] * 20, 1.0)
    floor = (20 * math.log(1.9) + float(LOG_WEIGHTS[0]) + math.log(0.01)) / 0.9
    assert won.least(0.01) >= floor
    assert won.most(0.01) > 20
