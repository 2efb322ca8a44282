"""The rollout of one candidate: shadow, steps, watch, live, and back by itself when it turns out worse.

    rollout = Rollout.start(settings, live, candidate, key, now)
    rollout.release(subject)     whose answer this subject gets
    rollout.observe(rows, now)   what was measured, what people said
    rollout.decide(now)          any time, as often as one likes: the events that follow
    rollout.promote / pause / resume / abort / rollback(by, reason, now)     a person's commands

    shadow ──► step 5 % ──► 25 % ──► 50 % ──► watch (100 % less a holdback) ──► live
       └───────────┴──────────┴────────┴────────┴──► rolled back

Verdicts: *pass* grows the canary, and only evidence does; *fail* rolls back, paused or not; *inconclusive* (the
deadline is over, or the goal or a slice fails, or does not, by the ratings of one source alone) and *error* (silence,
or arms of unequal size or unequally rated) pause and wait for a person. Nothing here reads a clock, draws a number or
does input and output: the same calls give the same events.

Limits: each epoch (shadow, steps, watch) starts its evidence anew. Answers in the watch to subjects who met the canary
before are not compared, for want of a coin. In the watch, no proof of harm is taken for good news.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gradatim.errors import InputError
from gradatim.rollout.assignment import LARGEST_COMPARED, Arm, Assignment, Wave, canary_chance
from gradatim.rollout.census import Census
from gradatim.rollout.events import ITSELF, Event, Kind, Row, Stage, Verdict
from gradatim.rollout.newcomers import Newcomers
from gradatim.rollout.rails import (
    AgainstBaseline,
    AgainstBound,
    Evidence,
    Test,
    Value,
    check_goal,
    check_rail,
    check_values,
    test_of,
    told,
)
from gradatim.rollout.settings import Rail, Settings

WITHOUT_ONE = 0.2
"""The chance to err with which the others must show, without a source, that the margin is kept."""


@dataclass(slots=True)
class Rollout:
    """The state machine. Made by `start` or `saved.load`."""

    settings: Settings
    live: str  # the release that was live before, and is the baseline
    candidate: str
    assignment: Assignment
    clock: float  # the latest `now`
    stage: Stage = "shadow"
    step: int = 0  # index of the step; its last value in the watch
    paused: Verdict | str | None = None  # "inconclusive", "error" or the person who paused
    waves: list[Wave] = field(default_factory=list)
    tests: list[Test] = field(default_factory=list)  # the goal's, then each rail's
    census: Census = field(default_factory=Census)
    newcomers: Newcomers = field(default_factory=Newcomers)
    entered: float = 0.0  # when this stage and step began
    entered_units: int = 0  # subjects of the canary that the goal had counted by then
    patience: float = 0.0  # since when the deadline runs
    heard: float = 0.0  # the last observation

    @classmethod
    def start(
        cls,
        settings: Settings,
        live: str,
        candidate: str,
        key: bytes,
        now: float,
        newcomers: Newcomers | None = None,
    ) -> tuple[Rollout, Event]:
        """A rollout at its first stage, and the event that tells so. The key is secret and of this rollout only."""
        if not live or live == candidate:
            raise InputError(f"A rollout needs two different releases, not {live} and {candidate}")
        settings = Settings.of(settings.plain())  # whole numbers become floats, as they are read back
        rollout = cls(settings, live, candidate, Assignment(key), now, newcomers=newcomers or Newcomers())
        rollout._tick(now)
        rollout.patience = rollout.heard = now
        if settings.shadow_subjects:
            rollout._enter("shadow", Wave("shadow", LARGEST_COMPARED))
        else:
            rollout._enter("step", Wave("steps", settings.steps[0].share))
        return rollout, rollout._event("start", ITSELF, f"{candidate} against {live}", None)

    # ------------------------------------------------------------------ serving

    @property
    def wave(self) -> int:
        """The number of the present assignment; rows carry that of their answer."""
        return len(self.waves) - 1

    @property
    def open(self) -> bool:
        """Whether there is still something to decide."""
        return self.stage not in ("live", "rolled_back")

    @property
    def share(self) -> float:
        """Share of the subjects that meet the candidate."""
        if self.stage == "step":
            return self.settings.steps[self.step].share
        return {"watch": 1 - self.settings.holdback, "live": 1.0}.get(self.stage, 0.0)

    def arm(self, subject: str) -> Arm:
        """Which arm answers the subject now; once it is over, "canary" for everybody or "live" for everybody."""
        if self.open:
            return self.assignment.arm(subject, self.waves[-1])
        return "canary" if self.stage == "live" else "live"

    def release(self, subject: str) -> str:
        """Which release answers the subject now."""
        return self.candidate if self.arm(subject) == "canary" else self.live

    def mirrors(self, subject: str) -> bool:
        """Whether, in the shadow, this subject's requests are also put to the candidate, unseen.

        A row then holds what was measured of the candidate where this is true, and of the live release elsewhere.
        """
        return self.stage == "shadow" and self.assignment.side(subject, self.waves[-1]) is True

    def resident(self, now: float) -> tuple[str, ...]:
        """The releases that must be loaded, the one that answers most first: the way back stays warm."""
        if self.stage == "rolled_back":
            return (self.live,)
        if self.stage != "live":
            return (self.live, self.candidate)
        return (self.candidate, self.live) if self._warm(now) else (self.candidate,)

    # ------------------------------------------------------------------ observing

    def observe(self, rows: Iterable[Row], now: float) -> None:
        """Count observations. Rows of subjects outside the comparison, of earlier epochs and after the end don't count.

        Raises InputError, and counts none of them, when a row has a value that its test can't take.
        """
        batch = list(rows)
        self._check_waves(batch)
        check_values(self.settings.specs, (row.values for row in batch))
        self._tick(now)
        if not self.open or not batch:
            return
        self.heard = self.clock
        placed = [
            (row, token, side)
            for row in batch
            if (side := self._side(row)) is not None and self._counts(row, token := self.assignment.token(row.subject))
        ]
        self.census.add(Value(token, side, 1.0) for row, token, side in placed if not row.probe)
        rated = self.tests[0].units
        for spec, test in zip(self.settings.specs, self.tests, strict=True):
            wanted = spec.slice if isinstance(spec, Rail) else None
            probes = isinstance(test, AgainstBound)
            test.add(
                Value(token, side, row.values[spec.metric], row.source)
                for row, token, side in placed
                if spec.metric in row.values and (probes or not row.probe) and (wanted is None or wanted in row.slices)
            )
        now_rated = self.tests[0].units
        self.census.count_rated(now_rated[0] - rated[0], now_rated[1] - rated[1])

    def evidence(self) -> tuple[Evidence, ...]:
        """What is known now: the goal, each rail, and whether the arms, and those who rate, are as many as meant."""
        chance = canary_chance(self.waves[-1])
        return (
            *(self._found(number, test) for number, test in enumerate(self.tests)),
            *self.census.evidence(chance, self.settings.goal.metric),
        )

    # ------------------------------------------------------------------ deciding

    def decide(self, now: float) -> list[Event]:
        """What follows from what is known, at most one transition: [] when nothing does."""
        self._tick(now)
        if not self.open:
            return []
        evidence = self.evidence()
        *tests, ratio, rated = evidence
        failed = [number for number, found in enumerate(tests) if found.finding == "fail"]
        if failed and (source := self._swayed_by(failed)) is not None:
            if self.paused:
                return []
            reason = "; ".join(told(tests[number]) for number in failed)
            return [
                self._pause(
                    "inconclusive", f"only the ratings under {source} show that it is worse: {reason}", evidence
                )
            ]
        if failed:
            reason = "; ".join(told(tests[number]) for number in failed)
            return [self._close("rollback", ITSELF, reason, "fail", evidence)]
        if self.paused:
            return []
        if ratio.finding == "fail":
            return [self._pause("error", f"the arms are not as large as meant: {told(ratio)}", evidence)]
        if rated.finding == "fail":
            reason = f"one arm is rated more often, so the ratings can't be compared: {told(rated)}"
            return [self._pause("error", reason, evidence)]
        if (hidden := self._hidden()) is not None:
            return [self._pause("inconclusive", hidden, evidence)]
        if self.clock - self.heard > self.settings.silence:
            return [self._pause("error", f"nothing observed for {self.clock - self.heard:,.0f} s", evidence)]
        if self._ready(tests):
            return [self._advance(ITSELF, told(tests[0]), "pass", evidence)]
        if self.stage != "watch" and self.clock - self.patience >= self.settings.deadline:
            reason = f"undecided after {self.settings.deadline:,.0f} s: {told(tests[0])}"
            return [self._pause("inconclusive", reason, evidence)]
        return []

    # ------------------------------------------------------------------ a person's commands

    def promote(self, by: str, reason: str, now: float, full: bool = False) -> Event:
        """One stage or step further, paused or not; `full` goes to 100 % (the watch) at once."""
        self._command(by, reason, now, "promoted")
        evidence = self.evidence()
        if full and self.stage != "watch":
            return self._to_watch(by, reason, None, evidence)
        return self._advance(by, reason, None, evidence)

    def pause(self, by: str, reason: str, now: float) -> Event:
        """No growth until it is resumed; rails and goal may still roll it back."""
        self._command(by, reason, now, "paused")
        if self.paused:
            raise InputError(f"The rollout is paused already ({self.paused}): resume it, or roll it back")
        self.paused = by
        return self._event("pause", by, reason, None, self.evidence())

    def resume(self, by: str, reason: str, now: float) -> Event:
        """Go on deciding, with a new deadline, as if something had just been observed, and the arms counted anew."""
        self._command(by, reason, now, "resumed")
        if not self.paused:
            raise InputError("The rollout isn't paused: there is nothing to resume")
        evidence = self.evidence()
        self.paused, self.census = None, Census()
        self.patience = self.heard = self.clock
        return self._event("resume", by, reason, None, evidence)

    def abort(self, by: str, reason: str, now: float) -> Event:
        """Give it up before it has met everybody."""
        self._command(by, reason, now, "aborted")
        if self.stage == "watch":
            raise InputError("The rollout is at 100 %: it can't be aborted any more, roll it back instead")
        return self._close("abort", by, reason, None, self.evidence())

    def rollback(self, by: str, reason: str, now: float) -> Event:
        """Back to the former release: from any stage, and from live as long as that release is kept warm."""
        _named(by, reason)
        self._tick(now)
        if self.stage == "live" and self._warm(self.clock):
            return self._close("rollback", by, reason, None, ())
        self._command(by, reason, now, "rolled back")
        return self._close("rollback", by, reason, None, self.evidence())

    # ------------------------------------------------------------------ transitions

    def _ready(self, tests: list[Evidence]) -> bool:
        dwelt = self.clock - self.entered
        if self.stage == "watch":
            return dwelt >= self.settings.watch
        if not all(self._clear(found) for found in tests[1:]):
            return False
        if self.stage == "shadow":
            return self.census.sides.hits >= self.settings.shadow_subjects
        step, goal = self.settings.steps[self.step], tests[0]
        came = goal.canary - self.entered_units
        shown = goal.finding == "pass" and came >= step.units and dwelt >= step.seconds
        return shown and self._carried_by() is None

    def _swayed_by(self, failed: list[int]) -> str | None:
        """The source, of at most half of the ratings in each failed test, without which none would fail, if there is.

        It can only make a rollback rarer, so luck rolls back no more often than it may.
        """
        firm = [
            {source for source, rest in self._without_each(number) if self._found(number, rest).finding != "fail"}
            for number in failed
        ]
        return min(set.intersection(*firm), default=None)

    def _hidden(self) -> str | None:
        """What one source, of at most half of a test's ratings, hides: a failure that all others show.

        The others have the test's chance to err together, so that many sources are no more often a person's affair.
        """
        for number in range(len(self.tests)):
            others = list(self._without_each(number))
            for source, rest in others:
                found = self._found(number, rest, among=len(others))
                if found.finding == "fail":
                    return f"without the ratings under {source} it is worse: {told(found)}"
        return None

    def _carried_by(self) -> str | None:
        """The source, of at most half of the ratings, without which it would be open whether the margin is kept.

        The others need to show it with less certainty than all do: an honest source holds nobody up.
        """
        margin = self._margin()
        for source, rest in self._without_each(0):
            if rest.interval(WITHOUT_ONE).low <= -margin:
                return source
        return None

    def _without_each(self, number: int) -> Iterator[tuple[str, AgainstBaseline]]:
        test = self.tests[number]
        return test.without_each() if isinstance(test, AgainstBaseline) else iter(())

    def _margin(self) -> float:
        return self.settings.steps[self.step].margin if self.stage == "step" else self.settings.margin

    def _found(self, number: int, test: Test, among: int = 1) -> Evidence:
        """What a test says in the place of the goal's, 0, or a rail's, its chance to err shared among so many."""
        settings, epoch = self.settings, self.waves[-1].epoch
        if number == 0:
            alpha = settings.goal_alpha(epoch) / among
            return check_goal(settings.goal, self._margin(), settings.margin, test, alpha)
        return check_rail(settings.rails[number - 1], test, settings.rail_alpha(epoch) / among)

    def _clear(self, found: Evidence) -> bool:
        must = {rail.name for rail in self.settings.rails if rail.must_clear}
        return found.name not in must or found.finding == "pass"

    def _advance(self, by: str, reason: str, verdict: Verdict | None, evidence: tuple[Evidence, ...]) -> Event:
        steps = self.settings.steps
        if self.stage == "watch":
            self._leave("live")
            return self._event("finish", by, reason, verdict, evidence)
        if self.stage == "step" and self.step + 1 == len(steps):
            return self._to_watch(by, reason, verdict, evidence)
        self.step = 0 if self.stage == "shadow" else self.step + 1
        self._enter("step", Wave("steps", steps[self.step].share))
        return self._event("grow", by, reason, verdict, evidence)

    def _to_watch(self, by: str, reason: str, verdict: Verdict | None, evidence: tuple[Evidence, ...]) -> Event:
        self._enter("watch", Wave("watch", self.share, self.settings.holdback))
        return self._event("watch", by, reason, verdict, evidence)

    def _close(
        self, kind: Kind, by: str, reason: str, verdict: Verdict | None, evidence: tuple[Evidence, ...]
    ) -> Event:
        self._leave("rolled_back")
        return self._event(kind, by, reason, verdict, evidence)

    def _pause(self, verdict: Verdict, reason: str, evidence: tuple[Evidence, ...]) -> Event:
        self.paused = verdict
        return self._event("pause", ITSELF, reason, verdict, evidence)

    def _enter(self, stage: Stage, wave: Wave) -> None:
        """A new wave; with a new epoch also new evidence."""
        if not self.waves or self.waves[-1].epoch != wave.epoch:
            chance = canary_chance(wave)
            self.tests = [test_of(spec, chance) for spec in self.settings.specs]
            self.census = Census()
        self.waves.append(wave)
        self.stage, self.paused, self.entered = stage, None, self.clock
        self.entered_units = self.tests[0].units[0]

    def _leave(self, stage: Stage) -> None:
        self.stage, self.paused, self.entered = stage, None, self.clock

    def _event(
        self, kind: Kind, by: str, reason: str, verdict: Verdict | None, evidence: tuple[Evidence, ...] = ()
    ) -> Event:
        return Event(kind, self.clock, self.stage, self.share, by, reason, verdict, evidence)

    # ------------------------------------------------------------------ checks

    def _side(self, row: Row) -> bool | None:
        wave = self.waves[row.wave]
        if wave.epoch != self.waves[-1].epoch:
            return None
        return True if row.probe else self.assignment.side(row.subject, wave)

    def _counts(self, row: Row, token: str) -> bool:
        return row.probe or not row.newcomer or self.newcomers.admit(token, row.source)

    def _check_waves(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if not 0 <= row.wave < len(self.waves):
                raise InputError(f"A row names wave {row.wave}: this rollout has had the waves 0 to {self.wave}")

    def _command(self, by: str, reason: str, now: float, done: str) -> None:
        _named(by, reason)
        self._tick(now)
        if not self.open:
            raise InputError(f"The rollout is over ({self.stage.replace('_', ' ')}): it can't be {done}")

    def _warm(self, now: float) -> bool:
        return now - self.entered <= self.settings.warm

    def _tick(self, now: float) -> None:
        """Time passes; a clock that was set back stands still."""
        if not math.isfinite(now):
            raise InputError(f"The time must be a finite number of seconds, not {now}")
        self.clock = max(self.clock, now)


def _named(by: str, reason: str) -> None:
    if not by.strip() or not reason.strip():
        raise InputError("A command needs the name of who gives it and a reason")
    if by == ITSELF or "\n" in by + reason:
        raise InputError(f'Name and reason are one line each, and nobody is called "{ITSELF}"')
