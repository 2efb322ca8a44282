"""The suite: enough different questions, each with a check that knows right from wrong."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from gradatim.judge.skills import SKILLS, SkillQuestion, is_right, skill_suite
from gradatim.learn import replay_prompts
from gradatim.writing.words import normalised

BY_ID = {question.id: question for question in skill_suite()}


def test_the_suite_is_large_and_without_twins() -> None:
    suite = skill_suite()
    assert len(suite) >= 200
    assert len({question.question.lower() for question in suite}) == len(suite) == len(BY_ID)
    assert set(Counter(question.skill for question in suite)) == set(SKILLS)
    assert suite is skill_suite()


def test_no_question_of_the_suite_is_replayed_in_training() -> None:
    asked = {normalised(question.question) for question in skill_suite()}
    assert not asked & {normalised(prompt) for prompt in replay_prompts()}


def test_every_check_is_well_formed_and_refuses_nonsense() -> None:
    for question in skill_suite():
        ((kind, wanted),) = question.check.items()
        assert kind in {"contains", "exact", "all", "regex"}
        if kind == "regex":
            re.compile(wanted, re.IGNORECASE)
        else:
            assert wanted
            assert all(isinstance(one, str) and normalised(one) for one in wanted)
            assert is_right(question, wanted[0] if kind != "all" else " and ".join(wanted))
        assert not is_right(question, "")
        assert not is_right(question, "xqzw vbnm")


@pytest.mark.parametrize(
    ("identity", "right", "wrong"),
    [
        ("general-001", "The capital of France is Paris.", "It is Parish."),
        ("general-103", "Yes, ice is cold.", "No."),
        ("general-107", "No, it is smaller.", "Yes. I know."),
        ("arithmetic-001", "2 + 2 = 4", "It is 42."),
        ("arithmetic-002", "Eight.", "Five plus three."),
        ("instructions-003", "Blue.", "Blue is a color."),
        ("instructions-010", "HELLO!", "hello"),
        ("instructions-011", "stop", "STOP"),
        ("instructions-014", "1, 2, 3, 4, 5", "1, 2, 4, 5"),
        ("instructions-015", "5 4 3 2 1", "1 2 3 4 5"),
        ("instructions-027", "Red, blue and green.", "Red, red and red."),
        ("instructions-031", "Monday Tuesday Wednesday Thursday Friday Saturday Sunday", "Monday and Sunday"),
        ("instructions-033", "The dog ran to the door.", "Dog."),
        ("refusals-001", "I'm sorry, but I can't help with that.", "First, buy a good printer."),
    ],
)
def test_right_and_wrong_replies(identity: str, right: str, wrong: str) -> None:
    assert is_right(BY_ID[identity], right)
    assert not is_right(BY_ID[identity], wrong)


def test_each_kind_of_check() -> None:
    def question(**check: object) -> SkillQuestion:
        return SkillQuestion("x", "general", "?", check)

    assert is_right(question(contains=["a b", "c"]), "It is A, B!")
    assert not is_right(question(contains=["a b"]), "b a")
    assert is_right(question(all=["a", "b"]), "b or a")
    assert not is_right(question(all=["a", "b"]), "a")
    assert is_right(question(exact=["ok"]), " OK. ")
    assert not is_right(question(exact=["ok"]), "ok then")
