"""Arms: sticky, growing only, as large as meant, and by a coin that nobody else tosses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from gradatim.errors import InputError
from gradatim.rollout.assignment import Assignment, Wave, canary_chance

KEY = b"0123456789abcdef"
SUBJECTS = [f"subject {number}" for number in range(20_000)]
WAVES = [Wave("steps", share) for share in (0.05, 0.25, 0.5)] + [Wave("watch", 0.5, 0.05)]


def plausible(hits: int, of: int, share: float) -> bool:
    return bool(binomtest(hits, of, share).pvalue > 1e-4)


@given(st.text(st.characters(), max_size=40) | st.just("\ud800"), st.binary(min_size=16, max_size=64))
def test_whoever_met_the_canary_keeps_it(subject: str, key: bytes) -> None:
    arms = [Assignment(key).arm(subject, wave) for wave in WAVES]
    first = arms.index("canary") if "canary" in arms else len(arms)
    assert set(arms[first:]) <= {"canary"}


@given(st.text(max_size=40), st.lists(st.floats(0.001, 0.5), min_size=1, max_size=5))
def test_whoever_is_compared_stays_on_its_side(subject: str, shares: list[float]) -> None:
    sides = [Assignment(KEY).side(subject, Wave("steps", share)) for share in sorted(shares)]
    known = [side for side in sides if side is not None]
    assert len(set(known)) <= 1
    assert sides[len(sides) - len(known) :] == known


@pytest.mark.parametrize("wave", WAVES)
def test_arms_are_as_large_as_meant(wave: Wave) -> None:
    arms = [Assignment(KEY).arm(subject, wave) for subject in SUBJECTS]
    canary, baseline = (wave.share, wave.share) if wave.epoch == "steps" else (0.95, 0.05)
    assert plausible(arms.count("canary"), len(arms), canary)
    assert plausible(arms.count("baseline"), len(arms), baseline)


def test_places_are_uniform() -> None:
    places = [Assignment(KEY).place(subject, "steps") for subject in SUBJECTS]
    assert all(0 <= place < 1 for place in places)
    for tenth in range(10):
        assert plausible(sum(int(place * 10) == tenth for place in places), len(places), 0.1)


def test_the_watch_tosses_a_coin_of_its_own_among_those_who_never_met_the_canary() -> None:
    assignment, wave = Assignment(KEY), WAVES[-1]
    before = {subject: assignment.arm(subject, WAVES[0]) for subject in SUBJECTS}
    compared = [subject for subject in SUBJECTS if assignment.side(subject, wave) is not None]
    assert all(assignment.place(subject, "steps") >= 0.5 for subject in compared)
    on_canary = [subject for subject in compared if assignment.side(subject, wave)]
    assert canary_chance(wave) == pytest.approx(0.9)
    assert plausible(len(on_canary), len(compared), 0.9)
    # Who was on the baseline from the first is no likelier to be kept there than who wasn't.
    early = [subject for subject in compared if before[subject] == "baseline"]
    assert plausible(sum(assignment.side(subject, wave) is False for subject in early), len(early), 0.1)


def test_in_the_shadow_everybody_is_answered_by_the_live_release() -> None:
    wave = Wave("shadow", 0.5)
    assert {Assignment(KEY).arm(subject, wave) for subject in SUBJECTS[:100]} == {"live"}
    sides = [Assignment(KEY).side(subject, wave) for subject in SUBJECTS]
    assert plausible(sides.count(True), len(sides), 0.5)
    assert None not in sides


def test_another_key_is_another_coin() -> None:
    ours, theirs = Assignment(KEY), Assignment(b"fedcba9876543210")
    same = sum(ours.side(s, WAVES[2]) == theirs.side(s, WAVES[2]) for s in SUBJECTS)
    assert plausible(same, len(SUBJECTS), 0.5)
    assert ours.token("ada") != theirs.token("ada")


def test_arms_outlive_a_release_of_this_program() -> None:
    """Written down once: a change of these would move people between arms in the middle of a rollout."""
    assert Assignment(KEY).place("ada", "steps") == PLACE
    assert Assignment(KEY).token("ada") == TOKEN


PLACE, TOKEN = 0.4875325810156532, "4ef8d29d9f02469d"


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 65])
def test_a_key_that_is_none(key: bytes) -> None:
    with pytest.raises(InputError, match="has 16 to 64 bytes") as caught:
        Assignment(key)
    assert "\n" not in str(caught.value)
