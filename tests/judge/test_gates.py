"""Each bound of the charter: where it passes, where it fails, and where the interval leaves it open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradatim.charter import Charter
from gradatim.judge import Asked, Measured, Thresholds, verdict
from gradatim.types import Check, Verdict

GATE = Charter.default().gate
NAMES = ("least_gain", "most_forgetting", "most_lesson_loss", "most_kl")
LINES = {name: Charter.default().line(f"gate.{name}") for name in NAMES}
THRESHOLDS = Thresholds(0.20, 0.05, 0.10, 0.10, 0.95, LINES)
GOOD = Measured(
    Asked([False] * 40, [True] * 30 + [False] * 10),
    Asked([True] * 100, [True] * 100),
    Asked([True] * 20 + [False] * 5, [True] * 25),
    (0.01, 0.0, 0.02),
    {"no update": 0.0},
)


def judged(measured: Measured, thresholds: Thresholds = THRESHOLDS) -> tuple[Verdict, dict[str, Check]]:
    said = verdict("c", measured, thresholds)
    return said, {check.name: check for check in said.checks}


def kept(lost: int, of: int) -> Asked:
    """Of so many right before, how many are lost."""
    return Asked([True] * of, [False] * lost + [True] * (of - lost))


def test_a_good_candidate_passes_every_check_in_order() -> None:
    said, _ = judged(GOOD)
    assert [check.name for check in said.checks] == ["gain", "forgetting", "earlier lessons lost", "drift"]
    assert {check.outcome for check in said.checks} == {"pass"} == {said.outcome}
    assert said.controls == {"no update": 0.0}
    assert said.checks[0].explanation.startswith("30 of 40 sealed questions right, 0 before")


def test_every_check_cites_its_line_of_the_charter() -> None:
    said, _ = judged(GOOD)
    for check, name in zip(said.checks, NAMES, strict=True):
        assert LINES[name] in check.explanation
        assert f"charter.default.toml line {Charter.default().lines[f'gate.{name}']}: {name} = " in check.explanation
        assert check.threshold == getattr(GATE, name)


@pytest.mark.parametrize(
    ("won", "lost", "of", "outcome"),
    [
        (8, 0, 40, "pass"),  # just the bound
        (7, 0, 21, "pass"),
        (2, 0, 10, "inconclusive"),  # enough, if it is not luck
        (5, 1, 20, "inconclusive"),
        (5, 4, 100, "fail"),  # the whole interval is below
        (0, 0, 100, "fail"),
        (0, 0, 5, "inconclusive"),
        (0, 30, 40, "fail"),
        (0, 0, 0, "inconclusive"),
    ],
)
def test_gain(won: int, lost: int, of: int, outcome: str) -> None:
    same = of - won - lost
    exam = Asked([False] * won + [True] * lost + [False] * same, [True] * won + [False] * (lost + same))
    said, checks = judged(replace(GOOD, exam=exam))
    assert checks["gain"].outcome == outcome == said.outcome


@pytest.mark.parametrize(
    ("lost", "of", "outcome"),
    [(0, 100, "pass"), (5, 100, "pass"), (6, 100, "inconclusive"), (15, 100, "fail"), (1, 1, "fail")],
)
def test_forgetting(lost: int, of: int, outcome: str) -> None:
    said, checks = judged(replace(GOOD, skills=kept(lost, of)))
    assert checks["forgetting"].outcome == outcome == said.outcome
    assert checks["forgetting"].explanation.startswith(f"{lost} of {of} answers")


def test_a_base_without_any_skill_says_nothing_of_forgetting() -> None:
    _, checks = judged(replace(GOOD, skills=Asked([False] * 50, [True] * 50)))
    assert checks["forgetting"].outcome == "inconclusive"


@pytest.mark.parametrize(("lost", "of", "outcome"), [(2, 20, "pass"), (3, 20, "inconclusive"), (10, 20, "fail")])
def test_earlier_lessons(lost: int, of: int, outcome: str) -> None:
    said, checks = judged(replace(GOOD, lessons=kept(lost, of)))
    assert checks["earlier lessons lost"].outcome == outcome == said.outcome


@pytest.mark.parametrize("lessons", [Asked([], []), Asked([False] * 9, [True] * 9)])
def test_no_check_of_lessons_where_none_was_known(lessons: Asked) -> None:
    said, checks = judged(replace(GOOD, lessons=lessons))
    assert "earlier lessons lost" not in checks
    assert said.outcome == "pass"


@pytest.mark.parametrize(
    ("kl", "outcome"),
    [
        ((0.10, 0.05, 0.15), "pass"),
        ((0.11, 0.05, 0.15), "inconclusive"),
        ((0.20, 0.10, 0.30), "inconclusive"),
        ((0.20, 0.11, 0.30), "fail"),
    ],
)
def test_drift(kl: tuple[float, float, float], outcome: str) -> None:
    said, checks = judged(replace(GOOD, kl=kl))
    assert checks["drift"].outcome == outcome == said.outcome
    assert (checks["drift"].estimate, checks["drift"].low, checks["drift"].high) == kl


def test_one_failure_outweighs_what_is_open() -> None:
    said, _ = judged(replace(GOOD, exam=Asked([False] * 4, [True] * 4), skills=kept(50, 100)))
    assert [check.outcome for check in said.checks] == ["inconclusive", "fail", "pass", "pass"]
    assert said.outcome == "fail"
