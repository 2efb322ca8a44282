"""The rollout that runs in a server: who gets the candidate, what came of it, and what follows.

What was served and said is read from the workspace's tables, where every reply names its rollout and wave, and written
back as the rollout's state in one transaction: a server that was killed goes on exactly where it was. Every event is an
entry "rollout" of the ledger, written after what it asks for was done; what a kill left undone is done at the start.

    _look, every second   new replies and ratings → observe → decide → row → release moved → ledger
    choose, each request  the arm of the subject, from a picture that is replaced whole after each transition

Rails: errors, latency (seconds of the whole reply), length (tokens), refusals, the slices that the charter names, and,
where the charter gives prices and wants probes, costs and safety; alpha is split among those there are. A reply that
its client left counts for the arms' sizes only. In the shadow nothing that users were given is compared, only what was
tried unseen (`rehearsal.py`). When somebody else moves the live release, the rollout is given up. What a step or an
approval wants rolled out (`approvals.py`) is begun by a look, where nothing else is under way.

Limits: one rollout at a time, by one server of the workspace. A look handles the state whole, some hundred bytes for
each subject.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Literal

from gradatim import approvals
from gradatim.charter import Charter
from gradatim.errors import GradatimError, InputError
from gradatim.rollout import Assignment, Event, Newcomers, Rollout, Row, dump
from gradatim.rollout import Settings as Terms
from gradatim.rollout.assignment import Wave
from gradatim.rollout.events import ITSELF
from gradatim.serve.choosing import Choice, LiveOnly
from gradatim.serve.measures import COST, Measures, refuse_unusable, unit_value
from gradatim.serve.rehearsal import UNSAFE, Rehearsal
from gradatim.serve.rollout_views import RolloutViews, plain_event, plain_evidence, restored
from gradatim.serve.settings import RATING, Settings
from gradatim.serve.telemetry import LOGGER, Metrics
from gradatim.serve.unseen import Seen, Work
from gradatim.store.canonical import canonical
from gradatim.store.clock import now
from gradatim.store.rollouts import Look, Rated, SavedRollout
from gradatim.store.traffic import Interaction
from gradatim.types import Digest
from gradatim.watch.probes import Probe, read_probes
from gradatim.workspace import Workspace

LOOK_SECONDS = 1.0
LOOKING = "looking at the rollout"
ENTRY = "rollout"
PROBES_FILE = "probes.jsonl"

HELD_LEAST, HELD_SHARE = 20, 0.1
"""It is paused when so many ratings of it are in quarantine, and that many for each one that counted."""
LOOK_APART, LOOK_SHARE = 10.0, 0.01
"""Looks are kept for the picture at least so many seconds apart, and so large a share of the rollout's age."""

Command = Literal["promote", "pause", "resume", "abort", "rollback"]


@dataclass(frozen=True, slots=True)
class _Picture:
    """What a request needs to know of the open rollout."""

    id: str
    live: Digest
    candidate: Digest
    assignment: Assignment
    number: int
    wave: Wave
    slices: tuple[str, ...]


@dataclass(slots=True)
class _Latest:
    """The rollout that was started last."""

    saved: SavedRollout
    rollout: Rollout
    told: int  # events that are in the ledger
    held: int = 0  # ratings in quarantine at which it was paused
    kept: float = 0.0  # when a look was kept last

    @property
    def events(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = json.loads(self.saved.events)
        return events


class Rollouts:
    """The rollouts of a workspace, and the chooser of its server. Blocking, but for `choose`, `live` and `others`."""

    def __init__(self, workspace: Workspace, settings: Settings) -> None:
        self._workspace, self._settings = workspace, settings
        self._table = workspace.records.rollouts
        self.views = RolloutViews(self._table, settings.metrics[RATING])
        self._pointer = LiveOnly(workspace.folder / "live")
        self._mutex = threading.Lock()
        self._probes: tuple[Probe, ...] = ()
        self._probed: tuple[str, str] | None = None  # rollout and epoch that probes were asked for
        self._rehearsal = Rehearsal(self._seen)
        self._measures = Measures()
        self._torn = False  # memory may not be what was written
        self._latest = self._read()
        self._picture = self._drawn()
        self._incident = ""  # the rollout whose way back was told as an incident
        self._hindrance = ""  # why what is wanted can't be begun

    # ------------------------------------------------------------------ choosing

    def choose(self, subject: str) -> Choice:
        live, picture = self._pointer.live(), self._picture
        if picture is None or picture.live != live:
            return Choice(live)
        arm = picture.assignment.arm(subject, picture.wave)
        mirror = None
        if picture.wave.epoch == "shadow" and (side := picture.assignment.side(subject, picture.wave)) is not None:
            mirror = partial(self._rehearsal.mirror, picture.candidate if side else live, picture.number)
        return Choice(picture.candidate if arm == "canary" else live, arm, picture.id, picture.number, mirror)

    def slices(self, key: str, metadata: Mapping[str, str]) -> tuple[str, ...]:
        """Those of the open rollout's slices that a request belongs to."""
        picture = self._picture
        if picture is None or not picture.slices:
            return ()
        own = {f"key={key}", *(f"metadata.{name}={value}" for name, value in metadata.items())}
        return tuple(name for name in picture.slices if name in own)

    def work(self) -> Work | None:
        """What is to be tried unseen next."""
        return self._rehearsal.work()

    def live(self) -> Digest:
        return self._pointer.live()

    def others(self) -> tuple[Digest, ...]:
        latest, live = self._latest, self.live()
        if latest is None or live not in (latest.saved.live, latest.saved.candidate):
            return ()
        resident = latest.rollout.resident(time.time())
        return tuple(release for release in resident if release != live)[: self._settings.limits.warm_releases - 1]

    # ------------------------------------------------------------------ by itself

    async def keep_looking(self, metrics: Metrics) -> None:
        """Look every second, until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.look)
            except Exception as error:  # noqa: BLE001 - the next look may do better, and requests are answered meanwhile
                metrics.went(LOOKING, error)
            else:
                metrics.went(LOOKING)
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Observe what is new, decide, and carry it out."""

        def seen(latest: _Latest) -> list[Event]:
            if not latest.rollout.open:
                return []
            at = time.time()
            if (live := self.live()) != latest.saved.live:
                watched, reason = latest.rollout.stage == "watch", f"release {live[:12]} was made live meanwhile"
                if watched and live == latest.saved.candidate:
                    return [latest.rollout.promote("gradatim serve", reason, at)]  # a person's word: the watch is over
                give_up = latest.rollout.rollback if watched else latest.rollout.abort
                return [give_up("gradatim serve", reason, at)]
            self._observe(latest, at)
            self._have_probed(latest)
            if latest.rollout.stage == "shadow" and self._rehearsal.pending:
                return []  # nobody meets the candidate before the probes are done
            if (event := self._doubted(latest, at)) is not None:
                return [event]
            return latest.rollout.decide(at)

        with self._mutex:
            self._mend()
            if self._latest is not None:
                self._change(self._latest, seen)
                if self._picture is None:
                    self._picture = self._drawn()
        self._take_up()

    def _take_up(self) -> None:
        """Begin what a step or an approval wants rolled out. What can't be begun yet waits, and that is said once."""
        wanted, latest = approvals.rollout_wanted(self._workspace), self._latest
        if wanted is None or (latest is not None and latest.rollout.open):
            return
        begun = wanted == self.live() or any(saved.candidate == wanted for saved in self._table.all())
        if not begun and not self._outdated(wanted):
            try:
                self.start(wanted, "gradatim serve")
            except GradatimError as error:
                if str(error) != self._hindrance:
                    self._hindrance = str(error)
                    LOGGER.error("a rollout can't begin", extra={"data": {"release": wanted, "error": str(error)}})
                return
        approvals.rollout_begun(self._workspace, wanted)
        self._hindrance = ""

    def _outdated(self, wanted: Digest) -> bool:
        """Whether it was judged beside a release that isn't live any more; then it is given up, in the ledger."""
        try:
            approvals.refuse_outdated(self._workspace, self._workspace.registry.get(wanted))
        except InputError as error:
            self._workspace.ledger.append("rollout-dropped", {"release": wanted, "reason": str(error)})
            return True
        return False

    def _observe(self, latest: _Latest, at: float) -> None:
        saved = latest.saved
        replies = self._table.replies(saved.id, saved.replies)
        rated = self._table.rated(saved.id, RATING, saved.ratings)
        found = self._rehearsal.found()
        if not (replies or rated or found):
            return
        waves = latest.rollout.waves
        seen = [(of, text) for _, of, text in replies if waves[of.wave or 0].epoch != "shadow"]
        said = [one for one in rated if waves[one.wave].epoch != "shadow"]
        subjects = [*(of.subject for of, _ in seen), *(one.subject for one in said), *(row.subject for row in found)]
        new = self._table.newcomers(saved.id, subjects)
        rows = [_row(of, of.wave or 0, self._measures.of_served(of, text), new) for of, text in seen]
        rows += [replace(row, newcomer=row.subject in new) for row in found]
        metric = self._settings.metrics[RATING]
        rows += [_row(one, one.wave, {RATING: unit_value(metric, one.value)}, new) for one in said]
        latest.rollout.observe(rows, at)
        latest.saved = replace(
            saved,
            state=dump(latest.rollout) if found else saved.state,  # of what was tried unseen there are no rows
            replies=replies[-1][0] if replies else saved.replies,
            ratings=rated[-1].position if rated else saved.ratings,
        )

    def _doubted(self, latest: _Latest, at: float) -> Event | None:
        """A pause for a person, where much of what was said waits in quarantine."""
        held, counted = self._table.held(latest.saved.id), sum(latest.rollout.tests[0].units)
        much = held >= HELD_LEAST and held >= HELD_SHARE * counted
        if not much or held <= latest.held:
            return None
        latest.held = 2 * held  # once resumed, it is not paused again before that many wait
        if latest.rollout.paused:
            return None
        return latest.rollout.pause("gradatim serve", f"{held} ratings of it wait in quarantine for a person", at)

    # ------------------------------------------------------------------ a person's commands

    def start(self, candidate: str, by: str) -> str:
        """Begin to roll a release out: the rollout's id. Raises GradatimError when that can't be."""
        wanted = self._workspace.registry.get(candidate)
        approvals.refuse_unapproved(self._workspace, wanted)
        charter = Charter.load(self._workspace.charter_path)
        terms = self._terms(charter)
        newcomers = Newcomers.held_to(self._table.subjects(), charter.trust.newcomers)
        self._probes_for(terms)  # refused before anything is written
        with self._mutex:
            self._mend()
            if self._latest is not None and self._latest.rollout.open:
                raise InputError(f"{self._latest.saved.id} is under way: only one release is rolled out at a time")
            key, live = secrets.token_bytes(32), self._workspace.registry.live_id()
            rollout, event = Rollout.start(terms, live, wanted.id, key, time.time(), newcomers)
            identity = f"rollout-{len(self._table.all()) + 1:04d}"
            events = canonical([plain_event(replace(event, by=by))]).decode()
            saved = SavedRollout(identity, live, wanted.id, key.hex(), dump(rollout), events, rollout.open, 0, 0, now())
            if not self._table.add(saved):
                raise InputError("Another server of this workspace rolls a release out")
            self._latest = _Latest(saved, rollout, 0)
            self._rehearse(self._latest)
            self._carry_out(self._latest)
        return identity

    def command(self, rollout: str, command: Command, by: str, reason: str, *, full: bool = False) -> None:
        """What a person says to a rollout; InputError when that can't be done to it."""

        def done(latest: _Latest) -> list[Event]:
            at, state = time.time(), latest.rollout
            if command == "promote":
                return [state.promote(by, reason, at, full)]
            if state.stage == "live" and self.live() != latest.saved.candidate:
                raise InputError(f"Release {self.live()[:12]} was made live since: roll back to the one you want")
            given = {"pause": state.pause, "resume": state.resume, "abort": state.abort, "rollback": state.rollback}
            return [given[command](by, reason, at)]

        with self._mutex:
            self._mend()
            if self._latest is None or self._latest.saved.id != rollout:
                raise InputError(f"{rollout} is over, and another was started since")
            self._change(self._latest, done)

    # ------------------------------------------------------------------ keeping

    def _change(self, latest: _Latest, work: Callable[[_Latest], list[Event]]) -> None:
        """Work on the rollout, write it down, and carry out what follows; after a failure all is as it was written."""
        self._carry_out(latest)
        before, stage, share = latest.saved, latest.rollout.stage, latest.rollout.share
        try:
            events = work(latest)
            self._keep_look(latest, stage, share, events)
            if events or latest.saved != before:
                told = canonical(latest.events + [plain_event(event) for event in events]).decode()
                state = latest.rollout
                latest.saved = replace(latest.saved, state=dump(state), events=told, open=state.open)
                self._table.save(latest.saved)
        except BaseException:
            self._torn = True
            self._mend()
            raise
        self._carry_out(latest)

    def _mend(self) -> None:
        """After a failure, go on from what was written; while it can't be read either, nothing is done."""
        if self._torn:
            self._latest = self._read()
            self._torn = False

    def _keep_look(self, latest: _Latest, stage: str, share: float, events: list[Event]) -> None:
        """For the picture: what was known at an event, and now and then between them."""
        state, began = latest.rollout, datetime.fromisoformat(latest.saved.started_at).timestamp()
        decided = [event.evidence for event in events if event.evidence]
        apart = max(LOOK_APART, LOOK_SHARE * (state.clock - began))
        if not decided and (not state.open or state.clock - latest.kept < apart):
            return
        for found in decided or [state.evidence()]:
            told = canonical([plain_evidence(each) for each in found]).decode()
            self._table.add_look(latest.saved.id, Look(state.clock, stage, share, told))
        latest.kept = state.clock

    def _carry_out(self, latest: _Latest) -> None:
        """Do what the events ask for that are not in the ledger yet, and put them there."""
        if latest.rollout.stage != "live":
            self._picture = self._drawn()  # a way back waits for nothing
        for number, event in list(enumerate(latest.events))[latest.told :]:
            self._move(latest.saved, event)
            body = {"rollout": latest.saved.id, "number": number}
            body |= {"live": latest.saved.live, "candidate": latest.saved.candidate, "event": event}
            self._workspace.ledger.append(ENTRY, body)
            latest.told = number + 1
        self._picture = self._drawn()
        self._tell(latest)

    def _tell(self, latest: _Latest) -> None:
        """A rollout that took a release back by itself is an incident."""
        last = latest.events[-1] if latest.events else None
        if last is None or last["kind"] != "rollback" or last["by"] != ITSELF or self._incident == latest.saved.id:
            return
        saved, about = latest.saved, f"{latest.saved.id}: release {latest.saved.candidate[:12]}"
        self._incident = saved.id
        if any(incident.about == about for incident in self._workspace.incidents.all()):
            return
        told = [e.index for e in self._workspace.ledger.entries(ENTRY) if e.body["rollout"] == saved.id]
        evidence = {"rollout": saved.id, "live": saved.live, "candidate": saved.candidate, "event": last}
        self._workspace.incidents.open("rollback", about, f"{about} was taken back: {last['reason']}", evidence, told)

    def _move(self, saved: SavedRollout, event: dict[str, Any]) -> None:
        """The live release, where an event moves it; not when somebody else moved it before."""
        live, reason = self._workspace.registry.live_id(), f"{saved.id}: {event['reason']}"
        if event["kind"] == "finish" and live == saved.live:
            approvals.promote(self._workspace, saved.candidate, event["by"], reason)
        elif event["kind"] == "rollback" and live == saved.candidate:
            approvals.rollback(self._workspace, saved.live, event["by"], reason)

    def _read(self) -> _Latest | None:
        """The latest rollout as it was written down."""
        saved = self._table.all()
        if not saved:
            return None
        entries = self._workspace.ledger.entries(ENTRY)
        told = sum(entry.body["rollout"] == saved[-1].id for entry in entries)
        if saved[-1].open:
            refuse_unusable(self._settings)
        latest = _Latest(saved[-1], restored(saved[-1]), told)
        self._rehearse(latest)
        return latest

    def _rehearse(self, latest: _Latest) -> None:
        """Begin to try unseen what this rollout wants tried."""
        if not latest.rollout.open:
            return
        charter, probes = Charter.load(self._workspace.charter_path), self._probes_for(latest.rollout.settings)
        self._measures = Measures(charter.rollout.price_prompt, charter.rollout.price_completion)
        self._rehearsal, self._probed, self._probes = (
            Rehearsal(self._seen),
            None,
            probes,
        )
        self._have_probed(latest)

    def _probes_for(self, terms: Terms) -> tuple[Probe, ...]:
        """The probes of a rollout on these terms; InputError for a file of probes that is none."""
        if not any(rail.metric == UNSAFE for rail in terms.rails):
            return ()
        own = self._workspace.folder / PROBES_FILE
        return read_probes(own) if own.is_file() else read_probes()

    def _have_probed(self, latest: _Latest) -> None:
        """Have the probes asked, once in each epoch."""
        state, epoch = latest.rollout, latest.rollout.waves[-1].epoch
        if not (self._probes and state.open) or self._probed == (latest.saved.id, epoch):
            return
        self._probed = latest.saved.id, epoch
        rails = zip(state.settings.rails, state.tests[1:], strict=True)
        if any(rail.metric == UNSAFE and sum(test.units) >= len(self._probes) for rail, test in rails):
            return  # they were, before a restart
        self._rehearsal.probe(self._probes, latest.saved.live, latest.saved.candidate, state.wave)

    def _drawn(self) -> _Picture | None:
        latest = self._latest
        if latest is None or not latest.rollout.open:
            return None
        saved, state = latest.saved, latest.rollout
        if len(state.waves) == 1 and state.stage == "step" and self._rehearsal.pending:
            return None  # nobody meets the candidate before the first probes are done
        slices = tuple(rail.slice for rail in state.settings.rails if rail.slice is not None)
        return _Picture(saved.id, saved.live, saved.candidate, state.assignment, state.wave, state.waves[-1], slices)

    def _terms(self, charter: Charter) -> Terms:
        """The charter's limits, with the rails that a server can tell."""
        refuse_unusable(self._settings)
        terms, limits = Terms.of_charter(charter), charter.rollout
        unknown = {COST} if not (limits.price_prompt or limits.price_completion) else set()
        unknown |= set() if limits.probes else {UNSAFE}
        return replace(terms, rails=tuple(rail for rail in terms.rails if rail.metric not in unknown))

    def _seen(self, seen: Seen) -> dict[str, float]:
        return self._measures.of_unseen(seen)


def _row(of: Interaction | Rated, wave: int, values: dict[str, float], new: set[str]) -> Row:
    slices = tuple(json.loads(of.slices)) if of.slices else ()
    return Row(of.subject, wave, values, slices, source=of.key, newcomer=of.subject in new)
