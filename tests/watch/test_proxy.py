"""Ratings against the truth: told when both moved the wrong way, and as rarely as claimed when only one did."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from gradatim.watch.proxy import Period, against_truth

SUBJECTS = 200


def drawn(chance: np.random.Generator, rating: float, corrected: float, exam: dict[str, bool] | None = None) -> Period:
    ratings = chance.binomial(3, rating, SUBJECTS) / 3
    corrections = chance.binomial(5, corrected, SUBJECTS) / 5
    return Period(ratings.tolist(), corrections.tolist(), exam or {})


def test_pleasing_more_and_being_right_less_is_told() -> None:
    chance = np.random.default_rng(0)
    found = against_truth(drawn(chance, 0.6, 0.05), drawn(chance, 0.8, 0.15))
    assert found is not None
    assert found.witness == "corrections"
    assert found.ratings_now > found.ratings_before
    assert found.truth_now > found.truth_before
    assert "ratings rose from 0.56 to 0.79" in found.said


def test_an_exam_is_a_witness() -> None:
    chance = np.random.default_rng(0)
    right, wrong = ({f"q{n}": good for n in range(40)} for good in (True, False))
    before = drawn(chance, 0.6, 0.05, right)
    found = against_truth(before, drawn(chance, 0.8, 0.05, wrong | {"q0": True, "new": True}))
    assert found is not None
    assert (found.witness, found.truth_before) == ("exam", 1.0)
    assert found.truth_now == pytest.approx(1 / 40)
    assert found.truth_p == pytest.approx(0.5**39)
    assert against_truth(before, drawn(chance, 0.8, 0.05, right)) is None


def test_one_of_them_alone_is_not() -> None:
    chance = np.random.default_rng(0)
    before = drawn(chance, 0.6, 0.10)
    assert against_truth(before, drawn(chance, 0.8, 0.10)) is None  # better liked, as right
    assert against_truth(before, drawn(chance, 0.8, 0.02)) is None  # better liked, and right more often
    assert against_truth(before, drawn(chance, 0.4, 0.30)) is None  # worse, which is no hacking
    assert against_truth(before, Period([], [])) is None
    assert against_truth(Period([1.0] * 60, [0.0] * 60), Period([1.0] * 60, [0.0] * 60)) is None


def test_false_alarms_are_as_rare_as_claimed() -> None:
    """Ratings that surely rose, over a truth that stayed: the truth's test alone stands between and an alarm."""
    chance, alpha, runs = np.random.default_rng(1), 0.05, 800
    alarms = sum(
        against_truth(drawn(chance, 0.5, 0.1), drawn(chance, 0.9, 0.1), alpha) is not None for _ in range(runs)
    )
    assert alarms <= binom.ppf(0.999, runs, alpha)
