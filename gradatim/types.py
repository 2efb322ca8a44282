"""The glossary: every thing that passes between the rooms, as a frozen dataclass.

Start reading here. A value of these types is data, never behaviour: it is made once, written to the
content-addressed store as canonical JSON, and named from then on by its SHA-256 digest. Nothing here
imports anything of the package, so every room can.

The order below is the order of a step: what came in, what is weak, what to study, who learnt it, how it
was judged, what is served, what it cost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Digest = str
"""Lower-case hexadecimal SHA-256 of the bytes it names."""


# ------------------------------------------------------------------ observe


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a record came from."""

    source: str  # a file path, "cli", or a URL: what the charter's allowed sources are matched against
    digest: Digest  # of the bytes as they were received
    added_at: str  # ISO 8601, UTC


@dataclass(frozen=True, slots=True)
class Document:
    """A text to learn from; `id` is the digest of `text`."""

    id: Digest
    title: str
    text: str
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Passage:
    """One sentence of a document (or one accepted correction), the unit that a study example must be grounded in."""

    id: str  # "<first 12 characters of the document's id>:<index>"
    document: Digest
    text: str
    context: str  # title and heading path, so that the sentence can stand alone


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was served, kept so that feedback can name it."""

    id: str
    question: str
    answer: str
    release: str
    at: str


@dataclass(frozen=True, slots=True)
class Feedback:
    """A person's word on an answer: a rating, a correction, or both."""

    id: str
    answer: str | None  # id of the Answer it speaks of; None when it was filed with a question only
    question: str
    rating: int | None  # -1 wrong, +1 right
    correction: str | None  # what the answer should have been
    by: str  # the subject who gave it
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A record that was not believed, and why."""

    record: str  # id of a Feedback or Document
    reason: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a step has to work on."""

    documents: tuple[Document, ...]
    passages: tuple[Passage, ...]
    corrections: tuple[Feedback, ...]
    quarantined: tuple[Quarantined, ...] = ()
    feedback: tuple[str, ...] = ()  # ids of all feedback that was believed, corrections and bare ratings


# ----------------------------------------------------------------- diagnose


@dataclass(frozen=True, slots=True)
class Question:
    """A question whose answer stands in a passage."""

    id: str
    text: str
    accepted: tuple[str, ...]  # any of these, normalised, inside the reply makes it right
    passage: str


@dataclass(frozen=True, slots=True)
class Weakness:
    """A passage that the live model does not know, with the replies that show it."""

    passage: str
    asked: int
    right: int
    example: str  # one failed question
    reply: str  # what the model said to it


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The weakness map over one body of evidence."""

    weaknesses: tuple[Weakness, ...]
    known: tuple[str, ...]  # ids of passages that need no study
    questions: tuple[Question, ...]  # all that were written, with the passages in view
    asked: int
    right: int


# ------------------------------------------------------------------ propose


@dataclass(frozen=True, slots=True)
class StudyExample:
    """One training example the model wrote (or replayed); `passage` is the sentence it came from."""

    prompt: str
    target: str
    kind: str  # restatement, qa, implication, cloze, correction, replay
    passage: str | None


@dataclass(frozen=True, slots=True)
class StudySet:
    """What one edit strategy proposes to study; `rejected` counts what the filters threw out, by reason."""

    strategy: str
    examples: tuple[StudyExample, ...]
    rejected: dict[str, int] = field(default_factory=dict)


# -------------------------------------------------------------------- learn


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Settings of one training. The defaults are the vetted ones."""

    rank: int = 16
    alpha: float = 32.0
    learning_rate: float = 2e-3
    tokens: int = 100_000  # positions to train on at most, replays and padding included
    batch_tokens: int = 400
    openings: float = 0.85  # share of examples that show only the opening of their target
    frozen: float = 0.5  # share of the transformer blocks, from below, that get no adapter
    guarded: bool = True  # replay, KL to the base, and a router; False is the control
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trained adapter that asks to be released. `adapter` names a folder in the adapter store."""

    name: str
    strategy: str
    plan: TrainingPlan
    study: Digest
    adapter: Digest
    losses: tuple[float, ...]  # mean loss of each epoch
    tokens: int  # token positions trained on


# -------------------------------------------------------------------- judge

Outcome = Literal["pass", "fail", "inconclusive", "error"]


@dataclass(frozen=True, slots=True)
class Check:
    """One question put to a candidate, answered with an interval and held against a threshold."""

    name: str
    estimate: float
    low: float
    high: float
    threshold: float
    outcome: Outcome
    explanation: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge says of a candidate."""

    candidate: str
    outcome: Outcome
    checks: tuple[Check, ...]
    controls: dict[str, float] = field(default_factory=dict)  # share right under each control
    answers: dict[str, bool] = field(default_factory=dict)  # by question of all lessons: whether it was right
    judged_by: str = ""  # version of Gradatim and precision: others may answer otherwise with the same adapters


# ------------------------------------------------------------------ release


@dataclass(frozen=True, slots=True)
class Release:
    """An immutable version of the served model: a base and the adapters on it. `id` is the digest of the rest."""

    id: Digest
    parent: Digest | None
    base: Digest
    adapters: tuple[Digest, ...]
    step: str | None
    verdict: Digest | None
    created_at: str


# -------------------------------------------------------------------- watch


@dataclass(frozen=True, slots=True)
class Cost:
    """What work took."""

    seconds: float = 0.0
    tokens: int = 0  # positions trained on; what was written and judged is not counted
    joules: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.tokens + other.tokens, self.joules + other.joules)


@dataclass(frozen=True, slots=True)
class StepReport:
    """The whole story of one step, as `gradatim step` tells it and the ledger keeps it."""

    step: str
    outcome: Literal[
        "released", "awaiting-approval", "awaiting-rollout", "rejected", "inconclusive", "nothing-to-do", "error"
    ]
    candidates: tuple[Candidate, ...]
    verdicts: tuple[Verdict, ...]  # one for each candidate, in the same order
    release: str | None  # id of the release that was made, live or not yet
    cost: Cost
    reason: str  # one line: why this outcome; cites the charter's line where a bound decided
