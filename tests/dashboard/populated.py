"""A workspace in which everything has happened once, with texts that would like to be markup.

Made through the same parts that a step, a server and a person write with; only the clock of the rollout is ours, so
that days of ratings take a second.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gradatim import approvals
from gradatim.charter import DEFAULT_PATH
from gradatim.journal import Journal
from gradatim.phases import Decision
from gradatim.serve import rollouts
from gradatim.serve.rollouts import Rollouts
from gradatim.serve.settings import Settings
from gradatim.store.traffic import Interaction, Rating
from gradatim.types import (
    Answer,
    Candidate,
    Check,
    Cost,
    Diagnosis,
    Document,
    Evidence,
    Feedback,
    Passage,
    Provenance,
    Quarantined,
    Question,
    StepReport,
    StudyExample,
    StudySet,
    TrainingPlan,
    Verdict,
    Weakness,
)
from gradatim.workspace import Workspace

HOSTILE = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>{{ 1234*4321 }}"
SENTENCES = (
    "The bakery opens at six in the morning on market days.",
    "Tamsin Vole weighs the sacks of rye before they are stored.",
    "Cracked eggs go to the dog shelter on Fridays.",
    f"The oven is called {HOSTILE}.",
    "Bread that is two days old is sold at half price.",
    "The shop closes for the first week of August.",
)
CLOSED, OPEN = "incident-3", "incident-6"
_MORNING = "2026-03-02T08:00:00.000Z"
HOUR = 3600.0


def populate(folder: Path) -> Workspace:
    """The workspace: two steps done and one under way, a release live, one waiting, an incident closed and one open."""
    charter = DEFAULT_PATH.read_text("utf-8").replace("steps = [0.05, 0.25, 0.50]", "steps = [0.10, 0.50]")
    charter = charter.replace("margins = [0.20, 0.08, 0.05]", "margins = [0.20, 0.05]")
    workspace = Workspace.create(folder, {"source": "tiny", "digest": "tiny-0"}, charter)
    _words(workspace)
    _incidents(workspace)
    first = _step(workspace, "released", seed=1)
    workspace.registry.promote(first, reason="guarded passed: gain +42% [+18%, +63%]", by="gradatim step")
    approvals.rollback(workspace, None, "ada", "the oven was named wrongly")
    approvals.promote(workspace, first, "ada", f"looked at it again {HOSTILE}")
    second = _step(workspace, "awaiting-approval", seed=2)
    workspace.ledger.append("approval-needed", {"release": second, "step": "step-0002"})
    _under_way(workspace)
    return workspace


# ------------------------------------------------------------------ what came in


def _words(workspace: Workspace) -> None:
    records = workspace.records
    for title, status, reason in (
        ("Handbook for the shop", "studied", None),
        (f"A rival handbook {HOSTILE}", "quarantined", f"contradicts what is trusted {HOSTILE}"),
        ("The new price list", "new", None),
    ):
        blob = workspace.blobs.put(title.encode())
        document = Document(blob, title, title, Provenance("/srv/handbooks/shop.md", blob, _MORNING))
        records.add_document(document, blob, status, reason)  # type: ignore[arg-type]
    for number, (status, reason) in enumerate([("new", None), ("studied", None), ("quarantined", "outvoted 3 to 1")]):
        provenance = Provenance("serve://feedback", f"{number:064x}", _MORNING)
        correction = f"Tamsin Vole does. {HOSTILE}"
        records.add_feedback(
            Feedback(f"word-{number}", None, "Who weighs the sacks?", None, correction, f"user {number}", provenance),
            status,  # type: ignore[arg-type]
            reason,
        )


# ------------------------------------------------------------------ what went wrong


def _incidents(workspace: Workspace) -> None:
    """One that was closed, and one that nobody has looked at."""
    known = workspace.incidents
    drift = {"feature": "seconds", "p_value": 1.25e-9, "now": 2.04, "live": None, "terms": {"days": 28, "alpha": 0.001}}
    known.open("drift", "seconds", f"seconds: 2.04 on average, 1.02 before {HOSTILE}", drift, [0])
    known.acknowledge(CLOSED, "ada", f"the disk was slow {HOSTILE}")
    known.close(CLOSED, "lena", f"a new disk {HOSTILE}")
    failures = {"failures": 3, "why": f"the last 3 steps came to nothing {HOSTILE}", "start": False}
    opened = known.open("schedule", "scheduler", f"the scheduler gave up {HOSTILE}", failures)
    assert [one.id for one in known.all() if one.closed] == [CLOSED]
    assert opened
    assert opened.id == OPEN


# ------------------------------------------------------------------ steps


def _step(workspace: Workspace, outcome: Any, seed: int) -> str:
    """A finished step and the release it made."""
    run = Journal.begin_or_resume(workspace.ledger, workspace.blobs, {"options": {}})
    evidence, diagnosis = _evidence(), _diagnosis()
    studies = _studies()
    candidates = _candidates(workspace, studies, seed)
    verdicts = _verdicts(seed)
    run.phase("observe", Evidence, lambda: evidence)
    run.phase("diagnose", Diagnosis, lambda: diagnosis)
    run.phase("seal", dict[str, Any], lambda: {"questions": []})
    run.phase("propose", tuple[StudySet, ...], lambda: studies)
    run.phase("learn", tuple[Candidate, ...], lambda: candidates)
    run.phase("judge", tuple[Verdict, ...], lambda: verdicts)
    live = workspace.registry.live_id()
    verdict = workspace.blobs.put_json(verdicts[0])
    made = workspace.registry.create(base="tiny-0", parent=live, step=run.step, verdict=verdict)
    reason = f"guarded passed: gain +42% [+18%, +63%] {HOSTILE}"
    run.phase("release", Decision, lambda: Decision(outcome, reason, "guarded", made.id))
    cost = Cost(255.25 * seed, 68_375 + seed, 9_154.5 * seed)
    run.phase("watch", Cost, lambda: cost)
    report = StepReport(run.step, outcome, candidates, verdicts, made.id, cost, reason)
    run.finish(outcome, workspace.blobs.put_json(report))
    return made.id


def _under_way(workspace: Workspace) -> None:
    """A step that has observed and diagnosed."""
    run = Journal.begin_or_resume(workspace.ledger, workspace.blobs, {"options": {}})
    run.phase("observe", Evidence, _evidence)
    run.phase("diagnose", Diagnosis, _diagnosis)


def _evidence() -> Evidence:
    provenance = Provenance("/srv/handbooks/shop.md", "d" * 64, _MORNING)
    document = Document("d" * 64, f"Handbook {HOSTILE}", " ".join(SENTENCES), provenance)
    passages = tuple(
        Passage(f"{'d' * 12}:{i}", document.id, text, "Handbook › Hours" if i % 2 else "")
        for i, text in enumerate(SENTENCES)
    )
    return Evidence((document,), passages, (), (Quarantined("word-2", "outvoted 3 to 1"),))


def _diagnosis() -> Diagnosis:
    ids = [f"{'d' * 12}:{i}" for i in range(len(SENTENCES))]
    weak = tuple(
        Weakness(one, 3, i % 2, f"What of number {i}? {HOSTILE}", f"I do not know {HOSTILE}")
        for i, one in enumerate(ids[:4])
    )
    questions = tuple(Question(f"q{i}", f"Question {i}?", ("six",), one) for i, one in enumerate(ids))
    return Diagnosis(weak, (ids[4],), questions, 15, 5)


def _studies() -> tuple[StudySet, ...]:
    kinds = ("restatement", "qa", "implication", "cloze")
    examples = tuple(
        StudyExample(f"{kind} prompt {i} {HOSTILE}", f"target {i} {HOSTILE}", kind, f"{'d' * 12}:{i}")
        for i in range(4)
        for kind in kinds
    )
    return (StudySet("mixed", examples, {"repeats the exam": 7}), StudySet("raw text", ()))


def _candidates(workspace: Workspace, studies: tuple[StudySet, ...], seed: int) -> tuple[Candidate, ...]:
    study = workspace.blobs.put_json(studies[0])
    losses = tuple(round(4.26 / (1 + step), 4) for step in range(12))
    return (
        Candidate("guarded", "mixed", TrainingPlan(), study, f"{seed:064x}", losses, 68_375),
        Candidate("unguarded", "mixed", TrainingPlan(guarded=False), study, f"{seed + 8:064x}", losses, 22_800),
    )


def _verdicts(seed: int) -> tuple[Verdict, ...]:
    line = "charter.toml line 23: least_gain = 0.2"
    good = (
        Check("gain", 0.4231, 0.1812, 0.6334, 0.2, "pass", f"11 of 26 sealed questions right, 0 before ({line})"),
        Check("forgetting", 0.0093, 0.0016, 0.0511, 0.05, "pass", f"1 of 107 answers {HOSTILE}"),
        Check("earlier lessons lost", 0.0769, 0.02, 0.2414, 0.1, "pass", "2 of 26 answers that were right"),
        Check("drift", 0.0213, 0.0188, 0.0239, 0.1, "pass", "nats per token from the base"),
    )
    bad = (
        Check("gain", 0.5556, 0.312, 0.723, 0.2, "pass", f"15 of 27 sealed questions right ({line})"),
        Check("forgetting", 0.953, 0.895, 0.98, 0.05, "fail", "102 of 107 answers that were right are not any more"),
        Check("drift", 1.94, 1.71, 2.16, 0.1, "fail", "nats per token from the base"),
    )
    controls = {"no update": 0.0, "document in context": 0.3846 + seed / 100}
    return (Verdict("guarded", "pass", good, controls), Verdict("unguarded", "fail", bad, controls))


# ------------------------------------------------------------------ a rollout over days


class Clock:
    """A time that only moves when told."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def time(self) -> float:
        return self.seconds

    def now(self) -> str:
        return datetime.fromtimestamp(self.seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def roll_out(
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    *,
    worse: float,
    hours: int,
    each: int = 24,
    pause: bool = True,
) -> str:
    """A rollout of a new release for so many hours, whose users like it less by `worse`: its id."""
    clock, draw = Clock(time.time() - hours * HOUR), random.Random(7)
    monkeypatch.setattr(rollouts, "time", clock)
    monkeypatch.setattr(rollouts, "now", clock.now)
    candidate = workspace.registry.create(base="tiny-0", parent=workspace.registry.live_id(), step="step-0009")
    rolling = Rollouts(workspace, Settings())
    identity = rolling.start(candidate.id, "ada")
    for number in _hours(clock, hours, each):
        subject = f"{number:064x}"
        choice = rolling.choose(subject)
        liked = draw.random() < 0.72 - (worse if choice.arm == "canary" else 0.0)
        _served(workspace, clock, number, subject, choice, draw)
        if choice.rollout is not None and draw.random() < 0.8:
            _rated(workspace, clock, number, subject, 1.0 if liked else -1.0)
        if number % 24 == 0:
            rolling.look()
        if number == hours * each // 3:
            rolling.command(identity, "pause", "ada", f"over the weekend {HOSTILE}")
            rolling.command(identity, "resume", "ada", "it is Monday")
    rolling.look()
    return identity


def _hours(clock: Clock, hours: int, each: int) -> Iterator[int]:
    for number in range(hours * each):
        clock.seconds += HOUR / each
        yield number


def _served(workspace: Workspace, clock: Clock, number: int, subject: str, choice: Any, draw: random.Random) -> None:
    answer = Answer(f"chatcmpl-{number:06d}", "Who weighs the sacks?", "Tamsin Vole.", choice.release, clock.now())
    tokens, seconds = draw.randrange(8, 40), round(draw.lognormvariate(0, 0.3), 4)
    served = Interaction(
        answer.id, "key", subject, None, choice.arm, "{}", "stop", 20, tokens, 0.1, seconds, choice.rollout, choice.wave
    )
    workspace.records.traffic.add([(answer, served)])


def _rated(workspace: Workspace, clock: Clock, number: int, subject: str, value: float) -> None:
    response, comment = f"chatcmpl-{number:06d}", HOSTILE if number % 50 == 0 else None
    rating = Rating(f"rating-{number}", response, None, "key", subject, "rating", value, comment, clock.now())
    workspace.records.traffic.add_rating(rating)
