"""Whether a day's traffic is like that of the days before: two-sample tests on what each subject met in a day.

    inputs    prompt tokens, of all replies
    outputs   reply tokens, seconds, errors, replies cut short, refusals    of the live release only: another one
    scores    ratings, corrections                                          answers otherwise, and is meant to

A day is held once against the reference, the days before. A value is the mean of one subject's replies of one day, so
that one who asks a thousand times is one witness, and both sides are of the same kind: a mean over a week would be
another. Subjects who come every day are no independent witnesses of the reference: it counts as Kish's effective number
of values, the square of their number over the sum of the squares of each subject's, as if a subject were always the
same. The test is Kolmogorov's and Smirnov's: it sees any change of a distribution and assumes none.

`alpha` is the chance that a day like all others is told as drift in any feature; it is shared among the features
(Bonferroni). A change must be large as well as sure: `least_distance` is how far the two distribution functions must be
apart, so that many users don't make a trifle an alarm.

Why no streaming detector: `benchmarks/drift.py` runs river's on the same days. ADWIN finds smaller changes, in a week,
but its alarms go by values and not by days, and came ten times as often as 1 in 1,000 at its default; its state would
have to outlive restarts, while this reads what is stored.

Limits: subjects who come on both sides, and values that are few and round, make the test keep below `alpha`, and so do
those who come every day and differ from day to day. A week's rhythm is no drift, so the reference
should hold whole weeks: with a Sunday unlike the other days, its alarms are more than `alpha` says, unless the
distance excludes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class Reply(Protocol):
    """What is known of a reply."""

    @property
    def subject(self) -> str: ...
    @property
    def at(self) -> str: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def finish(self) -> str: ...
    @property
    def refused(self) -> bool: ...
    @property
    def rating(self) -> float | None: ...
    @property
    def corrected(self) -> bool: ...


INPUTS = ("prompt tokens",)
OUTPUTS = ("reply tokens", "seconds", "errors", "cut short", "refusals", "ratings", "corrections")
FEATURES = (*INPUTS, *OUTPUTS)


@dataclass(frozen=True, slots=True)
class Sample:
    """Values of a feature, one for each subject and day, and how many independent ones they count as."""

    values: Sequence[float]
    effective: float


@dataclass(frozen=True, slots=True)
class Terms:
    """What a change must show."""

    alpha: float = 0.001  # a day, all features together
    least_distance: float = 0.10
    least_subjects: int = 50  # on each side, effective ones; fewer are not tested


TERMS = Terms()


@dataclass(frozen=True, slots=True)
class Drift:
    """A feature whose day is unlike the days before."""

    feature: str
    distance: float  # between the distribution functions, 0 to 1
    p_value: float
    threshold: float
    before: float  # means
    now: float
    witnesses_before: float  # effective numbers
    witnesses_now: float

    @property
    def said(self) -> str:
        return (
            f"{self.feature}: {self.now:.3g} on average, {self.before:.3g} before; distance {self.distance:.2f}, "
            f"p {self.p_value:.1e}, of {self.witnesses_now:.0f} and {self.witnesses_before:.0f} witnesses"
        )


def samples(replies: Iterable[Reply]) -> dict[str, Sample]:
    """Each feature's values: the mean over the replies to a subject in a day."""
    given: dict[str, dict[str, dict[str, list[float]]]] = {feature: {} for feature in FEATURES}
    for reply in replies:
        for feature, value in _measured(reply).items():
            given[feature].setdefault(reply.subject, {}).setdefault(reply.at[:10], []).append(value)
    return {feature: _sample(of_subject) for feature, of_subject in given.items()}


def _sample(of_subject: Mapping[str, Mapping[str, Sequence[float]]]) -> Sample:
    values = [sum(day) / len(day) for days in of_subject.values() for day in days.values()]
    squares = sum(len(days) ** 2 for days in of_subject.values())
    return Sample(values, len(values) ** 2 / squares if squares else 0.0)


def drifted(
    before: Mapping[str, Sample], now: Mapping[str, Sample], features: Sequence[str] = FEATURES, terms: Terms = TERMS
) -> list[Drift]:
    """The features in which `now` is unlike `before`; `terms.alpha` is shared among all features there are."""
    from scipy.stats import ks_2samp, kstwobign

    found = []
    threshold = terms.alpha / len(FEATURES)
    for feature in features:
        old, new = before[feature], now[feature]
        if min(old.effective, new.effective) < terms.least_subjects:
            continue
        distance = float(ks_2samp(old.values, new.values, method="asymp").statistic)
        pooled = old.effective * new.effective / (old.effective + new.effective)
        p_value = float(kstwobign.sf(distance * pooled**0.5))
        if p_value < threshold and distance >= terms.least_distance:
            means = (_mean(old.values), _mean(new.values))
            found.append(Drift(feature, distance, p_value, threshold, *means, old.effective, new.effective))
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _measured(reply: Reply) -> dict[str, float]:
    if reply.finish == "error":
        return {"prompt tokens": float(reply.prompt_tokens), "errors": 1.0} if reply.prompt_tokens else {"errors": 1.0}
    said = {
        "prompt tokens": float(reply.prompt_tokens),
        "reply tokens": float(reply.completion_tokens),
        "seconds": reply.seconds,
        "errors": 0.0,
        "cut short": float(reply.finish == "length"),
        "refusals": float(reply.refused),
        "corrections": float(reply.corrected),
    }
    return said if reply.rating is None else said | {"ratings": reply.rating}
