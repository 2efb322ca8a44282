"""What a scheduler has to know of a workspace at a moment, read from the ledger and the tables.

Everything comes from what is signed or stored, nothing from the memory of a process, so that a scheduler that was
restarted knows what the day has taken already and how often it failed.

    ENTRY "schedule"    {event: "failed", step, said, seconds}    an attempt that broke off; by the scheduler
                        {event: "stopped", step, seconds}         one that was ended because the scheduler was
                        {event: "gave-up", failures, said}        no more steps until a person says so
                        {event: "resumed", by, reason}            that word

`seconds` are those that no finished phase accounts for. Limits: the joules of broken-off work are not measured but
taken at the power that the charter's budget allows for; a step counts for the day in which it ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gradatim import approvals
from gradatim.types import Cost, StepReport

if TYPE_CHECKING:
    from gradatim.charter import Budget
    from gradatim.workspace import Workspace

ENTRY = "schedule"
DAY = 24 * 3600.0
FRUITLESS = ("rejected", "inconclusive", "error")


@dataclass(frozen=True, slots=True)
class Situation:
    """Moments are in seconds since 1970."""

    documents: int  # that wait
    corrections: int
    first: float | None  # when the first and the last of them came in
    last: float | None
    unfinished: str | None  # the step that was begun and not finished
    running: str | None  # the process that takes a step at this moment
    awaiting: tuple[str, ...]  # releases that wait for a person's word
    rollout: str | None  # what is being rolled out, or is to be
    steps: tuple[float, ...]  # when the steps of the last day were begun
    spent: tuple[tuple[float, Cost], ...]  # what the last day took, and when
    failures: int  # steps in a row that came to nothing
    failed_at: float | None
    gave_up: bool

    @property
    def cost(self) -> Cost:
        """Of the last day."""
        return sum((cost for _, cost in self.spent), Cost())


def read_situation(workspace: Workspace, budget: Budget, at: float) -> Situation:
    """The situation of a workspace at a moment, which is now."""
    told = _Told(workspace, budget, at)
    for entry in workspace.ledger.entries():
        told.take(entry.kind, entry.body, entry.at)
    documents = [record.provenance.added_at for record in workspace.records.documents("new")]
    said = [record.feedback for record in workspace.records.feedback("new")]
    corrections = [feedback.provenance.added_at for feedback in said if feedback.correction]
    arrivals = sorted(map(moment, [*documents, *corrections]))
    return Situation(
        documents=len(documents),
        corrections=len(corrections),
        first=arrivals[0] if arrivals else None,
        last=arrivals[-1] if arrivals else None,
        unfinished=told.unfinished,
        running=workspace.stepping(),
        awaiting=tuple(approvals.awaiting(workspace)),
        rollout=_rollout(workspace),
        steps=tuple(told.steps),
        spent=(*told.spent, *(told.phases if told.unfinished else ())),
        failures=told.failures,
        failed_at=told.failed_at,
        gave_up=told.gave_up,
    )


def moment(at: str) -> float:
    """ISO 8601 as seconds since 1970."""
    return datetime.fromisoformat(at).timestamp()


def _rollout(workspace: Workspace) -> str | None:
    """The release that is rolled out, or that waits for a server to do it."""
    opened = (saved.candidate for saved in workspace.records.rollouts.all() if saved.open)
    return next(opened, None) or approvals.rollout_wanted(workspace)


@dataclass
class _Told:
    """What the ledger tells, entry by entry."""

    workspace: Workspace
    budget: Budget
    now: float
    unfinished: str | None = None
    steps: list[float] = field(default_factory=list)
    spent: list[tuple[float, Cost]] = field(default_factory=list)
    phases: list[tuple[float, Cost]] = field(default_factory=list)  # of the last step; its report adds them up
    failures: int = 0
    failed_at: float | None = None
    gave_up: bool = False

    def take(self, kind: str, body: dict[str, Any], when: str) -> None:
        if kind not in ("step-begun", "phase", "step-finished", ENTRY):
            return
        at = moment(when)
        lately = at > self.now - DAY
        if kind == "step-begun":
            self.unfinished, self.phases = body["step"], []
            self.steps += [at] * lately
        elif kind == "phase":
            self.phases += [(at, self._estimated(float(body.get("seconds", 0.0))))] * lately
        elif kind == "step-finished":
            self.unfinished = None
            if lately:
                self.spent.append((at, self.workspace.blobs.get_json(body["result"], StepReport).cost))
            self._ended(body["outcome"] not in FRUITLESS, at)
        else:
            self._scheduled(body, at, lately)

    def _scheduled(self, body: dict[str, Any], at: float, lately: bool) -> None:
        event = body["event"]
        if event in ("failed", "stopped") and lately:
            self.spent.append((at, self._estimated(float(body["seconds"]))))
        if event in ("failed", "resumed"):
            self._ended(event == "resumed", at)
        self.gave_up = self.gave_up or event == "gave-up"

    def _ended(self, well: bool, at: float) -> None:
        if well:
            self.failures, self.failed_at, self.gave_up = 0, None, False
        else:
            self.failures, self.failed_at = self.failures + 1, at

    def _estimated(self, seconds: float) -> Cost:
        return Cost(seconds, 0, seconds * self.budget.joules / self.budget.seconds)
