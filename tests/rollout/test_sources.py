"""One source alone decides nothing: newcomers that it invents, and verdicts that hang on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradatim.rollout import Newcomers, Row, dump, load
from gradatim.rollout.rails import AgainstBaseline, Value
from gradatim.rollout.rails import test_of as made_for
from gradatim.rollout.rollout import Rollout
from gradatim.rollout.settings import Goal, Settings, Step, slice_floor
from tests.rollout.crowd import KEY

SETTINGS = Settings(steps=(Step(0.5, margin=0.1, units=20, seconds=0.0),), rails=())


def started(newcomers: Newcomers | None = None) -> Rollout:
    return Rollout.start(SETTINGS, "old", "new", KEY, 0.0, newcomers)[0]


def rated(rollout: Rollout, source: str, count: int, up: tuple[float, float], seed: int = 0) -> list[Row]:
    """Ratings of a source's subjects: the chances of a thumb up on the canary and on the baseline."""
    chance, rows = np.random.default_rng(seed), []
    for number in range(count):
        subject = f"{source} {number}"
        of_arm = up[0] if rollout.arm(subject) == "canary" else up[1]
        rows.append(Row(subject, 0, {"rating": float(chance.random() < of_arm)}, source=source))
    return rows


def test_a_failure_that_one_source_alone_shows_waits_for_a_person() -> None:
    rollout = started()
    rows = rated(rollout, "honest", 400, (0.7, 0.7)) + rated(rollout, "attacker", 300, (0.0, 1.0))
    rollout.observe(rows, 1.0)
    (event,) = rollout.decide(1.0)
    assert (event.kind, event.verdict) == ("pause", "inconclusive")
    assert "attacker" in event.reason
    assert rollout.decide(2.0) == []
    assert load(dump(rollout), KEY) == rollout


def test_a_failure_that_the_others_show_too_takes_it_back() -> None:
    rollout = started()
    rows = [row for source in ("a", "b", "c") for row in rated(rollout, source, 300, (0.3, 0.8))]
    rollout.observe(rows, 1.0)
    (event,) = rollout.decide(1.0)
    assert (event.kind, event.verdict) == ("rollback", "fail")


def test_the_only_source_is_believed() -> None:
    rollout = started()
    rollout.observe(rated(rollout, "only", 400, (0.2, 0.8)), 1.0)
    assert [event.kind for event in rollout.decide(1.0)] == ["rollback"]


def test_one_source_alone_makes_nothing_grow() -> None:
    rollout = started()
    rows = rated(rollout, "honest", 1000, (0.5, 0.7)) + rated(rollout, "attacker", 900, (1.0, 0.0))
    rollout.observe(rows, 1.0)
    assert rollout.evidence()[0].finding == "pass"
    (event,) = rollout.decide(1.0)
    assert (event.kind, event.verdict) == ("pause", "inconclusive")
    assert "without the ratings under attacker" in event.reason


def test_where_the_others_leave_it_open_it_does_not_grow() -> None:
    rollout = started()
    rows = rated(rollout, "honest", 300, (0.67, 0.7)) + rated(rollout, "loud", 280, (1.0, 0.5))
    rollout.observe(rows, 1.0)
    assert rollout.evidence()[0].finding == "pass"
    assert rollout.decide(1.0) == []


# ------------------------------------------------------------------ slices


def started_with_a_floor() -> Rollout:
    settings = replace(SETTINGS, rails=(slice_floor("metadata.language=de", 0.1),))
    return Rollout.start(settings, "old", "new", KEY, 0.0)[0]


def in_the_slice(rows: list[Row]) -> list[Row]:
    return [replace(row, slices=("metadata.language=de",)) for row in rows]


def elsewhere(rollout: Rollout) -> list[Row]:
    """So many equal ratings that the goal passes whatever the slice says."""
    return [row for source in ("a", "b", "c") for row in rated(rollout, source, 3000, (0.7, 0.7), 1)]


def test_a_slice_that_falls_by_the_word_of_one_source_waits_for_a_person() -> None:
    rollout = started_with_a_floor()
    honest, attack = rated(rollout, "honest", 400, (0.7, 0.7)), rated(rollout, "attacker", 350, (0.0, 1.0))
    rollout.observe([*elsewhere(rollout), *in_the_slice(honest + attack)], 1.0)
    assert [found.finding for found in rollout.evidence()[:2]] == ["pass", "fail"]
    (event,) = rollout.decide(1.0)
    assert (event.kind, event.verdict) == ("pause", "inconclusive")
    assert "attacker" in event.reason
    assert "slice metadata.language=de" in event.reason
    assert rollout.decide(2.0) == []
    assert load(dump(rollout), KEY) == rollout


def test_a_slice_that_falls_by_everybodys_word_takes_it_back() -> None:
    rollout = started_with_a_floor()
    slice_rows = [row for source in ("x", "y", "z") for row in rated(rollout, source, 300, (0.3, 0.8))]
    rollout.observe([*elsewhere(rollout), *in_the_slice(slice_rows)], 1.0)
    assert [event.kind for event in rollout.decide(1.0)] == ["rollback"]


def test_a_fall_that_one_source_hides_keeps_it_from_growing() -> None:
    rollout = started_with_a_floor()
    honest, attack = rated(rollout, "honest", 600, (0.3, 0.8)), rated(rollout, "attacker", 550, (1.0, 0.3))
    rollout.observe([*elsewhere(rollout), *in_the_slice(honest + attack)], 1.0)
    assert [found.finding for found in rollout.evidence()[:2]] != ["pass", "fail"]
    (event,) = rollout.decide(1.0)
    assert (event.kind, event.verdict) == ("pause", "inconclusive")
    assert "without the ratings under attacker" in event.reason


def test_floors_that_fall_by_the_word_of_different_sources_take_it_back() -> None:
    rails = tuple(slice_floor(f"metadata.language={name}", 0.1) for name in ("de", "fr"))
    rollout = Rollout.start(replace(SETTINGS, rails=rails), "old", "new", KEY, 0.0)[0]
    for language, attacker in (("de", "one"), ("fr", "another")):
        rows = rated(rollout, f"honest {language}", 400, (0.7, 0.7)) + rated(rollout, attacker, 350, (0.0, 1.0))
        rollout.observe([replace(row, slices=(f"metadata.language={language}",)) for row in rows], 1.0)
    rollout.observe(elsewhere(rollout), 1.0)
    (event,) = rollout.decide(1.0)
    assert event.kind == "rollback"
    assert "language=de" in event.reason
    assert "language=fr" in event.reason


def test_a_fall_that_one_source_hides_is_told_before_the_watch_is_over() -> None:
    rollout = started_with_a_floor()
    rollout.promote("me", "looked at it", 1.0, full=True)
    wave = rollout.wave
    rows = rated(rollout, "honest", 6000, (0.3, 0.8)) + rated(rollout, "attacker", 5500, (1.0, 0.3))
    rollout.observe([replace(row, wave=wave) for row in rows], 2.0)
    (event,) = rollout.decide(2.0)
    assert (event.kind, event.verdict) == ("pause", "inconclusive")
    assert "without the ratings under attacker" in event.reason


def test_a_slice_of_one_source_is_believed() -> None:
    rollout = started_with_a_floor()
    rollout.observe([*elsewhere(rollout), *in_the_slice(rated(rollout, "only", 400, (0.2, 0.8)))], 1.0)
    assert [event.kind for event in rollout.decide(1.0)] == ["rollback"]


# ------------------------------------------------------------------ parts


@pytest.mark.parametrize("seed", range(5))
def test_without_a_part_is_what_the_rest_alone_would_be_but_for_what_was_expected(seed: int) -> None:
    """The scores of the rest, summed by hand."""
    chance = np.random.default_rng(seed)
    test = made_for(Goal(), 0.5)
    assert isinstance(test, AgainstBaseline)
    values = [
        Value(str(n), bool(chance.random() < 0.5), float(chance.random()), "ab"[int(n % 3 == 0)]) for n in range(60)
    ]
    test.add(values[:25])
    test.add(values[25:])
    expected, total, score, kept = 0.5, 0.0, 0.0, 0
    for n, value in enumerate(values):
        expected = (0.5 + total) / (1 + n)
        total += value.value
        if value.source == "a":
            score += (value.value - expected) * (2 if value.on_canary else -2)
            kept += 1
    (rest,) = [rest for source, rest in test.without_each() if source == "b"]
    assert rest.difference.score == pytest.approx(score)
    assert sum(rest.units) == kept
    assert {source for source, _ in test.without_each()} == {"b"}  # "a" gave more than half


def test_newcomers_of_a_source_count_up_to_what_it_brought_before() -> None:
    newcomers = Newcomers.held_to({"shop": 80, "app": 5}, 10)
    counted = {
        source: sum(newcomers.admit(f"{source} {n}", source) for n in range(100)) for source in ("shop", "app", "new")
    }
    assert counted == {"shop": 80, "app": 10, "new": 10}
    assert newcomers.admit("app 3", "app")
    assert not newcomers.admit("app 50", "app")
    assert newcomers.left_out == 100 - 80 + 2 * (100 - 10) + 1
    assert all(Newcomers.held_to({"shop": 9}, 10).admit(str(n), "shop") for n in range(100))


def test_who_is_left_out_counts_nowhere_and_stays_left_out_after_a_restart() -> None:
    rollout = started(Newcomers.held_to({"app": 30}, 30))
    rows = [Row(f"user {n}", 0, {"rating": 1.0}, source="app", newcomer=True) for n in range(200)]
    rollout.observe(rows, 1.0)
    again = load(dump(rollout), KEY)
    again.observe([Row(row.subject, 0, {"rating": 0.0}, source="app", newcomer=True) for row in rows], 2.0)
    known = [Row(f"known {n}", 0, {"rating": 1.0}, source="app") for n in range(7)]
    again.observe(known, 3.0)
    goal, *_, ratio, _ = again.evidence()
    assert goal.canary + goal.baseline == ratio.canary + ratio.baseline == 37
