"""When a step is due: each condition alone, what time does to it, and what a step that was cut short is spared."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradatim.charter import Budget, Charter, Schedule
from gradatim.schedule import Decision, Situation, decide
from gradatim.types import Cost

HOUR = 3600.0
RULES = Schedule()
NOW = datetime(2026, 3, 11, 12, 0).timestamp()  # a day without a change of the clock
READY = Situation(3, 0, NOW - 2 * HOUR, NOW - HOUR, None, None, (), None, (), (), 0, None, False)


def decided(now: Situation = READY, rules: Schedule = RULES, at: float = NOW) -> Decision:
    return decide(now, Charter(schedule=rules), at)


def unmet(decision: Decision) -> list[str]:
    return [condition.name for condition in decision.unmet]


def test_all_conditions_are_told_with_their_rules() -> None:
    decision = decided()
    assert decision.start
    assert decision.why == "3 documents and 0 corrections wait"
    names = ["running", "failures", "hours", "evidence", "quiet", "settled", "steps", "seconds", "joules"]
    assert [condition.name for condition in decision.conditions] == names
    data = decision.data()
    assert [condition["name"] for condition in data["conditions"]] == names
    assert data["conditions"][3]["rule"] == "charter.default.toml, by default: documents = 1"
    assert data["day_most"] == {"steps": 8, "seconds": 7200.0, "joules": 480_000.0}
    assert data["step_most"] == {"steps": 1, "seconds": Budget().seconds, "joules": Budget().joules}
    assert (data["start"], data["again"], data["waiting"]) == (True, None, {"documents": 3, "corrections": 0})


@pytest.mark.parametrize(
    ("documents", "corrections", "rules", "due"),
    [
        (1, 0, Schedule(), True),
        (0, 4, Schedule(), False),
        (0, 5, Schedule(), True),
        (2, 9, Schedule(documents=3, corrections=10), False),
        (9, 1, Schedule(documents=0, corrections=2), False),
        (9, 9, Schedule(documents=0, corrections=0), False),
        (0, 0, Schedule(documents=0, corrections=0), False),
    ],
)
def test_enough_evidence_is_one_kind_or_the_other(documents: int, corrections: int, rules: Schedule, due: bool) -> None:
    decision = decided(replace(READY, documents=documents, corrections=corrections), rules)
    assert decision.start is due
    assert unmet(decision) == ([] if due else ["evidence"])
    assert decision.again is None  # time alone brings no evidence


def test_what_comes_in_is_waited_for_but_not_for_ever() -> None:
    rules = Schedule(quiet_minutes=10, patience_hours=24)
    busy = replace(READY, first=NOW - HOUR, last=NOW - 60)
    assert unmet(decided(busy, rules)) == ["quiet"]
    assert decided(busy, rules).again == NOW + 9 * 60
    assert decided(busy, rules, NOW + 9 * 60).start
    impatient = replace(busy, first=NOW - 24 * HOUR)
    assert decided(impatient, rules).start
    nearly = replace(busy, first=NOW - 24 * HOUR + 30)
    assert decided(nearly, rules).again == NOW + 30


@pytest.mark.parametrize(
    ("spans", "time_of_day", "opens"),
    [
        (("22:00-06:00",), "21:59", "22:00"),
        (("22:00-06:00",), "22:00", None),
        (("22:00-06:00",), "23:59", None),
        (("22:00-06:00",), "05:59", None),
        (("22:00-06:00",), "06:00", "22:00"),
        (("12:00-13:00", "18:00-19:00"), "13:00", "18:00"),
        (("12:00-13:00", "18:00-19:00"), "19:30", "12:00 tomorrow"),
        (("20:00-24:00",), "23:59", None),
        (("20:00-24:00",), "00:00", "20:00"),
    ],
)
def test_hours(spans: tuple[str, ...], time_of_day: str, opens: str | None) -> None:
    hour, minute = map(int, time_of_day.split(":"))
    at = datetime(2026, 3, 11, hour, minute, 30).timestamp()
    decision = decided(at=at, now=replace(READY, first=at - 9e4, last=at - 9e4), rules=Schedule(hours=spans))
    assert decision.start is (opens is None)
    if opens is not None:
        hour, minute = map(int, opens.split()[0].split(":"))
        assert decision.again == datetime(2026, 3, 12 if "tomorrow" in opens else 11, hour, minute).timestamp()
        assert decided(at=decision.again, rules=Schedule(hours=spans)).start


def test_the_machines_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    at = 1_767_225_600.0  # 2026-01-01, midnight in Greenwich
    rules = Schedule(hours=("08:00-10:00",))
    try:
        for name, due in (("UTC", False), ("Asia/Tokyo", True)):
            monkeypatch.setenv("TZ", name)
            time.tzset()
            assert decided(replace(READY, first=at - 9e4, last=at - 9e4), rules, at).start is due
    finally:
        monkeypatch.undo()
        time.tzset()


def test_waits_grow_with_failures_and_end_in_a_persons_hands() -> None:
    rules = Schedule(retry_minutes=30, most_failures=3)
    for failures, minutes in ((1, 30), (2, 60)):
        failed = replace(READY, failures=failures, failed_at=NOW)
        assert decided(failed, rules, NOW + minutes * 60 - 1).again == NOW + minutes * 60
        assert decided(failed, rules, NOW + minutes * 60).start
    for given_up in (
        replace(READY, failures=3, failed_at=NOW),
        replace(READY, failures=1, failed_at=NOW, gave_up=True),
    ):
        decision = decided(given_up, rules, NOW + 1e9)
        assert unmet(decision) == ["failures"]
        assert decision.again is None
        assert "gradatim run --resume" in decision.why


def test_what_waits_for_a_person_or_meets_users_is_waited_for() -> None:
    assert decided(replace(READY, awaiting=("a" * 64,))).why == "release aaaaaaaaaaaa waits for a person's word"
    assert "rolled out" in decided(replace(READY, rollout="b" * 64)).why
    assert decided(replace(READY, running="17")).why == "process 17 takes a step"


def test_a_step_that_was_cut_short_is_taken_up_whatever_the_day_took() -> None:
    spent = ((NOW - 60, Cost(1e6, 0, 1e9)),)
    cut = Situation(0, 0, None, None, "step-0004", None, ("a" * 64,), "b" * 64, (NOW,) * 99, spent, 0, None, False)
    decision = decided(cut)
    assert (decision.start, decision.why) == (True, "step-0004 was cut short: it is taken up")
    assert unmet(decided(replace(cut, failures=1, failed_at=NOW))) == ["failures"]
    assert unmet(decided(replace(cut, running="3"))) == ["running"]
    assert unmet(decided(cut, Schedule(hours=("13:00-14:00",)))) == ["hours"]


COSTS = st.lists(st.tuples(st.floats(NOW - 86_000, NOW), st.floats(0, 900)), max_size=12)


@settings(deadline=None)
@given(COSTS, st.integers(900, 6000))
def test_a_day_never_takes_more_than_the_charter_says(taken: list[tuple[float, float]], most: int) -> None:
    """A step begins exactly when its whole budget has room; `again` is the first moment at which it has."""
    now = replace(READY, spent=tuple((at, Cost(seconds)) for at, seconds in taken))
    charter = Charter(schedule=Schedule(day_seconds=float(most)), budget=Budget(seconds=900.0))
    decision = decide(now, charter, NOW)
    total = sum(seconds for _, seconds in taken)
    if abs(total + 900 - most) < 1e-6:
        return
    assert decision.start is (total + 900 <= most)
    if not decision.start:
        again = decision.again
        assert again is not None
        left = sum(seconds for at, seconds in taken if at > again - 86_400)
        before = sum(seconds for at, seconds in taken if at >= again - 86_400)
        assert left + 900 <= most + 1e-6 < before + 900 + 2e-6


def test_a_budget_that_no_day_can_hold_is_said() -> None:
    charter = Charter(schedule=Schedule(day_joules=100.0), budget=Budget(joules=60_000.0))
    decision = decide(READY, charter, NOW)
    assert decision.why == "a step alone may take 60,000 joules, a day 100"
    assert decision.again is None


def test_steps_of_the_last_day_are_counted() -> None:
    times = tuple(NOW - hours * HOUR for hours in (20, 10, 5))
    decision = decided(replace(READY, steps=times), Schedule(steps_a_day=3))
    assert unmet(decision) == ["steps"]
    assert decision.again == times[0] + 24 * HOUR
    assert decided(replace(READY, steps=times), Schedule(steps_a_day=4)).start


def test_the_charters_line_is_cited(tmp_path: Path) -> None:
    file = tmp_path / "charter.toml"
    file.write_text("[schedule]\ncorrections = 2\n")
    decision = decide(replace(READY, documents=0, corrections=2), Charter.load(file), NOW)
    assert decision.start
    assert decision.conditions[3].rule == "charter.toml line 2: corrections = 2"
