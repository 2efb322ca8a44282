"""`gradatim run`: look, decide, take a step in a child, and so on, until told to stop.

    look     the charter is read anew, so that a person's change counts from the next look on
    start    the child takes the step, or takes up the one that was cut short; the lock on the workspace is its own
    end      a step that broke off is an entry of the ledger, and waits; after too many there are no more

Told to stop, the scheduler ends the child first: the step is taken up by the next start, here or by `gradatim step`.
Killed, it leaves the child to finish its step; the next scheduler waits for that. One scheduler a workspace.

A look reads the ledger. It may take a twentieth of the time at most, so that it costs a server beside it little.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from gradatim.charter import Charter
from gradatim.errors import GradatimError
from gradatim.schedule.deciding import Decision, decide
from gradatim.schedule.situation import ENTRY, FRUITLESS, read_situation
from gradatim.schedule.stepping import BUSY, COMMAND, Share, Stepping
from gradatim.store import locks

if TYPE_CHECKING:
    from gradatim.workspace import Workspace

How = Literal["finished", "nothing", "busy", "failed", "stopped"]
LOGGER = logging.getLogger("gradatim.schedule")
LOCK = "run.lock"
LOOK_SECONDS = 5.0
_POLL_SECONDS = 0.2
_PART = 20  # a look may take one in so many seconds


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt at a step ended; `outcome` is the step's, where it was finished."""

    how: How
    step: str | None
    outcome: str | None
    said: str
    seconds: float


def look(workspace: Workspace, at: float | None = None) -> Decision:
    """Whether to step now. Raises CharterError for a broken charter."""
    moment = time.time() if at is None else at
    charter = Charter.load(workspace.charter_path)
    return decide(read_situation(workspace, charter.budget, moment), charter, moment)


def resume(workspace: Workspace, by: str, reason: str) -> None:
    """A person's word that steps may be taken again: what failed before counts no more."""
    workspace.ledger.append(ENTRY, {"event": "resumed", "by": by, "reason": reason})


def keeper(workspace: Workspace) -> str | None:
    """The process of the scheduler that looks after a workspace."""
    return locks.holder(workspace.folder / LOCK)


class Scheduler:
    """The one who takes a workspace's steps. Use it inside `alone()`."""

    def __init__(
        self,
        workspace: Workspace,
        share: Share,
        *,
        command: Sequence[str] = COMMAND,
        every: float = LOOK_SECONDS,
    ) -> None:
        self._workspace, self._share, self._command, self._every = workspace, share, command, every
        self._stop = threading.Event()
        self._told: Any = None
        self._looking = 0.0  # seconds that the last look took
        self.steps = 0

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other schedulers away; WorkspaceError when there is one."""
        folder = self._workspace.folder
        busy = f"Another `gradatim run` looks after {folder} (process {{holder}}): one is enough"
        with locks.held(folder / LOCK, busy):
            yield

    def stop(self) -> None:
        """End as soon as may be; for signals and other threads."""
        self._stop.set()

    def keep(self) -> None:
        """Take steps until told to stop."""
        LOGGER.info("looks after steps", extra={"data": {"workspace": str(self._workspace.folder)}})
        while not self._stop.is_set():
            try:
                decision, _ = self.once()
            except GradatimError as error:
                self._say("can't decide", {"error": str(error)})
            except Exception as error:
                LOGGER.error("a look failed", exc_info=error)
            else:
                if decision.start:
                    continue
            self._stop.wait(max(self._every, _PART * self._looking))
        LOGGER.info("stopped", extra={"data": {"steps": self.steps}})

    def once(self) -> tuple[Decision, Ended | None]:
        """Look once, and take the step if it is time."""
        began = time.monotonic()
        decision = look(self._workspace)
        self._looking = time.monotonic() - began
        self._say("decided", {name: decision.data()[name] for name in ("start", "why", "again")})
        self._mark_giving_up(decision)
        return decision, self.step() if decision.start else None

    def step(self) -> Ended:
        """Take one step, whatever was decided; until it is over, or the scheduler is told to stop."""
        known = self._workspace.ledger.size
        child = Stepping(self._workspace.folder, self._share, self._command)
        LOGGER.info("a step begins", extra={"data": {"process": child.pid}})
        while (code := child.ended()) is None and not self._stop.wait(_POLL_SECONDS):
            pass
        ended = self._account(child, known, child.end() if code is None else code)
        self.steps += ended.how == "finished"
        level = logging.ERROR if ended.how == "failed" else logging.INFO
        LOGGER.log(level, "a step ended", extra={"data": asdict(ended)})
        if ended.how in ("busy", "nothing"):
            self._stop.wait(self._every)
        return ended

    def _account(self, child: Stepping, known: int, code: int) -> Ended:
        """What became of an attempt, by what it added to the ledger; what is not told there is added."""
        step, outcome, told = None, None, 0.0
        for entry in self._workspace.ledger.entries():
            if entry.kind in ("step-begun", "phase", "step-finished"):
                step = entry.body["step"]
            if entry.index >= known and entry.kind == "phase":
                told += float(entry.body.get("seconds", 0.0))
            if entry.index >= known and entry.kind == "step-finished":
                outcome = entry.body["outcome"]
        how = _how(code, outcome, stopped=self._stop.is_set())
        said = child.said() if code >= 0 else f"ended by {signal.Signals(-code).name}; before: {child.said()}"
        if how in ("failed", "stopped"):
            body = {"event": how, "step": step, "said": said, "seconds": round(max(0.0, child.seconds - told), 3)}
            self._workspace.ledger.append(ENTRY, body)
        return Ended(how, step, outcome, said, round(child.seconds, 3))

    def _mark_giving_up(self, decision: Decision) -> None:
        """Once, so that whoever reads the ledger sees when."""
        now, most = decision.situation, Charter.load(self._workspace.charter_path).schedule.most_failures
        if now.failures >= most and not now.gave_up:
            body = {"event": "gave-up", "failures": now.failures, "said": decision.why}
            LOGGER.error("takes no more steps", extra={"data": body})
            said = f"the scheduler gave up: {decision.why}"
            self._workspace.incidents.open("schedule", "scheduler", said, decision.data(), self._failures())
            self._workspace.ledger.append(ENTRY, body)  # last: after it nothing is done again

    def _failures(self) -> list[int]:
        """The entries that tell of the steps that came to nothing since the last that did not."""
        found: list[int] = []
        for entry in self._workspace.ledger.entries():
            if entry.kind == "step-finished" and entry.body["outcome"] not in FRUITLESS:
                found = []
            elif entry.kind in (ENTRY, "step-finished"):
                found = [] if entry.body.get("event") == "resumed" else [*found, entry.index]
        return found

    def _say(self, what: str, data: dict[str, Any]) -> None:
        """A line when it is another than the last."""
        if (what, data) != self._told:
            self._told = (what, data)
            LOGGER.info(what, extra={"data": data})


def _how(code: int, outcome: str | None, *, stopped: bool) -> How:
    if outcome is not None:
        return "finished"
    if code == BUSY:
        return "busy"
    if code == 0:
        return "nothing"
    return "stopped" if stopped else "failed"


@contextmanager
def told_to_stop(scheduler: Scheduler) -> Iterator[None]:
    """SIGTERM and SIGINT stop the scheduler."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: scheduler.stop()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
