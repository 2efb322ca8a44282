"""Judge: is it really better, and worse at nothing? It knows neither who proposed a candidate nor who trained it."""

from gradatim.judge.exam import Exam, answered_in_context, write_exam
from gradatim.judge.gates import Asked, Measured, Thresholds, verdict
from gradatim.judge.skills import SkillQuestion, is_right, skill_suite

__all__ = [
    "Asked", "Exam", "Measured", "SkillQuestion", "Thresholds", "answered_in_context", "is_right", "skill_suite",
    "verdict", "write_exam",
]  # fmt: skip
