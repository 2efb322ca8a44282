"""From what was measured to a verdict: each bound of the charter is one check with estimate, interval and threshold.

A check passes or fails on its estimate, unless the interval leaves open whether there is any effect at all: a gain
whose interval reaches zero is inconclusive, and so is forgetting that is over the line but within the noise of it.
A candidate passes when all checks pass, fails when one fails, and is inconclusive otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gradatim.judge.statistics import Interval, paired_gain, share
from gradatim.types import Check, Outcome, Verdict


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The charter's gate, and for each bound the line of the charter that a verdict cites."""

    least_gain: float
    most_forgetting: float
    most_lesson_loss: float
    most_kl: float
    confidence: float
    lines: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Asked:
    """Right or wrong on the same questions, before (live or base) and after (the candidate as it would be served)."""

    before: Sequence[bool]
    after: Sequence[bool]


@dataclass(frozen=True, slots=True)
class Measured:
    """All that is known of a candidate."""

    exam: Asked
    skills: Asked
    lessons: Asked
    kl: Interval  # nats per token
    controls: Mapping[str, float]


def verdict(candidate: str, measured: Measured, thresholds: Thresholds) -> Verdict:
    """The checks in the order a person would ask them, and what they add up to."""
    checks = [_gain(measured.exam, thresholds), _loss("forgetting", measured.skills, thresholds, "most_forgetting")]
    if any(measured.lessons.before):
        checks.append(_loss("earlier lessons lost", measured.lessons, thresholds, "most_lesson_loss"))
    checks.append(_drift(measured.kl, thresholds))
    outcomes = {check.outcome for check in checks}
    whole: Outcome = "fail" if "fail" in outcomes else "inconclusive" if "inconclusive" in outcomes else "pass"
    return Verdict(candidate, whole, tuple(checks), dict(measured.controls))


def _gain(asked: Asked, thresholds: Thresholds) -> Check:
    estimate, low, high = paired_gain(asked.before, asked.after, thresholds.confidence)
    least = thresholds.least_gain
    outcome: Outcome = "pass" if estimate >= least and low > 0 else "fail" if high < least else "inconclusive"
    explanation = (
        f"{sum(asked.after)} of {len(asked.after)} sealed questions right, {sum(asked.before)} before "
        f"({thresholds.lines['least_gain']})"
    )
    return Check("gain", estimate, low, high, least, outcome, explanation)


def _loss(name: str, asked: Asked, thresholds: Thresholds, bound: str) -> Check:
    known = [after for before, after in zip(asked.before, asked.after, strict=True) if before]
    lost = len(known) - sum(known)
    estimate, low, high = share(lost, len(known), thresholds.confidence)
    most = float(getattr(thresholds, bound))
    outcome: Outcome = "pass" if estimate <= most else "fail" if low > most else "inconclusive"
    if not known:
        outcome = "inconclusive"
    explanation = f"{lost} of {len(known)} answers that were right are not any more ({thresholds.lines[bound]})"
    return Check(name, estimate, low, high, most, outcome, explanation)


def _drift(kl: Interval, thresholds: Thresholds) -> Check:
    estimate, low, high = kl
    most = thresholds.most_kl
    outcome: Outcome = "pass" if estimate <= most else "fail" if low > most else "inconclusive"
    explanation = f"nats per token from the base on unrelated prompts ({thresholds.lines['most_kl']})"
    return Check("drift", estimate, low, high, most, outcome, explanation)
