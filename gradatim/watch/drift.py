"""Whether a day's traffic is like that of the days before: two-sample tests, one value for each subject.

    inputs    prompt tokens, of all replies
    outputs   reply tokens, seconds, errors, replies cut short, refusals    of the live release only: another one
    scores    ratings, corrections                                          answers otherwise, and is meant to

A day is a unit: each feature of it is held once against the reference, the days before. A subject counts once on each
side, with the mean of its replies, so that one who asks a thousand times is one witness. The test is Kolmogorov's and
Smirnov's: it sees any change of a distribution and assumes none. `alpha` is the chance that a day like all others is
told as drift in any feature; it is shared among the features (Bonferroni). A change must be large as well as sure:
`least_distance` is how far the two distribution functions must be apart, so that many users don't make a trifle an
alarm.

Why no streaming detector: `benchmarks/drift.py` runs three of river's on the same days. Their alarms depend on how many
requests a day has, and not on days, and their state would have to outlive restarts; this reads what is stored.

Limits: subjects who come on both sides make the test keep below `alpha`. A week's rhythm is no drift, so the reference
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

Values = Mapping[str, Sequence[float]]
"""Of each feature: a value for each subject."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a change must show."""

    alpha: float = 0.001  # a day, all features together
    least_distance: float = 0.10
    least_subjects: int = 50  # on each side; fewer are not tested


TERMS = Terms()


@dataclass(frozen=True, slots=True)
class Drift:
    """A feature whose day is unlike the days before."""

    feature: str
    distance: float  # between the distribution functions, 0 to 1
    p_value: float
    threshold: float
    before: float  # means over subjects
    now: float
    subjects_before: int
    subjects_now: int

    @property
    def said(self) -> str:
        return (
            f"{self.feature}: {self.now:.3g} on the mean of {self.subjects_now} subjects, {self.before:.3g} before; "
            f"distance {self.distance:.2f}, p {self.p_value:.1e}"
        )


def values(replies: Iterable[Reply]) -> dict[str, list[float]]:
    """Each feature's values, one for each subject: the mean over its replies."""
    sums: dict[str, dict[str, list[float]]] = {feature: {} for feature in FEATURES}
    for reply in replies:
        for feature, value in _measured(reply).items():
            sums[feature].setdefault(reply.subject, []).append(value)
    return {feature: [sum(given) / len(given) for given in of_subject.values()] for feature, of_subject in sums.items()}


def drifted(before: Values, now: Values, features: Sequence[str] = FEATURES, terms: Terms = TERMS) -> list[Drift]:
    """The features in which `now` is unlike `before`; `terms.alpha` is shared among all features there are."""
    from scipy.stats import ks_2samp

    found = []
    threshold = terms.alpha / len(FEATURES)
    for feature in features:
        old, new = before[feature], now[feature]
        if min(len(old), len(new)) < terms.least_subjects:
            continue
        test = ks_2samp(old, new, method="asymp")
        if test.pvalue < threshold and test.statistic >= terms.least_distance:
            means = (sum(old) / len(old), sum(new) / len(new))
            found.append(
                Drift(feature, float(test.statistic), float(test.pvalue), threshold, *means, len(old), len(new))
            )
    return found


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
