"""Whether a step is to be taken now: every condition of the charter's `[schedule]`, met or not, and why.

    always           running    no other step is being taken
                     failures   not too many in a row came to nothing, and the wait after the last is over
                     hours      it is a time of the day at which a step may begin
    for a new step   evidence   enough waits
                     quiet      nothing came in for a while, or the first waits long enough
                     settled    no release waits for a person, or meets its users: it would be outdated
                     steps, seconds, joules   the last 24 hours leave room for a step and the whole of its budget

A step that was cut short is taken up whatever waits and whatever the day took: it was admitted when it began. A
decision is a function of the situation, the charter and the moment, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gradatim.charter import Charter
from gradatim.schedule.situation import DAY, Situation

MINUTE, HOUR = 60.0, 3600.0
RESUME = "gradatim run --resume"


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must hold. `again` is when it will hold if nothing but time passes; None where time won't do."""

    name: str
    holds: bool
    said: str
    rule: str | None  # the charter's line
    again: float | None = None


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the charter lets 24 hours take, and one step of it: steps, seconds, joules."""

    day: dict[str, float]
    step: dict[str, float]

    @classmethod
    def of(cls, charter: Charter) -> Allowance:
        rules, budget = charter.schedule, charter.budget
        day = {"steps": rules.steps_a_day, "seconds": rules.day_seconds, "joules": rules.day_joules}
        return cls(day, {"steps": 1, "seconds": budget.seconds, "joules": budget.joules})


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to step at the moment `at`, and what that rests on."""

    at: float
    situation: Situation
    conditions: tuple[Condition, ...]
    most: Allowance

    @property
    def start(self) -> bool:
        return all(condition.holds for condition in self.conditions)

    @property
    def unmet(self) -> tuple[Condition, ...]:
        return tuple(condition for condition in self.conditions if not condition.holds)

    @property
    def again(self) -> float | None:
        """When time alone will have met all conditions; None where it won't, or they are met."""
        moments = [condition.again for condition in self.unmet]
        return None if None in moments else max((again for again in moments if again is not None), default=None)

    @property
    def why(self) -> str:
        """On one line."""
        if not self.start:
            return "; ".join(condition.said for condition in self.unmet)
        if self.situation.unfinished:
            return f"{self.situation.unfinished} was cut short: it is taken up"
        return next(condition.said for condition in self.conditions if condition.name == "evidence")

    def data(self) -> dict[str, Any]:
        """As the command line and the control plane tell it."""
        now = self.situation
        return {
            "at": _iso(self.at),
            "start": self.start,
            "why": self.why,
            "again": None if self.again is None else _iso(self.again),
            "unfinished": now.unfinished,
            "running": now.running,
            "waiting": {"documents": now.documents, "corrections": now.corrections},
            "day": {"steps": len(now.steps), "seconds": now.cost.seconds, "joules": now.cost.joules},
            "day_most": self.most.day,
            "step_most": self.most.step,
            "failures": now.failures,
            "conditions": [
                {
                    "name": condition.name,
                    "holds": condition.holds,
                    "said": condition.said,
                    "rule": condition.rule,
                    "again": None if condition.again is None else _iso(condition.again),
                }
                for condition in self.conditions
            ],
        }


def decide(situation: Situation, charter: Charter, at: float) -> Decision:
    """Whether to begin, or take up, a step at the moment `at`."""
    conditions = [_running(situation), _failures(situation, charter, at), _hours(charter, at)]
    if situation.unfinished is None:
        conditions += [_evidence(situation, charter), _quiet(situation, charter, at), _settled(situation)]
        conditions += _day(situation, charter)
    return Decision(at, situation, tuple(conditions), Allowance.of(charter))


def _running(now: Situation) -> Condition:
    said = f"process {now.running} takes a step" if now.running else "no step is running"
    return Condition("running", now.running is None, said, None)


def _failures(now: Situation, charter: Charter, at: float) -> Condition:
    rules = charter.schedule
    if now.gave_up or now.failures >= rules.most_failures:
        said = f"the last {now.failures} steps came to nothing: a person must look, and say `{RESUME}`"
        return Condition("failures", False, said, charter.line("schedule.most_failures"))
    line = charter.line("schedule.retry_minutes")
    if now.failed_at is None:
        return Condition("failures", True, "the last step did not come to nothing", line)
    until = now.failed_at + rules.retry_minutes * MINUTE * 2 ** (now.failures - 1)
    times = "once" if now.failures == 1 else f"{now.failures} times in a row"
    if at < until:
        return Condition("failures", False, f"came to nothing {times}: tries again {_local(until)}", line, until)
    return Condition("failures", True, f"came to nothing {times}, and has waited", line)


def _hours(charter: Charter, at: float) -> Condition:
    spans, line = charter.schedule.hours, charter.line("schedule.hours")
    opens = _opening(spans, at)
    if opens is None:
        return Condition("hours", True, "a step may begin at this time of the day", line)
    return Condition("hours", False, f"steps begin at {', '.join(spans)} only", line, opens)


def _opening(spans: Iterable[str], at: float) -> float | None:
    """When the next span begins; None while one lasts, or where there are none."""
    spans = tuple(spans)
    moment = datetime.fromtimestamp(at)
    openings = []
    for span in spans:
        begin, end = (_minutes(time) for time in span.split("-"))
        now = moment.hour * 60 + moment.minute
        inside = begin <= now < end if begin < end else now >= begin or now < end
        if inside:
            return None
        opening = moment.replace(hour=begin // 60, minute=begin % 60, second=0, microsecond=0)
        openings.append((opening if begin > now else opening + timedelta(days=1)).timestamp())
    return min(openings, default=None)


def _minutes(time: str) -> int:
    hour, minute = time.split(":")
    return int(hour) * 60 + int(minute)


def _evidence(now: Situation, charter: Charter) -> Condition:
    wanted = charter.schedule
    enough = {
        "documents": 0 < wanted.documents <= now.documents,
        "corrections": 0 < wanted.corrections <= now.corrections,
    }
    met = next((name for name, holds in enough.items() if holds), None)
    waiting = f"{_counted(now.documents, 'document')} and {_counted(now.corrections, 'correction')} wait"
    needed = [_counted(wanted.documents, "document")] * (wanted.documents > 0)
    needed += [_counted(wanted.corrections, "correction")] * (wanted.corrections > 0)
    said = waiting if met else f"{waiting}, a step needs {' or '.join(needed) or 'a person'}"
    return Condition("evidence", met is not None, said, charter.line(f"schedule.{met or 'documents'}"))


def _quiet(now: Situation, charter: Charter, at: float) -> Condition:
    if now.first is None or now.last is None:
        return Condition("quiet", True, "nothing came in", charter.line("schedule.quiet_minutes"))
    quiet = now.last + charter.schedule.quiet_minutes * MINUTE
    patience = now.first + charter.schedule.patience_hours * HOUR
    if at >= quiet:
        return Condition("quiet", True, "nothing comes in any more", charter.line("schedule.quiet_minutes"))
    if at >= patience:
        return Condition("quiet", True, "the first has waited long enough", charter.line("schedule.patience_hours"))
    said = f"more may come in until {_local(min(quiet, patience))}"
    return Condition("quiet", False, said, charter.line("schedule.quiet_minutes"), min(quiet, patience))


def _settled(now: Situation) -> Condition:
    if now.awaiting:
        return Condition("settled", False, f"release {now.awaiting[0][:12]} waits for a person's word", None)
    if now.rollout:
        return Condition("settled", False, f"release {now.rollout[:12]} is being rolled out, or is to be", None)
    return Condition("settled", True, "no release waits for anything", None)


def _day(now: Situation, charter: Charter) -> Iterator[Condition]:
    most = Allowance.of(charter)
    spent = {
        "steps": [(begun, 1.0) for begun in now.steps],
        "seconds": [(when, cost.seconds) for when, cost in now.spent],
        "joules": [(when, cost.joules) for when, cost in now.spent],
    }
    lines = {"steps": "steps_a_day", "seconds": "day_seconds", "joules": "day_joules"}
    for name, taken in spent.items():
        yield _room(name, taken, most.step[name], most.day[name], charter.line(f"schedule.{lines[name]}"))


def _room(name: str, spent: Iterable[tuple[float, float]], wanted: float, most: float, line: str) -> Condition:
    """Whether the last day leaves room for what one step may take, and when it will."""
    left = sorted(spent)
    taken = math.fsum(amount for _, amount in left)
    said = f"{taken:,.0f} of {most:,.0f} {name} in 24 hours are spent"
    if taken + wanted <= most:
        return Condition(name, True, said, line)
    if wanted > most:
        return Condition(name, False, f"a step alone may take {wanted:,.0f} {name}, a day {most:,.0f}", line)
    again = 0.0
    while left and taken + wanted > most:
        when, amount = left.pop(0)
        taken, again = taken - amount, when + DAY
    return Condition(name, False, f"{said}, a step may take {wanted:,.0f}: room {_local(again)}", line, again)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _local(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("on %d %b at %H:%M")
