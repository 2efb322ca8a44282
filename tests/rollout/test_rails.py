"""Tests of goal and rails: one count for each subject, the right scale, and what follows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gradatim.rollout.rails import Evidence, Finding, Test, Value, check_goal, check_rail
from gradatim.rollout.rails import test_of as make
from gradatim.rollout.settings import Goal, Rail

ALPHA = 0.005


def values(canary: list[float], baseline: list[float]) -> list[Value]:
    """Everybody of their own, the arms taking turns as far as they go."""
    mixed = [Value(f"c{n}", True, value) for n, value in enumerate(canary)]
    mixed += [Value(f"b{n}", False, value) for n, value in enumerate(baseline)]
    order = np.random.default_rng(0).permutation(len(mixed))
    return [mixed[n] for n in order]


def rail(statistic: str, against: str, limit: float, **others: Any) -> Rail:
    usual: dict[str, Any] = {"name": "r", "metric": "m", "statistic": statistic, "against": against, "limit": limit}
    return Rail(**usual | others)


def checked(rail: Rail, canary: list[float], baseline: list[float]) -> Evidence:
    test = make(rail, 0.5)
    test.add(values(canary, baseline))
    return check_rail(rail, test, ALPHA)


def spread(level: float, n: int = 600) -> list[float]:
    return list(level * np.random.default_rng(int(level * 1000)).lognormal(0, 0.3, n))


def hits(n: int, of: int = 600) -> list[float]:
    return [1.0] * n + [0.0] * (of - n)


@pytest.mark.parametrize(
    ("rail", "canary", "baseline", "finding"),
    [
        (rail("share", "baseline", 0.02), hits(60), hits(6), "fail"),
        (rail("share", "baseline", 0.2), hits(6), hits(6), "pass"),
        (rail("share", "baseline", 0.02), hits(8), hits(6), "inconclusive"),
        (rail("share", "bound", 0.05), hits(60), [], "fail"),
        (rail("share", "bound", 0.05), hits(3), [], "pass"),
        (rail("share", "bound", 0.05), hits(30), [], "inconclusive"),
        (rail("quantile", "baseline", 1.25), spread(2.0), spread(1.0), "fail"),
        (rail("quantile", "baseline", 1.25), spread(0.8), spread(1.0), "pass"),
        (rail("quantile", "baseline", 1.25), spread(1.2), spread(1.0), "inconclusive"),
        (rail("quantile", "bound", 1.0), spread(1.0), [], "fail"),
        (rail("quantile", "bound", 3.0), spread(1.0), [], "pass"),
        (rail("mean", "baseline", 100, high=4096), spread(800), spread(200), "fail"),
        (rail("mean", "bound", 0.6, worse="lower"), hits(280), [], "fail"),
        (rail("mean", "bound", 0.6, worse="lower"), hits(420), [], "pass"),
        (rail("mean", "bound", 0.6, worse="lower"), hits(370), [], "inconclusive"),
        (rail("mean", "baseline", -0.1, worse="lower"), hits(240), hits(420), "fail"),
        (rail("mean", "baseline", -0.3, worse="lower"), hits(420), hits(420), "pass"),
        (rail("mean", "bound", 0.0015, high=0.02), spread(0.003), [], "fail"),
    ],
)
def test_a_rail_fails_passes_or_does_not_know(
    rail: Rail, canary: list[float], baseline: list[float], finding: Finding
) -> None:
    found = checked(rail, canary, baseline)
    assert found.finding == finding
    assert found.low <= found.estimate <= found.high
    assert (found.canary, found.limit, found.alpha) == (len(canary), rail.limit, ALPHA)
    assert found.baseline == (len(baseline) if rail.against == "baseline" else 0)


def test_estimates_are_in_the_metrics_own_unit() -> None:
    tokens = checked(rail("mean", "baseline", 100, high=1000), [300.0] * 500, [200.0] * 500)
    assert tokens.estimate == pytest.approx(100, rel=0.05)
    money = checked(rail("mean", "bound", 1, low=-1.0, high=3.0), [0.5] * 400, [])
    assert money.estimate == pytest.approx(0.5)
    assert -1 <= money.low < 0.5 < money.high <= 3
    ratio = checked(rail("quantile", "baseline", 1.25), [3.0] * 400, [2.0] * 400)
    assert ratio.estimate == pytest.approx(1.5, rel=0.02)
    assert 1.5 / 1.05 < ratio.low <= 1.5 <= ratio.high < 1.5 * 1.05


def test_what_lies_beyond_the_range_counts_as_its_end() -> None:
    assert checked(rail("mean", "bound", 1, high=10.0), [1e6] * 50, []).estimate == 10


@pytest.mark.parametrize("statistic", ["mean", "share", "quantile"])
@pytest.mark.parametrize("against", ["baseline", "bound"])
def test_everybody_counts_once_with_the_first_value(statistic: str, against: str) -> None:
    once, often = make(rail(statistic, against, 1), 0.5), make(rail(statistic, against, 1), 0.5)
    first = values([1.0, 0.0, 1.0], [0.0, 0.0, 1.0])
    once.add(first)
    often.add([value for value in first for _ in range(5)])
    often.add([value._replace(value=1 - value.value) for value in first * 40])
    assert often == once


@pytest.mark.parametrize("statistic", ["mean", "share", "quantile"])
@pytest.mark.parametrize("against", ["baseline", "bound"])
def test_nothing_seen_is_nothing_known(statistic: str, against: str) -> None:
    found = checked(rail(statistic, against, 0.5), [], [])
    assert (found.finding, found.canary, found.baseline) == ("inconclusive", 0, 0)
    assert not math.isnan(found.estimate)


def goal_test(effect: float, n: int = 4000) -> Test:
    test = make(Goal(), 0.5)
    random = np.random.default_rng(3)
    test.add(Value(str(i), bool(i % 2), float(random.random() < 0.6 + effect * (i % 2))) for i in random.permutation(n))
    return test


@pytest.mark.parametrize(
    ("effect", "margin", "finding"),
    [
        (0.0, 0.2, "pass"),
        (0.0, 0.01, "inconclusive"),
        (-0.3, 0.2, "fail"),
        (-0.3, 0.05, "fail"),
        (0.2, 0.01, "pass"),
    ],
)
def test_the_goal_is_no_worse_than_the_margin_or_worse(effect: float, margin: float, finding: Finding) -> None:
    found = check_goal(Goal(), margin, min(margin, 0.05), goal_test(effect), ALPHA)
    assert found.finding == finding
    assert found.limit == -margin


def test_a_loss_that_is_shown_to_be_within_the_margin_is_no_failure() -> None:
    test = goal_test(-0.05, 40_000)
    inside, outside = check_goal(Goal(), 0.2, 0.2, test, ALPHA), check_goal(Goal(), 0.2, 0.04, test, ALPHA)
    assert inside.high < 0
    assert (inside.finding, outside.finding) == ("pass", "fail")


def test_a_gain_that_is_asked_for_must_be_shown_at_the_last_margin() -> None:
    test, goal = goal_test(0.1), Goal(least_gain=0.02)
    assert check_goal(goal, 0.05, 0.05, test, ALPHA).finding == "pass"
    assert check_goal(goal, 0.05, 0.05, goal_test(0.0), ALPHA).finding == "inconclusive"
    assert check_goal(goal, 0.2, 0.05, goal_test(0.0), ALPHA).finding == "pass"
