"""The state machine on simulated users: up only on evidence, back by itself, and a person's commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradatim.errors import InputError
from gradatim.rollout.events import ITSELF, Event, Row
from gradatim.rollout.rollout import Rollout
from gradatim.rollout.settings import DEFAULT_RAILS, Goal, Rail, Settings, Step
from gradatim.store.canonical import canonical
from tests.rollout.crowd import HOUR, KEY, QUICK, Crowd, started, thumbs

SUBJECTS = [f"user {number}" for number in range(300)]


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def arms(rollout: Rollout) -> set[str]:
    return {rollout.release(subject) for subject in SUBJECTS}


# ------------------------------------------------------------------ by itself


def test_an_equal_canary_goes_all_the_way() -> None:
    rollout, start = Rollout.start(QUICK, "old", "new", KEY, 0.0)
    assert (start.kind, start.stage, start.share, start.by) == ("start", "step", 0.1, ITSELF)
    events = Crowd(rollout, thumbs(0.7)).live(100)
    assert kinds(events) == ["grow", "grow", "watch", "finish"]
    assert [event.share for event in events] == [0.3, 0.5, 0.8, 1.0]
    assert {event.verdict for event in events} == {"pass"}
    assert arms(rollout) == {"new"}
    assert not rollout.open


def test_a_worse_canary_is_rolled_back_with_the_evidence() -> None:
    rollout = started()
    events = Crowd(rollout, thumbs(0.4)).live(100)
    last = events[-1]
    assert (last.kind, last.stage, last.share, last.verdict, last.by) == ("rollback", "rolled_back", 0, "fail", ITSELF)
    goal = last.evidence[0]
    assert (goal.name, goal.finding) == ("goal", "fail")
    assert goal.low < goal.estimate < goal.high < 0
    assert goal.canary > 0 < goal.baseline
    assert "goal: -0." in last.reason
    assert arms(rollout) == {"old"}
    assert rollout.resident(1e9) == ("old",)
    assert rollout.decide(1e9) == []


def test_a_canary_that_turns_bad_after_it_met_everybody_is_rolled_back() -> None:
    rollout = started(replace(QUICK, watch=1000 * HOUR))
    crowd = Crowd(rollout, thumbs(0.7))
    while rollout.stage != "watch":
        crowd.live(1)
    crowd.measure = thumbs(0.3)
    events = crowd.live(200)
    assert kinds(events) == ["rollback"]
    assert rollout.waves[-1].epoch == "watch"


@settings(max_examples=25, deadline=None)
@given(st.floats(0.3, 1.0), st.integers(0, 1000), st.sampled_from([3, 40, 200]))
def test_it_never_grows_without_evidence(canary: float, seed: int, an_hour: int) -> None:
    rollout = started()
    before = rollout.step
    for event in Crowd(rollout, thumbs(canary), an_hour, seed).live(60):
        if event.kind in ("grow", "watch"):
            step, goal = QUICK.steps[before], event.evidence[0]
            assert goal.low > -step.margin
            assert goal.canary >= step.units
            before += 1
        assert event.share == 0 or event.kind != "rollback"


def test_growth_waits_for_units_and_time() -> None:
    slow = replace(QUICK, steps=(Step(0.5, margin=0.9, units=200, seconds=5 * HOUR),))
    rollout = started(slow)
    events = Crowd(rollout, thumbs(0.9), an_hour=100).live(20)
    assert events[0].kind == "watch"
    assert events[0].at >= 5 * HOUR
    assert events[0].evidence[0].canary >= 200
    many = started(slow)
    events = Crowd(many, thumbs(0.9), an_hour=1000).live(20)
    assert events[0].at == 5 * HOUR


def test_a_gain_that_is_asked_for_and_not_there_is_left_to_a_person() -> None:
    rollout = started(replace(QUICK, goal=Goal(least_gain=0.05), deadline=20 * HOUR))
    events = Crowd(rollout, thumbs(0.7)).live(100)
    assert kinds(events) == ["grow", "grow", "pause"]
    assert events[-1].verdict == rollout.paused == "inconclusive"
    assert rollout.share == 0.5


def test_silence_is_an_error() -> None:
    rollout = started()
    Crowd(rollout, thumbs(0.7)).live(1)
    assert rollout.decide(HOUR + QUICK.silence) == []
    [event] = rollout.decide(HOUR + QUICK.silence + 1)
    assert (event.kind, event.verdict, rollout.paused) == ("pause", "error", "error")
    assert "nothing observed" in event.reason


def test_arms_that_lose_rows_are_an_error() -> None:
    rollout = started()
    crowd = Crowd(rollout, thumbs(0.7))
    events: list[Event] = []
    for hour in range(1, 20):
        rows = [row for n, row in enumerate(crowd.rows()) if n % 2 or rollout.arm(row.subject) != "canary"]
        rollout.observe(rows, hour * HOUR)
        events += rollout.decide(hour * HOUR)
        if rollout.paused:
            break
    assert events[-1].verdict == "error"
    assert "not as large as meant" in events[-1].reason


def test_a_canary_whose_unhappy_users_say_nothing_is_an_error() -> None:
    """Of those who rate it more are happy than of the baseline's; of all, fewer are."""

    def quiet(random: np.random.Generator, on_canary: bool) -> dict[str, float]:
        happy = random.random() < (0.5 if on_canary else 0.7)
        says = happy or not on_canary or random.random() < 0.15
        return {"rating": float(happy)} if says else {}

    rollout = started(replace(QUICK, steps=(Step(0.5, margin=0.05, units=20),)))
    crowd = Crowd(rollout, quiet)
    events = crowd.live(100)
    assert [(event.kind, event.verdict) for event in events] == [("pause", "error")]
    assert "rated more often" in events[0].reason
    rollout.resume("Ada", "they may talk differently", rollout.clock)
    assert rollout.evidence()[-1].finding == "pass"  # counted anew
    assert rollout.evidence()[0].canary > 0


def test_false_alarms_of_equal_canaries_are_rarer_than_alpha() -> None:
    alarms = 0
    loose = replace(QUICK, alpha=0.2, watch=10 * HOUR)
    for seed in range(60):
        rollout = started(loose)
        better = False
        crowd = Crowd(rollout, thumbs(0.7), 100, seed)
        for _ in range(40):
            crowd.live(1)
            if not rollout.open:
                break
            better = better or rollout.evidence()[0].low > 0
        alarms += better or rollout.stage == "rolled_back"
    assert alarms <= 0.2 * 60 + 3 * (60 * 0.2 * 0.8) ** 0.5


# ------------------------------------------------------------------ rails


def steady(random: np.random.Generator) -> dict[str, float]:
    return {
        "rating": float(random.random() < 0.7),
        "error": float(random.random() < 0.01),
        "refusal": float(random.random() < 0.03),
        "latency": random.lognormal(0, 0.3),
        "length": random.lognormal(5, 0.5),
        "cost": random.lognormal(-7, 0.3),
    }


BROKEN: dict[str, Callable[[np.random.Generator], Mapping[str, float]]] = {
    "error": lambda random: {"error": float(random.random() < 0.3)},
    "refusal": lambda random: {"refusal": float(random.random() < 0.4)},
    "latency": lambda random: {"latency": random.lognormal(1, 0.3)},
    "length": lambda random: {"length": random.lognormal(7, 0.5)},
    "cost": lambda random: {"cost": random.lognormal(-5, 0.3)},
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_rail_rolls_back(name: str) -> None:
    rollout = started(replace(QUICK, rails=DEFAULT_RAILS))
    crowd = Crowd(
        rollout, lambda random, canary: {**steady(random), **(BROKEN[name](random) if canary else {})}, an_hour=1000
    )
    last = crowd.live(60)[-1]
    assert last.kind == "rollback"
    assert [found.name for found in last.evidence if found.finding == "fail"] == [name]
    assert last.reason.startswith(f"{name}: ")


def test_rails_let_a_steady_canary_pass() -> None:
    rollout = started(replace(QUICK, rails=DEFAULT_RAILS))
    events = Crowd(rollout, lambda random, _: steady(random), an_hour=500).live(60)
    assert kinds(events) == ["grow", "grow", "watch", "finish"]


def test_unsafe_answers_to_probes_roll_back() -> None:
    rollout = started(replace(QUICK, rails=DEFAULT_RAILS))
    probes = [Row(f"probe {n}", rollout.wave, {"unsafe": float(n % 4 == 0)}, probe=True) for n in range(200)]
    rollout.observe(probes, HOUR)
    [event] = rollout.decide(HOUR)
    assert event.reason.startswith("safety: 0.25")


def test_a_probe_says_nothing_of_the_difference() -> None:
    rollout = started()
    rollout.observe([Row(f"probe {n}", rollout.wave, {"rating": 0.0}, probe=True) for n in range(500)], HOUR)
    assert rollout.evidence()[0].canary == 0
    assert rollout.decide(HOUR) == []


FLOOR = Rail("German", "rating", "mean", "bound", limit=0.6, worse="lower", slice="de")


def test_a_floor_under_a_slice() -> None:
    """The canary is good on the whole, and bad where the answers are German."""
    rollout = started(replace(QUICK, rails=(FLOOR,), watch=500 * HOUR))
    random = np.random.default_rng(0)
    events: list[Event] = []
    hour = 0
    while rollout.open and hour < 100:
        hour += 1
        rows = []
        for n in range(500):
            subject, german = f"{hour} {n}", n % 5 == 0
            bad = german and rollout.arm(subject) == "canary"
            rating = float(random.random() < (0.3 if bad else 0.85))
            rows.append(Row(subject, rollout.wave, {"rating": rating}, slices=("de", "all") if german else ("all",)))
        rollout.observe(rows, hour * HOUR)
        events += rollout.decide(hour * HOUR)
    assert events[-1].kind == "rollback"
    assert "German: 0." in events[-1].reason


def test_a_rail_that_must_clear_keeps_the_canary_small() -> None:
    rail = Rail("safety", "unsafe", "share", "bound", limit=0.05, must_clear=True)
    rollout = started(replace(QUICK, rails=(rail,)))
    crowd = Crowd(rollout, thumbs(0.7))
    assert crowd.live(10) == []
    rollout.observe([Row(f"probe {n}", rollout.wave, {"unsafe": 0.0}, probe=True) for n in range(400)], crowd.hour)
    assert kinds(rollout.decide(crowd.hour)) == ["grow"]


# ------------------------------------------------------------------ shadow


SHADOW = replace(QUICK, shadow_subjects=200, rails=DEFAULT_RAILS)


def test_in_the_shadow_nobody_meets_the_canary() -> None:
    rollout = started(SHADOW)
    assert (rollout.stage, rollout.share, arms(rollout)) == ("shadow", 0, {"old"})
    mirrored = [subject for subject in SUBJECTS if rollout.mirrors(subject)]
    assert 100 < len(mirrored) < 200
    events = Crowd(rollout, lambda random, _: steady(random)).live(10)
    assert events[0].kind == "grow"
    assert (events[0].stage, events[0].share) == ("step", 0.1)
    assert events[0].evidence[-1].canary >= 200
    assert not any(rollout.mirrors(subject) for subject in SUBJECTS)


def test_a_canary_that_fails_in_the_shadow_is_met_by_nobody() -> None:
    rollout = started(replace(SHADOW, shadow_subjects=10_000))
    crowd = Crowd(rollout, lambda random, canary: {**steady(random), "error": float(canary)})
    assert kinds(crowd.live(10)) == ["rollback"]


# ------------------------------------------------------------------ what counts


def test_a_late_rating_counts_for_the_arm_that_earned_it() -> None:
    rollout = started()
    first = rollout.wave
    rollout.promote("ada", "in a hurry", HOUR)
    joined = next(s for s in SUBJECTS if rollout.arm(s) == "canary" and rollout.assignment.place(s, "steps") > 0.1)
    rollout.observe([Row(joined, first, {"rating": 1.0})], HOUR)
    assert rollout.evidence()[0].canary == 0
    rollout.observe([Row(joined, rollout.wave, {"rating": 1.0})], HOUR)
    assert rollout.evidence()[0].canary == 1


def test_each_epoch_starts_its_evidence_anew() -> None:
    rollout = started()
    crowd = Crowd(rollout, thumbs(0.7))
    crowd.live(3)
    old = crowd.rows("late")
    rollout.promote("ada", "in a hurry", crowd.hour * HOUR, full=True)
    assert rollout.evidence()[0].canary == 0
    rollout.observe(old, crowd.hour * HOUR)
    assert rollout.evidence()[0].canary == 0


def test_nobody_has_two_votes() -> None:
    rollout = started()
    angry = next(subject for subject in SUBJECTS if rollout.arm(subject) == "canary")
    rollout.observe([Row(angry, rollout.wave, {"rating": 0.0})] * 1000, HOUR)
    found = rollout.evidence()
    assert found[0].canary == 1
    assert rollout.decide(HOUR) == []


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (Row("u", 0, {"rating": float("nan")}), "not a finite number"),
        (Row("u", 0, {"rating": 10**400}), "not a finite number"),
        (Row("u", 0, {"anything": "good"}), "not a finite number"),  # type: ignore[dict-item]
        (Row("u", 0, {"error": 0.5}), "must be 0 or 1"),
        (Row("u", 0, {"latency": -1.0}), "0 or more"),
        (Row("u", 7, {"rating": 1.0}), "had the waves 0 to 0"),
        (Row("u", -1, {"rating": 1.0}), "had the waves 0 to 0"),
    ],
)
def test_a_row_that_cannot_be_counted_counts_nothing_of_its_batch(row: Row, expected: str) -> None:
    rollout = started(Settings())
    good = [Row(subject, 0, {"rating": 1.0}) for subject in SUBJECTS]
    with pytest.raises(InputError, match=expected) as caught:
        rollout.observe([*good, row], HOUR)
    assert "\n" not in str(caught.value)
    assert rollout == started(Settings())


def test_a_clock_that_is_set_back_stands_still() -> None:
    rollout = started()
    rollout.decide(10 * HOUR)
    rollout.decide(2 * HOUR)
    assert rollout.clock == 10 * HOUR
    with pytest.raises(InputError, match="finite"):
        rollout.decide(float("nan"))


def test_a_rollout_of_nothing() -> None:
    for live, candidate in (("a", "a"), ("", "a")):
        with pytest.raises(InputError, match="two different releases"):
            Rollout.start(QUICK, live, candidate, KEY, 0.0)


# ------------------------------------------------------------------ a person's commands


def test_a_person_promotes_step_by_step() -> None:
    rollout = started()
    events = [rollout.promote("ada", "looks good", n * HOUR) for n in range(1, 5)]
    assert kinds(events) == ["grow", "grow", "watch", "finish"]
    assert {(event.by, event.reason, event.verdict) for event in events} == {("ada", "looks good", None)}


@pytest.mark.parametrize("shadow", [0, 100])
def test_a_person_promotes_to_all_at_once(shadow: int) -> None:
    rollout = started(replace(QUICK, shadow_subjects=shadow))
    met = {subject for subject in SUBJECTS if rollout.arm(subject) == "canary"}
    event = rollout.promote("ada", "urgent", HOUR, full=True)
    assert (event.kind, event.stage, event.share) == ("watch", "watch", 0.8)
    after = {subject for subject in SUBJECTS if rollout.arm(subject) == "canary"}
    assert met < after
    assert 0.7 < len(after) / len(SUBJECTS) < 0.9


def test_paused_it_does_not_grow_and_still_goes_back() -> None:
    rollout = started()
    crowd = Crowd(rollout, thumbs(0.8))
    event = rollout.pause("ada", "holiday", HOUR)
    assert (event.kind, event.by, rollout.paused) == ("pause", "ada", "ada")
    for hour in range(20):
        rollout.observe(crowd.rows(), hour * HOUR)
        assert rollout.decide(hour * HOUR) == []
    crowd.measure = thumbs(0.1)
    events: list[Event] = []
    for hour in range(20, 40):
        rollout.observe(crowd.rows(), hour * HOUR)
        events += rollout.decide(hour * HOUR)
    assert kinds(events) == ["rollback"]


def test_resumed_it_has_a_new_deadline_and_counts_the_arms_anew() -> None:
    rollout = started()
    [pause] = rollout.decide(QUICK.silence + 1)
    assert pause.verdict == "error"
    event = rollout.resume("ada", "the log was full", 99 * HOUR)
    assert (event.kind, rollout.paused) == ("resume", None)
    assert rollout.decide(100 * HOUR) == []
    rollout.observe(Crowd(rollout, thumbs(0.9)).rows(), 100 * HOUR)
    assert kinds(rollout.decide(101 * HOUR)) == ["grow"]


def test_given_up_or_taken_back() -> None:
    for command, kind in ((Rollout.abort, "abort"), (Rollout.rollback, "rollback")):
        rollout = started()
        event = command(rollout, "ada", "not like this", HOUR)
        assert (event.kind, event.stage, event.by) == (kind, "rolled_back", "ada")
        assert arms(rollout) == {"old"}


def test_the_former_release_stays_warm() -> None:
    rollout = started()
    assert rollout.resident(0) == ("old", "new")
    rollout.promote("ada", "good", HOUR, full=True)
    assert rollout.resident(HOUR) == ("old", "new")
    rollout.promote("ada", "good", 2 * HOUR)
    assert rollout.resident(3 * HOUR) == ("new", "old")
    assert rollout.resident(13 * HOUR) == ("new",)
    with pytest.raises(InputError, match="is over"):
        rollout.rollback("ada", "too late", 13 * HOUR)


def test_back_from_live_while_it_is_warm() -> None:
    rollout = started()
    rollout.promote("ada", "good", HOUR, full=True)
    rollout.promote("ada", "good", 2 * HOUR)
    assert rollout.rollback("ada", "people complain", 5 * HOUR).kind == "rollback"
    assert arms(rollout) == {"old"}


Command = Callable[[Rollout], Event]


@pytest.mark.parametrize(
    ("before", "command", "expected"),
    [
        ([], lambda r: r.resume("ada", "why", HOUR), "isn't paused"),
        ([lambda r: r.pause("ada", "why", HOUR)], lambda r: r.pause("bob", "why", HOUR), "paused already"),
        ([lambda r: r.abort("ada", "why", HOUR)], lambda r: r.promote("bob", "why", HOUR), "can't be promoted"),
        ([lambda r: r.abort("ada", "why", HOUR)], lambda r: r.rollback("bob", "why", HOUR), "can't be rolled back"),
        ([lambda r: r.promote("ada", "why", HOUR, full=True)], lambda r: r.abort("bob", "why", HOUR), "at 100 %"),
        ([], lambda r: r.promote("", "why", HOUR), "name"),
        ([], lambda r: r.promote("ada", "  ", HOUR), "reason"),
        ([], lambda r: r.promote("ada", "a\nb", HOUR), "one line"),
        ([], lambda r: r.promote(ITSELF, "why", HOUR), "nobody is called"),
    ],
)
def test_commands_out_of_place(before: list[Command], command: Command, expected: str) -> None:
    rollout = started()
    for earlier in before:
        earlier(rollout)
    state = rollout.stage, rollout.step, rollout.paused
    with pytest.raises(InputError, match=expected) as caught:
        command(rollout)
    assert "\n" not in str(caught.value)
    assert (rollout.stage, rollout.step, rollout.paused) == state


# ------------------------------------------------------------------ events


def test_an_event_is_plain_data_with_what_it_was_decided_on() -> None:
    rollout = started(replace(QUICK, rails=DEFAULT_RAILS))
    [event] = Crowd(rollout, lambda random, _: steady(random), an_hour=2000).live(1)
    written: dict[str, Any] = json.loads(canonical(event))
    assert written["kind"] == "grow"
    names = [found["name"] for found in written["evidence"]]
    assert names == ["goal", *(rail.name for rail in DEFAULT_RAILS), "sample ratio", "goal ratio"]
    for found in written["evidence"]:
        assert {"estimate", "low", "high", "canary", "baseline", "alpha", "limit", "finding"} <= set(found)
