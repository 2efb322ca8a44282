"""Drift: alarms on days like all others are as rare as claimed, and a real shift is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from gradatim.watch.drift import Sample, Terms, drifted, samples

DAYS, USERS = 300, 400
LOOSE = Terms(alpha=0.04, least_distance=0.0)
"""Forty times the chance of the default, so that a wrong design shows in a short run; any size counts."""


@dataclass(frozen=True)
class Reply:
    subject: str = "ada"
    at: str = "2026-03-01T09:00:00Z"
    prompt_tokens: int = 10
    completion_tokens: int = 20
    seconds: float = 0.5
    finish: str = "stop"
    refused: bool = False
    rating: float | None = None
    corrected: bool = False


def traffic(seed: int, shift: float = 0.0) -> Iterator[list[Reply]]:
    """Day after day, of users who differ: some come daily and some once a month, some write much and some rate badly.

    Heavy tails, ties, rare events, and as many replies to a user in a day as it happens.
    """
    chance = np.random.default_rng(seed)
    often, size, mood = chance.beta(0.4, 2.0, USERS), chance.normal(0, 0.7, USERS), chance.beta(4, 2, USERS)
    for day in range(10**9):
        made = []
        for user in np.flatnonzero(chance.random(USERS) < often):
            for _ in range(chance.geometric(0.6)):
                here = shift * (day >= SHIFTED)
                made.append(
                    Reply(
                        f"u{user}",
                        f"day {day:05d}",
                        int(np.ceil(chance.lognormal(3 + size[user] + here, 0.6))),
                        int(min(np.ceil(chance.lognormal(4 + size[user] / 2, 0.6)), 200)),
                        float(chance.gamma(2.0, 0.4)),
                        "error" if chance.random() < 0.01 else "length" if chance.random() < 0.1 else "stop",
                        bool(chance.random() < 0.05),
                        float(chance.random() < mood[user]) if chance.random() < 0.5 else None,
                        bool(chance.random() < 0.02),
                    )
                )
        yield made


SHIFTED = 7


def told(terms: Terms, days: int, shift: float = 0.0) -> list[list[str]]:
    """For each day after the first seven, the features that were told as drift against the seven before it."""
    source, found = traffic(0, shift), []
    past = [next(source) for _ in range(7)]
    for _ in range(days):
        today = next(source)
        drifts = drifted(samples(chain(*past)), samples(today), terms=terms)
        found.append([drift.feature for drift in drifts])
        past = [*past[1:], today]
    return found


def test_false_alarms_are_as_rare_as_designed() -> None:
    alarms = sum(bool(features) for features in told(LOOSE, DAYS))
    assert alarms <= binom.ppf(0.999, DAYS, LOOSE.alpha)


def test_a_shift_is_told_the_day_after_and_of_its_feature_only() -> None:
    assert told(Terms(), 1, shift=0.9) == [["prompt tokens"]]


def test_few_subjects_and_small_changes_are_no_alarm() -> None:
    def of(values: Any) -> dict[str, Sample]:
        made = [
            replace(
                Reply(), subject=f"u{number}", seconds=value, prompt_tokens=int(value), completion_tokens=int(value)
            )
            for number, value in enumerate(values.tolist())
        ]
        return samples(made)

    few, many = of(np.zeros(49)), of(np.full(500, 9.0))
    assert drifted(few, many) == drifted(many, few) == []
    chance = np.random.default_rng(1)
    before, now = of(chance.normal(9, 1, 20_000)), of(chance.normal(9.1, 1, 20_000))
    assert drifted(before, now) == []  # sure, but a distance of 0.04
    found = drifted(before, now, terms=Terms(least_distance=0.03))
    assert [drift.feature for drift in found] == ["prompt tokens", "reply tokens", "seconds"]


def test_a_subject_and_day_counts_once() -> None:
    crowd = [replace(Reply(), subject=f"s{number}", seconds=1.0) for number in range(60)]
    loud = [replace(Reply(), subject="loud", seconds=9.0)] * 10_000
    found = samples([*crowd, *loud])["seconds"]
    assert sorted(found.values) == [1.0] * 60 + [9.0]
    assert found.effective == 61
    again = [replace(reply, at="2026-03-02T09:00:00Z") for reply in crowd]
    assert samples([*crowd, *again])["seconds"].effective == 60  # the same people twice


def test_what_is_measured_of_a_reply() -> None:
    replies = [
        Reply(finish="length", refused=True),
        Reply(rating=1.0, corrected=True),
        Reply(finish="error", prompt_tokens=0),
    ]
    found = {feature: list(sample.values) for feature, sample in samples(replies).items()}
    assert found["errors"] == [pytest.approx(1 / 3)]
    assert (found["cut short"], found["refusals"], found["corrections"]) == ([0.5], [0.5], [0.5])
    assert (found["ratings"], found["prompt tokens"]) == ([1.0], [10.0])
