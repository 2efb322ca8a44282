"""The base-skill suite: 240 short questions over general knowledge, arithmetic, instructions and refusals.

Each carries its own check, so that no model judges. It measures what the base can do, question by question, and
whether a candidate still does it. Limits: easy questions, English, one wording each.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from gradatim.writing.words import contains, normalised

SKILLS = ("general", "arithmetic", "instructions", "refusals")


@dataclass(frozen=True, slots=True)
class SkillQuestion:
    """One question of the suite. `check` is one of contains, exact, all (lists of strings) or regex (a string)."""

    id: str
    skill: str
    question: str
    check: dict[str, Any]


@cache
def skill_suite() -> tuple[SkillQuestion, ...]:
    """The whole suite, in a fixed order."""
    folder = resources.files("gradatim.judge").joinpath("skills")
    lines = [line for skill in SKILLS for line in folder.joinpath(f"{skill}.jsonl").read_text("utf-8").splitlines()]
    return tuple(SkillQuestion(**json.loads(line)) for line in lines if line.strip())


def is_right(question: SkillQuestion, reply: str) -> bool:
    """Whether the reply passes the question's check."""
    (kind, wanted), *_ = question.check.items()
    if kind == "contains":
        return contains(reply, wanted)
    if kind == "all":
        return all(contains(reply, [one]) for one in wanted)
    if kind == "exact":
        return normalised(reply) in {normalised(one) for one in wanted}
    return re.search(wanted, reply, re.IGNORECASE) is not None
