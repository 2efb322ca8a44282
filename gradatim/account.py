"""What the ledger and the blobs hold of one step, read back: each phase's result, typed.

A step that is unfinished, or that found nothing to do, has only some phases; what is missing is None or empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

from gradatim.errors import InputError
from gradatim.types import (
    Candidate,
    Cost,
    Diagnosis,
    Evidence,
    Feedback,
    StepReport,
    StudyExample,
    StudySet,
    Verdict,
)

if TYPE_CHECKING:
    from gradatim.workspace import Workspace

T = TypeVar("T")

UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class Account:
    """One step: what it worked on, what it found, and how it ended."""

    step: str
    evidence: Evidence | None
    diagnosis: Diagnosis | None
    studies: tuple[StudySet, ...]
    candidates: tuple[Candidate, ...]
    verdicts: tuple[Verdict, ...]
    report: StepReport | None  # None while the step is unfinished


def account(workspace: Workspace, step: str) -> Account:
    """Read a step back; InputError when there was no such step."""
    if not any(entry.body["step"] == step for entry in workspace.ledger.entries("step-begun")):
        raise InputError(f"No step is called {step}: `gradatim status` lists the last ones")
    phases = {e.body["phase"]: e.body["result"] for e in workspace.ledger.entries("phase") if e.body["step"] == step}

    def result(phase: str, of_type: type[T]) -> T | None:
        return workspace.blobs.get_json(phases[phase], of_type) if phase in phases else None

    return Account(
        step,
        result("observe", Evidence),
        result("diagnose", Diagnosis),
        result("propose", tuple[StudySet, ...]) or (),
        result("learn", tuple[Candidate, ...]) or (),
        result("judge", tuple[Verdict, ...]) or (),
        _report(workspace, step),
    )


def _report(workspace: Workspace, step: str) -> StepReport | None:
    for entry in workspace.ledger.entries("step-finished"):
        if entry.body["step"] == step:
            return workspace.blobs.get_json(entry.body["result"], StepReport)
    return None


# ------------------------------------------------------------------ as the commands print it


def report_data(report: StepReport) -> dict[str, Any]:
    """A step's report, as `gradatim step --json` prints it."""
    return {
        "step": report.step,
        "outcome": report.outcome,
        "candidates": candidates_data(report.candidates, report.verdicts),
        "release": report.release,
        "cost": asdict(report.cost),
        "reason": report.reason,
    }


def candidates_data(candidates: Iterable[Candidate], verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """Each candidate beside its verdict, which comes in the same order."""
    return [
        {
            "name": candidate.name,
            "strategy": candidate.strategy,
            "guarded": candidate.plan.guarded,
            "tokens": candidate.tokens,
            "losses": list(candidate.losses),
            "verdict": _verdict_data(verdict) if verdict else None,
        }
        for candidate, verdict in zip_longest(candidates, verdicts)
        if candidate
    ]


def _verdict_data(verdict: Verdict) -> dict[str, Any]:
    return {
        "outcome": verdict.outcome,
        "checks": [asdict(check) for check in verdict.checks],
        "controls": verdict.controls,
    }


def step_data(workspace: Workspace, name: str, examples: int) -> dict[str, Any]:
    """A step with all that led to its outcome."""
    told = account(workspace, name)
    report = told.report
    return {
        "step": name,
        "outcome": report.outcome if report else UNFINISHED,
        "reason": report.reason if report else "",
        "cost": asdict(report.cost) if report else None,
        "quarantined": quarantine_data(workspace, told),
        "asked": told.diagnosis.asked if told.diagnosis else 0,
        "right": told.diagnosis.right if told.diagnosis else 0,
        "weaknesses": weaknesses_data(told),
        "study": study_data(told, examples),
        "candidates": candidates_data(told.candidates, told.verdicts),
    }


def steps_data(workspace: Workspace) -> list[dict[str, Any]]:
    """The steps in order: when each ended and how, "unfinished" for one that has not."""
    ends = {entry.body["step"]: entry for entry in workspace.ledger.entries("step-finished")}
    return [
        {
            "step": begun.body["step"],
            "outcome": end.body["outcome"] if end else UNFINISHED,
            "at": (end or begun).at,
        }
        for begun in workspace.ledger.entries("step-begun")
        for end in [ends.get(begun.body["step"])]
    ]


def costs_data(workspace: Workspace) -> dict[str, Any]:
    """What each finished step took, and all together."""
    ended = [(entry.body["step"], entry.body["result"]) for entry in workspace.ledger.entries("step-finished")]
    costs = {step: workspace.blobs.get_json(result, StepReport).cost for step, result in ended}
    return {
        "steps": [{"step": step} | asdict(cost) for step, cost in costs.items()],
        "total": asdict(sum(costs.values(), Cost())),
    }


def study_data(told: Account, samples: int) -> list[dict[str, Any]]:
    """Each study set in figures, with some examples of the model's own beside the sentence they came from."""
    sources = _sentences(told)
    return [
        {
            "strategy": study.strategy,
            "examples": len(study.examples),
            "rejected": study.rejected,
            "sample": [
                {"kind": e.kind, "prompt": e.prompt, "target": e.target, "source": sources.get(e.passage or "", "")}
                for e in _sample(study.examples, samples)
            ],
        }
        for study in told.studies
    ]


def _sample(examples: Iterable[StudyExample], count: int) -> list[StudyExample]:
    """The same few every time: grounded, of different sentences, spread over the set."""
    of_passage: dict[str, list[StudyExample]] = {}
    for example in examples:
        if example.passage is not None and example.kind != "replay":
            of_passage.setdefault(example.passage, []).append(example)
    groups = list(of_passage.values())
    chosen = groups[:: max(1, len(groups) // max(1, count))][:count]
    # Another place in each group, so that not every sample is of the kind that comes first.
    return [group[index % len(group)] for index, group in enumerate(chosen)]


def weaknesses_data(told: Account) -> list[dict[str, Any]]:
    """What the live model did not know, with the sentence it should have known."""
    sources = _sentences(told)
    found = told.diagnosis.weaknesses if told.diagnosis else ()
    return [asdict(weakness) | {"source": sources.get(weakness.passage, "")} for weakness in found]


def quarantine_data(workspace: Workspace, told: Account) -> list[dict[str, Any]]:
    """What was not believed and why, in words that a person can find again."""
    titles = {record.id: record.title for record in workspace.records.documents()}
    said = {record.feedback.id: record.feedback for record in workspace.records.feedback()}
    sources = _sentences(told)
    return [
        {
            "record": item.record,
            "kind": "feedback" if item.record in said else "document",
            "what": _said(said[item.record]) if item.record in said else titles.get(item.record, ""),
            "reason": _with_words(item.reason, sources),
        }
        for item in (told.evidence.quarantined if told.evidence else ())
    ]


def _said(feedback: Feedback) -> str:
    return f"{feedback.by}: {feedback.correction}" if feedback.correction else f"{feedback.by}: {feedback.rating}"


def _with_words(reason: str, sources: dict[str, str]) -> str:
    """A reason with the text of the passage it names."""
    named = (text for passage, text in sources.items() if f"passage {passage} " in f"{reason} ")
    return next((f"{reason} (“{text}”)" for text in named), reason)


def _sentences(told: Account) -> dict[str, str]:
    """The text of every passage that the step could learn from."""
    return {passage.id: passage.text for passage in told.evidence.passages} if told.evidence else {}
