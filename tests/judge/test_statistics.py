"""Intervals against scipy's own, against figures worked out by hand, and against simulated truth."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binomtest

from gradatim.judge.statistics import paired_gain, share


def asked(won: int, lost: int, both: int = 0, neither: int = 0) -> tuple[list[bool], list[bool]]:
    """Right before and after, of so many questions of each kind."""
    before = [False] * won + [True] * lost + [True] * both + [False] * neither
    after = [True] * won + [False] * lost + [True] * both + [False] * neither
    return before, after


@pytest.mark.parametrize(("won", "lost", "same"), [(15, 3, 32), (1, 0, 9), (4, 4, 0), (0, 6, 20), (30, 0, 30)])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_gain_is_never_surer_than_the_clopper_pearson_interval_of_its_changes(
    won: int, lost: int, same: int, confidence: float
) -> None:
    estimate, low, high = paired_gain(*asked(won, lost, same), confidence)
    changed, tail = won + lost, (1 - confidence) / 2
    least = float(beta.ppf(tail, won, lost + 1)) if won else 0.0
    most = float(beta.ppf(1 - tail, won + 1, lost)) if lost else 1.0
    scale = changed / (changed + same)
    assert estimate == pytest.approx((won - lost) / (changed + same))
    assert low <= (2 * least - 1) * scale + 1e-12
    assert high >= (2 * most - 1) * scale - 1e-12


def test_a_gain_worked_out_by_hand() -> None:
    """5 won of 5 changed among 10: the least p with P(5 of 5) >= 0.025 is 0.025^(1/5) = 0.478176.

    Bonett and Price: 6/12 − 1/12 = 0.416667, variance (7/12 − 0.416667²) / 12 = 0.034144, reach 1.959964 · 0.184782.
    """
    estimate, low, high = paired_gain(*asked(5, 0, 5), 0.95)
    assert estimate == 0.5
    assert low == pytest.approx((2 * 0.478176 - 1) * 0.5, abs=1e-6)
    assert high == pytest.approx(0.416667 + 0.362165, abs=1e-5)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_the_interval_excludes_zero_only_when_mcnemars_exact_test_rejects(won: int, lost: int, same: int) -> None:
    _, low, high = paired_gain(*asked(won, lost, same, 1), 0.95)
    rejected = won + lost > 0 and binomtest(min(won, lost), won + lost, alternative="less").pvalue <= 0.025
    assert rejected or low <= 0 <= high


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_a_gain_lies_in_its_interval_and_turns_with_the_sides(pairs: list[tuple[bool, bool]]) -> None:
    before, after = [old for old, _ in pairs], [new for _, new in pairs]
    estimate, low, high = paired_gain(before, after, 0.9)
    assert -1 <= low <= estimate <= high <= 1
    assert paired_gain(after, before, 0.9) == pytest.approx((-estimate, -high, -low))


def test_nothing_asked_and_nothing_changed() -> None:
    assert paired_gain([], [], 0.95) == (0.0, -1.0, 1.0)
    estimate, low, high = paired_gain(*asked(0, 0, 10, 10), 0.95)
    assert estimate == 0
    assert high == -low == pytest.approx(1 - 0.025 ** (1 / 20))
    with pytest.raises(ValueError, match="shorter"):
        paired_gain([True, True], [True], 0.95)


def test_a_share_has_wilsons_interval() -> None:
    """8 of 10, by hand: centre (0.8 + z²/20) / (1 + z²/10), z = 1.959964."""
    estimate, low, high = share(8, 10, 0.95)
    assert estimate == 0.8
    assert (low, high) == pytest.approx((0.490162, 0.943318), abs=1e-6)
    assert share(0, 0, 0.95) == (0.0, 0.0, 1.0)
    assert share(0, 10, 0.95)[1] == pytest.approx(0, abs=1e-12)


def covered(won: float, lost: float, of: int, trials: int = 600) -> float:
    """How often the interval holds the true gain, `won` - `lost`."""
    chance, hits = random.Random(7), 0
    for _ in range(trials):
        kinds = chance.choices("wls", (won, lost, 1 - won - lost), k=of)
        _, low, high = paired_gain(*asked(kinds.count("w"), kinds.count("l"), kinds.count("s")), 0.95)
        hits += low - 1e-9 <= won - lost <= high + 1e-9
    return hits / trials


@pytest.mark.parametrize(("won", "lost"), [(0.0, 0.0), (0.05, 0.05), (0.1, 0.1), (0.25, 0.25), (0.15, 0.10)])
def test_the_interval_covers_small_gains(won: float, lost: float) -> None:
    assert covered(won, lost, of=60) >= 0.93


@pytest.mark.parametrize(("won", "lost"), [(0.3, 0.0), (0.5, 0.0), (0.5, 0.02)])
def test_the_interval_covers_large_gains(won: float, lost: float) -> None:
    assert covered(won, lost, of=60) >= 0.93


@pytest.mark.parametrize("truth", [0.05, 0.2, 0.5])
def test_wilsons_interval_covers(truth: float) -> None:
    chance, hits = random.Random(3), 0
    for _ in range(1000):
        _, low, high = share(sum(chance.random() < truth for _ in range(80)), 80, 0.95)
        hits += low <= truth <= high
    assert hits >= 930
