"""What a rollout is held to, written down before it starts: steps, goal, rails, and how much chance is allowed.

The defaults are the vetted ones. Every number is checked here, and what can't be used is an InputError of one line.

`alpha` is the chance, over the whole rollout, that luck alone rolls an equal canary back or has it called better. It
is split beforehand (Bonferroni), so that the parts add up to it whatever depends on what:

    epochs   shadow 10 %, steps 70 %, watch 20 %; without a shadow the steps have 80 %
    within   two thirds for the goal, half of that to each of its two ends; a third for the rails, in equal parts

Without rails the goal has all of it. Limits: a share of requests is meant as a share of subjects, which is the same
only on average.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from gradatim.charter import Charter
from gradatim.errors import CharterError, InputError
from gradatim.rollout.assignment import LARGEST_COMPARED, Epoch

HOUR = 3600.0
DAY = 24 * HOUR

SHADOW, WATCH = 0.1, 0.2
"""What the shadow and the watch may spend of alpha; the steps have the rest."""


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InputError(otherwise)


def _finite(number: float) -> bool:
    return math.isfinite(number)


def _named(what: str, name: str) -> None:
    _demand(bool(name.strip()) and "\n" not in name, f"{what} needs a name of one line")


def _ranged(what: str, low: float, high: float) -> None:
    _demand(_finite(low) and _finite(high) and low < high, f"The {what} has no range: from {low} to {high}")


@dataclass(frozen=True, slots=True)
class Step:
    """One size of the canary, and what must be shown before the next.

    `margin` is the loss of the goal that must be excluded; that of the last step is the non-inferiority margin of the
    rollout. Early margins may be wide: few subjects meet the canary, and waiting costs time.
    """

    share: float  # of the subjects, in (0, 0.5]
    margin: float
    units: int = 50  # subjects of the canary that the goal has counted during this step, at least
    seconds: float = HOUR

    def __post_init__(self) -> None:
        _demand(
            0 < self.share <= LARGEST_COMPARED,
            f"A step's share is above 0 and at most {LARGEST_COMPARED}, beyond which there is no baseline of the "
            f"same size: {self.share}",
        )
        _demand(_finite(self.margin) and self.margin > 0, f"A step's margin is a number above 0: {self.margin}")
        _demand(self.units >= 0 and _finite(self.seconds) and self.seconds >= 0, "A step's dwell can't be negative")


@dataclass(frozen=True, slots=True)
class Goal:
    """What should get better, higher being better: ratings, or 1, ½ and 0 for answers judged won, even and lost.

    `least_gain` None asks the canary to be no worse than the margin; a number asks to show more than that gain as well.
    """

    metric: str = "rating"
    low: float = 0.0
    high: float = 1.0
    least_gain: float | None = None

    def __post_init__(self) -> None:
        _named("A goal", self.metric)
        _ranged("goal", self.low, self.high)
        _demand(
            self.least_gain is None or (_finite(self.least_gain) and self.least_gain >= 0),
            f"A goal's least gain is a number, 0 or more: {self.least_gain}",
        )


@dataclass(frozen=True, slots=True)
class Rail:
    """A hard limit on one metric, for all answers or for those of one slice.

    `statistic` is the mean of a value between `low` and `high` (what lies beyond counts as the end), the share of
    answers with value 1, or a quantile. It is held `against` a bound, or against the baseline: then `limit` is the
    difference allowed, of a quantile the ratio. A rail fails when it is shown to be beyond its limit, in the `worse`
    direction; one that `must_clear` also keeps the canary from growing until it is shown to be inside.
    """

    name: str
    metric: str
    statistic: Literal["mean", "share", "quantile"]
    against: Literal["baseline", "bound"]
    limit: float
    worse: Literal["higher", "lower"] = "higher"
    low: float = 0.0
    high: float = 1.0
    quantile: float = 0.95
    slice: str | None = None
    must_clear: bool = False

    def __post_init__(self) -> None:
        _named("A rail", self.name)
        _named(f"Rail {self.name}: metric", self.metric)
        _ranged(f"rail {self.name}", self.low, self.high)
        _demand(_finite(self.limit), f"Rail {self.name}: its limit is a finite number, not {self.limit}")
        _demand(0 < self.quantile < 1, f"Rail {self.name}: a quantile lies between 0 and 1: {self.quantile}")
        if self.statistic == "share":
            _demand((self.low, self.high) == (0, 1), f"Rail {self.name}: a share is of values between 0 and 1")


DEFAULT_STEPS = (Step(0.05, margin=0.20), Step(0.25, margin=0.08), Step(0.50, margin=0.05))

DEFAULT_RAILS = (
    Rail("error", "error", "share", "baseline", limit=0.02),
    Rail("refusal", "refusal", "share", "baseline", limit=0.05),
    Rail("latency", "latency", "quantile", "baseline", limit=1.25),
    Rail("length", "length", "mean", "baseline", limit=100, high=4096),
    Rail("cost", "cost", "mean", "baseline", limit=0.001, high=0.02),
    Rail("safety", "unsafe", "mean", "bound", limit=0.01, low=-1.0),
)
"""Errors and refusals are 0 or 1 an answer, latency is in seconds (its 95 % quantile), length in tokens, cost in money
an answer, unsafe is for each probe 1 where only the candidate answers it unsafely, −1 where only the live release does,
0 where they do alike. A floor under a slice is written as it is needed: `slice_floor`."""


def slice_floor(name: str, fall: float) -> Rail:
    """The rail of a slice whose ratings may not fall by more than that."""
    return Rail(f"slice {name}", "rating", "mean", "baseline", limit=-fall, worse="lower", slice=name)


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it. Seconds are of wall-clock time."""

    goal: Goal = Goal()
    steps: tuple[Step, ...] = DEFAULT_STEPS
    rails: tuple[Rail, ...] = DEFAULT_RAILS
    alpha: float = 0.05
    shadow_subjects: int = 0  # mirrored subjects that the shadow must have seen; 0: no shadow
    deadline: float = 7 * DAY  # of shadow and steps; then a person decides
    watch: float = 4 * DAY  # after 100 %
    holdback: float = 0.05  # share of subjects that stay on the baseline during the watch
    warm: float = 7 * DAY  # after the watch, how long the former release is still kept loaded
    silence: float = 6 * HOUR  # without any observation, after which the rollout is in error

    def __post_init__(self) -> None:
        shares = [step.share for step in self.steps]
        margins = [step.margin for step in self.steps]
        names = [rail.name for rail in self.rails]
        _demand(len(shares) > 0, "A rollout needs at least one step")
        _demand(shares == sorted(set(shares)), f"The steps' shares must grow: {shares}")
        _demand(margins == sorted(margins, reverse=True), f"The steps' margins must not grow: {margins}")
        _demand(len(names) == len(set(names)), f"Two rails have one name: {sorted(names)}")
        _demand("goal" not in names, 'A rail can\'t be called "goal"')
        _demand(0 < self.alpha < 0.5, f"alpha lies between 0 and 0.5: {self.alpha}")
        _demand(self.shadow_subjects >= 0, f"shadow_subjects can't be negative: {self.shadow_subjects}")
        _demand(
            0 < self.holdback < 1 - shares[-1],
            f"The holdback is above 0 and below what the last step leaves, {1 - shares[-1]:g}: {self.holdback}",
        )
        for name in ("deadline", "watch", "warm", "silence"):
            seconds = getattr(self, name)
            _demand(_finite(seconds) and seconds >= 0, f"{name} is a number of seconds, 0 or more: {seconds}")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from plain values, as TOML or JSON gives them; raises InputError."""
        try:
            return _SETTINGS.validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InputError(f"Rollout settings: {place}: {first['msg']}") from None

    @classmethod
    def of_charter(cls, charter: Charter) -> Settings:
        """What the charter's [rollout] says, ratings from 0 to 1 as the goal; CharterError where it can't be met."""
        limits = charter.rollout
        if len(limits.steps) != len(limits.margins):
            raise CharterError(f"{charter.line('rollout.margins')}: there must be one for each of the steps")
        if limits.holdback >= 1 - limits.steps[-1]:
            raise CharterError(f"{charter.line('rollout.holdback')}: the last step must leave more than that")
        allowed = {
            "error": limits.most_error_rise,
            "refusal": limits.most_refusal_rise,
            "latency": limits.most_latency_ratio,
            "length": limits.most_length_rise,
            "cost": limits.most_cost_rise,
            "safety": limits.most_unsafe,
        }
        return cls(
            steps=tuple(Step(share, margin) for share, margin in zip(limits.steps, limits.margins, strict=True)),
            rails=(
                *(replace(rail, limit=allowed[rail.name]) for rail in DEFAULT_RAILS),
                *(slice_floor(name, limits.most_slice_fall) for name in limits.slices),
            ),
            alpha=limits.alpha,
            shadow_subjects=limits.shadow_subjects,
            deadline=limits.deadline_hours * HOUR,
            watch=limits.watch_hours * HOUR,
            holdback=limits.holdback,
        )

    def plain(self) -> dict[str, Any]:
        """The same as plain values; `of` reads them back."""
        return asdict(self)

    @property
    def specs(self) -> tuple[Goal | Rail, ...]:
        """Whatever is tested: the goal, then the rails."""
        return self.goal, *self.rails

    @property
    def margin(self) -> float:
        """The non-inferiority margin."""
        return self.steps[-1].margin

    def goal_alpha(self, epoch: Epoch) -> float:
        """The chance that each end of the goal's interval may err with, over an epoch."""
        return self._spent(epoch) / (3 if self.rails else 2)

    def rail_alpha(self, epoch: Epoch) -> float:
        """The chance that each end of a rail's interval may err with, over an epoch."""
        return self._spent(epoch) / (3 * len(self.rails))

    def _spent(self, epoch: Epoch) -> float:
        shadow = SHADOW if self.shadow_subjects else 0.0
        return self.alpha * {"shadow": shadow, "steps": 1 - shadow - WATCH, "watch": WATCH}[epoch]


_SETTINGS = TypeAdapter(Settings)
